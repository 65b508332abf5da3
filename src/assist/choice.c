/* SPDX-License-Identifier: MIT */
/* Two means for each size of call, and when to look at the slower way again. */
#include "assist/choice.h"

#include <string.h>

/* Of each way before one is preferred. */
#define TRIES 4u
/* Calls between two looks at the slower way: at a third of a call's time lost in each, 64 cost half a percent.
 * Doubled by each look that confirms. */
#define PATIENCE_MIN 64u
#define PATIENCE_MAX 1024u
/* Of the newest call in a mean, and the most by which one call may count: a machine that was away for a
 * moment says nothing of the way. */
#define WEIGHT (1.0 / 16)
#define OUTLIER 4.0
/* The CPU must be quicker by this part: it takes cores that others may want. */
#define MARGIN 0.98

void choice_forget(choice *c)
{
	memset(c->sizes, 0, sizeof c->sizes);
}

/* ------------------------------------------------------------------ sizes */

static uint32_t octave(uint32_t n)
{
	return 31 - (uint32_t)__builtin_clz(n | 1);
}

choice_key choice_key_of(uint32_t tokens, uint32_t misses)
{
	uint32_t t = octave(tokens), m = misses <= 1 ? 0 : octave(misses - 1) + 1;

	return (choice_key){.tokens = t < CHOICE_TOKENS ? t : CHOICE_TOKENS - 1,
	                    .misses = m < CHOICE_MISSES ? m : CHOICE_MISSES - 1};
}

uint32_t choice_tokens_from(uint32_t index)
{
	return 1u << index;
}

uint32_t choice_misses_from(uint32_t index)
{
	return index == 0 ? 1 : (1u << (index - 1)) + 1;
}

/* ------------------------------------------------------------------ asking */

static choice_size *size_of(choice *c, choice_key key)
{
	return &c->sizes[key.tokens][key.misses];
}

/* With, without, without, with: what drifts meanwhile counts for both. */
static bool first_tries(const choice_size *s)
{
	uint32_t turn = s->asked % 4;

	return turn == 0 || turn == 3;
}

bool choice_ask(choice *c, choice_key key)
{
	choice_size *s = size_of(c, key);

	if (s->link.calls < TRIES || s->cpu.calls < TRIES) {
		bool cpu = first_tries(s);
		s->asked++;
		return cpu;
	}
	if (s->patience == 0)
		s->patience = PATIENCE_MIN;
	if (++s->asked < s->patience)
		return s->takes_cpu;
	s->asked = 0;
	s->patience = s->patience < PATIENCE_MAX ? 2 * s->patience : PATIENCE_MAX;
	return !s->takes_cpu;
}

/* ------------------------------------------------------------------ learning */

static void learn(choice_way *way, double ns)
{
	double weight = 1.0 / (double)(way->calls + 1);

	if (way->calls && ns > OUTLIER * way->mean_ns)
		ns = OUTLIER * way->mean_ns;
	way->mean_ns += (weight > WEIGHT ? weight : WEIGHT) * (ns - way->mean_ns);
	way->calls++;
}

bool choice_learn(choice *c, choice_key key, bool cpu, uint64_t spent_ns)
{
	choice_size *s = size_of(c, key);
	bool before = s->takes_cpu;

	learn(cpu ? &s->cpu : &s->link, (double)spent_ns);
	if (s->link.calls < TRIES || s->cpu.calls < TRIES)
		return false;
	s->takes_cpu = s->cpu.mean_ns < MARGIN * s->link.mean_ns;
	if (s->takes_cpu == before)
		return false;
	s->patience = PATIENCE_MIN;
	c->changes++;
	return true;
}
