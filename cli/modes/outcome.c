/* SPDX-License-Identifier: MIT */
/* What a failure in a mode means, and which figures of a run must add up. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/exit.h"
#include "cli/modes/mode.h"

#define RING_FIELD "ring_slots: " /* of the library's configuration */

/* The cause in terms of the option that can mend it. */
static const char *option_of(placement_mode mode, ufm_status cause, const char *line)
{
	if (strncmp(line, "vram-limit", 10) == 0 || strncmp(line, "math:", 5) == 0)
		return "--";
	if (mode == MODE_UFM)
		return cause == UFM_EBUDGET || cause == UFM_EDEVMEM ? "--vram-target: " : "";
	return cause == UFM_EBUDGET ? "--vram-limit: " : "";
}

void mode_explain(placement_mode mode, ufm_status cause, mode_failure *out)
{
	const char *line = ufm_last_error(), *option;
	out->out_of_memory = cause == UFM_EDEVMEM;
	out->exit_code = out->out_of_memory && mode == MODE_BASELINE ? CLI_OK : exit_of(cause);
	if (strncmp(line, RING_FIELD, strlen(RING_FIELD)) == 0) {
		option = "--ring: found ";
		line += strlen(RING_FIELD);
	} else {
		option = option_of(mode, cause, line);
	}
	snprintf(out->error, sizeof out->error, "%s%s", option, *line ? line : ufm_strerror(cause));
}

static bool broken(char *error, const char *what, uint64_t found, uint64_t expected)
{
	snprintf(error, MODE_ERROR_BYTES,
	         "the figures do not add up: %s is %" PRIu64 ", expected %" PRIu64, what, found,
	         expected);
	return false;
}

static bool counters_add_up(placement_mode mode, const mode_figures *f, char *error)
{
	const uint64_t *c = f->counters;
	uint64_t paths = c[COUNTER_resident_uses] + c[COUNTER_streamed_uses] + c[COUNTER_cpu_uses];
	uint64_t for_later = c[COUNTER_prefetch_loads] + c[COUNTER_admitted_loads];
	uint64_t loaded = (c[COUNTER_streamed_uses] + for_later) * f->expert_bytes;
	uint64_t back = mode == MODE_NAIVE_OFFLOAD ? loaded : 0;
	uint64_t rows = c[COUNTER_fp32_rows] + c[COUNTER_tf32_rows] + c[COUNTER_bf16_rows];
	counter_id asked = counter_of_math(f->engine->math);
	if (c[asked] != rows)
		return broken(error, ufm_counter_describe(asked)->name, c[asked], rows);
	if (c[COUNTER_uses] != paths)
		return broken(error, "uses", c[COUNTER_uses], paths);
	if (c[COUNTER_h2d_weight_bytes] != loaded)
		return broken(error, "h2d_weight_bytes", c[COUNTER_h2d_weight_bytes], loaded);
	if (c[COUNTER_d2h_weight_bytes] != back)
		return broken(error, "d2h_weight_bytes", c[COUNTER_d2h_weight_bytes], back);
	if (mode == MODE_BASELINE && c[COUNTER_streamed_uses])
		return broken(error, "streamed_uses of the baseline", c[COUNTER_streamed_uses], 0);
	if (c[COUNTER_failed_uses])
		return broken(error, "failed_uses", c[COUNTER_failed_uses], 0);
	return true;
}

static bool budget_is_kept(placement_mode mode, const mode_figures *f, char *error)
{
	uint64_t budget = f->engine->vram_target_bytes - f->engine->headroom_bytes;
	uint64_t limit = f->engine->vram_limit_bytes;
	if (mode == MODE_UFM && f->peak_bytes > budget)
		return broken(error, "device memory held (at most target less headroom)", f->peak_bytes,
		              budget);
	if (limit && f->peak_bytes > limit)
		return broken(error, "device memory held (at most the limit)", f->peak_bytes, limit);
	return true;
}

bool mode_adds_up(placement_mode mode, const mode_figures *figures, char *error)
{
	return counters_add_up(mode, figures, error) && budget_is_kept(mode, figures, error);
}
