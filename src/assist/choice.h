/* SPDX-License-Identifier: MIT */
/*
 * Whether the CPU should have a part in a layer call, learned from what such calls took with it and without:
 * the whole call from the moment its misses are known, with waiting and merging in it. Calls are alike when
 * they have about as many tokens and about as many misses, so decode and prefill, and full and empty slots,
 * are told apart by themselves. Both ways are tried a few times at first; then the quicker one is taken, and
 * the other is looked at again now and then, more and more seldom while it stays slower.
 *
 * No threads, no clock: whoever asks tells later what it took.
 */
#ifndef UFM_ASSIST_CHOICE_H
#define UFM_ASSIST_CHOICE_H

#include <stdbool.h>
#include <stdint.h>

#define CHOICE_TOKENS 16u /* sizes, an octave each: 1, 2 to 3, 4 to 7, … tokens */
#define CHOICE_MISSES 8u  /* 1, 2, 3 to 4, 5 to 8, … misses; the last is all above */

/* Calls of one size, one way. */
typedef struct choice_way {
	double mean_ns;
	uint64_t calls;
} choice_way;

typedef struct choice_size {
	choice_way link, cpu; /* all by the link; some by the CPU */
	uint32_t asked;       /* since the slower way was looked at last */
	uint32_t patience;    /* calls between two such looks */
	bool takes_cpu;
} choice_size;

typedef struct choice {
	choice_size sizes[CHOICE_TOKENS][CHOICE_MISSES];
	uint64_t changes; /* of the quicker way, of any size */
} choice;

/* Begins without knowledge, as zeros; also after the slots have become more or fewer. */
void choice_forget(choice *c);

/* The size of a call. */
typedef struct choice_key {
	uint32_t tokens, misses; /* indices */
} choice_key;
choice_key choice_key_of(uint32_t tokens, uint32_t misses); /* both >= 1 */
/* The smallest number of tokens and of misses of a size. */
uint32_t choice_tokens_from(uint32_t index);
uint32_t choice_misses_from(uint32_t index);

/* Whether the call should use the CPU. */
bool choice_ask(choice *c, choice_key key);
/* What a call that was asked for took. Returns true when the quicker way of its size has changed. */
bool choice_learn(choice *c, choice_key key, bool cpu, uint64_t spent_ns);

#endif
