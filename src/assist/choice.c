/* SPDX-License-Identifier: MIT */
/* Two costs for each size of call, and when to look at the dearer way again. */
#include "assist/choice.h"

#include <string.h>

/* 32 tokens and more. */
#define LONG_FROM 5u

/* Looks at each way before one is preferred, and looks when the dearer way is looked at again; looks until that
 * happens, more each time; and what older looks keep of their weight with each new one. First looks are at
 * empty slots and unknown costs, so the first time comes soon. A look at short calls is some steps, of long calls a
 * layer of a step. */
typedef struct habits {
	uint32_t tries, again, patience_min, patience_max;
	double keeps;
} habits;
static const habits of_short = {2, 1, 16, 1024, 0.8}, of_long = {6, 6, 48, 6144, 0.95};

/* Where one way costs so much more than the other, a look at it is dear and seldom tells anything new: the next
 * one is CLEAR times as far away, and not twice. */
#define CLEARLY 1.25
#define CLEAR 8u

/* The CPU must be cheaper by this part: it takes cores that others may want. */
#define MARGIN 0.98

static const habits *habits_of(uint32_t size)
{
	return choice_is_long(size) ? &of_long : &of_short;
}

void choice_forget(choice *c)
{
	memset(c->sizes, 0, sizeof c->sizes);
}

uint32_t choice_size_of(uint32_t tokens)
{
	uint32_t octave = 31 - (uint32_t)__builtin_clz(tokens | 1);

	return octave < CHOICE_SIZES ? octave : CHOICE_SIZES - 1;
}

uint32_t choice_tokens_from(uint32_t size)
{
	return 1u << size;
}

bool choice_is_long(uint32_t size)
{
	return size >= LONG_FROM;
}

/* ------------------------------------------------------------------ asking */

static bool both_are_known(const choice_size *s, const habits *h)
{
	return s->link.looks >= h->tries && s->cpu.looks >= h->tries;
}

/* With, without, without, with: what drifts meanwhile counts for both. */
static bool first_tries(choice_size *s)
{
	uint32_t turn = s->asked++ % 4;

	return turn == 0 || turn == 3;
}

/* Without what calls take in any case, which is not known here: so the costs differ by more than this says. */
static uint32_t next_patience(const choice_size *s, const habits *h)
{
	double link_ns = choice_miss_ns(&s->link, 0), cpu_ns = choice_miss_ns(&s->cpu, 0);
	bool clear = link_ns > CLEARLY * cpu_ns || cpu_ns > CLEARLY * link_ns;
	uint32_t next = s->patience * (clear ? CLEAR : 2);

	return next < h->patience_max ? next : h->patience_max;
}

static void forget_way(choice_way *way)
{
	*way = (choice_way){.looks = way->looks};
}

bool choice_ask(choice *c, uint32_t size)
{
	choice_size *s = &c->sizes[size];
	const habits *h = habits_of(size);

	if (!both_are_known(s, h))
		return first_tries(s);
	if (s->patience == 0) {
		s->patience = h->patience_min;
		s->asked = 0;
	}
	if (s->again == 0 && ++s->asked < s->patience)
		return s->takes_cpu;
	if (s->again == 0) {
		s->asked = 0;
		s->patience = next_patience(s, h);
		s->again = h->again;
		forget_way(s->takes_cpu ? &s->link : &s->cpu);
	}
	s->again--;
	return !s->takes_cpu;
}

/* ------------------------------------------------------------------ learning */

double choice_miss_ns(const choice_way *way, double call_ns)
{
	const choice_look *sum = &way->sum;

	return sum->misses > 0 ? (sum->ns - sum->calls * call_ns) / sum->misses : 0;
}

static void learn(choice_way *way, const choice_look *look, double keeps)
{
	choice_look *sum = &way->sum;

	sum->ns = keeps * sum->ns + look->ns;
	sum->calls = keeps * sum->calls + look->calls;
	sum->misses = keeps * sum->misses + look->misses;
	way->looks++;
}

bool choice_learn(choice *c, uint32_t size, bool cpu, const choice_look *look, double call_ns)
{
	choice_size *s = &c->sizes[size];
	const habits *h = habits_of(size);
	bool before = s->takes_cpu;

	learn(cpu ? &s->cpu : &s->link, look, h->keeps);
	/* One of them may have been forgotten, and its looks not ended yet. */
	if (!both_are_known(s, h) || s->again || !(s->link.sum.misses > 0) || !(s->cpu.sum.misses > 0))
		return false;
	s->takes_cpu = choice_miss_ns(&s->cpu, call_ns) < MARGIN * choice_miss_ns(&s->link, call_ns);
	if (s->takes_cpu == before)
		return false;
	s->patience = h->patience_min;
	c->changes++;
	return true;
}
