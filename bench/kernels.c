/* SPDX-License-Identifier: MIT */
/*
 * How fast the kernel tables eat weights that lie in memory: experts far beyond the caches, each read
 * once, its units handed to pinned threads in small pieces, as the CPU path beside a GPU does.
 *
 *   kernels [--isa NAME[,NAME…]] [--dtype f32,bf16] [--formats NAME[;NAME…]|all|none] [--tokens N[,N…]] [--threads N] [--units N]
 *                 [--d-model N] [--d-hidden N] [--kind mlp|mlp_bias|gated] [--gib X] [--runs N]
 *                 [--prepared on|off]
 *
 * --formats: names of tests/support/storage.c ("Q8_0;E4M3, E8M0 for 1 x 32"), after the dtypes.
 * One JSON line for each case and phase: gbps is the median over the runs of weight bytes / time, gweights of weights, and
 * gbps_cpu counts the threads' own time only, for a machine that others use too. Inputs are prepared
 * outside that time (prepare_us, one thread), or by every call with --prepared off.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/median.h"
#include "base/rng.h"
#include "format/format.h"
#include "kernels/kernels.h"
#include "support/storage.h"

#define THREADS_MAX 256
#define RUNS_MAX 64
#define TOKENS_MAX 512u

typedef struct options {
	char isa[256], dtype[64], formats[512], tokens[256];
	uint32_t threads, units, d_model, d_hidden, runs;
	ufm_expert_kind kind;
	double gib;
	bool prepared;
} options;

typedef struct bench {
	const options *o;
	const kernel_table *kernels;
	const char *weights; /* what they are stored in */
	ufm_expert_desc desc;
	unsigned char *bank;
	uint32_t experts, tokens;
	bool output; /* the second phase */
	float *x, *y;
	void *prepared; /* or NULL */
	atomic_uint next;
	pthread_barrier_t begin, end;
	atomic_bool stop;
	atomic_ullong cpu_ns;
} bench;

typedef struct worker {
	bench *b;
	uint32_t index;
} worker;

static uint64_t now_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void fail(const char *what, const char *value)
{
	fprintf(stderr, "kernels: %s: %s\n", what, value);
	exit(2);
}

/* ------------------------------------------------------------------ one pass over the bank */

static void compute(bench *b, uint32_t expert, uint32_t begin, uint32_t end)
{
	const void *block = b->bank + expert * b->desc.block_bytes;
	const kernel_table *k = b->kernels;

	if (b->output)
		k->output_prepared(&b->desc, block, b->x, b->prepared, b->tokens, b->y, begin, end);
	else
		k->hidden_prepared(&b->desc, block, b->x, b->prepared, b->tokens, b->y, begin, end);
}

static void pass(bench *b)
{
	uint32_t rows = b->output ? b->desc.d_model : b->desc.d_hidden, step = b->o->units;
	uint32_t pieces = (rows + step - 1) / step;

	for (;;) {
		uint32_t item = atomic_fetch_add(&b->next, 1), begin = item % pieces * step;
		if (item >= pieces * b->experts)
			return;
		compute(b, item / pieces, begin, begin + step < rows ? begin + step : rows);
	}
}

static void *work(void *ctx)
{
	worker *w = ctx;
	bench *b = w->b;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(w->index, &cpus);
	if (sched_setaffinity(0, sizeof cpus, &cpus) != 0 && w->index == 0)
		fprintf(stderr, "kernels: threads are not pinned: %s\n", strerror(errno));
	for (;;) {
		pthread_barrier_wait(&b->begin);
		if (atomic_load(&b->stop))
			return NULL;
		uint64_t from = now_ns(CLOCK_THREAD_CPUTIME_ID);
		pass(b);
		atomic_fetch_add(&b->cpu_ns, now_ns(CLOCK_THREAD_CPUTIME_ID) - from);
		pthread_barrier_wait(&b->end);
	}
}

/* ------------------------------------------------------------------ cases */

