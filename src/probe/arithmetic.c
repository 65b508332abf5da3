/* SPDX-License-Identifier: MIT */
/* Our own products: more and more rows until that takes long, and the best rate of all. */
#include "base/clock.h"
#include "probe/probe_int.h"

#define ROWS_MIN 256u   /* fewer in a call, and weights are what bounds it */
#define ROWS_ENTRY 512u /* of one expert */
#define ROWS_MAX 8192u
#define LONG_NS 20000000u

typedef struct products {
	probe_subject *s;
	uint32_t rows;
} products;

/* Whatever the workspace and the blocks hold is multiplied. */
static ufm_status multiply(void *ctx, uint32_t index)
{
	const products *p = ctx;
	probe_subject *s = p->s;
	const timed *t = &s->link.timed;
	ufm_experts_args args = {.desc = s->blocks.desc,
	                         .entries = s->entries,
	                         .x = s->ws->x,
	                         .hidden = s->ws->hidden,
	                         .y = s->ws->table,
	                         .math = s->math};
	(void)index;
	for (uint32_t at = 0; at < p->rows && args.entry_count < s->entries_max; at += ROWS_ENTRY) {
		uint32_t left = p->rows - at;
		s->entries[args.entry_count++] =
			(ufm_expert_rows){.block = s->link.next(s->link.ctx).to,
		                      .row = at,
		                      .rows = left < ROWS_ENTRY ? left : ROWS_ENTRY};
	}
	return t->b->experts(t->stream, &args);
}

static double operations(const ufm_expert_desc *desc, uint32_t rows)
{
	double parameters = 0;
	for (uint32_t i = 0; i < desc->part_count; i++)
		parameters += (double)desc->parts[i].rows * desc->parts[i].cols;
	return 2 * parameters * rows;
}

/* Not the first time, where there is time for a second. */
static ufm_status time_warm(products *p, uint64_t *elapsed_ns)
{
	const timed *t = &p->s->link.timed;
	ufm_status status = timed_units(t, multiply, p, 1, elapsed_ns);
	if (!status && *elapsed_ns < LONG_NS / 4)
		status = timed_units(t, multiply, p, 1, elapsed_ns);
	return status;
}

static uint32_t rows_most(const probe_subject *s)
{
	uint64_t most = (uint64_t)ROWS_ENTRY * s->entries_max;
	most = most < s->ws->piece_rows ? most : s->ws->piece_rows;
	return most < ROWS_MAX ? (uint32_t)most : ROWS_MAX;
}

ufm_status probe_arithmetic(probe_subject *s, double *gflops)
{
	uint64_t until_ns = clock_now_ns() + s->budget_ns, elapsed_ns = 0;
	if (s->ws->piece_rows < ROWS_MIN)
		return UFM_OK;
	for (products p = {s, ROWS_MIN / 4}; p.rows <= rows_most(s); p.rows *= 2) {
		ufm_status status = time_warm(&p, &elapsed_ns);
		if (status)
			return status;
		double rate = operations(s->blocks.desc, p.rows) / (double)elapsed_ns;
		*gflops = rate > *gflops ? rate : *gflops;
		if (elapsed_ns > LONG_NS || clock_now_ns() > until_ns)
			break;
	}
	return UFM_OK;
}
