/* SPDX-License-Identifier: MIT */
/* The options that every command which runs layers has, as rows for its table. */
#ifndef CLI_MODES_OPTIONS_H
#define CLI_MODES_OPTIONS_H

#include "cli/modes/mode.h"
#include "cli/options.h"
#include "policy/registry.h"
#include "trace/sticky_run.h"

/* UFM_EINVAL unless it is the name of a policy that needs no future. */
ufm_status mode_check_policy(const char *text);

/* UFM_EINVAL unless it is auto, off, or a number of threads; auto, or a percentage. */
ufm_status mode_check_cpu_assist(const char *text);
ufm_status mode_check_cpu_share(const char *text);
/* UFM_EINVAL when a share above 0 is asked of a path that is off. */
ufm_status mode_check_cpu(const char *assist, const char *share);

/* What no option alone can know: the target fits the limit, the headroom fits the target. A target or
 * limit of 0 is none. */
ufm_status mode_check_sizes(uint64_t target_bytes, uint64_t headroom_bytes, uint64_t limit_bytes);

/* What follows "sticky:", as sticky_parse, and which name was probably meant. */
ufm_status mode_parse_sticky(const char *text, sticky_config *out);

/* The backend of that name; what goes wrong names --backend. */
ufm_status mode_find_backend(const char *name, const ufm_backend **out);

#define MODE_OPTION_POLICY(at) \
	{ \
		.name = "policy", .type = OPTION_STRING, .offset = (at), .value_name = "NAME", \
		.fallback = POLICY_DEFAULT_NAME, .suggest = POLICY_WORDS, .check = mode_check_policy, \
		.help = "Eviction policy, who leaves when ufm needs a slot: " POLICY_NAMES "." \
	}

#define MODE_OPTION_BACKEND(at) \
	{ \
		.name = "backend", .type = OPTION_STRING, .offset = (at), .value_name = "NAME", \
		.fallback = "auto", .suggest = "auto cpu cuda", \
		.help = "auto (the first plugin with a device, else cpu), cpu, or a plugin's name." \
	}

#define MODE_OPTION_THREADS(at) \
	{ \
		.name = "threads", .type = OPTION_U32, .offset = (at), .value_name = "N", \
		.fallback = "auto", .zero_word = "auto", .min = 1, .max = 4096, \
		.help = "cpu backend: threads of the products; auto: the cores this process may use." \
	}

#define MODE_OPTION_CPU_ASSIST(at) \
	{ \
		.name = "cpu-assist", .type = OPTION_STRING, .offset = (at), .value_name = "auto|off|N", \
		.fallback = "auto", .suggest = "auto off", .check = mode_check_cpu_assist, \
		.help = \
			"ufm: experts that miss are also computed where they lie, by N threads beside the " \
			"device; auto: by all cores but one, for calls of the sizes for which a miss costs " \
			"less " \
			"so, which is measured while it runs; off where that brings less than 5 % when the " \
			"device is opened." \
	}

#define MODE_OPTION_CPU_SHARE(at) \
	{ \
		.name = "cpu-share", .type = OPTION_STRING, .offset = (at), .value_name = "auto|PERCENT", \
		.fallback = "auto", .suggest = "auto 0 50 100", .check = mode_check_cpu_share, \
		.help = \
			"ufm: so much of every layer's misses is computed by --cpu-assist, rounded down, " \
			"which makes the output independent of timing; auto: what ends the layer earliest." \
	}

#define MODE_OPTION_MATH(at) \
	{ \
		.name = "math", .type = OPTION_CHOICE, .offset = (at), .value_name = "MATH", \
		.fallback = "fp32", .choices = "fp32|tf32|bf16", \
		.help = "How a GPU computes the products of experts; sums are always f32. tf32 and bf16 " \
				"round weights and inputs to it first." \
	}

/* The choice of --math as the library has it. */
static inline ufm_math mode_math(uint32_t choice)
{
	return (ufm_math)(choice + UFM_MATH_FP32);
}

#define MODE_OPTION_VERBOSE(at) \
	{ \
		.name = "verbose", .letter = 'v', .type = OPTION_FLAG, .offset = (at), \
		.help = "Prints the library's notes, also when standard error is no terminal." \
	}

#endif
