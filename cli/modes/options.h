/* SPDX-License-Identifier: MIT */
/* The options that every command which runs layers has, as rows for its table. */
#ifndef CLI_MODES_OPTIONS_H
#define CLI_MODES_OPTIONS_H

#include "cli/modes/mode.h"
#include "cli/option_rows.h"
#include "policy/registry.h"
#include "trace/sticky_run.h"

/* UFM_EINVAL unless it is the name of a policy that needs no future. */
ufm_status mode_check_policy(const char *text);

/* The number that text is, or more than most: of an option that takes words, too. */
uint32_t mode_number(const char *text, uint32_t most);

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

#define MODE_OPTION_POLICY \
	OPTION_ROW("policy", STRING, policy, .value_name = "NAME", .fallback = POLICY_DEFAULT_NAME, \
	           .suggest = POLICY_WORDS, .check = mode_check_policy, \
	           .help = "Eviction policy: " POLICY_NAMES ".")

/* ---- budget */

#define MODE_OPTION_TARGET(...) \
	OPTION_ROW("vram-target", SIZE, vram_target_bytes, .value_name = "SIZE", .zero_word = "auto", \
	           .min = 1, \
	           .help = "Device memory that ufm may use, headroom included; auto: all that is " \
	                   "free. Does not bind the other modes.", \
	           __VA_ARGS__)
#define MODE_OPTION_HEADROOM(what, ...) \
	OPTION_ROW("headroom", SIZE, headroom_bytes, .value_name = "SIZE", .help = (what), __VA_ARGS__)
#define MODE_HEADROOM_HELP "Part of the target that ufm leaves free."
#define MODE_OPTION_LIMIT(...) \
	OPTION_ROW("vram-limit", SIZE, vram_limit_bytes, .value_name = "SIZE", .fallback = "off", \
	           .zero_word = "off", .min = 1, \
	           .help = "Gives the device the memory of a smaller card, in all modes.", \
	           __VA_ARGS__)
#define MODE_OPTION_RING(what) \
	OPTION_ROW("ring", U32, ring, OPTION_AUTO, .max = 65536, \
	           .help = "Slots that serve as the ring; auto: " what)
#define MODE_OPTION_MAX_TOKENS(what) \
	OPTION_ROW("max-tokens", U32, max_tokens, OPTION_AUTO, .max = 1u << 24, \
	           .help = "Tokens the device workspace is made for; " what)

/* ---- machine */

#define MODE_OPTION_BACKEND \
	OPTION_ROW("backend", STRING, backend, .value_name = "NAME", .fallback = "auto", \
	           .suggest = "auto cpu cuda", \
	           .help = \
	               "auto (the first plugin with a device, else cpu), cpu, or a plugin's name.")

#define MODE_OPTION_THREADS \
	OPTION_ROW("threads", U32, threads, OPTION_AUTO, .max = 4096, \
	           .help = \
	               "cpu backend: threads of the products; auto: the cores this process may use.")

#define MODE_OPTION_CPU_ASSIST \
	OPTION_ROW("cpu-assist", STRING, cpu_assist, .value_name = "auto|off|N", .fallback = "auto", \
	           .suggest = "auto off", .check = mode_check_cpu_assist, \
	           .help = \
	               "ufm: experts that miss are also computed where they lie, by N threads " \
	               "beside the device; auto: by all cores but one, for calls of the sizes for " \
	               "which a miss costs less so, which is measured while it runs; off where " \
	               "that brings less than 5 % when the device is opened.")

#define MODE_OPTION_CPU_SHARE \
	OPTION_ROW("cpu-share", STRING, cpu_share, .value_name = "auto|PERCENT", .fallback = "auto", \
	           .suggest = "auto 0 50 100", .check = mode_check_cpu_share, \
	           .help = \
	               "ufm: so much of every layer's misses is computed by --cpu-assist, rounded " \
	               "down, which makes the output independent of timing; auto: what ends the " \
	               "layer earliest.")

#define MODE_OPTIONS_CPU MODE_OPTION_THREADS, MODE_OPTION_CPU_ASSIST, MODE_OPTION_CPU_SHARE

#define MODE_OPTION_MATH \
	OPTION_ROW("math", CHOICE, math, .value_name = "MATH", .fallback = "fp32", \
	           .choices = "fp32|tf32|bf16", \
	           .help = \
	               "How a GPU computes the products of experts; sums are always f32. tf32 and " \
	               "bf16 round weights and inputs to it first.")

/* The choice of --math as the library has it. */
static inline ufm_math mode_math(uint32_t choice)
{
	return (ufm_math)(choice + UFM_MATH_FP32);
}

/* ---- what is told */

#define MODE_OPTION_TIMELINE(more) \
	OPTION_ROW("timeline", STRING, timeline, .value_name = "FILE", \
	           .help = "Writes copies, kernels and waits as a Chrome trace (JSON) for " \
	                   "chrome://tracing or Perfetto" more)

#define MODE_OPTION_VERBOSE \
	OPTION_ROW("verbose", FLAG, verbose, .letter = 'v', \
	           .help = "Prints the library's notes, also when standard error is no terminal.")

#endif