static bool in_phase(ufm_role role, bool output)
{
	return output ? role == UFM_ROLE_DOWN : role == UFM_ROLE_UP || role == UFM_ROLE_GATE;
}

/* Of one expert, with all that scales them. */
static uint64_t matrix_bytes(const ufm_expert_desc *desc, bool output)
{
	uint64_t bytes = 0;
	bool wanted = false;

	for (uint32_t p = 0; p < desc->part_count; p++) {
		const ufm_part *part = &desc->parts[p];
		if (part->role < UFM_ROLE_UP_SCALE) /* what is beside a matrix follows it */
			wanted = in_phase(part->role, output);
		if (wanted)
			bytes += format_part_bytes(part);
	}
	return bytes;
}

static uint64_t matrix_weights(const ufm_expert_desc *desc, bool output)
{
	uint64_t weights = 0;

	for (uint32_t p = 0; p < desc->part_count; p++) {
		const ufm_part *part = &desc->parts[p];
		if (in_phase(part->role, output))
			weights += (uint64_t)part->rows * part->cols;
	}
	return weights;
}

/* What an expert's inputs cost before its first unit, on one thread; 0 where nothing is prepared. */
static uint64_t prepare(bench *b)
{
	ufm_role role = b->output ? UFM_ROLE_DOWN : UFM_ROLE_UP;
	uint64_t bytes = b->kernels->prepared_bytes(&b->desc, role, b->tokens);

	free(b->prepared);
	b->prepared = NULL;
	if (!b->o->prepared || !bytes)
		return 0;
	b->prepared = aligned_alloc(64, bytes);
	if (!b->prepared)
		fail("memory", strerror(errno));
	memset(b->prepared, 0, bytes);
	uint64_t from = now_ns(CLOCK_MONOTONIC);
	b->kernels->prepare(&b->desc, role, b->x, b->tokens, b->prepared, 0, 1);
	return now_ns(CLOCK_MONOTONIC) - from;
}

static void run_case(bench *b, uint32_t tokens, bool output)
{
	const options *o = b->o;
	double wall[RUNS_MAX], cpu[RUNS_MAX];
	double bytes = (double)matrix_bytes(&b->desc, output) * b->experts;
	double weights = (double)matrix_weights(&b->desc, output) * b->experts;

	b->tokens = tokens;
	b->output = output;
	uint64_t prepare_ns = prepare(b);
	for (uint32_t run = 0; run < o->runs + 1; run++) { /* the first warms up */
		atomic_store(&b->next, 0);
		atomic_store(&b->cpu_ns, 0);
		uint64_t from = now_ns(CLOCK_MONOTONIC);
		pthread_barrier_wait(&b->begin);
		pthread_barrier_wait(&b->end);
		uint64_t took = now_ns(CLOCK_MONOTONIC) - from;
		if (run > 0) {
			wall[run - 1] = bytes / (double)took;
			cpu[run - 1] = bytes / ((double)atomic_load(&b->cpu_ns) / o->threads);
		}
	}
	printf(
		"{\"isa\":\"%s\",\"dtype\":\"%s\",\"phase\":\"%s\",\"tokens\":%u,\"threads\":%u,"
		"\"units\":%u,\"d_model\":%u,\"d_hidden\":%u,\"prepared\":%s,\"bytes\":%.0f,\"runs\":%u,",
		b->kernels->isa, b->weights, output ? "output" : "hidden", tokens, o->threads, o->units,
		o->d_model, o->d_hidden, b->prepared ? "true" : "false", bytes, o->runs);
	double middle = median_of(wall, o->runs);
	printf("\"prepare_us\":%.1f,", (double)prepare_ns / 1e3);
	printf("\"gbps\":%.2f,\"gbps_best\":%.2f,\"gbps_cpu\":%.2f,\"gweights\":%.3f}\n", middle,
	       wall[o->runs - 1], median_of(cpu, o->runs), middle * weights / bytes);
	fflush(stdout);
}

