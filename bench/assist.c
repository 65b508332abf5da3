/* SPDX-License-Identifier: MIT */
/*
 * How fast the pool beside a device computes whole experts that lie in memory: jobs of some experts each,
 * as a layer gives them, every expert far from the caches.
 *
 *   assist [--dtype f32|bf16] [--kind mlp|mlp_bias|gated] [--d-model N] [--d-hidden N] [--rows N]
 *          [--threads N] [--experts N] [--ahead N] [--jobs N] [--gib X] [--isa NAME]
 *
 * --experts: of a job. --ahead: how many are with the pool at once; the next is added when one is done. One
 * JSON line: medians over the jobs of the time an expert takes (job_us / experts), from the first addition
 * to the end of the last, and gbps, the weight bytes by that time.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "assist/assist.h"
#include "base/clock.h"
#include "base/median.h"
#include "base/rng.h"

#define JOBS_MAX 4096u

typedef struct options {
	ufm_dtype dtype;
	ufm_expert_kind kind;
	uint32_t d_model, d_hidden, rows, threads, experts, ahead, jobs;
	double gib;
	const kernel_table *kernels; /* NULL: what the pool takes */
} options;

static void fail(const char *what, const char *why)
{
	fprintf(stderr, "assist: %s: %s\n", what, why);
	exit(2);
}

static void *pages(size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		fail("memory", "not available");
	(void)madvise(at, bytes, MADV_HUGEPAGE);
	return at;
}

static void fill_part(const ufm_part *part, uint8_t *block)
{
	size_t count = (size_t)part->rows * part->cols;
	void *at = block + part->offset_bytes;

	if (part->dtype == UFM_F32)
		rng_fill_f32(at, count, 1, 0, 0.02f);
	else
		rng_fill_bf16(at, count, 1, 0, 0.02f);
}

static uint8_t *make_bank(const options *o, const ufm_expert_desc *desc, uint32_t *blocks)
{
	*blocks = (uint32_t)(o->gib * 1073741824.0 / (double)desc->block_bytes) + 1;
	uint8_t *bank = pages(*blocks * desc->block_bytes);

	for (uint32_t p = 0; p < desc->part_count; p++)
		fill_part(&desc->parts[p], bank);
	for (uint32_t i = 1; i < *blocks; i++)
		memcpy(bank + i * desc->block_bytes, bank, desc->block_bytes);
	return bank;
}

/* Returns the job's time; *at walks through the bank. */
static uint64_t run_job(const options *o, assist *pool, const ufm_expert_desc *desc,
                        const uint8_t *bank, uint32_t blocks, uint32_t *at, float *xy)
{
	size_t floats = (size_t)o->rows * desc->d_model;
	uint64_t begin_ns = clock_now_ns();

	assist_begin(pool);
	while (assist_added(pool) < o->experts) {
		if (assist_added(pool) - assist_done(pool) >= o->ahead) {
			sched_yield();
			continue;
		}
		float *y = xy + (1 + assist_added(pool)) * floats;
		assist_add(pool, bank + (uint64_t)(*at)++ % blocks * desc->block_bytes, xy, o->rows, y);
	}
	(void)assist_end(pool);
	return clock_now_ns() - begin_ns;
}

