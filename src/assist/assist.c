/* SPDX-License-Identifier: MIT */
/* Opening and closing the pool, and the caller's side of a job. */
#include "assist/assist.h"

#include <assert.h>
#include <string.h>

#include "assist/assist_int.h"
#include "base/alloc.h"
#include "base/size.h"
#include "base/status.h"
#include "base/thread.h"

/* ------------------------------------------------------------------ open and close */

static ufm_status start_threads(assist *a)
{
	int error = 0;
	for (uint32_t i = 0; i < a->threads && !error; i++) {
		assist_worker *w = &a->workers[i];
		w->owner = a;
		w->number = i;
		error = thread_start(&w->thread, assist_worker_main, w);
		if (!error)
			a->started++;
	}
	if (error)
		return status_fail(UFM_ENOMEM, "CPU path: %u threads asked, %u started: %s", a->threads,
		                   a->started, strerror(error));
	assist_pin(a);
	return UFM_OK;
}

static ufm_status take_memory(assist *a)
{
	a->items = alloc_pages((size_t)a->items_max * sizeof *a->items);
	a->ends = alloc_zeroed(a->experts_max, sizeof *a->ends);
	a->hidden = alloc_pages(ASSIST_SETS * a->hidden_bytes);
	if (!a->items || !a->ends || !a->hidden)
		return UFM_ENOMEM;
	if (a->prepared_x_bytes && !(a->prepared_x = alloc_pages(ASSIST_SETS * a->prepared_x_bytes)))
		return UFM_ENOMEM;
	if (a->prepared_hidden_bytes &&
	    !(a->prepared_hidden = alloc_pages(ASSIST_SETS * a->prepared_hidden_bytes)))
		return UFM_ENOMEM;
	return UFM_OK;
}

static const kernel_table *kernels_of(const assist *a, uint32_t rows)
{
	return rows <= KERNELS_FEW_TOKENS ? a->few : a->many;
}

/* What a piece of any number of rows needs; one of few may also be the end of many. */
static uint64_t prepared_max(const assist *a, ufm_role role)
{
	uint64_t most = 0;
	for (uint32_t rows = 1; rows <= ASSIST_PIECE_ROWS; rows++) {
		uint64_t need = a->many->prepared_bytes(a->desc, role, rows);
		most = need > most ? need : most;
	}
	return size_round_up(most, 64);
}

ufm_status assist_open(const assist_config *config, assist **out)
{
	assert(config->threads >= 1 && config->threads <= ASSIST_THREADS_MAX);
	uint64_t pieces = config->experts_max + config->rows_max / ASSIST_PIECE_ROWS;
	if (pieces > UINT32_MAX / 2)
		return status_fail(UFM_EINVAL, "CPU path: %llu rows, expected at most 2^36",
		                   (unsigned long long)config->rows_max);
	assist *a = alloc_zeroed(1, sizeof *a + config->threads * sizeof a->workers[0]);
	if (!a)
		return UFM_ENOMEM;
	a->desc = config->desc;
	a->few = config->kernels ? config->kernels : kernels_best_few();
	a->many = config->kernels ? config->kernels : kernels_best();
	a->threads = config->threads;
	a->experts_max = config->experts_max;
	a->items_max = (uint32_t)pieces;
	a->hidden_bytes = 4ull * ASSIST_PIECE_ROWS * config->desc->d_hidden;
	a->prepared_x_bytes = prepared_max(a, UFM_ROLE_UP);
	a->prepared_hidden_bytes = prepared_max(a, UFM_ROLE_DOWN);
	assist_forgets_open(a);
	lock_init(&a->lock, LOCK_RANK_POOL, "cpu path");
	lock_cond_init(&a->woken);
	ufm_status status = take_memory(a);
	if (status == UFM_OK)
		status = start_threads(a);
	if (status != UFM_OK) {
		assist_close(a);
		return status;
	}
	*out = a;
	return UFM_OK;
}

