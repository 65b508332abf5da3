/* SPDX-License-Identifier: MIT */
/* What people read on standard output or in a file: lines that end where it does. */
#ifndef CLI_SHEET_H
#define CLI_SHEET_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define SHEET_WORD_BYTES 512

typedef struct sheet {
	FILE *to;
	uint32_t columns; /* of a line; a single word may be longer */
	bool wide;        /* tables have all columns and are not cut */
	uint32_t indent;  /* of lines that continue one; an item, which begins with "- ", has its own */
	/* The line so far, and what has come of its next word. */
	uint32_t used, spaces, hang, word_bytes;
	bool begun; /* a first part of the word stands already */
	char word[SHEET_WORD_BYTES];
} sheet;

/* Of a terminal as wide as it is, of anything else 80 columns. */
sheet sheet_open(FILE *to, bool wide);
/* At most 80 columns, also on a wide terminal: for whole pages of sentences. */
sheet sheet_of_text(FILE *to);

/* Continues the line; a newline ends it, other control characters are shown as '?'. Lines are broken at spaces. */
void sheet_print(sheet *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A text of any length and origin: its newlines are shown as '?', too. */
void sheet_text(sheet *s, const char *text);

/* A row of a table of two columns; a value that is too long continues in rows without a name. */
void sheet_pair(sheet *s, const char *name, const char *value);
/* The rule below the first of them. */
void sheet_pair_rule(sheet *s);

#endif