static void measure(const options *o)
{
	static double expert_us[JOBS_MAX];
	ufm_expert_desc desc = {.struct_size = sizeof desc};
	assist *pool;
	uint32_t blocks, at = 0;

	if (ufm_expert_desc_init(&desc, o->kind, o->d_model, o->d_hidden, o->dtype) != UFM_OK)
		fail("geometry", ufm_last_error());
	uint8_t *bank = make_bank(o, &desc, &blocks);
	float *xy = pages((size_t)(1 + o->experts) * o->rows * o->d_model * sizeof *xy);
	rng_fill_f32(xy, (size_t)o->rows * o->d_model, 7, 0, 1.0f);
	assist_config config = {.desc = &desc,
	                        .kernels = o->kernels,
	                        .threads = o->threads,
	                        .experts_max = o->experts,
	                        .rows_max = (uint64_t)o->experts * o->rows};
	if (assist_open(&config, &pool) != UFM_OK)
		fail("pool", ufm_last_error());
	for (uint32_t job = 0; job < o->jobs + 2; job++) { /* the first two warm up */
		uint64_t took_ns = run_job(o, pool, &desc, bank, blocks, &at, xy);
		if (job >= 2)
			expert_us[job - 2] = (double)took_ns / 1e3 / o->experts;
	}
	double middle = median_of(expert_us, o->jobs);
	printf("{\"isa\":\"%s\",\"dtype\":\"%s\",\"d_model\":%u,\"d_hidden\":%u,\"rows\":%u,"
	       "\"threads\":%u,\"experts\":%u,\"ahead\":%u,\"jobs\":%u,\"expert_bytes\":%llu,"
	       "\"expert_us\":%.1f,\"gbps\":%.1f}\n",
	       o->kernels ? o->kernels->isa : "default", o->dtype == UFM_F32 ? "f32" : "bf16",
	       o->d_model, o->d_hidden, o->rows, o->threads, o->experts, o->ahead, o->jobs,
	       (unsigned long long)desc.expert_bytes, middle, (double)desc.expert_bytes / 1e3 / middle);
	assist_close(pool);
}

/* ------------------------------------------------------------------ options */

static void set_number(options *o, const char *option, const char *value)
{
	const struct {
		const char *name;
		uint32_t *to, max;
	} numbers[] = {
		{"--d-model", &o->d_model, 1u << 20}, {"--d-hidden", &o->d_hidden, 1u << 20},
		{"--rows", &o->rows, 4096},           {"--threads", &o->threads, ASSIST_THREADS_MAX},
		{"--experts", &o->experts, 65536},    {"--ahead", &o->ahead, 65536},
		{"--jobs", &o->jobs, JOBS_MAX},
	};
	unsigned long n = strtoul(value, NULL, 10);

	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
		if (strcmp(option, numbers[i].name) != 0)
			continue;
		if (n < 1 || n > numbers[i].max)
			fail(option, value);
		*numbers[i].to = (uint32_t)n;
		return;
	}
	fail("unknown option", option);
}

static ufm_expert_kind kind_of(const char *value)
{
	if (strcmp(value, "mlp") == 0)
		return UFM_EXPERT_MLP;
	if (strcmp(value, "mlp_bias") == 0)
		return UFM_EXPERT_MLP_BIAS;
	if (strcmp(value, "gated") != 0)
		fail("--kind", value);
	return UFM_EXPERT_GATED;
}

static const kernel_table *table_of(const char *value)
{
	const char *why = "";
	const kernel_table *kernels = kernels_find(value, &why);

	if (!kernels)
		fail(value, why);
	return kernels;
}

int main(int argc, char **argv)
{
	options o = {.dtype = UFM_BF16,
	             .kind = UFM_EXPERT_GATED,
	             .d_model = 2048,
	             .d_hidden = 768,
	             .rows = 1,
	             .threads = assist_threads_default() ? assist_threads_default() : 1,
	             .experts = 4,
	             .ahead = ASSIST_AHEAD,
	             .jobs = 200,
	             .gib = 2.0};

	for (int i = 1; i < argc; i += 2) {
		if (i + 1 == argc)
			fail(argv[i], "needs a value");
		if (strcmp(argv[i], "--dtype") == 0)
			o.dtype = strcmp(argv[i + 1], "f32") == 0 ? UFM_F32 : UFM_BF16;
		else if (strcmp(argv[i], "--kind") == 0)
			o.kind = kind_of(argv[i + 1]);
		else if (strcmp(argv[i], "--isa") == 0)
			o.kernels = table_of(argv[i + 1]);
		else if (strcmp(argv[i], "--gib") == 0)
			o.gib = strtod(argv[i + 1], NULL);
		else
			set_number(&o, argv[i], argv[i + 1]);
	}
	measure(&o);
	return 0;
}
