/* SPDX-License-Identifier: MIT */
/*
 * The expert kernels of a backend alone: many experts with the same number of tokens each, all in device
 * memory, one call of the backend's `experts` timed by its events.
 *
 *   experts [--backend NAME] [--dtype f32|bf16] [--math fp32|tf32|bf16] [--kind mlp_bias|gated]
 *                 [--rows f32|bf16] [--d-model N] [--d-hidden N] [--experts N] [--tokens N,N,…] [--steps N]
 *                 [--check ROWS] [--seed N]
 *
 * --rows: how x is stored (bf16: for --math bf16, as the engine has it in calls of several tokens).
 *
 * Prints one JSON object a line for every number of tokens: median, least and most milliseconds, bytes
 * of weights a second, operations a second, and the error of some rows against float64, beside the error
 * that plain f32 sums have on the same rows.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ufm/backend.h>

#include "base/alloc.h"
#include "base/bf16.h"
#include "base/median.h"
#include "base/rng.h"
#include "device/registry.h"

#define STEPS_MAX 1000u
#define EVENTS 2u
#define ROLES 6u /* of a part: UFM_ROLE_UP and on */

typedef struct options {
	const char *backend, *dtype, *math, *kind, *rows, *tokens;
	uint32_t d_model, d_hidden, experts, steps, check;
	uint64_t seed;
} options;

typedef struct bench {
	options o;
	const ufm_backend *b;
	ufm_device *device;
	ufm_stream *stream;
	ufm_event *events[EVENTS];
	ufm_expert_desc desc;
	ufm_math math;
	unsigned char *block; /* what every expert holds */
	ufm_devptr base, blocks, x, halves, hidden, y;
	float *host_x, *host_y;
	ufm_expert_rows *entries;
} bench;

static void must(ufm_status status, const char *what)
{
	if (status == UFM_OK)
		return;
	fprintf(stderr, "experts: %s: %s\n", what, ufm_last_error());
	exit(status == UFM_EBACKEND ? 3 : 1);
}

static int usage(const char *option)
{
	fprintf(stderr, "experts: option %s: unknown or without a value it can have\n", option);
	return 2;
}

/* ------------------------------------------------------------------ options */

static int read_options(int argc, char **argv, options *o)
{
	*o = (options){.backend = "cuda",
	               .dtype = "f32",
	               .math = "fp32",
	               .kind = "mlp_bias",
	               .rows = "f32",
	               .tokens = "1,2,4,8,16,32",
	               .d_model = 2048,
	               .d_hidden = 8192,
	               .experts = 96,
	               .steps = 20,
	               .check = 1,
	               .seed = 1};
	const struct {
		const char *name;
		const char **text;
		uint32_t *number;
	} table[] = {{"--backend", &o->backend, NULL}, {"--dtype", &o->dtype, NULL},
	             {"--math", &o->math, NULL},       {"--kind", &o->kind, NULL},
	             {"--rows", &o->rows, NULL},       {"--tokens", &o->tokens, NULL},
	             {"--d-model", NULL, &o->d_model}, {"--d-hidden", NULL, &o->d_hidden},
	             {"--experts", NULL, &o->experts}, {"--steps", NULL, &o->steps},
	             {"--check", NULL, &o->check}};
	for (int i = 1; i + 1 < argc; i += 2) {
		size_t at = 0, count = sizeof table / sizeof table[0];
		if (strcmp(argv[i], "--seed") == 0) {
			o->seed = strtoull(argv[i + 1], NULL, 10);
			continue;
		}
		while (at < count && strcmp(argv[i], table[at].name) != 0)
			at++;
		if (at == count)
			return usage(argv[i]);
		if (table[at].text)
			*table[at].text = argv[i + 1];
		else if ((*table[at].number = (uint32_t)strtoul(argv[i + 1], NULL, 10)) == 0)
			return usage(argv[i]);
	}
	if (argc % 2 == 0)
		return usage(argv[argc - 1]);
	return o->steps > STEPS_MAX ? usage("--steps") : 0;
}

static bool is_half(const bench *k)
{
	return strcmp(k->o.rows, "bf16") == 0;
}

