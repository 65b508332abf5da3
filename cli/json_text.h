/* SPDX-License-Identifier: MIT */
/* Text of any origin as JSON, which is UTF-8. */
#ifndef CLI_JSON_TEXT_H
#define CLI_JSON_TEXT_H

#include <jansson.h>

/* NULL and "" are null. Text that is no UTF-8 (a path, a line cut within a character) shows '?' for
 * what is not ASCII. */
json_t *json_text(const char *text);

#endif
