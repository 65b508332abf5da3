/* SPDX-License-Identifier: MIT */
/*
 * Whether the CPU should have a part in layer calls, learned from what calls took with it and without. Calls
 * are alike when they have about as many tokens, so decode and prefill are told apart by themselves. What is
 * compared is the time that a miss costs, all that comes with it included: waiting, merging, copies that are
 * made up for later, and the misses that follow from what was not kept. So many calls make one look: of short
 * ones, which leave much to those after them, some steps; of long ones each by itself.
 *
 * Both ways are looked at a few times at first, fewer where one is much dearer; then the cheaper one is taken, and the
 * other is looked at again now and then, more and more seldom while it stays dearer. The link is not looked at while
 * calls with the CPU take clearly less than their misses would occupy the link. No threads, no clock: whoever asks tells
 * what it took.
 */
#ifndef UFM_ASSIST_CHOICE_H
#define UFM_ASSIST_CHOICE_H

#include <stdbool.h>
#include <stdint.h>

#define CHOICE_SIZES 16u /* of calls, an octave each: 1, 2 to 3, 4 to 7, … tokens */

/* Calls of one way that were looked at together, and what the link alone would have needed for their misses at
 * least (0: not known). */
typedef struct choice_look {
	double ns, calls, misses, floor_ns;
} choice_look;

typedef struct choice_way {
	choice_look sum; /* older looks count less and less */
	uint32_t looks;
} choice_way;

typedef struct choice_size {
	choice_way link, cpu; /* all by the link; some by the CPU */
	uint32_t asked;       /* looks since the dearer way was looked at last */
	uint32_t patience;    /* until it is again */
	uint32_t again;       /* looks at it that are left; what was known of it before is forgotten */
	bool known;           /* both ways, well enough to prefer one */
	bool takes_cpu;
} choice_size;

typedef struct choice {
	choice_size sizes[CHOICE_SIZES];
	uint64_t changes; /* of the cheaper way, of any size */
} choice;

/* Forgets all but the number of changes: the slots have become more or fewer. */
void choice_forget(choice *c);

uint32_t choice_size_of(uint32_t tokens); /* index; tokens >= 1 */
uint32_t choice_tokens_from(uint32_t size);
/* Calls of such a size are looked at one by one. */
bool choice_is_long(uint32_t size);

/* What is known to be cheaper; with the CPU where nothing is known yet. */
bool choice_takes_cpu(const choice *c, uint32_t size);
/* Whether the calls of the next look should use the CPU. */
bool choice_ask(choice *c, uint32_t size);
/* What a look that was asked for found. call_ns: what each call would have taken without misses. Returns true
 * when the cheaper way has changed. */
bool choice_learn(choice *c, uint32_t size, bool cpu, const choice_look *look, double call_ns);
/* Whether a look, which need not be complete, found so much more than the other way costs that it says enough. */
bool choice_is_dear(const choice *c, uint32_t size, bool cpu, const choice_look *look,
                    double call_ns);
/* What a miss costs, 0 if that is not known. */
double choice_miss_ns(const choice_way *way, double call_ns);

#endif
