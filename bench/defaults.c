/* SPDX-License-Identifier: MIT */
/*
 * What the default of the CPU path is worth beside both of its options, as a model would meet it: every id
 * comes from a layer's own router on the device, and the host waits for a step's last layer.
 *
 *   defaults --trace FILE.npy [--residency 15,30,4GiB,resident] [--phases decode:1,prefill:512]
 *            [--assist auto,off,on] [--rounds N] [--steps N] [--warmup N] [--prefill-steps N]
 *            [--prefill-warmup N] [--seconds S] [--layers N] [--experts N] [--top-k N] [--d-model N]
 *            [--d-hidden N] [--dtype f32|bf16] [--math fp32|tf32|bf16] [--backend NAME] [--link-gbps X]
 *            [--compute-threads N] [--cpu-threads N] [--label TEXT]
 *
 * The trace has ids in u8 or u16, [token, layer, rank]. Its token t is the t-th unit vector, and column t of a
 * router's weights makes the recorded choice; so no more than d_model tokens are used, and those after
 * them are the same again. decode:B advances B sequences, pieces of equal length of the trace.
 * Residency: percent of all experts that get a slot, bytes of device memory, or all experts.
 *
 * Each case opens an engine for every way of --assist. They warm up, then take turns in --rounds windows. One
 * JSON line a window. --seconds ends a window early, and a warm-up after three times as long.
 *
 * Only the public interface is used, by the shared library, so that LD_LIBRARY_PATH and UFM_BACKEND_PATH let
 * the same program measure another build.
 */
#include "defaults/defaults.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WAYS_MAX 3u

