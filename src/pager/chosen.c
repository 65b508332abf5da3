/* SPDX-License-Identifier: MIT */
/* What auto has chosen, for people and programs. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/status.h"
#include "pager/pager_int.h"

/* Long calls are timed whole, short ones beside those that miss nothing. */
static double base_ns(const ufm_engine *e, uint32_t size)
{
	return choice_is_long(size) ? 0 : (double)e->cpu.call_ns;
}

/* Calls that miss nothing may have been slower for other reasons: then there is nothing to tell. */
static double told_ns(const choice_way *way, double base_ns)
{
	double ns = choice_miss_ns(way, base_ns);
	return ns > 0 ? ns : 0;
}

static bool was_looked_at(const choice_size *s)
{
	return s->link.looks || s->cpu.looks;
}

static ufm_cpu_choice tell(const ufm_engine *e, uint32_t size)
{
	const choice_size *s = &e->cpu.choice.sizes[size];
	return (ufm_cpu_choice){.tokens_from = choice_tokens_from(size),
	                        .takes_cpu = s->takes_cpu,
	                        .link_looks = s->link.looks,
	                        .cpu_looks = s->cpu.looks,
	                        .link_miss_ns = told_ns(&s->link, base_ns(e, size)),
	                        .cpu_miss_ns = told_ns(&s->cpu, base_ns(e, size)),
	                        .changes = e->cpu.choice.changes};
}

static bool find(const ufm_engine *e, uint32_t index, ufm_cpu_choice *out)
{
	for (uint32_t size = 0; size < CHOICE_SIZES; size++) {
		if (!was_looked_at(&e->cpu.choice.sizes[size]) || index--)
			continue;
		*out = tell(e, size);
		return true;
	}
	return false;
}

ufm_status ufm_engine_get_cpu_choice(const ufm_engine *e, uint32_t index, ufm_cpu_choice *out)
{
	ufm_cpu_choice found;
	ufm_status status = engine_check_process(e);
	if (status == UFM_OK)
		status = status_need(out, "choice", "a ufm_cpu_choice");
	if (status == UFM_OK)
		status = status_check_info(out, "ufm_cpu_choice");
	if (status != UFM_OK)
		return status;
	lock_take(e->guard);
	bool there = find(e, index, &found);
	lock_drop(e->guard);
	if (!there)
		return status_fail(UFM_EINVAL, "index: %u, expected less than the sizes looked at", index);
	return status_write_info(out, &found, sizeof found, "ufm_cpu_choice");
}

/* Of all short sizes, or of all long ones, that which was looked at most. */
static bool find_most(const ufm_engine *e, bool is_long, ufm_cpu_choice *out)
{
	uint32_t most = 0;
	for (uint32_t size = 0; size < CHOICE_SIZES; size++) {
		ufm_cpu_choice c = tell(e, size);
		if (choice_is_long(size) != is_long || c.link_looks + c.cpu_looks <= most)
			continue;
		most = c.link_looks + c.cpu_looks;
		*out = c;
	}
	return most != 0;
}

void choose_describe(const ufm_engine *e, char *text, size_t size)
{
	size_t used = 0;
	text[0] = 0;
	for (uint32_t i = 0; i < 2; i++) {
		ufm_cpu_choice c = {0};
		if (!find_most(e, i == 1, &c) || used >= size)
			continue;
		/* Where the link was never looked at, what its copies take in any case. */
		double link_ns = c.link_looks ? c.link_miss_ns : looks_link_ns(e, 1);
		used += (size_t)snprintf(
			text + used, size - used,
			"%s%u tokens%s %s, a miss costs %.0f us with the CPU, %s%.0f without", used ? "; " : "",
			c.tokens_from, i ? " and more" : "", c.takes_cpu ? "with it" : "without",
			c.cpu_miss_ns / 1e3, c.link_looks ? "" : "at least ", link_ns / 1e3);
	}
}

/* On the timeline: the smallest call of that size. */
void chosen_changed(const ufm_engine *e, uint32_t size)
{
	uint64_t now_ns = clock_now_ns();
	timeline_span span = {.kind = TIMELINE_CHOICE,
	                      .begin_ns = now_ns,
	                      .end_ns = now_ns,
	                      .layer = TIMELINE_NONE,
	                      .expert = TIMELINE_NONE,
	                      .tokens = choice_tokens_from(size)};
	timeline_add(e->spans.timeline, &span);
}
