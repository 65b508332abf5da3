/* SPDX-License-Identifier: MIT */
/* The run for people: a table of what happened, then the configuration. */
#include <inttypes.h>
#include <stdarg.h>

#include "base/size.h"
#include "cli/forward/report.h"
#include "cli/json_field.h"
#include "cli/options_markdown.h"

static void line(sheet *to, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static void line(sheet *to, const char *name, const char *format, ...)
{
	char value[256];
	va_list args;
	va_start(args, format);
	vsnprintf(value, sizeof value, format, args);
	va_end(args);
	sheet_pair(to, name, value);
}

static void layer_lines(sheet *to, const json_t *run)
{
	char bank[32], expert[32];
	line(to, "layer", "%" PRIu64 ": %" PRIu64 " %sexperts of %s in %s, %s in all",
	     field_whole(run, "layer"), field_whole(run, "experts"),
	     json_is_true(json_object_get(run, "gated")) ? "gated " : "",
	     size_format(field_whole(run, "expert_bytes"), expert, sizeof expert),
	     field_string(run, "dtype"),
	     size_format(field_whole(run, "bank_bytes"), bank, sizeof bank));
	line(to, "tokens", "%" PRIu64 ", each to %" PRIu64 " experts by %s", field_whole(run, "tokens"),
	     field_whole(run, "top_k"), field_string(run, "routing"));
}

static void memory_lines(sheet *to, const json_t *run)
{
	char peak[32], target[32], headroom[32], limit[32];
	if (!field_known(run, "slots"))
		return;
	line(to, "slots", "%" PRIu64 ", %" PRIu64 " of them the ring", field_whole(run, "slots"),
	     field_whole(run, "ring_slots"));
	line(to, "peak device memory", "%s",
	     size_format(field_whole(run, "peak_vram_bytes"), peak, sizeof peak));
	if (field_known(run, "vram_target_bytes"))
		line(to, "budget", "%s less %s of headroom",
		     size_format(field_whole(run, "vram_target_bytes"), target, sizeof target),
		     size_format(field_whole(run, "headroom_bytes"), headroom, sizeof headroom));
	if (field_known(run, "vram_limit_bytes"))
		line(to, "card", "%s",
		     size_format(field_whole(run, "vram_limit_bytes"), limit, sizeof limit));
}

static void figure_lines(sheet *to, const json_t *run)
{
	char there[32], back[32];
	if (!field_known(run, "uses"))
		return;
	line(to, "uses", "%" PRIu64 ": %" PRIu64 " resident, %" PRIu64 " streamed",
	     field_whole(run, "uses"), field_whole(run, "resident_uses"),
	     field_whole(run, "streamed_uses"));
	line(to, "weights moved", "%s to the device, %s back",
	     size_format(field_whole(run, "h2d_weight_bytes"), there, sizeof there),
	     size_format(field_whole(run, "d2h_weight_bytes"), back, sizeof back));
	line(to, "activations moved", "%s to the device, %s back",
	     size_format(field_whole(run, "h2d_activation_bytes"), there, sizeof there),
	     size_format(field_whole(run, "d2h_activation_bytes"), back, sizeof back));
}

static void time_line(sheet *to, const json_t *run)
{
	if (field_known(run, "forward_ms"))
		line(to, "time", "%.1f ms reading, %.1f ms placing, %.1f ms computing",
		     field_number(run, "load_ms"), field_number(run, "place_ms"),
		     field_number(run, "forward_ms"));
}

void forward_markdown(sheet *to, const json_t *run)
{
	line(to, "mode", "%s", field_string(run, "mode"));
	sheet_pair_rule(to);
	line(to, "status", "%s", field_string(run, "status"));
	line(to, "backend", "%s%s%s", field_string(run, "backend"),
	     field_known(run, "device") ? ", " : "", field_string(run, "device"));
	layer_lines(to, run);
	memory_lines(to, run);
	figure_lines(to, run);
	time_line(to, run);
	if (field_known(run, "error"))
		sheet_print(to, "\n%s\n", field_string(run, "error"));
	options_markdown(to, &forward_options, json_object_get(run, "config"));
}