static int resolve(bench *k)
{
	const options *o = &k->o;
	bool bf16 = strcmp(o->dtype, "bf16") == 0;
	k->math = strcmp(o->math, "bf16") == 0   ? UFM_MATH_BF16
	          : strcmp(o->math, "tf32") == 0 ? UFM_MATH_TF32
	                                         : UFM_MATH_FP32;
	if (!bf16 && strcmp(o->dtype, "f32") != 0)
		return usage("--dtype");
	if (k->math == UFM_MATH_FP32 && strcmp(o->math, "fp32") != 0)
		return usage("--math");
	if (strcmp(o->rows, "f32") != 0 && !(is_half(k) && k->math == UFM_MATH_BF16))
		return usage("--rows");
	bool gated = strcmp(o->kind, "gated") == 0;
	if (!gated && strcmp(o->kind, "mlp_bias") != 0)
		return usage("--kind");
	UFM_STRUCT_INIT(&k->desc);
	must(ufm_expert_desc_init(&k->desc, gated ? UFM_EXPERT_GATED : UFM_EXPERT_MLP_BIAS, o->d_model,
	                          o->d_hidden, bf16 ? UFM_BF16 : UFM_F32),
	     "geometry");
	return 0;
}

/* ------------------------------------------------------------------ data */

static void fill_block(bench *k)
{
	for (uint32_t p = 0; p < k->desc.part_count; p++) {
		const ufm_part *part = &k->desc.parts[p];
		size_t count = (size_t)part->rows * part->cols;
		void *at = k->block + part->offset_bytes;
		float scale = part->cols > 1 ? (float)(1.7 / sqrt(part->cols)) : 0.02f;
		uint64_t key = rng_mix(k->o.seed, p);
		if (part->dtype == UFM_F32)
			rng_fill_f32(at, count, key, 0, scale);
		else
			rng_fill_bf16(at, count, key, 0, scale);
	}
}

static uint64_t up(uint64_t bytes, uint64_t unit)
{
	return (bytes + unit - 1) / unit * unit;
}

static void open_device(bench *k)
{
	ufm_device_config config;
	UFM_STRUCT_INIT(&config);
	must(registry_find(k->o.backend, &k->b), "backend");
	must(k->b->device_open(&config, &k->device), "device");
	must(k->b->stream_open(k->device, NULL, &k->stream), "stream");
	for (uint32_t i = 0; i < EVENTS; i++)
		must(k->b->event_open(k->device, &k->events[i]), "event");
}

static void open_memory(bench *k, uint32_t rows_max)
{
	ufm_device_info info;
	k->b->device_get_info(k->device, &info);
	uint64_t rows = (uint64_t)rows_max, x_bytes = up(rows * k->desc.d_model * 4, 256);
	uint64_t hidden_bytes = up(k->b->hidden_bytes(&k->desc, rows_max), 256);
	uint64_t bank_bytes = k->desc.block_bytes * k->o.experts;
	uint64_t bytes = up(bank_bytes + 3 * x_bytes + hidden_bytes, info.map_granularity_bytes);
	must(k->b->mem_reserve(k->device, bytes, &k->base), "reserve");
	must(k->b->mem_map(k->device, k->base, bytes), "map");
	k->blocks = k->base;
	k->x = k->base + bank_bytes;
	k->y = k->x + x_bytes;
	k->halves = k->y + x_bytes;
	k->hidden = k->halves + x_bytes;
	k->block = alloc_zeroed(1, k->desc.block_bytes);
	k->host_x = alloc_zeroed(rows * k->desc.d_model, sizeof(float));
	k->host_y = alloc_zeroed(rows * k->desc.d_model, sizeof(float));
	k->entries = alloc_zeroed(k->o.experts, sizeof *k->entries);
	if (!k->block || !k->host_x || !k->host_y || !k->entries)
		must(UFM_ENOMEM, "host memory");
	fill_block(k);
	rng_fill_f32(k->host_x, rows * k->desc.d_model, rng_mix(k->o.seed, 99), 0, 2.0f);
	must(k->b->copy(k->stream, UFM_COPY_H2D, k->x, (ufm_devptr)(uintptr_t)k->host_x,
	                rows * k->desc.d_model * sizeof(float)),
	     "copy");
	must(k->b->copy(k->stream, UFM_COPY_H2D, k->blocks, (ufm_devptr)(uintptr_t)k->block,
	                k->desc.expert_bytes),
	     "copy");
	for (uint32_t e = 1; e < k->o.experts; e++)
		must(k->b->copy(k->stream, UFM_COPY_D2D, k->blocks + e * k->desc.block_bytes, k->blocks,
		                k->desc.expert_bytes),
		     "copy");
	must(k->b->stream_sync(k->stream), "copy");
	if (!is_half(k))
		return;
	ufm_gather_args args = {.x = k->x,
	                        .x_stride = k->desc.d_model,
	                        .x_dtype = UFM_F32,
	                        .rows = rows_max,
	                        .d_model = k->desc.d_model,
	                        .out = k->halves,
	                        .out_dtype = UFM_BF16};
	must(k->b->gather(k->stream, &args), "gather");
}

