/* SPDX-License-Identifier: MIT */
/* The table of `ufm plan`. */
#include <stddef.h>

#include "cli/modes/options.h"
#include "cli/plan/budgets.h"
#include "cli/plan/cards.h"
#include "cli/plan/config.h"
#include "cli/plan/routing.h"
#include "cli/presets.h"
#include "cli/rows.h"
#include "cli/sheet.h"
#include "trace/sticky.h"

#define AT(member) .offset = offsetof(plan_config, member)

#define COUNT(option, member_name, what) \
	{ \
		.name = (option), .type = OPTION_U32, AT(member_name), .value_name = "N", .min = 1, \
		.max = 1u << 20, .help = (what) \
	}

#define RATE(option, member_name, what) \
	{ \
		.name = (option), .type = OPTION_NUMBER, AT(member_name), .value_name = "N", \
		.max = 1000000000, .help = (what) \
	}

static const option_spec specs[] = {
	{.name = "preset",
     .type = OPTION_CHOICE,
     AT(preset),
     .value_name = "NAME",
     .fallback = "none",
     .choices = PRESET_CHOICES,
     .help = "The model: the routed experts of a published one."},
	{.name = "model",
     .type = OPTION_STRING,
     AT(model),
     .value_name = "DIR",
     .help = "The model: a checkpoint, or a config.json or its folder: what is not downloaded yet "
             "can be planned."},
	COUNT("layers", layers,
          "The model by its shape: routed layers. With --experts, --top-k, --d-model, --d-hidden."),
	COUNT("experts", experts, "Experts a layer."),
	COUNT("top-k", top_k, "Experts a token is routed to."),
	COUNT("d-model", d_model, "Width of the hidden state."),
	COUNT("d-hidden", d_hidden, "Width inside an expert."),
	{.name = "kind",
     .type = OPTION_CHOICE,
     AT(kind),
     .value_name = "KIND",
     .fallback = "gated",
     .choices = "mlp|mlp-bias|gated",
     .help = "Of a shape: an expert's matrices."},
	{.name = "dtype",
     .type = OPTION_CHOICE,
     AT(dtype),
     .value_name = "TYPE",
     .fallback = "bf16",
     .choices = "f32,fp32|bf16",
     .help = "Of a shape: type of the weights."},
	{.name = "vram-target",
     .type = OPTION_STRING,
     AT(vram_target),
     .value_name = "LIST",
     .fallback = "auto",
     .suggest = "auto 8GiB,16GiB,24GiB 25%,50%,75%",
     .check = budgets_check,
     .help = "Budgets of device memory, headroom included, separated by commas: sizes, or percent "
             "of the "
             "experts that shall have a slot. auto: sizes that cards have, up to --card or the one "
             "that holds all experts; tenths of the experts where few of those sizes suit."},
	{.name = "headroom",
     .type = OPTION_SIZE,
     AT(headroom_bytes),
     .value_name = "SIZE",
     .fallback = "1GiB",
     .help = "Part of every budget that stays free."},
	{.name = "batch",
     .type = OPTION_U32,
     AT(batch),
     .value_name = "N",
     .fallback = "1",
     .min = 1,
     .max = 4096,
     .help = "Sequences at once."},
	{.name = "prompt",
     .type = OPTION_U32,
     AT(prompt),
     .value_name = "N",
     .fallback = "512",
     .min = 1,
     .max = 1u << 16,
     .help = "Tokens of each sequence's prompt, which are prefilled in one call."},
	{.name = "workload",
     .type = OPTION_STRING,
     AT(workload),
     .value_name = "SPEC",
     .fallback = "sticky",
     .suggest = "sticky uniform trace: sticky:gpt-oss-20b sticky:olmoe-1b-7b "
                "sticky:qwen3-30b-a3b sticky:512-top-10",
     .check = plan_routing_check,
     .help = "Routing: sticky (made as a recorded or published router of the model's name or "
             "nearest in size "
             "does), sticky:" STICKY_PRESETS
             ", sticky:OVERLAP,SKEW,DRIFT, trace:FILE (recorded, .npy or "
             ".jsonl), or uniform (every expert as likely as any other)."},
	{.name = "seed",
     .type = OPTION_U64,
     AT(seed),
     .value_name = "N",
     .fallback = "1",
     .max = INT64_MAX,
     .help = "Made routing follows from it."},
	MODE_OPTION_POLICY(offsetof(plan_config, policy)),
	{.name = "ring",
     .type = OPTION_U32,
     AT(ring),
     .value_name = "N",
     .fallback = "auto",
     .zero_word = "auto",
     .min = 1,
     .max = 65536,
     .help = "Slots that serve as the ring; auto: as the engine chooses."},
	{.name = "max-tokens",
     .type = OPTION_U32,
     AT(max_tokens),
     .value_name = "N",
     .fallback = "auto",
     .zero_word = "auto",
     .min = 1,
     .max = 1u << 24,
     .help = "Tokens the device workspace is made for; auto: batch x prompt."},
	{.name = "routing",
     .type = OPTION_CHOICE,
     AT(routing),
     .value_name = "WHERE",
     .fallback = "device",
     .choices = "device|caller",
     .help = "Who knows the ids of a layer: the device's own router, for which the host waits in "
             "every layer, or the "
             "caller ahead of the call, as in ufm bench --ids ahead, which no model can do."},
	{.name = "card",
     .type = OPTION_CHOICE,
     AT(card),
     .value_name = "NAME",
     .fallback = "none",
     .choices = CARD_CHOICES,
     .help =
         "The machine by its card: memory and rates of the data sheet, less what is not reached. "
         "Nothing is probed; the rates below count instead where they are given."},
	{.name = "machine",
     .type = OPTION_STRING,
     AT(machine),
     .value_name = "FILE",
     .help = "Rates from rows that ufm bench left on the machine in question: a runs.jsonl or "
             "summary.json."},
	RATE("link-gbps", link_gbps,
         "Rates in decimal GB/s instead of probing: host to device. With --hbm-gbps nothing is "
         "probed. On the cpu "
         "backend: an emulated link."),
	RATE("hbm-gbps", hbm_gbps, "Device memory, read."),
	RATE("dram-gbps", dram_gbps,
         "Host memory, read by the CPU; without it the CPU path is not planned."),
	RATE("gflops", gflops, "10^9 operations a second of the device in products of many rows."),
	RATE("disk-gbps", disk_gbps, "The disk that the bank is loaded from."),
	{.name = "ram",
     .type = OPTION_SIZE,
     AT(ram_bytes),
     .value_name = "SIZE",
     .fallback = "auto",
     .zero_word = "auto",
     .min = 1,
     .help =
         "Host memory that a bank may take, page-locked: with less than it needs there is no "
         "plan. auto: 80 % of what is free here where the machine is probed, and then less is a "
         "warning."},
	{.name = "cores",
     .type = OPTION_U32,
     AT(cores),
     .value_name = "N",
     .fallback = "auto",
     .zero_word = "auto",
     .min = 1,
     .max = 4096,
     .help = "Cores of the machine; the CPU path takes all but one."},
	{.name = "prefetch-recall",
     .type = OPTION_NUMBER,
     AT(prefetch_recall),
     .value_name = "R",
     .max = 1,
     .help = "What a prefetcher could save: the share of a layer's misses that it guesses before "
             "the layer is "
             "routed (ufm replay --predict), with --prefetch-guesses."},
	{.name = "prefetch-guesses",
     .type = OPTION_NUMBER,
     AT(prefetch_guesses),
     .value_name = "G",
     .max = 65536,
     .help = "Experts that it loads a layer for that."},
	MODE_OPTION_BACKEND(offsetof(plan_config, backend)),
	{.name = "against",
     .type = OPTION_FLAG,
     AT(against),
     .help = "Predicts the rows of ufm bench in each FILE from their own geometry, budget, "
             "workload and probed "
             "rates, and prints both. --workload trace:FILE stands for a trace that lies elsewhere "
             "now."},
	{.name = "out",
     .type = OPTION_STRING,
     AT(out),
     .value_name = "DIR",
     .help = "Folder for plan.jsonl, plan.md and the figure plan.png; made if missing."},
	{.name = "no-figures", .type = OPTION_FLAG, AT(no_figures), .help = "Draws no figure."},
	{.name = "format",
     .letter = 'o',
     .type = OPTION_CHOICE,
     AT(format),
     .value_name = "FORMAT",
     .fallback = "md",
     .choices = ROWS_CHOICES,
     .help = "What is printed on standard output."},
	SHEET_OPTION_WIDE(offsetof(plan_config, wide)),
	MODE_OPTION_VERBOSE(offsetof(plan_config, verbose)),
};

const option_table plan_options = {
	.command = "plan",
	.summary = "Says what a model gives within a budget of device memory, before it is run.",
	.operand = "[FILE...]",
	.operands_max = OPERANDS_MAX,
	.specs = specs,
	.count = sizeof specs / sizeof specs[0],
};
