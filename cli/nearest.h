/* SPDX-License-Identifier: MIT */
/* What somebody probably meant: every message about a name or a size that is not known asks
 * here. */
#ifndef CLI_NEAREST_H
#define CLI_NEAREST_H

#include <stddef.h>
#include <stdint.h>

/* The word of `words` (count of them) that is nearest to `text`, or NULL if none is near. Case does
 * not count, two letters that changed places are one slip, and a publisher before it ("Qwen/") or
 * something after it ("-Instruct") is no slip; nor is the beginning of one name alone. */
const char *nearest_word(const char *text, const char *const *words, uint32_t count);

/* "; did you mean 'lru'?" or "". `names` has words between spaces, commas and bars; of `text` it is
 * the first item between commas that is none of them. */
#define NEAREST_HINT_BYTES 64
typedef struct nearest_hint {
	char text[NEAREST_HINT_BYTES];
} nearest_hint;
nearest_hint nearest_name(const char *text, const char *names);
/* The same for what stands before a colon, and the colon: "trase:FILE" among "uniform trace:". */
nearest_hint nearest_kind(const char *text, const char *kinds);
/* The same for sizes with a unit that is not one of ours: "16GB" and "16G" are 16GiB to most
 * people. */
nearest_hint nearest_size(const char *text);

#endif
