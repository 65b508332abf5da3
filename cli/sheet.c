/* SPDX-License-Identifier: MIT */
/* A word is kept until it is whole: then it is known whether the line has room for it. */
#include "cli/sheet.h"

#include <stdarg.h>
#include <string.h>

#include "cli/columns.h"

#define COLUMNS_MIN 24u
#define PRINT_BYTES 8192
#define PAIR_NAME 18
#define PAIR_FRAME (PAIR_NAME + 7)

sheet sheet_open(FILE *to, bool wide)
{
	uint32_t columns = columns_of_stream(to);
	return (sheet){
		.to = to, .columns = columns < COLUMNS_MIN ? COLUMNS_MIN : columns, .wide = wide};
}

sheet sheet_of_text(FILE *to)
{
	sheet s = sheet_open(to, false);
	s.columns = s.columns < COLUMNS_UNKNOWN ? s.columns : COLUMNS_UNKNOWN;
	return s;
}

static uint32_t continued_at(const sheet *s)
{
	return s->hang ? s->hang : s->indent;
}

static void break_line(sheet *s)
{
	s->spaces = continued_at(s);
	s->used = 0;
	fputc('\n', s->to);
}

/* The word so far; the line is broken before it where that makes room, not within. */
static void put_word(sheet *s)
{
	uint32_t columns = columns_of(s->word);
	if (s->word_bytes == 0)
		return;
	if (s->used == 0 && strcmp(s->word, "-") == 0)
		s->hang = s->spaces + 2;
	uint32_t at = s->used + s->spaces;
	if (!s->begun && s->used && at > continued_at(s) && at + columns > s->columns)
		break_line(s);
	fprintf(s->to, "%*s%s", (int)s->spaces, "", s->word);
	s->used += s->spaces + columns;
	s->spaces = s->word_bytes = 0;
	s->begun = true;
}

static void end_word(sheet *s)
{
	put_word(s);
	s->begun = false;
}

static void end_line(sheet *s)
{
	end_word(s);
	s->used = s->spaces = 0;
	s->hang = 0;
	fputc('\n', s->to);
}

static void put_character(sheet *s, char c)
{
	if (s->word_bytes + 1 == sizeof s->word)
		put_word(s);
	s->word[s->word_bytes++] = (unsigned char)c < 0x20 || c == 0x7f ? '?' : c;
	s->word[s->word_bytes] = '\0';
}

void sheet_text(sheet *s, const char *text)
{
	for (; *text; text++) {
		if (*text == ' ') {
			end_word(s);
			s->spaces++;
		} else {
			put_character(s, *text);
		}
	}
}

void sheet_print(sheet *s, const char *format, ...)
{
	char text[PRINT_BYTES], *end;
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	char *line = text;
	for (; (end = strchr(line, '\n')); line = end + 1) {
		*end = '\0';
		sheet_text(s, line);
		end_line(s);
	}
	sheet_text(s, line);
}

/* ---- tables of two columns */

/* Bytes of `value` that fit so many columns: to the last space before them, or all of a long word. */
static size_t fitting(const char *value, uint32_t columns)
{
	size_t end = strcspn(value, " "), next = end;
	char text[PRINT_BYTES];
	while (value[next]) {
		next += 1 + strcspn(value + next + 1, " ");
		snprintf(text, sizeof text, "%.*s", (int)next, value);
		if (columns_of(text) > columns)
			return end;
		end = next;
	}
	return end;
}

/* Made of the parts of a value, so that a table stays one. */
static void pair_row(sheet *s, const char *name, const char *value, size_t bytes)
{
	fprintf(s->to, "| %-*s | ", PAIR_NAME, name);
	for (size_t i = 0; i < bytes; i++)
		fputc((unsigned char)value[i] < 0x20 || value[i] == 0x7f ? '?' : value[i], s->to);
	fputs(" |\n", s->to);
}

void sheet_pair(sheet *s, const char *name, const char *value)
{
	uint32_t room = s->columns > PAIR_FRAME + 8 ? s->columns - PAIR_FRAME : 8;
	do {
		size_t bytes = s->wide ? strlen(value) : fitting(value, room);
		pair_row(s, name, value, bytes);
		value += bytes + (value[bytes] == ' ');
		name = "";
	} while (*value);
}

void sheet_pair_rule(sheet *s)
{
	fputs("|:-------------------|:---|\n", s->to);
}
