/* SPDX-License-Identifier: MIT */
/* Device memory, read by the backend's own kernel for it. */
#include "probe/probe_int.h"

#define LEAST_BYTES ((uint64_t)1 << 30)
#define MOST_BYTES ((uint64_t)4 << 30) /* where one read of LEAST_BYTES is over too soon */
#define SOON_NS 1250000u
#define ALIGN_BYTES 16u

typedef struct reading {
	probe_subject *s;
	uint64_t bytes;
} reading;

static ufm_status read_once(void *ctx, uint32_t index)
{
	const reading *r = ctx;
	const timed *t = &r->s->link.timed;
	(void)index;
	return t->b->read(t->stream, r->s->range, r->bytes, r->s->ws->ids);
}

static uint64_t at_most(uint64_t bytes, uint64_t most_bytes)
{
	return bytes < most_bytes ? bytes : most_bytes;
}

ufm_status probe_memory(probe_subject *s, double *gbps)
{
	uint64_t first_ns, most_bytes = at_most(s->range_bytes, MOST_BYTES);
	double each_ns;
	most_bytes -= most_bytes % ALIGN_BYTES;
	reading r = {s, at_most(most_bytes, LEAST_BYTES)};
	ufm_status status = timed_units(&s->link.timed, read_once, &r, 1, &first_ns);
	if (!status && first_ns < SOON_NS)
		r.bytes = most_bytes;
	if (!status)
		status = timed_each(&s->link.timed, read_once, &r, s->budget_ns, &each_ns);
	if (!status)
		*gbps = (double)r.bytes / each_ns;
	return status;
}
