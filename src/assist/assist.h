/* SPDX-License-Identifier: MIT */
/*
 * The CPU beside the device: a pool of pinned threads that computes experts where they lie in host
 * memory. It knows descriptions, addresses and rows; nothing of slots, copies or devices.
 *
 * One expert at a time is computed by all threads, so that its bytes are read at the rate of the whole
 * memory. An expert has two phases, hidden values and outputs; the units of a phase are handed out in
 * small chunks from one counter, and the last chunk of the first phase opens the second. Whoever finds
 * no chunk left goes on to the hidden values of the next expert and comes back to the outputs of this one,
 * so that nobody waits for the last chunk as long as there is a next expert. Between jobs threads sleep; in
 * a job they spin for a while first, because an expert of a few megabytes takes less time than waking a
 * thread.
 *
 * Results have the bits that the kernels give, whatever the threads and chunks. Which kernels depends on an
 * expert's number of rows alone.
 */
#ifndef UFM_ASSIST_ASSIST_H
#define UFM_ASSIST_ASSIST_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/kernels.h"

#define ASSIST_THREADS_MAX 1024u
/* Experts that keep the pool busy: outputs of one, hidden values of the next, and one to go on to. */
#define ASSIST_AHEAD 3u

typedef struct assist assist;

typedef struct assist_config {
	const ufm_expert_desc *desc; /* must outlive the pool */
	const kernel_table *kernels; /* NULL: kernels_best(), or kernels_best_few() */
	uint32_t threads;            /* 1 … ASSIST_THREADS_MAX */
	uint32_t experts_max;        /* of one job */
	uint64_t rows_max;           /* of one job, all experts together */
} assist_config;

/* The cores this process may use less one, which is left to the caller and the driver; 0 where there
 * is no second core. */
uint32_t assist_threads_default(void);

/* Starts the threads, each on a core of its own if there are that many beside one that is left free.
 * All memory is taken here. UFM_ENOMEM. */
ufm_status assist_open(const assist_config *config, assist **out);
void assist_close(assist *a); /* NULL is allowed; no job may be open */
uint32_t assist_threads(const assist *a);

/* One job at a time; one thread calls all of the following. None allocates. */

/* A hint that a job comes within microseconds: sleeping threads wake up. */
void assist_wake(assist *a);
/* Opens a job. */
void assist_begin(assist *a);
/* Adds an expert: y[t] = expert(x[t]) for t in 0 … rows-1, both f32 [rows, d_model]. `block` holds the
 * expert's bytes; what x points to is read and y written until the expert is done. */
void assist_add(assist *a, const void *block, const float *x, uint32_t rows, float *y);
/* How many experts of the job, in the order they were added, are done; their y may be read. */
uint32_t assist_done(assist *a);
/* How many were added. */
uint32_t assist_added(const assist *a);

/* When the threads worked on the index-th expert of the last or open job. end_ns 0: it is not done;
 * begin_ns 0: nobody has begun. Times of clock_now_ns(). Neighbours overlap: what an expert costs is
 * worked_ns, the time that threads have spent on it so far, by the number of all threads. */
typedef struct assist_span {
	uint32_t rows;
	uint64_t begin_ns, end_ns, worked_ns;
} assist_span;
assist_span assist_span_of(const assist *a, uint32_t index);

/* What a job did. busy_ns: time in which at least one expert was being computed. */
typedef struct assist_totals {
	uint32_t experts;
	uint64_t rows, busy_ns, weight_bytes;
} assist_totals;
/* Waits for all experts that were added and closes the job. */
assist_totals assist_end(assist *a);

/*
 * What the threads have just read lies in their caches, and a device that copies it from there takes more than
 * twice as long as from memory (docs/performance-log.md). Has idle threads drop an expert's bytes from all caches,
 * beside whatever the caller does; a job goes first. Gives a number for assist_forgotten; 0: there is nothing to
 * wait for, because the processor can't or too much is asked.
 */
uint64_t assist_forget(assist *a, const void *block);
bool assist_forgotten(const assist *a, uint64_t number);

#endif
