/* SPDX-License-Identifier: MIT */
/* A thread of the pool: takes chunks, waits for phases, sleeps. */
#include <sched.h>

#include "assist/assist_int.h"
#include "base/clock.h"

/* Pauses before a waiting thread gives its core away: some microseconds. */
#define PAUSES 256u
/* How long a thread without work stays awake. Longer than the host needs between two layers, shorter
 * than anybody notices. */
#define AWAKE_NS 200000u

static void cpu_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* Who waits for a thread that has no core must not hold the core that it needs; but a thread that does nothing but
 * give its core away keeps the kernel busy beside those that work. */
void assist_breathe(uint32_t round)
{
	if (round % PAUSES != PAUSES - 1)
		cpu_pause();
	else
		sched_yield();
}

/* ------------------------------------------------------------------ work */

static void await_count(const _Atomic uint32_t *count, uint32_t wanted)
{
	for (uint32_t round = 0; atomic_load_explicit(count, memory_order_acquire) != wanted; round++)
		assist_breathe(round);
}

static bool take_chunk(assist_phase *p, uint32_t *begin, uint32_t *end)
{
	/* Looked at before it is raised: a counter that ran past its end many times would wrap. */
	if (atomic_load_explicit(&p->next, memory_order_relaxed) >= p->chunks)
		return false;
	uint32_t chunk = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed);
	if (chunk >= p->chunks)
		return false;
	bool large = chunk < p->larges;
	uint32_t size = large ? p->large : p->small;
	*begin = large ? chunk * size : p->larges * p->large + (chunk - p->larges) * size;
	*end = p->units - *begin < size ? p->units : *begin + size;
	return true;
}

static void run_chunk(const assist *a, assist_item *it, assist_step step, uint32_t begin,
                      uint32_t end)
{
	const kernel_table *k = it->kernels;
	uint32_t parts = it->phases[step].units;
	switch (step) {
	case STEP_PREPARE_X:
		k->prepare(a->desc, UFM_ROLE_UP, it->x, it->rows, it->prepared_x, begin, parts);
		break;
	case STEP_HIDDEN:
		if (begin == 0)
			atomic_store_explicit(&it->begin_ns, clock_now_ns(), memory_order_relaxed);
		k->hidden_prepared(a->desc, it->block, it->x, it->prepared_x, it->rows, it->hidden, begin,
		                   end);
		break;
	case STEP_PREPARE_HIDDEN:
		k->prepare(a->desc, UFM_ROLE_DOWN, it->hidden, it->rows, it->prepared_hidden, begin, parts);
		break;
	case STEP_OUTPUT:
	case STEP_COUNT:
		k->output_prepared(a->desc, it->block, it->hidden, it->prepared_hidden, it->rows, it->y,
		                   begin, end);
		break;
	}
}

/* Whoever adds the last chunks of the outputs notes when they were done. */
static void run_step(const assist *a, assist_item *it, assist_step step)
{
	assist_phase *p = &it->phases[step];
	uint32_t begin, end, done = 0;
	if (!take_chunk(p, &begin, &end))
		return;
	uint64_t begin_ns = clock_now_ns();
	do {
		run_chunk(a, it, step, begin, end);
		done++;
	} while (take_chunk(p, &begin, &end));
	uint64_t end_ns = clock_now_ns();
	atomic_fetch_add_explicit(&it->worked_ns, end_ns - begin_ns, memory_order_relaxed);
	bool last = atomic_fetch_add_explicit(&p->done, done, memory_order_acq_rel) + done == p->chunks;
	if (last && step == STEP_OUTPUT)
		atomic_store_explicit(&it->end_ns, end_ns, memory_order_release);
}

static void run_steps(const assist *a, assist_item *it, assist_step first)
{
	run_step(a, it, first);
	await_count(&it->phases[first].done, it->phases[first].chunks);
	run_step(a, it, first + 1);
}

/* The hidden values of a piece. Its buffers were those of an earlier piece, which must be done. */
static void run_front(assist *a, uint32_t index)
{
	if (index >= ASSIST_SETS) {
		assist_phase *before = &a->items[index - ASSIST_SETS].phases[STEP_OUTPUT];
		await_count(&before->done, before->chunks);
	}
	run_steps(a, &a->items[index], STEP_PREPARE_X);
}

/* Its outputs, once all of its hidden values are there. */
static void run_back(assist *a, uint32_t index)
{
	assist_item *it = &a->items[index];
	await_count(&it->phases[STEP_HIDDEN].done, it->phases[STEP_HIDDEN].chunks);
	run_steps(a, it, STEP_PREPARE_HIDDEN);
}

static bool join_job(assist *a)
{
	if (atomic_fetch_add_explicit(&a->inside, 1, memory_order_acquire) & ASSIST_OPEN)
		return true;
	atomic_fetch_sub_explicit(&a->inside, 1, memory_order_release);
	return false;
}

/* All that is published. A thread that finds no more hidden values to compute goes on to those of the next
 * piece before the outputs of this one, so that it need not wait for who is still at them. */
static void work(assist *a, assist_place *at)
{
	uint32_t job = atomic_load_explicit(&a->job, memory_order_relaxed);
	if (job != at->job)
		*at = (assist_place){.job = job};
	for (;;) {
		uint32_t published = atomic_load_explicit(&a->published, memory_order_acquire);
		if (at->front < published && at->front - at->back < 2)
			run_front(a, at->front++);
		else if (at->back < at->front)
			run_back(a, at->back++);
		else
			return;
	}
}

/* ------------------------------------------------------------------ sleep */

void assist_signal(assist *a)
{
	atomic_fetch_add(&a->signals, 1);
	if (atomic_load(&a->sleepers) == 0)
		return;
	lock_take(&a->lock);
	lock_wake_all(&a->woken);
	lock_drop(&a->lock);
}

/* Either the signaller sees the sleeper, or the sleeper the signal: both orders are sequential. */
static void sleep_until_signal(assist *a, uint32_t seen)
{
	lock_take(&a->lock);
	atomic_fetch_add(&a->sleepers, 1);
	while (atomic_load(&a->signals) == seen)
		lock_wait(&a->woken, &a->lock);
	atomic_fetch_sub(&a->sleepers, 1);
	lock_drop(&a->lock);
}

static void await_signal(assist *a, uint32_t seen)
{
	uint64_t until_ns = clock_now_ns() + AWAKE_NS;
	for (uint32_t round = 0; atomic_load(&a->signals) == seen; round++) {
		if (round % 64 == 63 && clock_now_ns() >= until_ns) {
			sleep_until_signal(a, seen);
			return;
		}
		assist_breathe(round);
	}
}

void *assist_worker_main(void *arg)
{
	const assist_worker *self = arg;
	assist *a = self->owner;
	assist_place at = {0};
	for (;;) {
		uint32_t seen = atomic_load(&a->signals);
		if (atomic_load(&a->stop))
			return NULL;
		if (join_job(a)) {
			work(a, &at);
			atomic_fetch_sub_explicit(&a->inside, 1, memory_order_release);
		}
		if (!assist_forget_some(a))
			await_signal(a, seen);
	}
}