void assist_close(assist *a)
{
	if (!a)
		return;
	atomic_store(&a->stop, true);
	assist_signal(a);
	for (uint32_t i = 0; i < a->started; i++)
		pthread_join(a->workers[i].thread, NULL);
	lock_cond_destroy(&a->woken);
	lock_destroy(&a->lock);
	alloc_pages_free(a->prepared_hidden, ASSIST_SETS * a->prepared_hidden_bytes);
	alloc_pages_free(a->prepared_x, ASSIST_SETS * a->prepared_x_bytes);
	alloc_pages_free(a->hidden, ASSIST_SETS * a->hidden_bytes);
	alloc_pages_free(a->items, (size_t)a->items_max * sizeof *a->items);
	alloc_free(a->ends);
	alloc_free(a);
}

uint32_t assist_threads(const assist *a)
{
	return a->threads;
}

/* ------------------------------------------------------------------ a job */

void assist_wake(assist *a)
{
	assist_signal(a);
}

/* A thread may be between joining and leaving a job that is closed, but then it looks at nothing. */
void assist_begin(assist *a)
{
	assert(!(atomic_load(&a->inside) & ASSIST_OPEN));
	a->added = a->done = a->item_count = 0;
	a->rows = 0;
	atomic_store_explicit(&a->published, 0, memory_order_relaxed);
	atomic_fetch_add_explicit(&a->job, 1, memory_order_relaxed);
	atomic_fetch_or_explicit(&a->inside, ASSIST_OPEN, memory_order_release);
	assist_signal(a);
}

/* Three quarters of the units make two large chunks a thread, the rest eight small ones, in steps that
 * suit the kernels' tiles: few rows are bound by memory, and then any step does. */
#define LARGES_A_THREAD 2u
#define SMALLS_A_THREAD 8u
#define SMALL_BYTES_MIN 8192u
#define LARGE_UNITS_MAX 192u
#define PREPARE_PARTS_MAX 8u

static uint32_t in_steps(uint32_t units, uint32_t step)
{
	return units < step ? step : units / step * step;
}

/* Kernels that prepare inputs have matrix tiles of 16 units; half a tile costs them little. */
static uint32_t step_of(const void *prepared, uint32_t rows)
{
	return prepared || rows > 4 ? 16 : 4;
}

static void cut(const assist *a, assist_phase *p, uint32_t units, uint32_t width, uint32_t step)
{
	uint32_t most = units / 4 * 3;
	uint32_t large = in_steps(most / (a->threads * LARGES_A_THREAD), step);
	p->units = units;
	p->large = large < LARGE_UNITS_MAX ? large : LARGE_UNITS_MAX;
	p->larges = most / p->large;
	uint32_t rest = units - p->larges * p->large;
	uint32_t even = rest / (a->threads * SMALLS_A_THREAD), least = SMALL_BYTES_MIN / (4 * width);
	p->small = in_steps(even > least ? even : least, step > 8 ? 8 : step);
	p->chunks = p->larges + rest / p->small + (rest % p->small != 0);
	atomic_store_explicit(&p->next, 0, memory_order_relaxed);
	atomic_store_explicit(&p->done, 0, memory_order_relaxed);
}

/* Shares of what is prepared once for a piece; none where nothing is. */
static void cut_prepared(const assist *a, assist_phase *p, bool any)
{
	uint32_t parts = a->threads < PREPARE_PARTS_MAX ? a->threads : PREPARE_PARTS_MAX;
	*p = (assist_phase){.units = parts, .small = 1, .chunks = any ? parts : 0};
}

/* This piece's part of the buffers; NULL where the kernels prepare nothing for it. */
static void *prepared_of(const assist *a, const assist_item *it, uint8_t *all, uint64_t each_bytes,
                         ufm_role role)
{
	bool any = it->kernels->prepared_bytes(a->desc, role, it->rows) != 0;
	return any ? all + (it - a->items) % ASSIST_SETS * (int64_t)each_bytes : NULL;
}

