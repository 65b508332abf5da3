/* SPDX-License-Identifier: MIT */
/* The table of `ufm forward`. */
#include "cli/modes/options.h"
#include "cli/forward/config.h"
#include "cli/modes/record.h"

#define OPTION_VALUES forward_config

static const option_spec specs[] = {
	OPTION_ROW(
		"weights", STRING, weights, .value_name = "FILE|DIR", .required = true,
		.help =
			"A checkpoint: a .safetensors file, an index of shards, a GGUF file, or the folder of "
			"one of them."),
	OPTION_ROW_PREFIX,
	OPTION_ROW("layer", U32, layer, .value_name = "N", .required = true, .max = UINT32_MAX - 1,
               .help = "The layer, numbered as the checkpoint's tensors are."),
	OPTION_ROW("input", STRING, input, .value_name = "X.npy", .required = true,
               .help =
                   "Tokens, f4 [T, D]: what the model gives to its routed block, after the norm."),
	OPTION_ROW("output", STRING, output, .value_name = "Y.npy", .required = true,
               .help = "The result, f4 [T, D]: for each token the sum of gate x expert(x), without "
                       "residual. Written whole or not at all."),
	OPTION_ROW("ids", STRING, ids, .value_name = "I.npy",
               .help = "Routing by you instead of the router: i4 or i8 [T, k]. An id outside the "
                       "experts contributes 0. Needs --gates."),
	OPTION_ROW("gates", STRING, gates, .value_name = "G.npy",
               .help = "The weights of --ids: f4 [T, k]."),
	MODE_OPTION_MATH,
	OPTION_ROW_TOP_K(
		"config", "Experts a token is routed to; config: what the checkpoint's config.json says."),
	OPTION_ROW(
		"norm-topk", FLAG, norm_topk,
		.help =
			"Divides the chosen experts' weights by their sum. Not given: what config.json says."),
	OPTION_ROW("no-norm-topk", FLAG, no_norm_topk, .help = "Leaves them as they are."),
	OPTION_ROW("scoring", CHOICE, scoring, .value_name = "RULE", .fallback = "config",
               .choices = "config|softmax|sigmoid", .help = "How router logits become weights."),
	OPTION_ROW("activation", CHOICE, activation, .value_name = "NAME", .fallback = "config",
               .choices = "config|gelu|silu",
               .help = "Inside an expert; gelu is the exact (erf) form."),
	OPTION_ROW_F16_AS(
		"What weights stored as F16 become; bf16 halves their memory and rounds them."),
	OPTION_ROW("mode", CHOICE, mode, .value_name = "MODE", .fallback = "ufm",
               .choices = MODES_CHOICES,
               .help = "Placement: all experts of the layer resident; each moved whole to the "
                       "device and back around its use; paged within the target."),
	MODE_OPTION_TARGET(.fallback = "auto"),
	MODE_OPTION_HEADROOM(MODE_HEADROOM_HELP, .fallback = "0"),
	MODE_OPTION_LIMIT(),
	MODE_OPTION_POLICY,
	MODE_OPTION_BACKEND,
	MODE_OPTION_MAX_TOKENS("a longer input is cut into pieces "
                           "inside the layer. auto: those of the input, at most 1024."),
	MODE_OPTIONS_CPU,
	MODE_OPTION_TIMELINE("."),
	MODE_OPTION_RECORD,
	OPTION_ROW_FORMAT("md", "md|json", ""),
	OPTION_ROW_WIDE,
	MODE_OPTION_VERBOSE,
};

const option_table forward_options = {
	.command = "forward",
	.summary = "Computes one routed layer of a checkpoint on given tokens.",
	.specs = specs,
	.count = sizeof specs / sizeof specs[0],
};
