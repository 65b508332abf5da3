/* SPDX-License-Identifier: MIT */
/* The host tier: reads every block once, in parallel, and page-locks what was read meanwhile. */
#include "pager/host.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

#include "bank/bank.h"
#include "base/alloc.h"
#include "base/limits.h"
#include "base/pool.h"
#include "base/process.h"
#include "base/status.h"
#include "device/reads.h"
#include "device/registry.h"
#include "pager/pinned.h"
#include "store/store.h"

#define FILL_THREADS_MAX 1024u
/* For a bank from files: who waits for a disk takes no core, and a disk wants to be asked ahead. */
#define READ_THREADS_MIN 8u

struct ufm_host {
	_Atomic uint32_t refs;
	ufm_bank *bank;
	const ufm_backend *b;
	uint64_t block_bytes;
	pinned slab;
	uint32_t forks; /* process_forks when it was opened */
};

typedef struct fill {
	ufm_host *host;
	const ufm_host_config *config;
	store *store;
	uint32_t keys;
	_Atomic int32_t status; /* the first failure */
	char why[512];          /* written by the thread that set status */
	_Atomic bool *filled;   /* [keys] */
	/* held by the thread that page-locks: guards first and the slab's registration */
	atomic_flag locking;
	uint32_t first;            /* all before it are filled */
	atomic_flag telling;       /* held by the thread that calls progress: guards told */
	uint32_t told;             /* blocks */
	_Atomic uint32_t finished; /* blocks */
} fill;

/* A failure is recorded in the worker's own thread, so its line is carried over by hand. */
static void note_failure(fill *f, ufm_status status)
{
	int32_t expected = UFM_OK;
	if (status != UFM_OK && atomic_compare_exchange_strong(&f->status, &expected, status))
		snprintf(f->why, sizeof f->why, "%s", ufm_last_error());
}

static void tell(const fill *f, uint64_t done_bytes)
{
	if (f->config->progress)
		f->config->progress(f->config->progress_ctx, done_bytes, f->host->slab.size_bytes);
}

/* UFM_ECANCELED when the caller wants no more. */
static ufm_status check_stop(fill *f)
{
	if (!f->config->stop || !f->config->stop(f->config->stop_ctx))
		return UFM_OK;
	return status_fail(UFM_ECANCELED, "stop: loading the bank was ended after %u of %u blocks",
	                   atomic_load(&f->finished), f->keys);
}

/* The whole is told of by the caller, when it is page-locked too. A thread that finds another one telling
 * goes on: whoever comes next tells of its block too. */
static void tell_finished(fill *f)
{
	atomic_fetch_add(&f->finished, 1);
	if (!f->config->progress || atomic_flag_test_and_set(&f->telling))
		return;
	uint32_t finished = atomic_load(&f->finished);
	if (finished > f->told && finished < f->keys)
		tell(f, finished * f->host->block_bytes);
	f->told = finished;
	atomic_flag_clear(&f->telling);
}

/* Page-locks what is filled from the start, while the other threads fill on. What is missed because
 * another thread is at it is page-locked at the end. */
static void lock_filled(fill *f)
{
	ufm_host *host = f->host;
	if (f->config->pageable || atomic_flag_test_and_set(&f->locking))
		return;
	while (f->first < f->keys && atomic_load(&f->filled[f->first]))
		f->first++;
	if (f->first < f->keys)
		note_failure(f, pinned_register_first(host->b, &host->slab, f->first * host->block_bytes));
	atomic_flag_clear(&f->locking);
}

static void fill_block(void *ctx, uint32_t key, uint32_t worker)
{
	(void)worker;
	fill *f = ctx;
	if (atomic_load(&f->status) != UFM_OK)
		return;
	ufm_status status = check_stop(f);
	if (status == UFM_OK)
		status = store_read(f->store, key, host_block(f->host, key));
	note_failure(f, status);
	if (status != UFM_OK)
		return;
	atomic_store(&f->filled[key], true);
	tell_finished(f);
	lock_filled(f);
}

/* What the threads left, which may be most of it. */
static ufm_status lock_rest(fill *f)
{
	pinned *slab = &f->host->slab;
	ufm_status status = UFM_OK;
	while (status == UFM_OK && slab->registered_bytes < slab->size_bytes) {
		status = check_stop(f);
		if (status == UFM_OK)
			status =
				pinned_register_first(f->host->b, slab, slab->registered_bytes + slab->piece_bytes);
	}
	return status;
}

/* Filled before it is page-locked: the threads that fill bring the pages in, where a registration of
 * untouched memory would bring in every page on one thread alone. */
static ufm_status fill_and_lock(fill *f, pool *workers)
{
	const pinned *slab = &f->host->slab;
	tell(f, 0);
	alloc_pages_keep_from_fork(slab->memory, slab->size_bytes, true);
	pool_run(workers, f->keys, fill_block, f);
	alloc_pages_keep_from_fork(slab->memory, slab->size_bytes, false);
	ufm_status status = (ufm_status)atomic_load(&f->status);
	if (status != UFM_OK)
		return status_fail(status, "%s", f->why);
	if (!f->config->pageable)
		status = lock_rest(f);
	if (status == UFM_OK)
		tell(f, f->host->slab.size_bytes);
	return status;
}