static void *pages(size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		fail("memory", strerror(errno));
	(void)madvise(at, bytes, MADV_HUGEPAGE);
	return at;
}

static void copy_experts(bench *b)
{
	for (uint32_t e = 1; e < b->experts; e++)
		memcpy(b->bank + e * b->desc.block_bytes, b->bank, b->desc.block_bytes);
}

static void fill_plain(bench *b)
{
	for (uint32_t p = 0; p < b->desc.part_count; p++) {
		const ufm_part *part = &b->desc.parts[p];
		size_t count = (size_t)part->rows * part->cols;
		void *at = b->bank + part->offset_bytes;
		if (part->dtype == UFM_F32)
			rng_fill_f32(at, count, 1 + p, 0, 0.02f);
		else
			rng_fill_bf16(at, count, 1 + p, 0, 0.02f);
	}
}

static void run_tokens(bench *b)
{
	char list[sizeof b->o->tokens], *rest = list;

	strcpy(list, b->o->tokens);
	for (const char *word; (word = strsep(&rest, ","));) {
		unsigned long tokens = strtoul(word, NULL, 10);
		if (tokens < 1 || tokens > TOKENS_MAX)
			fail("--tokens", word);
		run_case(b, (uint32_t)tokens, false);
		run_case(b, (uint32_t)tokens, true);
	}
}

static void run_tables(bench *b)
{
	char list[sizeof b->o->isa], *rest = list;

	strcpy(list, b->o->isa);
	for (const char *word; (word = strsep(&rest, ","));) {
		const char *why = "";
		b->kernels = kernels_find(word, &why);
		if (b->kernels)
			run_tokens(b);
		else
			fprintf(stderr, "kernels: %s: %s\n", word, why);
	}
}

/* The description is known; `s` NULL: it is plain. */
static void run_bank(bench *b, const storage *s)
{
	const options *o = b->o;
	uint32_t widest = o->d_model > o->d_hidden ? o->d_model : o->d_hidden;
	size_t floats = (size_t)TOKENS_MAX * widest;

	b->experts = (uint32_t)(o->gib * 1073741824.0 / (double)b->desc.block_bytes) + 1;
	b->bank = pages(b->experts * b->desc.block_bytes);
	b->x = pages(2 * floats * sizeof(float));
	b->y = b->x + floats;
	if (s)
		storage_fill(&b->desc, b->bank, 1);
	else
		fill_plain(b);
	copy_experts(b);
	rng_fill_f32(b->x, floats, 7, 0, 1.0f);
	run_tables(b);
	munmap(b->bank, b->experts * b->desc.block_bytes);
	munmap(b->x, 2 * floats * sizeof(float));
}

static void run_dtype(bench *b, ufm_dtype dtype)
{
	const options *o = b->o;

	UFM_STRUCT_INIT(&b->desc);
	if (ufm_expert_desc_init(&b->desc, o->kind, o->d_model, o->d_hidden, dtype) != UFM_OK)
		fail("geometry", ufm_last_error());
	b->weights = dtype == UFM_BF16 ? "bf16" : "f32";
	run_bank(b, NULL);
}

static void run_format(bench *b, const storage *s)
{
	const options *o = b->o;

	if (o->kind == UFM_EXPERT_MLP_BIAS)
		fail("--kind", "experts with biases are measured without formats (--formats none)");
	if (o->d_model % storage_step(s) || o->d_hidden % storage_step(s))
		fail("no whole number of blocks in d_model or d_hidden", s->name);
	b->desc = storage_desc(s, o->kind, o->d_model, o->d_hidden);
	b->weights = s->name;
	run_bank(b, s);
}

static void run_named(bench *b, const char *name)
{
	for (size_t i = 0; i < storage_count; i++) {
		if (strcmp(storages[i].name, name) == 0) {
			run_format(b, &storages[i]);
			return;
		}
	}
	fail("--formats", name);
}

