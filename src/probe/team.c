/* SPDX-License-Identifier: MIT */
/* Every thread takes the next piece from one counter until the caller's thread sees the end. */
#include "probe/team.h"

#include <stdatomic.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/pool.h"
#include "kernels/kernels.h"

/* Small enough to end together, large enough that taking one costs nothing. */
#define PIECE_BYTES (512u * 1024)
#define LINE_BYTES 64u
/* How far ahead the plain read asks for its lines, 4 KiB: the hardware's own prefetch stops at pages,
 * and may leave a core short of what memory gives. */
#define AHEAD_LINES 64u
#define LINES_A_ROUND 4u

typedef uint64_t wide __attribute__((vector_size(64), aligned(16), may_alias));

struct probe_team {
	probe_blocks blocks;
	const ufm_expert_desc *desc;
	const kernel_table *kernels;
	uint32_t pieces; /* of a block */
	pool *pool;
	float *token;   /* [d_model]; read */
	float *hidden;  /* [d_hidden]; read */
	float *scratch; /* [threads][scratch_floats]; written */
	uint64_t scratch_floats;
	_Atomic uint64_t next; /* piece of the bank, counted on and on */

	/* of the running job */
	probe_work work;
	probe_more more;
	void *ctx;
	_Atomic bool stop;
	_Atomic uint64_t read_bytes;
	_Atomic uint64_t sink; /* so that no read is left out */
};

uint32_t probe_team_threads(void)
{
	limits here;
	limits_read(&here);
	return here.cores > 1 ? here.cores - 1 : 1;
}

static uint32_t share(uint32_t count, uint32_t piece, uint32_t pieces)
{
	return (uint32_t)((uint64_t)count * piece / pieces);
}

static void read_lines(probe_team *t, const uint8_t *block, uint32_t piece)
{
	uint64_t lines = t->desc->expert_bytes / LINE_BYTES;
	const wide *in = (const wide *)block;
	uint64_t i = lines * piece / t->pieces, end = lines * (piece + 1) / t->pieces;
	wide a = {0}, b = {0}, c = {0}, d = {0};
	for (; i + LINES_A_ROUND <= end; i += LINES_A_ROUND) {
		/* Into the next piece, at worst past the bank: a prefetch does not fault. */
		for (uint32_t n = 0; n < LINES_A_ROUND; n++)
			__builtin_prefetch(block + (i + n + AHEAD_LINES) * LINE_BYTES);
		a ^= in[i];
		b ^= in[i + 1];
		c ^= in[i + 2];
		d ^= in[i + 3];
	}
	for (; i < end; i++)
		a ^= in[i];
	a ^= b ^ c ^ d;
	atomic_fetch_xor_explicit(&t->sink, a[0] ^ a[1] ^ a[2] ^ a[3] ^ a[4] ^ a[5] ^ a[6] ^ a[7],
	                          memory_order_relaxed);
}

/* Rows of both phases; what the second reads is not what the first wrote, so no thread waits. */
static void multiply(probe_team *t, const uint8_t *block, uint32_t piece, uint32_t worker)
{
	const ufm_expert_desc *d = t->desc;
	float *out = t->scratch + worker * t->scratch_floats;
	uint32_t begin = share(d->d_hidden, piece, t->pieces);
	uint32_t end = share(d->d_hidden, piece + 1, t->pieces);
	if (begin < end)
		t->kernels->hidden(d, block, t->token, 1, out, begin, end);
	begin = share(d->d_model, piece, t->pieces);
	end = share(d->d_model, piece + 1, t->pieces);
	if (begin < end)
		t->kernels->output(d, block, t->hidden, 1, out, begin, end);
}

static uint64_t take_piece(probe_team *t, uint32_t worker)
{
	uint64_t at = atomic_fetch_add_explicit(&t->next, 1, memory_order_relaxed);
	uint32_t piece = (uint32_t)(at % t->pieces), key = (uint32_t)(at / t->pieces % t->blocks.keys);
	const uint8_t *block = t->blocks.block(t->blocks.of, key);
	if (t->work == PROBE_READ)
		read_lines(t, block, piece);
	else
		multiply(t, block, piece, worker);
	return t->desc->expert_bytes / t->pieces;
}

/* The pool's calling thread is the one that started the job, whatever item it gets. */
static void work_on(void *ctx, uint32_t item, uint32_t worker)
{
	probe_team *t = ctx;
	uint64_t read_bytes = 0;
	(void)item;
	while (!atomic_load_explicit(&t->stop, memory_order_relaxed)) {
		read_bytes += take_piece(t, worker);
		if (worker == 0 && !t->more(t->ctx))
			atomic_store(&t->stop, true);
	}
	atomic_fetch_add(&t->read_bytes, read_bytes);
}

double probe_team_run(probe_team *t, probe_work work, probe_more more, void *ctx)
{
	t->work = work;
	t->more = more;
	t->ctx = ctx;
	atomic_store(&t->stop, false);
	atomic_store(&t->read_bytes, 0);
	uint64_t begin_ns = clock_now_ns();
	pool_run(t->pool, pool_threads(t->pool), work_on, t);
	return (double)atomic_load(&t->read_bytes) / (double)(clock_now_ns() - begin_ns);
}

static ufm_status open_parts(probe_team *t, uint32_t threads)
{
	const ufm_expert_desc *d = t->desc;
	t->scratch_floats = d->d_hidden > d->d_model ? d->d_hidden : d->d_model;
	t->scratch_floats += LINE_BYTES / sizeof(float);
	t->token = alloc_zeroed(d->d_model, sizeof *t->token);
	t->hidden = alloc_zeroed(d->d_hidden, sizeof *t->hidden);
	t->scratch = alloc_zeroed(threads * t->scratch_floats, sizeof *t->scratch);
	if (!t->token || !t->hidden || !t->scratch)
		return UFM_ENOMEM;
	for (uint32_t i = 0; i < d->d_model; i++)
		t->token[i] = 0.5f;
	for (uint32_t i = 0; i < d->d_hidden; i++)
		t->hidden[i] = 0.5f;
	return pool_open(threads, &t->pool);
}

ufm_status probe_team_open(const probe_blocks *blocks, uint32_t threads, probe_team **out)
{
	probe_team *t = alloc_zeroed(1, sizeof *t);
	if (!t)
		return UFM_ENOMEM;
	t->blocks = *blocks;
	t->desc = blocks->desc;
	t->kernels = kernels_best_few();
	t->pieces = (uint32_t)(t->desc->expert_bytes / PIECE_BYTES + 1);
	ufm_status status = open_parts(t, threads);
	if (status) {
		probe_team_close(t);
		return status;
	}
	*out = t;
	return UFM_OK;
}

void probe_team_close(probe_team *t)
{
	if (!t)
		return;
	pool_close(t->pool);
	alloc_free(t->scratch);
	alloc_free(t->hidden);
	alloc_free(t->token);
	alloc_free(t);
}
