/* SPDX-License-Identifier: MIT */
/* Two costs for each size of call, and when to look at the dearer way again. */
#include "assist/choice.h"

#include <math.h>
#include <string.h>

/* 32 tokens and more. */
#define LONG_FROM 5u

/* Looks at each way before one is preferred, in a row, those with the CPU first, because two of them can spare all
 * others (a long call's time is known some calls later); the same where one costs FAR times the other; looks when the
 * dearer way is looked at again; looks until that happens, more each time; and what older looks keep of their weight
 * with each new one. First looks are at unknown costs, so the first time comes soon. A look at short calls is some
 * steps. Of long calls it is a layer of a step, and layers differ much in what they compute beside their misses: a few
 * say nothing. */
typedef struct habits {
	uint32_t tries, tries_far, again, patience_min, patience_max;
	double keeps;
} habits;
static const habits of_short = {2, 1, 1, 16, 1024, 0.8}, of_long = {5, 5, 5, 48, 6144, 0.95};

#define FAR 2.0
#define DEAR_MISSES 8.0

/* Where one way costs so much more than the other, a look at it is dear and seldom tells anything new: it is CLEAR
 * times as far away. */
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

static bool both_have_sums(const choice_size *s)
{
	return s->link.sum.misses > 0 && s->cpu.sum.misses > 0;
}

/* Once both have been looked at. */
static bool differ(const choice_size *s, double times, double call_ns)
{
	if (!both_have_sums(s))
		return false;
	double link_ns = choice_miss_ns(&s->link, call_ns), cpu_ns = choice_miss_ns(&s->cpu, call_ns);

	return fmax(link_ns, cpu_ns) > times * fmax(0, fmin(link_ns, cpu_ns));
}

static bool have_looks(const choice_size *s, uint32_t looks)
{
	return s->link.looks >= looks && s->cpu.looks >= looks;
}

static bool is_enough(const choice_size *s, const habits *h, double call_ns)
{
	if (have_looks(s, h->tries))
		return true;
	return have_looks(s, h->tries_far) && differ(s, FAR, call_ns);
}

static bool first_tries(choice_size *s, const habits *h)
{
	return s->asked++ / h->tries % 2 == 0;
}

/* Without what calls take in any case, which is not known here: so the costs differ by more than this says. */
static uint32_t longer(const choice_size *s, const habits *h, uint32_t times)
{
	uint32_t next = s->patience * (differ(s, CLEARLY, 0) ? CLEAR : times);

	return next < h->patience_max ? next : h->patience_max;
}

/* So much less time with the CPU than the link alone must take: it need not be looked at. */
static bool beats_link(const choice_size *s)
{
	const choice_look *sum = &s->cpu.sum;

	return s->cpu.looks >= 2 && sum->ns * CLEARLY < sum->floor_ns;
}

static void forget_way(choice_way *way)
{
	*way = (choice_way){.looks = way->looks};
}

bool choice_takes_cpu(const choice *c, uint32_t size)
{
	return !c->sizes[size].known || c->sizes[size].takes_cpu;
}

bool choice_ask(choice *c, uint32_t size)
{
	choice_size *s = &c->sizes[size];
	const habits *h = habits_of(size);

	if (!s->known)
		return first_tries(s, h);
	if (s->again == 0 && (++s->asked < s->patience || (s->takes_cpu && beats_link(s))))
		return s->takes_cpu;
	if (s->again == 0) {
		s->asked = 0;
		s->patience = longer(s, h, 2);
		s->again = h->again;
		forget_way(s->takes_cpu ? &s->link : &s->cpu);
	}
	s->again--;
	return !s->takes_cpu;
}

/* ------------------------------------------------------------------ learning */

bool choice_is_dear(const choice *c, uint32_t size, bool cpu, const choice_look *look,
                    double call_ns)
{
	const choice_size *s = &c->sizes[size];
	const choice_way *other = cpu ? &s->link : &s->cpu, mine = {.sum = *look};

	if (!(other->sum.misses > 0) || look->misses < DEAR_MISSES)
		return false;
	return choice_miss_ns(&mine, call_ns) > FAR * fmax(0, choice_miss_ns(other, call_ns));
}

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
	sum->floor_ns = keeps * sum->floor_ns + look->floor_ns;
	way->looks++;
}

/* One way is preferred from now on. */
static void prefer(choice_size *s, const habits *h)
{
	s->known = true;
	s->asked = 0;
	s->patience = h->patience_min;
	s->patience = longer(s, h, 1);
}

static bool prefers_cpu(const choice_size *s, double call_ns)
{
	if (beats_link(s))
		return true;
	/* One of them may have been forgotten, or never looked at. */
	if (!both_have_sums(s))
		return s->takes_cpu;
	return choice_miss_ns(&s->cpu, call_ns) < MARGIN * choice_miss_ns(&s->link, call_ns);
}

bool choice_learn(choice *c, uint32_t size, bool cpu, const choice_look *look, double call_ns)
{
	choice_size *s = &c->sizes[size];
	const habits *h = habits_of(size);
	bool before = s->takes_cpu;

	learn(cpu ? &s->cpu : &s->link, look, h->keeps);
	if (!s->known && (beats_link(s) || is_enough(s, h, call_ns)))
		prefer(s, h);
	/* Its looks have not ended yet. */
	if (!s->known || s->again)
		return false;
	s->takes_cpu = prefers_cpu(s, call_ns);
	if (s->takes_cpu == before)
		return false;
	prefer(s, h);
	c->changes++;
	return true;
}
