/* SPDX-License-Identifier: MIT */
/* Work enqueued on a stream, timed by the device between two events. */
#ifndef UFM_PROBE_TIMED_H
#define UFM_PROBE_TIMED_H

#include <ufm/backend.h>

typedef struct timed {
	const ufm_backend *b;
	ufm_stream *stream;
	ufm_event *begin, *end; /* of this one's use */
} timed;

/* Enqueues the index-th of some like pieces of work. */
typedef ufm_status (*timed_unit)(void *ctx, uint32_t index);

#define TIMED_UNITS_MAX 128u /* enqueued at once; queues hold more */

/* Enqueues `count` units between the events. Whatever it returns, timed_finish is still due. */
ufm_status timed_enqueue(const timed *t, timed_unit unit, void *ctx, uint32_t count);
/* Waits for them. *elapsed_ns is never 0. Returns the outcome, or its own failure. */
ufm_status timed_finish(const timed *t, ufm_status outcome, uint64_t *elapsed_ns);
ufm_status timed_units(const timed *t, timed_unit unit, void *ctx, uint32_t count,
                       uint64_t *elapsed_ns);
/* What one unit takes when units follow each other: the median of measurements that each last some milliseconds, for
 * about budget_ns and at least one. */
ufm_status timed_each(const timed *t, timed_unit unit, void *ctx, uint64_t budget_ns,
                      double *each_ns);

#endif
