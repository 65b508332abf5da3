/* SPDX-License-Identifier: MIT */
/* Text as JSON. */
#include "cli/json_text.h"

json_t *json_text(const char *text)
{
	char copy[512];
	size_t i;
	json_t *value;
	if (!text || !*text)
		return json_null();
	value = json_string(text);
	if (value)
		return value;
	for (i = 0; text[i] && i + 1 < sizeof copy; i++)
		copy[i] = (char)((unsigned char)text[i] < 0x80 ? text[i] : '?');
	copy[i] = '\0';
	return json_string(copy);
}
