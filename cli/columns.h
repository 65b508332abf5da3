/* SPDX-License-Identifier: MIT */
/* How wide text is on a terminal, and how wide the terminal is. */
#ifndef CLI_COLUMNS_H
#define CLI_COLUMNS_H

#include <stdint.h>
#include <stdio.h>

/* Of a text in UTF-8: two for a wide character, none for one that is drawn over the one before. A byte that is
 * no UTF-8 counts as one. */
uint32_t columns_of(const char *text);

/* Cuts a text at so many columns, never inside of a character. Returns it. */
char *columns_fit(char *text, uint32_t columns);

/* Of the terminal that a stream is; 80 where it is none, or does not know. */
#define COLUMNS_UNKNOWN 80u
uint32_t columns_of_stream(FILE *to);

#endif
