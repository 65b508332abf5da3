/* SPDX-License-Identifier: MIT */
/* Threads that sleep between jobs and take the items of a job from one atomic counter. */
#include "base/pool.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"
#include "base/lock.h"
#include "base/status.h"
#include "base/thread.h"

typedef struct pool_worker {
	pool *owner;
	uint32_t number;
	pthread_t thread;
} pool_worker;

/* A thread that wakes late must not hold up a job that others have finished: workers join an open
 * job and leave it, and the caller waits only for those inside. */
struct pool {
	lock lock;
	lock_cond job_opened, workers_left;
	/* lock guards the next five; between joining and leaving, a worker reads the job freely */
	bool open, stop;
	uint64_t job; /* number of the job that is or was last open */
	uint32_t inside;
	struct {
		pool_work work;
		void *ctx;
		uint32_t items;
	} now;
	_Atomic uint64_t next_item; /* runs past items by up to one a thread: hence 64 bits */
	uint32_t threads, started;
	pool_worker workers[];
};

static void take_items(pool *p, uint32_t worker)
{
	for (;;) {
		uint64_t item = atomic_fetch_add_explicit(&p->next_item, 1, memory_order_relaxed);
		if (item >= p->now.items)
			return;
		p->now.work(p->now.ctx, (uint32_t)item, worker);
	}
}

static void *worker_main(void *arg)
{
	const pool_worker *self = arg;
	pool *p = self->owner;
	uint64_t seen = 0;

	lock_take(&p->lock);
	while (!p->stop) {
		if (!p->open || p->job == seen) {
			lock_wait(&p->job_opened, &p->lock);
			continue;
		}
		seen = p->job;
		p->inside++;
		lock_drop(&p->lock);
		take_items(p, self->number);
		lock_take(&p->lock);
		if (--p->inside == 0)
			lock_wake_one(&p->workers_left);
	}
	lock_drop(&p->lock);
	return NULL;
}

static ufm_status start_workers(pool *p)
{
	int error = 0;

	for (uint32_t i = 1; i < p->threads && !error; i++) {
		pool_worker *w = &p->workers[i - 1];
		w->owner = p;
		w->number = i;
		error = thread_start(&w->thread, worker_main, w);
		if (!error)
			p->started++;
	}
	if (error)
		return status_fail(UFM_ENOMEM, "thread pool: %u threads asked, %u started: %s", p->threads,
		                   p->started + 1, strerror(error));
	return UFM_OK;
}

ufm_status pool_open(uint32_t threads, pool **out)
{
	assert(threads >= 1);
	pool *p = alloc_zeroed(1, sizeof *p + (size_t)(threads - 1) * sizeof p->workers[0]);
	if (!p)
		return UFM_ENOMEM;
	p->threads = threads;
	lock_init(&p->lock, LOCK_RANK_POOL, "pool");
	lock_cond_init(&p->job_opened);
	lock_cond_init(&p->workers_left);
	ufm_status status = start_workers(p);
	if (status != UFM_OK) {
		pool_close(p);
		return status;
	}
	*out = p;
	return UFM_OK;
}

void pool_close(pool *p)
{
	if (!p)
		return;
	lock_take(&p->lock);
	p->stop = true;
	lock_wake_all(&p->job_opened);
	lock_drop(&p->lock);
	for (uint32_t i = 0; i < p->started; i++)
		pthread_join(p->workers[i].thread, NULL);
	lock_cond_destroy(&p->workers_left);
	lock_cond_destroy(&p->job_opened);
	lock_destroy(&p->lock);
	alloc_free(p);
}

uint32_t pool_threads(const pool *p)
{
	return p->threads;
}

static void open_job(pool *p, uint32_t items, pool_work work, void *ctx)
{
	lock_take(&p->lock);
	assert(!p->open && !p->inside);
	p->now.work = work;
	p->now.ctx = ctx;
	p->now.items = items;
	atomic_store_explicit(&p->next_item, 0, memory_order_relaxed);
	p->job++;
	p->open = true;
	if (items >= p->threads)
		lock_wake_all(&p->job_opened);
	else
		for (uint32_t i = 1; i < items; i++)
			lock_wake_one(&p->job_opened);
	lock_drop(&p->lock);
}

static void finish_job(pool *p)
{
	lock_take(&p->lock);
	p->open = false;
	while (p->inside)
		lock_wait(&p->workers_left, &p->lock);
	lock_drop(&p->lock);
}

void pool_run(pool *p, uint32_t items, pool_work work, void *ctx)
{
	if (p->threads == 1 || items <= 1) {
		for (uint32_t i = 0; i < items; i++)
			work(ctx, i, 0);
		return;
	}
	open_job(p, items, work, ctx);
	take_items(p, 0);
	finish_job(p);
}
