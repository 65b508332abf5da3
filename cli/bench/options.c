/* SPDX-License-Identifier: MIT */
/* The table of `ufm bench`: every option with its default and its value under --quick. */
#include "cli/modes/options.h"
#include "cli/bench/config.h"
#include "cli/bench/warmup.h"
#include "cli/bench/workload.h"
#include "cli/modes/record.h"
#include "cli/rows.h"
#include "cli/weights.h"
#include "trace/sticky.h"

/* The reference case in small: experts 1/16 of the reference's 134.3 MB, card 23.51 GiB / 16,
 * target 16 GiB / 16, headroom 1 GiB / 16. The link is far slower than this memory, as PCIe is
 * against a card's. */
#define QUICK_LIMIT "1.469375GiB"
#define QUICK_TARGET "1GiB"
#define QUICK_HEADROOM "64MiB"
#define QUICK_LINK "2"

#define OPTION_VALUES bench_config

static const option_spec specs[] = {
	OPTION_ROW(
		"quick", FLAG, quick,
		.help = "A sweep of about 30 s on two cores: the reference case with smaller experts, "
				"limit and target scaled alike, and an emulated link. Options given by hand win."),
	OPTION_ROW_PRESET(
		"The routed experts and routers of a published model: layers, experts, widths, kind, "
		"dtype, top-k, norm-topk and scoring. Options given by hand win. See ufm info --preset."),
	OPTION_ROW("model", STRING, model, .value_name = "DIR|FILE",
               .help = "The routed experts of a checkpoint, all its layers with their own routers, "
                       "or with the routing "
                       "of a trace or sticky workload; it says what --preset would. Hidden states "
                       "are the workload's."),
	OPTION_ROW_PREFIX,
	OPTION_ROW("geometry", U32, geometry, .value_name = "N", .max = 4096,
               .help = "Of a GGUF file whose layers are stored in several ways (ufm info lists "
                       "them) the N-th of "
                       "them; 0, if all layers are alike."),
	OPTION_ROW(
		"phase", CHOICES, phases, .value_name = "LIST", .fallback = "steps",
		.choices = PHASE_CHOICES,
		.help = "What a step is: batch x seq tokens; one token of each of batch sequences; batch "
				"prompts of seq tokens. Each phase named has rows and engines of its own."),
	OPTION_ROW("modes", CHOICES, modes, .value_name = "LIST",
               .fallback = "baseline,naive_offload,ufm", .choices = MODES_CHOICES,
               .help = "Placement modes: all experts resident; each moved whole to the device and "
                       "back around every call; paged within the target."),
	OPTION_ROW("experts", U32_LIST, experts, .value_name = "LIST", .fallback = "96,144,192",
               .min = 1, .max = 65536,
               .help = "Numbers of experts a layer, separated by commas: the sweep."),
	OPTION_ROW("layers", U32, layers, .value_name = "N", .fallback = "1", .min = 1, .max = 4096,
               .help = "Routed layers, one after the other."),
	OPTION_ROW_D_MODEL(.fallback = "2048", .quick = "512"),
	OPTION_ROW_D_HIDDEN(.fallback = "8192", .quick = "2048"),
	OPTION_ROW_KIND("mlp-bias", "An expert's matrices: up and down with GELU, without or with "
                                "biases, or gate, up and down with SiLU."),
	OPTION_ROW_DTYPE("f32", "Type of the weights; products accumulate in f32. What a backend does "
                            "not read is refused."),
	MODE_OPTION_MATH,
	OPTION_ROW_TOP_K(
		"auto", "Experts a token is routed to; auto: 2, or as a trace or a sticky preset has it."),
	OPTION_ROW("norm-topk", FLAG, norm_topk,
               .help = "Divides the chosen experts' weights by their sum."),
	OPTION_ROW("scoring", CHOICE, scoring, .value_name = "SCORING", .fallback = "softmax",
               .choices = "softmax|sigmoid",
               .help = "How a router makes scores: over all experts, or each on its own."),
	OPTION_ROW("batch", U32, batch, .value_name = "N", .fallback = "4", .min = 1, .max = 65536,
               .help = "Sequences a step."),
	OPTION_ROW("seq", U32, seq, .value_name = "N", .fallback = "128", .min = 1, .max = 1u << 20,
               .help = "Tokens of each sequence a step; in decode always 1."),
	OPTION_ROW("steps", U32, steps, .value_name = "N", .fallback = "3", .min = 1, .max = 100000,
               .help = "Measured steps."),
	OPTION_ROW(
		"warmup", STRING, warmup, .value_name = "auto|N", .fallback = "auto", .suggest = "auto 0 1",
		.check = warmup_check,
		.help = "Steps before them. auto: ufm goes on until its slots are filled, for at most 1000 "
				"steps or a minute (6 s with --quick), and the other modes begin where it did. A "
				"row that was measured while slots were empty says that it is cold."),
	OPTION_ROW("workload", STRING, workload, .value_name = "SPEC", .fallback = "uniform",
               .suggest = "uniform text: zipf: trace: sticky:gpt-oss-20b sticky:olmoe-1b-7b "
                          "sticky:qwen3-30b-a3b sticky:512-top-10",
               .check = workload_check_spec,
               .help = "text:FILE (its words are the tokens), uniform (Gaussian hidden states), "
                       "zipf:S (token ids by Zipf's law), trace:FILE (recorded routing, .npy or "
                       ".jsonl), or a router like a recorded one: sticky:" STICKY_PRESETS
                       ", or sticky:OVERLAP,SKEW,DRIFT."),
	OPTION_ROW("ids", CHOICE, ids, .value_name = "WHERE", .fallback = "device",
               .choices = "device|ahead",
               .help = "Where the routing of trace: and sticky: is made: by each layer's own "
                       "router on the device, for which the host waits as in a model, or handed "
                       "over ahead, so that copies start layers early, which no model can do."),
	OPTION_ROW_SEED("Weights, routers and tokens follow from it."),
	MODE_OPTION_TARGET(.fallback = "16GiB", .quick = QUICK_TARGET),
	MODE_OPTION_HEADROOM(MODE_HEADROOM_HELP, .fallback = "1GiB", .quick = QUICK_HEADROOM),
	MODE_OPTION_LIMIT(.quick = QUICK_LIMIT),
	MODE_OPTION_POLICY,
	MODE_OPTION_RING("4, or for blocks up to 2 MiB room for four copies of several, at most an "
                     "eighth of all slots."),
	MODE_OPTION_BACKEND,
	OPTION_ROW(
		"link-gbps", NUMBER, link_gbps, .value_name = "N|off", .fallback = "off",
		.quick = QUICK_LINK, .zero_word = "off", .max = 100000,
		.help =
			"cpu backend: emulates a link of N decimal GB/s each way. Tables and figures say so."),
	MODE_OPTION_MAX_TOKENS(
		"a longer step is cut into pieces inside a layer. auto: all tokens of a step."),
	OPTION_ROW("probe", CHOICE, probe, .value_name = "on|off", .fallback = "on",
               .choices = "on|off",
               .help = "Probes link, device memory and host memory before and after the measured "
                       "steps of a run, and arithmetic, so that rows say which part of what the "
                       "machine allows was reached."),
	MODE_OPTIONS_CPU,
	OPTION_ROW_OUT(
		"Folder for runs.jsonl, summary.json, table.md, telemetry and figures; made if missing, "
		"earlier results in it are replaced when there is a new one. Without it: a new folder by "
		"the time, results/2026-11-30T17-15-40, to which results/latest is a link."),
	MODE_OPTION_TIMELINE(", a process for each row."),
	MODE_OPTION_RECORD,
	OPTION_ROW("no-out", FLAG, no_out, .help = "Writes no files."),
	OPTION_ROW_NO_FIGURES("Draws no figures."),
	OPTION_ROW_FORMAT("md", ROWS_CHOICES, ""),
	OPTION_ROW_WIDE,
	MODE_OPTION_VERBOSE,
};

const option_table bench_options = {
	.command = "bench",
	.summary = "Measures a routed model in three placement modes.",
	.specs = specs,
	.count = sizeof specs / sizeof specs[0],
};