static void run_formats(bench *b)
{
	char list[sizeof b->o->formats], *rest = list;

	strcpy(list, b->o->formats);
	if (strcmp(list, "none") == 0)
		return;
	if (strcmp(list, "all") == 0) {
		for (size_t i = 0; i < storage_count; i++)
			run_format(b, &storages[i]);
		return;
	}
	for (const char *word; (word = strsep(&rest, ";"));)
		run_named(b, word);
}

/* ------------------------------------------------------------------ options */

static uint32_t number(const char *option, const char *value, uint32_t max)
{
	unsigned long n = strtoul(value, NULL, 10);

	if (n < 1 || n > max)
		fail(option, value);
	return (uint32_t)n;
}

static void copy_list(const char *option, char *out, size_t size, const char *value)
{
	if (strlen(value) >= size)
		fail(option, "too long");
	strcpy(out, value);
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

static void set_option(options *o, const char *option, const char *value)
{
	if (strcmp(option, "--isa") == 0)
		copy_list(option, o->isa, sizeof o->isa, value);
	else if (strcmp(option, "--dtype") == 0)
		copy_list(option, o->dtype, sizeof o->dtype, value);
	else if (strcmp(option, "--formats") == 0)
		copy_list(option, o->formats, sizeof o->formats, value);
	else if (strcmp(option, "--tokens") == 0)
		copy_list(option, o->tokens, sizeof o->tokens, value);
	else if (strcmp(option, "--threads") == 0)
		o->threads = number(option, value, THREADS_MAX);
	else if (strcmp(option, "--units") == 0)
		o->units = number(option, value, 1u << 20);
	else if (strcmp(option, "--d-model") == 0)
		o->d_model = number(option, value, 1u << 20);
	else if (strcmp(option, "--d-hidden") == 0)
		o->d_hidden = number(option, value, 1u << 20);
	else if (strcmp(option, "--runs") == 0)
		o->runs = number(option, value, RUNS_MAX);
	else if (strcmp(option, "--kind") == 0)
		o->kind = kind_of(value);
	else if (strcmp(option, "--gib") == 0)
		o->gib = strtod(value, NULL);
	else if (strcmp(option, "--prepared") == 0)
		o->prepared = strcmp(value, "on") == 0;
	else
		fail("unknown option", option);
}

static void start_threads(bench *b, worker *workers, pthread_t *threads)
{
	pthread_barrier_init(&b->begin, NULL, b->o->threads + 1);
	pthread_barrier_init(&b->end, NULL, b->o->threads + 1);
	for (uint32_t i = 0; i < b->o->threads; i++) {
		workers[i] = (worker){b, i};
		if (pthread_create(&threads[i], NULL, work, &workers[i]) != 0)
			fail("threads", strerror(errno));
	}
}

int main(int argc, char **argv)
{
	options o = {.dtype = "f32,bf16",
	             .formats = "none",
	             .tokens = "1,2,4,5,8,16",
	             .threads = 2,
	             .units = 32,
	             .d_model = 2048,
	             .d_hidden = 8192,
	             .runs = 5,
	             .kind = UFM_EXPERT_MLP,
	             .gib = 1.0,
	             .prepared = true};
	static worker workers[THREADS_MAX];
	static pthread_t threads[THREADS_MAX];
	static bench b;

	strcpy(o.isa, kernels_best()->isa);
	for (int i = 1; i < argc; i += 2) {
		if (i + 1 == argc)
			fail(argv[i], "needs a value");
		set_option(&o, argv[i], argv[i + 1]);
	}
	b.o = &o;
	start_threads(&b, workers, threads);
	if (strstr(o.dtype, "f32"))
		run_dtype(&b, UFM_F32);
	if (strstr(o.dtype, "bf16"))
		run_dtype(&b, UFM_BF16);
	run_formats(&b);
	atomic_store(&b.stop, true);
	pthread_barrier_wait(&b.begin);
	for (uint32_t i = 0; i < o.threads; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