static void add_piece(assist *a, const kernel_table *kernels, const void *block, const float *x,
                      uint32_t rows, float *y)
{
	assert(a->item_count < a->items_max);
	uint32_t index = a->item_count++;
	assist_item *it = &a->items[index];
	it->kernels = kernels;
	it->block = block;
	it->x = x;
	it->y = y;
	it->hidden = a->hidden + index % ASSIST_SETS * (a->hidden_bytes / sizeof *a->hidden);
	it->rows = rows;
	it->prepared_x = prepared_of(a, it, a->prepared_x, a->prepared_x_bytes, UFM_ROLE_UP);
	it->prepared_hidden =
		prepared_of(a, it, a->prepared_hidden, a->prepared_hidden_bytes, UFM_ROLE_DOWN);
	cut_prepared(a, &it->phases[STEP_PREPARE_X], it->prepared_x);
	cut(a, &it->phases[STEP_HIDDEN], a->desc->d_hidden, a->desc->d_model,
	    step_of(it->prepared_x, rows));
	cut_prepared(a, &it->phases[STEP_PREPARE_HIDDEN], it->prepared_hidden);
	cut(a, &it->phases[STEP_OUTPUT], a->desc->d_model, a->desc->d_hidden,
	    step_of(it->prepared_hidden, rows));
	atomic_store_explicit(&it->begin_ns, 0, memory_order_relaxed);
	atomic_store_explicit(&it->end_ns, 0, memory_order_relaxed);
	atomic_store_explicit(&it->worked_ns, 0, memory_order_relaxed);
}

void assist_add(assist *a, const void *block, const float *x, uint32_t rows, float *y)
{
	assert(a->added < a->experts_max);
	const kernel_table *kernels = kernels_of(a, rows);
	for (uint32_t at = 0; at < rows; at += ASSIST_PIECE_ROWS) {
		uint32_t left = rows - at;
		uint64_t element = (uint64_t)at * a->desc->d_model;
		add_piece(a, kernels, block, x + element,
		          left < ASSIST_PIECE_ROWS ? left : ASSIST_PIECE_ROWS, y + element);
	}
	a->ends[a->added++] = a->item_count;
	a->rows += rows;
	atomic_store_explicit(&a->published, a->item_count, memory_order_release);
	assist_signal(a);
}

static uint64_t item_end_ns(const assist *a, uint32_t index)
{
	return atomic_load_explicit(&a->items[index].end_ns, memory_order_acquire);
}

static uint32_t first_item(const assist *a, uint32_t index)
{
	return index ? a->ends[index - 1] : 0;
}

static bool expert_is_done(const assist *a, uint32_t index)
{
	for (uint32_t i = first_item(a, index); i < a->ends[index]; i++) {
		if (item_end_ns(a, i) == 0)
			return false;
	}
	return true;
}

uint32_t assist_done(assist *a)
{
	while (a->done < a->added && expert_is_done(a, a->done))
		a->done++;
	return a->done;
}

uint32_t assist_added(const assist *a)
{
	return a->added;
}

assist_span assist_span_of(const assist *a, uint32_t index)
{
	assist_span span = {0};
	assert(index < a->added);
	for (uint32_t i = first_item(a, index); i < a->ends[index]; i++) {
		const assist_item *it = &a->items[i];
		if (i == first_item(a, index))
			span.begin_ns = atomic_load_explicit(&it->begin_ns, memory_order_relaxed);
		span.end_ns = item_end_ns(a, i);
		span.worked_ns += atomic_load_explicit(&it->worked_ns, memory_order_relaxed) / a->threads;
		span.rows += it->rows;
	}
	return span;
}

/* Experts overlap at their ends; no time counts twice. */
static uint64_t busy_ns(const assist *a)
{
	uint64_t busy = 0, until_ns = 0;
	for (uint32_t i = 0; i < a->item_count; i++) {
		uint64_t end_ns = item_end_ns(a, i);
		uint64_t begin_ns = atomic_load_explicit(&a->items[i].begin_ns, memory_order_relaxed);
		begin_ns = begin_ns > until_ns ? begin_ns : until_ns;
		busy += end_ns > begin_ns ? end_ns - begin_ns : 0;
		until_ns = end_ns > until_ns ? end_ns : until_ns;
	}
	return busy;
}

assist_totals assist_end(assist *a)
{
	for (uint32_t round = 0; assist_done(a) < a->added; round++)
		assist_breathe(round);
	atomic_fetch_and_explicit(&a->inside, ~ASSIST_OPEN, memory_order_release);
	for (uint32_t round = 0; atomic_load_explicit(&a->inside, memory_order_acquire) != 0; round++)
		assist_breathe(round);
	return (assist_totals){.experts = a->added,
	                       .rows = a->rows,
	                       .busy_ns = busy_ns(a),
	                       .weight_bytes = a->added * a->desc->expert_bytes};
}
