/* SPDX-License-Identifier: MIT */
/* Widths without a locale: that of the process may be C, or one that is not installed. */
#include "cli/columns.h"

#include <stdbool.h>
#include <sys/ioctl.h>

typedef struct character {
	uint32_t code;
	uint32_t bytes;
} character;

/* Whatever is no UTF-8 is a character of one byte. */
static character character_at(const char *text)
{
	const unsigned char *at = (const unsigned char *)text;
	uint32_t bytes = at[0] < 0xc2 ? 1 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : at[0] < 0xf5 ? 4 : 1;
	uint32_t code = bytes == 1 ? at[0] : at[0] & (0xffu >> (bytes + 1));
	for (uint32_t i = 1; i < bytes; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return (character){.code = '?', .bytes = 1};
		code = code << 6 | (at[i] & 0x3f);
	}
	return (character){.code = code, .bytes = bytes};
}

typedef struct range {
	uint32_t first, last;
} range;

/* Marks over the character before them, joiners, and selectors of variants. */
static const range over[] = {
	{0x300, 0x36f},   {0x483, 0x489},   {0x591, 0x5bd},   {0x610, 0x61a},   {0x64b, 0x65f},
	{0x1ab0, 0x1aff}, {0x1dc0, 0x1dff}, {0x200b, 0x200f}, {0x20d0, 0x20ff}, {0x302a, 0x302d},
	{0x3099, 0x309a}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0xfeff, 0xfeff}, {0xe0100, 0xe01ef}};

/* Chinese, Japanese, Korean, their punctuation, and pictures. */
static const range wide[] = {
	{0x1100, 0x115f},   {0x2e80, 0x303e},   {0x3041, 0xa4cf},  {0xa960, 0xa97c}, {0xac00, 0xd7a3},
	{0xf900, 0xfaff},   {0xfe30, 0xfe6f},   {0xff01, 0xff60},  {0xffe0, 0xffe6}, {0x1f300, 0x1f64f},
	{0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd}};

static bool is_among(uint32_t code, const range *ranges, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (code >= ranges[i].first && code <= ranges[i].last)
			return true;
	return false;
}

static uint32_t width_of(uint32_t code)
{
	if (is_among(code, over, sizeof over / sizeof over[0]))
		return 0;
	return is_among(code, wide, sizeof wide / sizeof wide[0]) ? 2 : 1;
}

uint32_t columns_of(const char *text)
{
	uint32_t columns = 0;
	while (*text) {
		character c = character_at(text);
		columns += width_of(c.code);
		text += c.bytes;
	}
	return columns;
}

char *columns_fit(char *text, uint32_t columns)
{
	char *at = text;
	for (uint32_t used = 0; *at;) {
		character c = character_at(at);
		used += width_of(c.code);
		if (used > columns)
			break;
		at += c.bytes;
	}
	*at = '\0';
	return text;
}

uint32_t columns_of_stream(FILE *to)
{
	struct winsize size;
	bool known = ioctl(fileno(to), TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
	return known ? size.ws_col : COLUMNS_UNKNOWN;
}