/* ------------------------------------------------------------------ errors */

/* A part's values; NULL: no such part. The caller frees. */
static float *widen(const bench *k, ufm_role role)
{
	const ufm_part *part = ufm_expert_part(&k->desc, role);
	if (!part)
		return NULL;
	size_t count = (size_t)part->rows * part->cols;
	const void *at = k->block + part->offset_bytes;
	float *wide = alloc_zeroed(count, sizeof *wide);
	for (size_t i = 0; i < count; i++)
		wide[i] = part->dtype == UFM_F32 ? ((const float *)at)[i]
		                                 : bf16_to_f32(((const uint16_t *)at)[i]);
	return wide;
}

static double activate(const bench *k, double x)
{
	return k->desc.activation == UFM_ACT_GELU ? x * 0.5 * erfc(-x / sqrt(2.0))
	                                          : x / (1.0 + exp(-x));
}

/* One sum, in float64 or as a plain f32 product has it: fused multiply-adds in rising order. */
static double dot(const float *w, const double *x, uint32_t n, bool plain)
{
	double sum = 0.0;
	float sum32 = 0.0f;
	for (uint32_t c = 0; c < n && plain; c++)
		sum32 = fmaf(w[c], (float)x[c], sum32);
	for (uint32_t c = 0; c < n && !plain; c++)
		sum += (double)w[c] * x[c];
	return plain ? (double)sum32 : sum;
}

static double with_bias(const float *bias, uint32_t unit, double sum)
{
	return bias ? sum + (double)bias[unit] : sum;
}

static void reference(const bench *k, const float *x, double *y, bool plain)
{
	uint32_t d = k->desc.d_model, h = k->desc.d_hidden;
	double *wide = alloc_zeroed(d, sizeof *wide), *hidden = alloc_zeroed(h, sizeof *hidden);
	float *all[ROLES];
	for (uint32_t r = 0; r < ROLES; r++)
		all[r] = widen(k, (ufm_role)(UFM_ROLE_UP + r));
	const float *gate = all[UFM_ROLE_GATE - UFM_ROLE_UP];
	for (uint32_t i = 0; i < d; i++)
		wide[i] = (double)x[i];
	for (uint32_t u = 0; u < h; u++) {
		double value = with_bias(all[UFM_ROLE_UP_BIAS - UFM_ROLE_UP], u,
		                         dot(all[0] + (size_t)u * d, wide, d, plain));
		if (gate)
			value *= activate(k, dot(gate + (size_t)u * d, wide, d, plain));
		else
			value = activate(k, value);
		hidden[u] = plain ? (double)(float)value : value;
	}
	const float *down = all[UFM_ROLE_DOWN - UFM_ROLE_UP];
	for (uint32_t c = 0; c < d; c++)
		y[c] = with_bias(all[UFM_ROLE_DOWN_BIAS - UFM_ROLE_UP], c,
		                 dot(down + (size_t)c * h, hidden, h, plain));
	for (uint32_t r = 0; r < ROLES; r++)
		alloc_free(all[r]);
	alloc_free(wide);
	alloc_free(hidden);
}

typedef struct errors {
	double most, rms; /* relative to max|ref| and to the rms of ref */
	double plain_most, plain_rms;
} errors;

static void check_rows(bench *k, uint32_t rows, errors *out)
{
	uint32_t d = k->desc.d_model;
	double *ref = alloc_zeroed(d, sizeof *ref), *plain = alloc_zeroed(d, sizeof *plain);
	double largest = 0, most = 0, plain_most = 0, square = 0, sum = 0, plain_sum = 0;
	must(k->b->copy(k->stream, UFM_COPY_D2H, (ufm_devptr)(uintptr_t)k->host_y, k->y,
	                (uint64_t)rows * d * sizeof(float)),
	     "copy");
	must(k->b->stream_sync(k->stream), "copy");
	for (uint32_t i = 0; i < k->o.check; i++) {
		size_t row = i * (size_t)(rows - 1) / k->o.check;
		reference(k, k->host_x + row * d, ref, false);
		reference(k, k->host_x + row * d, plain, true);
		for (uint32_t c = 0; c < d; c++) {
			double error = fabs((double)k->host_y[row * d + c] - ref[c]);
			double other = fabs(plain[c] - ref[c]);
			most = error > most || isnan(error) ? error : most;
			plain_most = fmax(plain_most, other);
			largest = fmax(largest, fabs(ref[c]));
			square += ref[c] * ref[c];
			sum += error * error;
			plain_sum += other * other;
		}
	}
	*out = (errors){most / largest, sqrt(sum / square), plain_most / largest,
	                sqrt(plain_sum / square)};
	alloc_free(ref);
	alloc_free(plain);
}

