/* SPDX-License-Identifier: MIT */
/* Edit distance, and the slips that it does not know. */
#include "cli/nearest.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/size.h"

#define WORD_MAX 32u
#define WORDS_MAX 32u
#define PREFIX_MIN 4u /* shorter words begin too much */

static uint32_t smaller(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static bool same_letter(char a, char b)
{
	return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* Edit distance in which neighbours may change places, two rows of the table behind the one that is
 * made. */
static uint32_t distance(const char *a, const char *b)
{
	uint32_t rows[3][WORD_MAX + 1], length = (uint32_t)strlen(b);
	uint32_t *older = rows[0], *old = rows[1], *row = rows[2];
	for (uint32_t j = 0; j <= length; j++)
		old[j] = j;
	for (uint32_t i = 1; a[i - 1]; i++) {
		row[0] = i;
		for (uint32_t j = 1; j <= length; j++) {
			row[j] = smaller(old[j - 1] + !same_letter(a[i - 1], b[j - 1]),
			                 smaller(old[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) &&
			    same_letter(a[i - 2], b[j - 1]))
				row[j] = smaller(row[j], older[j - 2] + 1);
		}
		uint32_t *spare = older;
		older = old;
		old = row;
		row = spare;
	}
	return old[length];
}

/* "Mixtral-8x7B-Instruct-v0.1" begins with mixtral-8x7b. */
static bool begins_with(const char *text, const char *word)
{
	size_t length = strlen(word);
	return length >= PREFIX_MIN && strncasecmp(text, word, length) == 0 && text[length] == '-';
}

static const char *without_publisher(const char *text)
{
	const char *slash = strrchr(text, '/');
	return slash && slash[1] ? slash + 1 : text;
}

static const char *longest_beginning(const char *text, const char *const *words, uint32_t count)
{
	const char *best = NULL;
	for (uint32_t i = 0; i < count; i++)
		if (begins_with(text, words[i]) && (!best || strlen(words[i]) > strlen(best)))
			best = words[i];
	return best;
}

/* "olmoe" begins one model's name, "deepseek" two. */
static const char *only_continuation(const char *text, const char *const *words, uint32_t count)
{
	const char *found = NULL;
	for (uint32_t i = 0; i < count; i++) {
		if (!begins_with(words[i], text))
			continue;
		if (found)
			return NULL;
		found = words[i];
	}
	return found;
}

static const char *other_length(const char *text, const char *const *words, uint32_t count)
{
	const char *found = longest_beginning(text, words, count);
	return found ? found : only_continuation(text, words, count);
}

const char *nearest_word(const char *text, const char *const *words, uint32_t count)
{
	const char *best = NULL;
	text = without_publisher(text);
	size_t length = strlen(text);
	/* A third of the letters may be wrong, at most three. */
	uint32_t limit = smaller(3, (uint32_t)(length / 3) + 1), best_distance = limit + 1;
	if (length == 0 || length > WORD_MAX)
		return other_length(text, words, count);
	for (uint32_t i = 0; i < count; i++) {
		if (strlen(words[i]) > WORD_MAX)
			continue;
		uint32_t d = distance(text, words[i]);
		if (d < best_distance) {
			best_distance = d;
			best = words[i];
		}
	}
	return best ? best : other_length(text, words, count);
}

/* ---- hints */

static nearest_hint hint_of(const char *word)
{
	nearest_hint hint = {""};
	if (word)
		snprintf(hint.text, sizeof hint.text, "; did you mean '%.40s'?", word);
	return hint;
}

/* Cuts `list` up. An "or" before the last of a list for people is no name. */
static uint32_t split(char *list, const char *between, const char *words[WORDS_MAX])
{
	uint32_t count = 0;
	char *rest = NULL;
	for (char *word = strtok_r(list, between, &rest); word && count < WORDS_MAX;
	     word = strtok_r(NULL, between, &rest))
		if (strcmp(word, "or") != 0)
			words[count++] = word;
	return count;
}

static bool is_one_of(const char *text, const char *const *words, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (strcmp(text, words[i]) == 0)
			return true;
	return false;
}

nearest_hint nearest_name(const char *text, const char *names)
{
	char known[512], given[256];
	const char *words[WORDS_MAX], *items[WORDS_MAX];
	snprintf(known, sizeof known, "%s", names);
	snprintf(given, sizeof given, "%s", text);
	uint32_t word_count = split(known, " ,|", words), item_count = split(given, ",", items);
	for (uint32_t i = 0; i < item_count; i++)
		if (!is_one_of(items[i], words, word_count))
			return hint_of(nearest_word(items[i], words, word_count));
	return hint_of(NULL);
}

nearest_hint nearest_kind(const char *text, const char *kinds)
{
	char kind[WORD_MAX + 2];
	snprintf(kind, sizeof kind, "%.*s", (int)strcspn(text, ":") + (strchr(text, ':') != NULL),
	         text);
	return nearest_name(kind, kinds);
}

/* "16", " ", "GB" become 16GiB; false: it is no number with a letter that stands for a unit. */
static bool mend_size(const char *item, char mended[32])
{
	static const char letters[] = "kmgt";
	size_t digits = strspn(item, "0123456789.");
	const char *unit = item + digits + strspn(item + digits, " ");
	const char *letter = *unit ? strchr(letters, tolower((unsigned char)*unit)) : NULL;
	uint64_t size_bytes;
	if (!digits || digits > 20 || !letter || strlen(unit) > 3 ||
	    strspn(unit + 1, "iIbB") != strlen(unit + 1))
		return false;
	snprintf(mended, 32, "%.*s%ciB", (int)digits, item, toupper((unsigned char)*letter));
	return size_parse(mended, &size_bytes) == UFM_OK;
}

nearest_hint nearest_size(const char *text)
{
	char given[256], mended[32];
	const char *items[WORDS_MAX];
	uint64_t size_bytes;
	snprintf(given, sizeof given, "%s", text);
	uint32_t count = split(given, ",", items);
	for (uint32_t i = 0; i < count; i++)
		if (size_parse(items[i], &size_bytes) != UFM_OK && mend_size(items[i], mended))
			return hint_of(mended);
	return hint_of(NULL);
}