static ufm_status fill_all(ufm_host *host, const ufm_host_config *config,
                           const ufm_host_debug *debug)
{
	fill *f = alloc_zeroed(1, sizeof *f);
	if (!f)
		return UFM_ENOMEM;
	*f = (fill){.host = host,
	            .config = config,
	            .keys = bank_key_count(host->bank),
	            .locking = ATOMIC_FLAG_INIT,
	            .telling = ATOMIC_FLAG_INIT};
	pool *workers = NULL;
	f->filled = alloc_zeroed(f->keys, sizeof *f->filled);
	ufm_status status =
		f->filled ? store_open(host->bank, debug->store_filter, &f->store) : UFM_ENOMEM;
	if (status == UFM_OK)
		status = pool_open(config->fill_threads, &workers);
	if (status == UFM_OK)
		status = fill_and_lock(f, workers);
	pool_close(workers);
	store_close(f->store);
	alloc_free(f->filled);
	alloc_free(f);
	return status;
}

static uint32_t default_threads(const ufm_bank *bank)
{
	limits now;
	limits_read(&now);
	bool waits = bank_file_count(bank) > 0 && now.cores < READ_THREADS_MIN;
	return waits ? READ_THREADS_MIN : now.cores;
}

static ufm_status read_config(const ufm_bank *bank, const ufm_host_config *config,
                              ufm_host_config *out)
{
	ufm_struct_init(out, sizeof *out);
	ufm_status status = status_read_config(out, sizeof *out, config, "ufm_host_config");
	if (out->fill_threads == 0)
		out->fill_threads = default_threads(bank);
	if (status == UFM_OK && out->fill_threads > FILL_THREADS_MAX)
		return status_fail(UFM_EINVAL, "fill_threads: %u, expected at most %u", out->fill_threads,
		                   FILL_THREADS_MAX);
	return status;
}

static ufm_status load_bank(ufm_host *host, const ufm_host_config *config,
                            const ufm_host_debug *debug)
{
	uint64_t size_bytes = host->block_bytes * bank_key_count(host->bank);
	limits now;
	limits_read(&now);
	ufm_status status = pinned_check(&now, "the bank", size_bytes, config->pageable);
	if (status == UFM_OK)
		status = pinned_map(size_bytes, host->block_bytes, &host->slab);
	return status == UFM_OK ? fill_all(host, config, debug) : status;
}

ufm_status host_open_on(const ufm_backend *backend, ufm_bank *bank, const ufm_host_config *config,
                        ufm_host **out)
{
	ufm_host_config resolved;
	ufm_host_debug debug = {.store_filter = NULL};
	ufm_status status = read_config(bank, config, &resolved);
	if (status == UFM_OK)
		status = status_read_config(&debug, sizeof debug, resolved.debug, "ufm_host_debug");
	if (status == UFM_OK)
		status = device_reads(backend, bank_desc(bank));
	if (status == UFM_OK)
		status = process_watch();
	if (status != UFM_OK)
		return status;
	ufm_host *host = alloc_zeroed(1, sizeof *host);
	if (!host)
		return UFM_ENOMEM;
	atomic_init(&host->refs, 1);
	host->forks = process_forks();
	host->b = backend;
	host->bank = bank_ref(bank);
	host->block_bytes = bank_desc(bank)->block_bytes;
	status = load_bank(host, &resolved, &debug);
	if (status != UFM_OK) {
		ufm_host_close(host);
		return status;
	}
	*out = host;
	return UFM_OK;
}

ufm_status ufm_host_open(ufm_bank *bank, const ufm_host_config *user, ufm_host **out)
{
	ufm_host_config config;
	const ufm_backend *backend = NULL;
	ufm_status status = status_need(bank, "bank", "an open bank");
	if (status == UFM_OK)
		status = status_need((const void *)out, "out", "where to put the host tier");
	if (status == UFM_OK)
		status = read_config(bank, user, &config);
	if (status == UFM_OK)
		status = registry_find(config.backend, &backend);
	return status == UFM_OK ? host_open_on(backend, bank, &config, out) : status;
}

void ufm_host_close(ufm_host *host)
{
	if (!host || host_is_parents(host) || atomic_fetch_sub(&host->refs, 1) != 1)
		return;
	pinned_close(host->b, &host->slab);
	ufm_bank_close(host->bank);
	alloc_free(host);
}

bool host_is_parents(const ufm_host *host)
{
	return host->forks != process_forks();
}

ufm_status host_check_process(const ufm_host *host)
{
	if (!host_is_parents(host))
		return UFM_OK;
	return status_fail(UFM_EINVAL, "host tier and engine are those of the parent of this process, "
	                               "expected ones opened after the fork");
}

ufm_host *host_ref(ufm_host *host)
{
	atomic_fetch_add(&host->refs, 1);
	return host;
}

const ufm_bank *host_bank(const ufm_host *host)
{
	return host->bank;
}

uint32_t host_layer_number(const ufm_host *host, uint32_t layer)
{
	return ufm_bank_layer_number(host->bank, layer);
}

const ufm_backend *host_backend(const ufm_host *host)
{
	return host->b;
}

void *host_block(const ufm_host *host, uint32_t key)
{
	return host->slab.memory + (uint64_t)key * host->block_bytes;
}
