/* SPDX-License-Identifier: MIT */
/* A number of steps, or as many as it takes. */
#include "cli/bench/warmup.h"

#include <string.h>

#include "base/status.h"
#include "cli/modes/options.h"
#include "cli/nearest.h"

#define STEPS_MAX 100000u /* that can be asked for */

static bool is_auto(const char *text)
{
	return strcmp(text, "auto") == 0;
}

ufm_status warmup_check(const char *text)
{
	if (is_auto(text) || mode_number(text, STEPS_MAX) <= STEPS_MAX)
		return UFM_OK;
	return status_fail(UFM_EINVAL, "found '%.60s', expected auto, or 0 to %u steps%s", text,
	                   STEPS_MAX, nearest_name(text, "auto").text);
}

warmup warmup_of(const bench_config *c, placement_mode mode, uint32_t begins)
{
	if (!is_auto(c->warmup))
		return (warmup){.steps = mode_number(c->warmup, STEPS_MAX)};
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
