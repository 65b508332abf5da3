/* SPDX-License-Identifier: MIT */
/* The table of `ufm replay`. */
#include "cli/option_rows.h"
#include "cli/replay/config.h"
#include "cli/rows.h"
#include "policy/registry.h"

#define OPTION_VALUES replay_options

static const option_spec specs[] = {
	OPTION_ROW("capacity", STRING, capacity, .value_name = "LIST", .fallback = "25%,50%,75%",
               .check = replay_check_capacities,
               .help = "What a cache holds, separated by commas: slots (16), a share of its "
                       "experts (25%) or a size (8GiB; of all layers' caches together). With "
                       "--scope layer a cache is a layer's, else the whole pool."),
	OPTION_ROW("policy", STRING, policy, .value_name = "LIST", .fallback = "default,lru",
               .suggest = "default " POLICY_WORDS " " POLICY_BOUND_WORDS,
               .check = replay_check_policies,
               .help = "Policies, separated by commas. Each is put beside its bound: min where it "
                       "must admit what misses, min-bypass where an expert may pass by."),
	OPTION_ROW("scope", CHOICES, scopes, .value_name = "LIST", .fallback = "layer",
               .choices = "layer|pool|auto",
               .help = "A cache for each layer, one pool for all as in the engine, or one pool "
                       "divided among the layers by what a slot more would gain each."),
	OPTION_ROW("batch", U32_LIST, batches, .value_name = "LIST", .fallback = "1", .min = 1,
               .max = 65536,
               .help = "Sequences stepped together: an event is the union of their sets in order "
                       "of first appearance; members beyond the capacity pass by. A trace of one "
                       "sequence is cut into as many equal runs."),
	OPTION_ROW(
		"cold", FLAG, cold,
		.help = "Empties the caches when a sequence begins, instead of keeping state across them."),
	OPTION_ROW("sequences", STRING, sequences, .value_name = "FILE",
               .help = "CSV that says where the sequences of the traces start: columns start and "
                       "maybe n_tokens. Without it a .npy is one sequence."),
	OPTION_ROW("part", CHOICE, part, .value_name = "PART", .fallback = "all",
               .choices = "all|even|odd",
               .help = "Sequences with even or odd numbers (from 0) alone, so that what was tuned "
                       "on one half is judged on the other."),
	OPTION_ROW("warmup", U64, warmup, .value_name = "N", .fallback = "0", .max = INT64_MAX,
               .help = "First steps, which are not counted."),
	OPTION_ROW("steps", U64, steps, .value_name = "N", .fallback = "all", .zero_word = "all",
               .min = 1, .max = INT64_MAX, .help = "Steps that are counted at most."),
	OPTION_ROW("experts", U32, experts, OPTION_AUTO, .max = TRACE_EXPERTS_MAX,
               .help = "Experts a layer; auto: one more than the largest id of the trace, or those "
                       "of --preset."),
	OPTION_ROW_PRESET(
		"A published model, which says how many experts a layer has and what one takes."),
	OPTION_ROW("expert-bytes", SIZE, expert_bytes, .value_name = "SIZE", .fallback = "auto",
               .zero_word = "auto", .min = 1,
               .help = "What a slot takes, for capacities that are sizes; auto: of --preset."),
	OPTION_ROW(
		"read-gbps", NUMBER, read_gbps, .value_name = "N|off", .fallback = "off",
		.zero_word = "off", .max = 100000,
		.help =
			"Decimal GB/s at which experts that missed are read, by link and CPU together: rows "
			"then say what the fewest reads of a step take. Needs --expert-bytes or --preset."),
	OPTION_ROW("cost", STRING, cost, .value_name = "FILE",
               .help = "A .npy of what a reload of each expert costs, [layer, expert], relative to "
                       "each other. The policy cost keeps what is dear; rows then say what share "
                       "of the cost the hits saved."),
	OPTION_ROW(
		"ring", U32, ring, .value_name = "N", .fallback = "off", .zero_word = "off", .min = 2,
		.max = 65536,
		.help =
			"Slots of the capacity that serve as the engine's ring; misses then come in its order. "
			"With the ring and the pool of a run of ufm bench the counts are that run's."),
	OPTION_ROW(
		"together", U32, together, .value_name = "N", .fallback = "1", .min = 1, .max = 64,
		.help = "With --ring: blocks that a copy brings (more than 1 for blocks of up to 2 MiB)."),
	OPTION_ROW(
		"admission", STRING, admission, .value_name = "COPY,CPU,CALL",
		.check = replay_check_admission,
		.help =
			"With --ring: admits as an engine whose CPU path is on. What an expert takes over the "
			"link and by the CPU while both work, and what a layer call takes that misses nothing, "
			"in microseconds: copy_us, cpu_us and call_us of a bench row's admission."),
	OPTION_ROW("predict", CHOICES, predict, .value_name = "LIST",
               .choices = "popularity|coactivation",
               .help = "Instead of hits: how many of a layer's experts could be guessed before its "
                       "router has spoken, from how popular they are, or from the layer before."),
	OPTION_ROW("guesses", U32_LIST, guesses, .value_name = "LIST", .fallback = "1,2,4,8,16",
               .min = 1, .max = PREDICT_GUESSES_MAX, .help = "With --predict: guesses an event."),
	OPTION_ROW_SEED("Of the synthetic router where a TRACE is sticky:PRESET, and of policies "
                    "that draw lots."),
	OPTION_ROW_OUT("Writes replay.jsonl and the figure of hit rate against capacity there."),
	OPTION_ROW_NO_FIGURES("Draws no figure."),
	OPTION_ROW(
		"by-layer", FLAG, by_layer,
		.help =
			"Adds the hit rate of every layer to the table for people; the other formats have it."),
	OPTION_ROW_FORMAT("md", ROWS_CHOICES, " In csv what a layer hit is left out."),
	OPTION_ROW_WIDE,
};

const option_table replay_options_table = {
	.command = "replay",
	.summary = "Says what cache policies would hit on recorded routing, beside their bound.",
	.operand = "TRACE...",
	.operands_max = OPERANDS_MAX,
	.specs = specs,
	.count = sizeof specs / sizeof specs[0],
};
