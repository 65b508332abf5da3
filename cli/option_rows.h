/* SPDX-License-Identifier: MIT */
/* Rows of option tables that several commands have. A table defines OPTION_VALUES, the struct of its values, whose
 * members have the options' names; what differs from command to command is given. */
#ifndef CLI_OPTION_ROWS_H
#define CLI_OPTION_ROWS_H

#include <stddef.h>

#include "cli/options.h"
#include "cli/presets.h"

/* OPTION_ROW("seq", U32, seq, .value_name = "N", …): the other fields by their names. */
#define OPTION_ROW(option, kind, member, ...) \
	{ \
		.name = (option), .type = OPTION_##kind, .offset = offsetof(OPTION_VALUES, member), \
		__VA_ARGS__ \
	}
/* A number that is chosen where nothing is said. */
#define OPTION_AUTO .value_name = "N", .fallback = "auto", .zero_word = "auto", .min = 1

/* ---- output */

#define OPTION_ROW_FORMAT(default_format, formats, more) \
	OPTION_ROW("format", CHOICE, format, .letter = 'o', .value_name = "FORMAT", \
	           .fallback = (default_format), .choices = (formats), \
	           .help = "What is printed on standard output." more)
#define OPTION_ROW_WIDE \
	OPTION_ROW( \
		"wide", FLAG, wide, \
		.help = "Tables for people have all of their columns; else as many as fit the terminal, " \
				"or 80 characters in a file or pipe.")
#define OPTION_ROW_NO_FIGURES(what) OPTION_ROW("no-figures", FLAG, no_figures, .help = (what))
#define OPTION_ROW_OUT(what, ...) \
	OPTION_ROW("out", STRING, out, .value_name = "DIR", .help = (what), __VA_ARGS__)

/* ---- geometry */

#define OPTION_ROW_PRESET(what) \
	OPTION_ROW("preset", CHOICE, preset, .value_name = "NAME", .fallback = "none", \
	           .choices = PRESET_CHOICES, .help = (what))
#define OPTION_ROW_D_MODEL(...) \
	OPTION_ROW("d-model", U32, d_model, .value_name = "N", .min = 1, .max = 1u << 20, \
	           .help = "Width of the hidden state.", __VA_ARGS__)
#define OPTION_ROW_D_HIDDEN(...) \
	OPTION_ROW("d-hidden", U32, d_hidden, .value_name = "N", .min = 1, .max = 1u << 20, \
	           .help = "Width inside an expert.", __VA_ARGS__)
#define OPTION_ROW_KIND(default_kind, what) \
	OPTION_ROW("kind", CHOICE, kind, .value_name = "KIND", .fallback = (default_kind), \
	           .choices = "mlp|mlp-bias|gated", .help = (what))
#define OPTION_ROW_DTYPE(default_type, what) \
	OPTION_ROW("dtype", CHOICE, dtype, .value_name = "TYPE", .fallback = (default_type), \
	           .choices = WEIGHT_CHOICES, .help = (what))
/* In the order of the choices. */
#define OPTION_F16_AS(choice) ((const ufm_dtype[]){0, UFM_F32, UFM_BF16, UFM_F16}[choice])
#define OPTION_ROW_F16_AS(what) \
	OPTION_ROW("f16-as", CHOICE, f16_as, .value_name = "TYPE", .fallback = "auto", \
	           .choices = "auto|f32,fp32|bf16|f16,fp16", \
	           .help = what " auto: f32, but those of GGUF files stay f16.")
#define OPTION_ROW_TOP_K(word, what) \
	OPTION_ROW("top-k", U32, top_k, .value_name = "K", .fallback = (word), .zero_word = (word), \
	           .min = 1, .max = 1024, .help = (what))

/* ---- which part of a checkpoint */

#define OPTION_ROW_PREFIX \
	OPTION_ROW("prefix", STRING, prefix, .value_name = "NAME", \
	           .help = \
	               "Of a checkpoint with several stacks of layers (ufm info lists them) the one " \
	               "whose names begin so, as mtp.layers or talker; not given: the one of most " \
	               "routed layers.")

/* ---- what is run */

#define OPTION_ROW_SEED(what) \
	OPTION_ROW("seed", U64, seed, .value_name = "N", .fallback = "1", .max = INT64_MAX, \
	           .help = (what))

#endif