/* ------------------------------------------------------------------ timing */

static void time_tokens(bench *k, uint32_t tokens)
{
	double ms[STEPS_MAX];
	errors e;
	ufm_experts_args args = {.desc = &k->desc,
	                         .entries = k->entries,
	                         .entry_count = k->o.experts,
	                         .x = is_half(k) ? k->halves : k->x,
	                         .x_dtype = is_half(k) ? UFM_BF16 : UFM_F32,
	                         .hidden = k->hidden,
	                         .y = k->y,
	                         .math = k->math};
	for (uint32_t i = 0; i < k->o.experts; i++)
		k->entries[i] = (ufm_expert_rows){k->blocks + i * k->desc.block_bytes, i * tokens, tokens};
	for (uint32_t i = 0; i < k->o.steps + 3; i++) {
		uint64_t elapsed_ns;
		must(k->b->event_record(k->events[0], k->stream), "event");
		must(k->b->experts(k->stream, &args), "experts");
		must(k->b->event_record(k->events[1], k->stream), "event");
		must(k->b->event_sync(k->events[1], UFM_WAIT_FOREVER), "event");
		must(k->b->event_elapsed(k->events[0], k->events[1], &elapsed_ns), "event");
		if (i >= 3)
			ms[i - 3] = (double)elapsed_ns * 1e-6;
	}
	double ms_median = median_of(ms, k->o.steps),
		   bytes = (double)k->desc.expert_bytes * k->o.experts;
	double weights = 0;
	for (uint32_t p = 0; p < k->desc.part_count; p++)
		weights +=
			k->desc.parts[p].cols > 1 ? (double)k->desc.parts[p].rows * k->desc.parts[p].cols : 0.0;
	check_rows(k, tokens * k->o.experts, &e);
	printf("{\"bench\":\"experts\",\"backend\":\"%s\",\"dtype\":\"%s\",\"math\":\"%s\",\"kind\":\"%"
	       "s\",\"rows\":\"%s\","
	       "\"d_model\":%u,\"d_hidden\":%u,\"experts\":%u,\"tokens\":%u,\"steps\":%u,"
	       "\"ms\":%.4f,\"ms_min\":%.4f,\"ms_max\":%.4f,\"weights_gbps\":%.1f,\"tflops\":%.2f,"
	       "\"error_max\":%.3g,\"error_rms\":%.3g,\"plain_f32_error_max\":%.3g,"
	       "\"plain_f32_error_rms\":%.3g,\"seed\":%" PRIu64 "}\n",
	       k->b->name, k->o.dtype, k->o.math, k->o.kind, k->o.rows, k->desc.d_model,
	       k->desc.d_hidden, k->o.experts, tokens, k->o.steps, ms_median, ms[0], ms[k->o.steps - 1],
	       bytes / ms_median * 1e-6, 2 * weights * tokens * k->o.experts / ms_median * 1e-9, e.most,
	       e.rms, e.plain_most, e.plain_rms, k->o.seed);
	fflush(stdout);
}

/* The next number of a list; 0 at its end. */
static uint32_t next_number(const char **list)
{
	char *end;
	uint32_t number = (uint32_t)strtoul(*list, &end, 10);
	*list = *end ? end + 1 : end;
	return number;
}

int main(int argc, char **argv)
{
	bench k = {0};
	uint32_t most = 0, tokens;
	int code = read_options(argc, argv, &k.o);
	if (code == 0)
		code = resolve(&k);
	if (code)
		return code;
	for (const char *list = k.o.tokens; (tokens = next_number(&list)) != 0;)
		most = tokens > most ? tokens : most;
	if (most == 0)
		return usage("--tokens");
	open_device(&k);
	open_memory(&k, most * k.o.experts);
	for (const char *list = k.o.tokens; (tokens = next_number(&list)) != 0;)
		time_tokens(&k, tokens);
	return 0;
}
