/* SPDX-License-Identifier: MIT */
/* The table of `ufm replay`. */
#include <stddef.h>

#include "cli/presets.h"
#include "cli/replay/config.h"
#include "cli/rows.h"
#include "cli/sheet.h"

#define AT(member) .offset = offsetof(replay_options, member)

static const option_spec specs[] = {
	{.name = "capacity",
     .type = OPTION_STRING,
     AT(capacity),
     .value_name = "LIST",
     .fallback = "25%,50%,75%",
     .check = replay_check_capacities,
     .help =
         "What a cache holds, separated by commas: slots (16), a share of its experts (25%) or a "
         "size (8GiB; of all layers' caches together). With --scope layer a cache is a layer's, "
         "else the whole pool."},
	{.name = "policy",
     .type = OPTION_STRING,
     AT(policy),
     .value_name = "LIST",
     .fallback = "default,lru",
     .suggest = "default cycle freq lru fifo lfu s3fifo sieve cost min min-bypass",
     .check = replay_check_policies,
     .help = "Policies, separated by commas. Each is put beside its bound: min where it must admit "
             "what misses, min-bypass where an expert may pass by."},
	{.name = "scope",
     .type = OPTION_CHOICES,
     AT(scopes),
     .value_name = "LIST",
     .fallback = "layer",
     .choices = "layer|pool|auto",
     .help = "A cache for each layer, one pool for all as in the engine, or one pool divided among "
             "the layers by what a slot more would gain each."},
	{.name = "batch",
     .type = OPTION_U32_LIST,
     AT(batches),
     .value_name = "LIST",
     .fallback = "1",
     .min = 1,
     .max = 65536,
     .help = "Sequences stepped together: an event is the union of their sets in order of first "
             "appearance; members beyond the capacity pass by. A trace of one sequence is cut into "
             "as many equal runs."},
	{.name = "cold",
     .type = OPTION_FLAG,
     AT(cold),
     .help = "Empties the caches when a sequence begins, instead of keeping state across them."},
	{.name = "sequences",
     .type = OPTION_STRING,
     AT(sequences),
     .value_name = "FILE",
     .help =
         "CSV that says where the sequences of the traces start: columns start and maybe n_tokens. "
         "Without it a .npy is one sequence."},
	{.name = "part",
     .type = OPTION_CHOICE,
     AT(part),
     .value_name = "PART",
     .fallback = "all",
     .choices = "all|even|odd",
     .help =
         "Sequences with even or odd numbers (from 0) alone, so that what was tuned on one half "
         "is judged on the other."},
	{.name = "warmup",
     .type = OPTION_U64,
     AT(warmup),
     .value_name = "N",
     .fallback = "0",
     .max = INT64_MAX,
     .help = "First steps, which are not counted."},
	{.name = "steps",
     .type = OPTION_U64,
     AT(steps),
     .value_name = "N",
     .fallback = "all",
     .zero_word = "all",
     .min = 1,
     .max = INT64_MAX,
     .help = "Steps that are counted at most."},
	{.name = "experts",
     .type = OPTION_U32,
     AT(experts),
     .value_name = "N",
     .fallback = "auto",
     .zero_word = "auto",
     .min = 1,
     .max = TRACE_EXPERTS_MAX,
     .help =
         "Experts a layer; auto: one more than the largest id of the trace, or those of --preset."},
	{.name = "preset",
     .type = OPTION_CHOICE,
     AT(preset),
     .value_name = "NAME",
     .fallback = "none",
     .choices = PRESET_CHOICES,
     .help = "A published model, which says how many experts a layer has and what one takes."},
	{.name = "expert-bytes",
     .type = OPTION_SIZE,
     AT(expert_bytes),
     .value_name = "SIZE",
     .fallback = "auto",
     .zero_word = "auto",
     .min = 1,
     .help = "What a slot takes, for capacities that are sizes; auto: of --preset."},
	{.name = "read-gbps",
     .type = OPTION_NUMBER,
     AT(read_gbps),
     .value_name = "N|off",
     .fallback = "off",
     .zero_word = "off",
     .max = 100000,
     .help =
         "Decimal GB/s at which experts that missed are read, by link and CPU together: rows then "
         "say what the fewest reads of a step take. Needs --expert-bytes or --preset."},
	{.name = "cost",
     .type = OPTION_STRING,
     AT(cost),
     .value_name = "FILE",
     .help =
         "A .npy of what a reload of each expert costs, [layer, expert], relative to each other. "
         "The "
         "policy cost keeps what is dear; rows then say what share of the cost the hits saved."},
	{.name = "ring",
     .type = OPTION_U32,
     AT(ring),
     .value_name = "N",
     .fallback = "off",
     .zero_word = "off",
     .min = 2,
     .max = 65536,
     .help =
         "Slots of the capacity that serve as the engine's ring; misses then come in its order. "
         "With the ring and the pool of a run of ufm bench the counts are that run's."},
	{.name = "together",
     .type = OPTION_U32,
     AT(together),
     .value_name = "N",
     .fallback = "1",
     .min = 1,
     .max = 64,
     .help = "With --ring: blocks that a copy brings (more than 1 for blocks of up to 2 MiB)."},
	{.name = "admission",
     .type = OPTION_STRING,
     AT(admission),
     .value_name = "COPY,CPU,CALL",
     .check = replay_check_admission,
     .help =
         "With --ring: admits as an engine whose CPU path is on. What an expert takes over the "
         "link and by the CPU while both work, and what a layer call takes that misses nothing, "
         "in microseconds: copy_us, cpu_us and call_us of a bench row's admission."},
	{.name = "predict",
     .type = OPTION_CHOICES,
     AT(predict),
     .value_name = "LIST",
     .choices = "popularity|coactivation",
     .help =
         "Instead of hits: how many of a layer's experts could be guessed before its router has "
         "spoken, from how popular they are, or from the layer before."},
	{.name = "guesses",
     .type = OPTION_U32_LIST,
     AT(guesses),
     .value_name = "LIST",
     .fallback = "1,2,4,8,16",
     .min = 1,
     .max = PREDICT_GUESSES_MAX,
     .help = "With --predict: guesses an event."},
	{.name = "seed",
     .type = OPTION_U64,
     AT(seed),
     .value_name = "N",
     .fallback = "1",
     .max = INT64_MAX,
     .help =
         "Of the synthetic router where a TRACE is sticky:PRESET, and of policies that draw lots."},
	{.name = "out",
     .type = OPTION_STRING,
     AT(out),
     .value_name = "DIR",
     .help = "Writes replay.jsonl and the figure of hit rate against capacity there."},
	{.name = "no-figures", .type = OPTION_FLAG, AT(no_figures), .help = "Draws no figure."},
	{.name = "by-layer",
     .type = OPTION_FLAG,
     AT(by_layer),
     .help =
         "Adds the hit rate of every layer to the table for people; the other formats have it."},
	{.name = "format",
     .letter = 'o',
     .type = OPTION_CHOICE,
     AT(format),
     .value_name = "FORMAT",
     .fallback = "md",
     .choices = ROWS_CHOICES,
     .help = "What is printed on standard output. In csv what a layer hit is left out."},
	SHEET_OPTION_WIDE(offsetof(replay_options, wide)),
};

const option_table replay_options_table = {
	.command = "replay",
	.summary = "Says what cache policies would hit on recorded routing, beside their bound.",
	.operand = "TRACE...",
	.operands_max = OPERANDS_MAX,
	.specs = specs,
	.count = sizeof specs / sizeof specs[0],
};
