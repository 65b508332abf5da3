/* SPDX-License-Identifier: MIT */
/* A number of steps, or as many as it takes. */
#include "cli/bench/warmup.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "cli/nearest.h"

#define STEPS_MAX 100000u /* that can be asked for */

static bool is_auto(const char *text)
{
	return strcmp(text, "auto") == 0;
}

/* The number that text is, or more than STEPS_MAX. */
static uint32_t number(const char *text)
{
	char *end;
	unsigned long value = *text >= '0' && *text <= '9' ? strtoul(text, &end, 10) : STEPS_MAX + 1ul;
	return value <= STEPS_MAX && *end == '\0' ? (uint32_t)value : STEPS_MAX + 1;
}

ufm_status warmup_check(const char *text)
{
	if (is_auto(text) || number(text) <= STEPS_MAX)
		return UFM_OK;
	return status_fail(UFM_EINVAL, "found '%.60s', expected auto, or 0 to %u steps%s", text,
	                   STEPS_MAX, nearest_name(text, "auto").text);
}

warmup warmup_of(const bench_config *c, placement_mode mode, uint32_t begins)
{
	if (!is_auto(c->warmup))
		return (warmup){.steps = number(c->warmup)};
	if (mode != MODE_UFM)
		return (warmup){.from = begins - 1, .steps = 1};
	return (warmup){.steps = WARMUP_STEPS_MAX,
	                .until_filled = true,
	                .most_ns = c->quick ? WARMUP_QUICK_NS_MAX : WARMUP_NS_MAX};
}

bool warmup_ends(const warmup *w, uint32_t done, bool filled, uint64_t spent_ns)
{
	return done + 1 >= w->steps || (w->until_filled && (filled || spent_ns >= w->most_ns));
}
