/* SPDX-License-Identifier: MIT */
/* A device for tests of lenders. */
#include "support/ledger.h"

#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TOTAL_BYTES (4096 * LEDGER_MIB)
#define OTHERS_BYTES (3 * LEDGER_MIB + 17)
#define LENT_MAX 4096

ledger_driver ledger_is;

static ledger *open_one;
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static struct {
	ufm_devptr memory;
	uint64_t size_bytes;
} lent[LENT_MAX];
static uint32_t lent_count;
static uint64_t lent_bytes;
static ufm_devptr next_address;

/* ------------------------------------------------------------------ the real driver */

static struct {
	int (*alloc)(ufm_devptr *, size_t);
	int (*release)(ufm_devptr);
	int (*memory)(size_t *, size_t *);
	int (*retain)(void **, int);
	int (*set)(void *);
	void *context;
} real;

bool ledger_is_real(void)
{
	const char *name = getenv("UFM_TEST_BACKEND");
	return name && strcmp(name, "cuda") == 0;
}

static void *find(void *library, const char *name)
{
	void *found = dlsym(library, name);
	if (!found)
		fail_msg("%s: not in the driver's library", name);
	return found;
}

static void load_driver(void)
{
	void *library = dlopen("libcuda.so.1", RTLD_NOW);
	if (!library)
		fail_msg("%s", dlerror());
	*(void **)&real.alloc = find(library, "cuMemAlloc_v2");
	*(void **)&real.release = find(library, "cuMemFree_v2");
	*(void **)&real.memory = find(library, "cuMemGetInfo_v2");
	*(void **)&real.retain = find(library, "cuDevicePrimaryCtxRetain");
	*(void **)&real.set = find(library, "cuCtxSetCurrent");
	assert_int_equal(real.retain(&real.context, 0), 0);
}

/* ------------------------------------------------------------------ the pretended one */

static uint64_t held_bytes(void)
{
	uint64_t bytes = 0;
	for (uint32_t i = 0; i < 2; i++) {
		ufm_engine_memory memory;
		UFM_STRUCT_INIT(&memory);
		(void)ufm_engine_get_memory(open_one->engines[i], &memory);
		bytes += memory.held_bytes;
	}
	return bytes;
}

static uint64_t taken_bytes(void)
{
	return OTHERS_BYTES + held_bytes() + lent_bytes + ledger_is.outside_bytes;
}

static int get_memory(size_t *free_bytes, size_t *total_bytes)
{
	ledger_is.looks++;
	if (ledger_is.memory_fails)
		return 201;
	if (ledger_is_real()) {
		(void)real.set(real.context);
		return real.memory(free_bytes, total_bytes);
	}
	pthread_mutex_lock(&guard);
	*total_bytes = TOTAL_BYTES;
	*free_bytes = TOTAL_BYTES - taken_bytes();
	pthread_mutex_unlock(&guard);
	return 0;
}

static uint64_t rounded(uint64_t size_bytes)
{
	uint64_t unit = ledger_is.round_bytes ? ledger_is.round_bytes : 1;
	return (size_bytes + unit - 1) / unit * unit;
}

static void note(ufm_devptr memory, uint64_t size_bytes)
{
	if (lent_count == LENT_MAX)
		abort();
	lent[lent_count].memory = memory;
	lent[lent_count++].size_bytes = size_bytes;
	lent_bytes += size_bytes;
}

/* What is asked for, not what it is rounded to, is what a lender can know before. */
static int pretend(ufm_devptr *out, uint64_t size_bytes)
{
	uint64_t used_bytes = taken_bytes() - OTHERS_BYTES;
	if (TOTAL_BYTES - taken_bytes() < size_bytes)
		return 2;
	if (ledger_is.limit_bytes && used_bytes + size_bytes > ledger_is.limit_bytes)
		ledger_is.passed++;
	*out = next_address += 1 << 12;
	note(*out, rounded(size_bytes));
	return 0;
}

static int allocate(ufm_devptr *out, size_t size_bytes)
{
	ledger_is.allocs++;
	if (ledger_is.refusals) {
		ledger_is.refusals--;
		return 2;
	}
	if (ledger_is_real())
		(void)real.set(real.context);
	int refused = ledger_is_real() ? real.alloc(out, size_bytes) : 0;
	pthread_mutex_lock(&guard);
	if (!ledger_is_real())
		refused = pretend(out, size_bytes);
	else if (!refused)
		note(*out, size_bytes);
	pthread_mutex_unlock(&guard);
	return refused;
}

