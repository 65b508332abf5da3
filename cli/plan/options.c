/* SPDX-License-Identifier: MIT */
/* The table of `ufm plan`. */
#include <string.h>

#include "base/status.h"
#include "cli/modes/options.h"
#include "cli/nearest.h"
#include "cli/plan/budgets.h"
#include "cli/plan/cards.h"
#include "cli/plan/config.h"
#include "cli/rows.h"
#include "cli/weights.h"
#include "plan/routing.h"
#include "trace/sticky_run.h"

#define OPTION_VALUES plan_config

#define COUNT(option, member, what) \
	OPTION_ROW(option, U32, member, .value_name = "N", .min = 1, .max = 1u << 20, .help = (what))

#define RATE(option, member, what) \
	OPTION_ROW(option, NUMBER, member, .value_name = "N", .max = 1000000000, .help = (what))

static ufm_status check_workload(const char *text)
{
	sticky_config router;
	if (plan_routing_check(text) == UFM_OK)
		return UFM_OK;
	if (strncmp(text, "sticky:", 7) == 0 && text[7])
		return mode_parse_sticky(text + 7, &router);
	return status_fail(UFM_EINVAL, "%s%s", ufm_last_error(),
	                   nearest_kind(text, "uniform trace: sticky sticky:").text);
}

static const option_spec specs[] = {
	OPTION_ROW_PRESET("The model: the routed experts of a published one."),
	OPTION_ROW("model", STRING, model, .value_name = "DIR",
               .help = "The model: a checkpoint, or a config.json or its folder: what is not "
                       "downloaded yet can be planned."),
	OPTION_ROW_PREFIX,
	COUNT("layers", layers,
          "The model by its shape: routed layers. With --experts, --top-k, --d-model, --d-hidden."),
	COUNT("experts", experts, "Experts a layer."),
	COUNT("top-k", top_k, "Experts a token is routed to."),
	OPTION_ROW_D_MODEL(),
	OPTION_ROW_D_HIDDEN(),
	OPTION_ROW_KIND("gated", "Of a shape: an expert's matrices."),
	OPTION_ROW_DTYPE("bf16", "Type of the weights. Of a preset or model: as if it were published "
                             "so; not given, as it is."),
	OPTION_ROW(
		"vram-target", STRING, vram_target, .value_name = "LIST", .fallback = "auto",
		.suggest = "auto 8GiB,16GiB,24GiB 25%,50%,75%", .check = budgets_check,
		.help =
			"Budgets of device memory, headroom included, separated by commas: sizes, or percent "
			"of the experts that shall have a slot. auto: sizes that cards have, up to --card or "
			"the one that holds all experts; tenths of the experts where few of those sizes suit."),
	MODE_OPTION_HEADROOM("Part of every budget that stays free.", .fallback = "1GiB"),
	OPTION_ROW("batch", U32, batch, .value_name = "N", .fallback = "1", .min = 1, .max = 4096,
               .help = "Sequences at once."),
	OPTION_ROW("prompt", U32, prompt, .value_name = "N", .fallback = "512", .min = 1,
               .max = 1u << 16,
               .help = "Tokens of each sequence's prompt, which are prefilled in one call."),
	OPTION_ROW("workload", STRING, workload, .value_name = "SPEC", .fallback = "sticky",
               .suggest = "sticky uniform trace: sticky:gpt-oss-20b sticky:olmoe-1b-7b "
                          "sticky:qwen3-30b-a3b sticky:512-top-10",
               .check = check_workload,
               .help = "Routing: sticky (made as a recorded or published router of the model's "
                       "name or nearest in size does), sticky:" STICKY_PRESETS
                       ", sticky:OVERLAP,SKEW,DRIFT, trace:FILE (recorded, .npy or .jsonl), or "
                       "uniform (every expert as likely as any other)."),
	OPTION_ROW_SEED("Made routing follows from it."),
	MODE_OPTION_POLICY,
	MODE_OPTION_RING("as the engine chooses."),
	MODE_OPTION_MAX_TOKENS("auto: batch x prompt."),
	OPTION_ROW("routing", CHOICE, routing, .value_name = "WHERE", .fallback = "device",
               .choices = "device|caller",
               .help = "Who knows the ids of a layer: the device's own router, for which the host "
                       "waits in every layer, or the caller ahead of the call, as in ufm bench "
                       "--ids ahead, which no model can do."),
	OPTION_ROW(
		"card", CHOICE, card, .value_name = "NAME", .fallback = "none", .choices = CARD_CHOICES,
		.help = "The machine by its card: memory and rates of the data sheet, less what is not "
				"reached. Nothing is probed; the rates below count instead where they are given."),
	OPTION_ROW("machine", STRING, machine, .value_name = "FILE",
               .help = "Rates from rows that ufm bench left on the machine in question: a "
                       "runs.jsonl or summary.json."),
	RATE("link-gbps", link_gbps,
         "Rates in decimal GB/s instead of probing: host to device. With --hbm-gbps nothing is "
         "probed. On the cpu "
         "backend: an emulated link."),
	RATE("hbm-gbps", hbm_gbps, "Device memory, read."),
	RATE("dram-gbps", dram_gbps,
         "Host memory, read by the CPU; without it the CPU path is not planned."),
	RATE("gflops", gflops, "10^9 operations a second of the device in products of many rows."),
	RATE("disk-gbps", disk_gbps, "The disk that the bank is loaded from."),
	OPTION_ROW("ram", SIZE, ram_bytes, .value_name = "SIZE", .fallback = "auto",
               .zero_word = "auto", .min = 1,
               .help = "Host memory that a bank may take, page-locked: with less than it needs "
                       "there is no plan. auto: 80 % of what is free here where the machine is "
                       "probed, and then less is a warning."),
	OPTION_ROW("cores", U32, cores, OPTION_AUTO, .max = 4096,
               .help = "Cores of the machine; the CPU path takes all but one."),
	OPTION_ROW("prefetch-recall", NUMBER, prefetch_recall, .value_name = "R", .max = 1,
               .help =
                   "What a prefetcher could save: the share of a layer's misses that it guesses "
                   "before the layer is routed (ufm replay --predict), with --prefetch-guesses."),
	OPTION_ROW("prefetch-guesses", NUMBER, prefetch_guesses, .value_name = "G", .max = 65536,
               .help = "Experts that it loads a layer for that."),
	MODE_OPTION_BACKEND,
	OPTION_ROW("against", FLAG, against,
               .help = "Predicts the rows of ufm bench in each FILE from their own geometry, "
                       "budget, workload and probed rates, and prints both. --workload trace:FILE "
                       "stands for a trace that lies elsewhere now."),
	OPTION_ROW_OUT("Folder for plan.jsonl, plan.md and the figure plan.png; made if missing."),
	OPTION_ROW_NO_FIGURES("Draws no figure."),
	OPTION_ROW_FORMAT("md", ROWS_CHOICES, ""),
	OPTION_ROW_WIDE,
	MODE_OPTION_VERBOSE,
};

const option_table plan_options = {
	.command = "plan",
	.summary = "Says what a model gives within a budget of device memory, before it is run.",
	.operand = "[FILE...]",
	.operands_max = OPERANDS_MAX,
	.specs = specs,
	.count = sizeof specs / sizeof specs[0],
};