void stop(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	fputs("defaults: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	exit(1);
}

void must(ufm_status status, const char *what)
{
	if (status != UFM_OK)
		stop("%s: %s", what, ufm_last_error());
}

void *zeroed(size_t count, size_t size)
{
	void *at = calloc(count ? count : 1, size);
	if (!at)
		stop("no memory for %zu times %zu bytes", count, size);
	return at;
}

double now_s(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ------------------------------------------------------------------ options */

static uint32_t choice_of(const char *option, const char *value, const char *const *words,
                          uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (strcmp(value, words[i]) == 0)
			return i + 1;
	stop("%s: '%s', expected one of %s … %s", option, value, words[0], words[count - 1]);
}

static uint32_t whole_of(const char *option, const char *value, uint32_t least, uint32_t most)
{
	char *end;
	unsigned long n = strtoul(value, &end, 10);
	if (end == value || *end || *value == '-' || n < least || n > most)
		stop("%s: '%s', expected a number of %u … %u", option, value, least, most);
	return (uint32_t)n;
}

static int set_number(options *o, const char *option, const char *value)
{
	const struct {
		const char *name;
		uint32_t *to, least, most;
	} numbers[] = {
		{"--layers", &o->layers, 1, 4096},
		{"--experts", &o->experts, 1, 65535},
		{"--top-k", &o->top_k, 1, 4096},
		{"--d-model", &o->d_model, 1, 1u << 20},
		{"--d-hidden", &o->d_hidden, 1, 1u << 20},
		{"--compute-threads", &o->compute_threads, 1, 4096},
		{"--cpu-threads", &o->cpu_threads, 1, 1024},
		{"--rounds", &o->rounds, 1, 1000},
		{"--steps", &o->decode_steps, 1, STEPS_MAX},
		{"--warmup", &o->decode_warmup, 0, STEPS_MAX},
		{"--prefill-steps", &o->prefill_steps, 1, STEPS_MAX},
		{"--prefill-warmup", &o->prefill_warmup, 0, STEPS_MAX},
	};
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
		if (strcmp(option, numbers[i].name) == 0) {
			*numbers[i].to = whole_of(option, value, numbers[i].least, numbers[i].most);
			return 1;
		}
	return 0;
}

static int set_text(options *o, const char *option, const char *value)
{
	const struct {
		const char *name, **to;
	} texts[] = {
		{"--trace", &o->trace},   {"--residency", &o->residency}, {"--phases", &o->phases},
		{"--assist", &o->assist}, {"--backend", &o->backend},     {"--label", &o->label},
	};
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		if (strcmp(option, texts[i].name) == 0) {
			*texts[i].to = value;
			return 1;
		}
	return 0;
}

static void set_option(options *o, const char *option, const char *value)
{
	static const char *const dtypes[] = {"f32", "bf16"}, *const maths[] = {"fp32", "tf32", "bf16"};
	char *end = NULL;
	if (set_number(o, option, value) || set_text(o, option, value))
		return;
	if (strcmp(option, "--dtype") == 0)
		o->dtype = (ufm_dtype)choice_of(option, value, dtypes, 2);
	else if (strcmp(option, "--math") == 0)
		o->math = (ufm_math)choice_of(option, value, maths, 3);
	else if (strcmp(option, "--seconds") == 0)
		o->seconds = strtod(value, &end);
	else if (strcmp(option, "--link-gbps") == 0)
		o->link_gbps = strtod(value, &end);
	else
		stop("%s: unknown option", option);
	if (end && (end == value || *end))
		stop("%s: '%s', expected a number", option, value);
}

static options read_options(int argc, char **argv)
{
	options o = {.residency = "15,30,52,80",
	             .phases = "decode:1",
	             .assist = "auto,off,on",
	             .backend = "auto",
	             .label = "",
	             .layers = 24,
	             .experts = 128,
	             .top_k = 8,
	             .d_model = 2048,
	             .d_hidden = 768,
	             .dtype = UFM_BF16,
	             .math = UFM_MATH_FP32,
	             .rounds = 2,
	             .decode_steps = 100,
	             .decode_warmup = 200,
	             .prefill_steps = 2,
	             .prefill_warmup = 2,
	             .seconds = 5};
	for (int i = 1; i < argc; i += 2) {
		if (i + 1 == argc)
			stop("%s: needs a value", argv[i]);
		set_option(&o, argv[i], argv[i + 1]);
	}
	if (!o.trace)
		stop("--trace: none, expected a file of ids (.npy)");
	if (!(o.seconds > 0))
		stop("--seconds: %g, expected more than 0", o.seconds);
	return o;
}

/* ------------------------------------------------------------------ the matrix */

/* The next item of a list, cut off in place; NULL at its end. */
static char *next_item(char **list)
{
	char *item;
	do
		item = strsep(list, ",");
	while (item && !*item);
	return item;
}

static char *copy_of(const char *text)
{
	size_t bytes = strlen(text) + 1;
	return memcpy(zeroed(bytes, 1), text, bytes);
}

static void set_phase(bench *b, const char *item)
{
	int decode = strncmp(item, "decode:", 7) == 0;
	if (!decode && strncmp(item, "prefill:", 8) != 0)
		stop("--phases: '%s', expected decode:SEQUENCES or prefill:TOKENS", item);
	b->phase.name = decode ? "decode" : "prefill";
	b->phase.tokens =
		whole_of("--phases", strchr(item, ':') + 1, 1, decode ? b->r.tokens : 1u << 20);
	b->phase.steps = decode ? b->o.decode_steps : b->o.prefill_steps;
	b->phase.warmup = decode ? b->o.decode_warmup : b->o.prefill_warmup;
	/* A step of prefill begins at any of the trace's tokens, unless each begins at the first. */
	b->rows = b->phase.tokens + (decode || b->phase.tokens % b->r.tokens == 0 ? 0 : b->r.tokens);
}

static uint32_t list_ways(bench *b, way ways[WAYS_MAX], char *words)
{
	uint32_t count = 0;
	for (char *item; (item = next_item(&words));) {
		if (count == WAYS_MAX)
			stop("--assist: '%s', expected at most %u ways", b->o.assist, WAYS_MAX);
		ways[count++] = (way){.assist = item};
	}
	return count;
}

static void run_case(bench *b)
{
	way ways[WAYS_MAX];
	char *words = copy_of(b->o.assist);
	uint32_t count = list_ways(b, ways, words);
	b->x = zeroed((size_t)b->rows * b->o.d_model, sizeof *b->x);
	b->ids_out = zeroed((size_t)b->phase.tokens * b->o.top_k, sizeof *b->ids_out);
	way_rows(b, 0);
	for (uint32_t i = 0; i < count; i++) {
		way_open(b, &ways[i]);
		way_warm_up(b, &ways[i]);
	}
	for (uint32_t round = 0; round < b->o.rounds; round++)
		for (uint32_t i = 0; i < count; i++)
			window_measure(b, &ways[i], round);
	for (uint32_t i = 0; i < count; i++)
		way_close(b, &ways[i]);
	free(b->ids_out);
	free(b->x);
	free(words);
}

static void open_host(bench *b)
{
	ufm_bank *bank;
	ufm_expert_desc desc = {.struct_size = sizeof desc};
	ufm_bank_synthetic_config c = {.struct_size = SIZE_TO(ufm_bank_synthetic_config, seed),
	                               .layers = b->o.layers,
	                               .experts = b->o.experts,
	                               .desc = &desc,
	                               .seed = 1};
	ufm_host_config h = {.struct_size = SIZE_TO(ufm_host_config, progress_ctx),
	                     .backend = b->o.backend};
	must(ufm_expert_desc_init(&desc, UFM_EXPERT_GATED, b->o.d_model, b->o.d_hidden, b->o.dtype),
	     "expert");
	must(ufm_bank_synthetic(&c, &bank), "bank");
	UFM_STRUCT_INIT(&b->bank);
	must(ufm_bank_get_info(bank, &b->bank), "bank");
	must(ufm_host_open(bank, &h, &b->host), "host tier");
	ufm_bank_close(bank); /* the host tier holds it, and its description */
}

int main(int argc, char **argv)
{
	bench b = {.o = read_options(argc, argv)};
	b.r = routing_read(&b.o);
	open_host(&b);
	char *phases = copy_of(b.o.phases), *rest = phases;
	for (char *item; (item = next_item(&rest));) {
		char *residencies = copy_of(b.o.residency), *left = residencies;
		set_phase(&b, item);
		for (char *residency; (residency = next_item(&left));) {
			b.residency = residency;
			run_case(&b);
		}
		free(residencies);
	}
	free(phases);
	ufm_host_close(b.host);
	free(b.r.ids);
	free(b.r.routers);
	return 0;
}