static int release(ufm_devptr memory)
{
	uint32_t at = 0;
	ledger_is.releases++;
	if (ledger_is.release_fails)
		return 1;
	if (ledger_is_real()) {
		(void)real.set(real.context);
		if (real.release(memory))
			return 1;
	}
	pthread_mutex_lock(&guard);
	while (at < lent_count && lent[at].memory != memory)
		at++;
	bool found = at < lent_count;
	if (found) {
		lent_bytes -= lent[at].size_bytes;
		lent[at] = lent[--lent_count];
	}
	pthread_mutex_unlock(&guard);
	return found ? 0 : 1;
}

/* ------------------------------------------------------------------ models */

/* Experts of several granules, also of a GPU; the second model's are about twice as large. */
static void open_models(ledger *l)
{
	const uint32_t width = fixture_granule() > LEDGER_MIB ? 768 : 192;
	const fixture_config c[2] = {
		{.experts = 12, .d_model = width, .d_hidden = width, .vram_target_bytes = 512 * LEDGER_MIB},
		{.experts = 10,
	     .d_model = width,
	     .d_hidden = 2 * width,
	     .vram_target_bytes = 512 * LEDGER_MIB,
	     .top_k = 1}};
	for (uint32_t i = 0; i < 2; i++) {
		if (fixture_open(&l->f[i], &c[i]) != UFM_OK)
			fail_msg("open: %s", ufm_last_error());
		l->engines[i] = l->f[i].engine;
		assert_int_equal(fixture_run(&l->f[i], 1), UFM_OK);
		l->want[i] = fixture_hash(&l->f[i]);
	}
}

void ledger_open(ledger *l)
{
	memset(l, 0, sizeof *l);
	memset(&ledger_is, 0, sizeof ledger_is);
	open_models(l);
	open_one = l;
	lent_count = 0;
	lent_bytes = 0;
	next_address = 1 << 20;
	if (ledger_is_real())
		load_driver();
	l->others_bytes = ledger_is_real() ? 0 : OTHERS_BYTES;
	UFM_STRUCT_INIT(&l->config);
	l->config.engines = l->engines;
	l->config.engine_count = 2;
	l->config.others_bytes = l->others_bytes;
	l->config.alloc = allocate;
	l->config.release = release;
	l->config.memory = get_memory;
}

void ledger_close(ledger *l)
{
	assert_int_equal(lent_count, 0);
	open_one = NULL;
	fixture_close(&l->f[0]);
	fixture_close(&l->f[1]);
}

uint64_t ledger_used(void)
{
	size_t free_bytes = 0, total_bytes = 0;
	assert_int_equal(get_memory(&free_bytes, &total_bytes), 0);
	ledger_is.looks--;
	return total_bytes - free_bytes - open_one->others_bytes;
}

uint64_t ledger_lent(void)
{
	pthread_mutex_lock(&guard);
	uint64_t bytes = lent_bytes;
	pthread_mutex_unlock(&guard);
	return bytes;
}

ufm_lender *ledger_lend(ledger *l, uint64_t limit_bytes)
{
	ufm_lender *lender;
	l->config.limit_bytes = limit_bytes;
	ledger_is.limit_bytes = limit_bytes;
	if (ufm_lender_open(&l->config, &lender) != UFM_OK)
		fail_msg("lender: %s", ufm_last_error());
	return lender;
}

ufm_engine_bounds ledger_bounds(ledger *l, uint32_t engine)
{
	ufm_engine_bounds b;
	UFM_STRUCT_INIT(&b);
	assert_int_equal(ufm_engine_get_bounds(l->engines[engine], &b), UFM_OK);
	return b;
}

uint64_t ledger_gives(ledger *l)
{
	ufm_engine_bounds a = ledger_bounds(l, 0), b = ledger_bounds(l, 1);
	return a.now_bytes - a.least_bytes + b.now_bytes - b.least_bytes;
}

ufm_lender_info ledger_info(ufm_lender *lender)
{
	ufm_lender_info info;
	UFM_STRUCT_INIT(&info);
	if (ufm_lender_get_info(lender, &info) != UFM_OK)
		fail_msg("%s", ufm_last_error());
	return info;
}

void ledger_check_results(ledger *l)
{
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(fixture_run(&l->f[i], 1), UFM_OK);
		assert_true(fixture_hash(&l->f[i]) == l->want[i]);
	}
}
