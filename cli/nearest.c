/* SPDX-License-Identifier: MIT */
/* Finds the word somebody probably meant. */
#include <string.h>

#include "cli/options.h"

#define WORD_MAX 32u

static uint32_t smaller(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Edit distance, one row of the table at a time. */
static uint32_t distance(const char *a, const char *b)
{
	uint32_t row[WORD_MAX + 1], length = (uint32_t)strlen(b);
	for (uint32_t j = 0; j <= length; j++)
		row[j] = j;
	for (uint32_t i = 1; *a; a++, i++) {
		uint32_t diagonal = row[0];
		row[0] = i;
		for (uint32_t j = 1; j <= length; j++) {
			uint32_t change = diagonal + (*a != b[j - 1]);
			diagonal = row[j];
			row[j] = smaller(change, smaller(row[j], row[j - 1]) + 1);
		}
	}
	return row[length];
}

const char *nearest_word(const char *text, const char *const *words, uint32_t count)
{
	const char *best = NULL;
	size_t length = strlen(text);
	/* A third of the letters may be wrong, at most three. */
	uint32_t limit = smaller(3, (uint32_t)(length / 3) + 1), best_distance = limit + 1;
	if (length == 0 || length > WORD_MAX)
		return NULL;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t d;
		if (strlen(words[i]) > WORD_MAX)
			continue;
		d = distance(text, words[i]);
		if (d < best_distance) {
			best_distance = d;
			best = words[i];
		}
	}
	return best;
}
