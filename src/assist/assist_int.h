/* SPDX-License-Identifier: MIT */
/* The pool's insides, for the files of this folder. */
#ifndef UFM_ASSIST_ASSIST_INT_H
#define UFM_ASSIST_ASSIST_INT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "assist/assist.h"
#include "base/lock.h"

/* An expert with more rows is computed in pieces of so many, each with its own pass over the weights:
 * by then arithmetic is the limit. It bounds the memory for hidden values. */
#define ASSIST_PIECE_ROWS 64u

/* Sets of buffers, used by pieces in turn: one has its hidden values computed while the outputs of the one
 * before are, and somebody may be late with those of the one before that. */
#define ASSIST_SETS 3u

#define ASSIST_OPEN 0x80000000u

/* One phase of a piece: its units in large chunks, then the rest in small ones, so that the counter is
 * asked seldom and nobody waits long for the last. */
typedef struct assist_phase {
	uint32_t units, large, larges, small, chunks; /* units a chunk; how many; of both kinds */
	char apart_1[64];
	_Atomic uint32_t next; /* chunk */
	char apart_2[64];
	_Atomic uint32_t done; /* chunks, added up by each thread when it finds no more */
	char apart_3[64];
} assist_phase;

/* Each begins when all of the one before is done. Tables that prepare nothing have no chunks in the first and
 * the third. */
typedef enum assist_step {
	STEP_PREPARE_X,
	STEP_HIDDEN,
	STEP_PREPARE_HIDDEN,
	STEP_OUTPUT,
	STEP_COUNT
} assist_step;

/* One piece of an expert. Written before it is published, but for the atomics. */
typedef struct assist_item {
	const kernel_table *kernels;
	const void *block;
	const float *x;
	float *y, *hidden;
	void *prepared_x, *prepared_hidden; /* NULL: none */
	uint32_t rows;
	assist_phase phases[STEP_COUNT];
	_Atomic uint64_t begin_ns, end_ns; /* end_ns is written when all is done */
	_Atomic uint64_t worked_ns;        /* of all threads, added up when one finds no more */
} assist_item;

/* Where a thread has come: pieces whose hidden values, and whose outputs, it has nothing more to do for. */
typedef struct assist_place {
	uint32_t job, front, back;
} assist_place;

typedef struct assist_worker {
	assist *owner;
	uint32_t number;
	pthread_t thread;
} assist_worker;

/* Blocks to be dropped from the caches, in chunks that are taken in order. */
#define ASSIST_FORGETS 64u
#define ASSIST_FORGET_CHUNK (64u << 10)
typedef struct assist_forgets {
	bool possible;
	uint32_t chunks;                              /* of a block */
	_Atomic(const void *) blocks[ASSIST_FORGETS]; /* request n is at n % ASSIST_FORGETS */
	_Atomic uint64_t asked;                       /* requests so far */
	char apart_1[64];
	_Atomic uint64_t taken, done; /* chunks of all requests so far */
} assist_forgets;

struct assist {
	const ufm_expert_desc *desc;
	const kernel_table *few, *many; /* for experts of few and of more rows */
	uint32_t threads, started, experts_max, items_max;
	assist_item *items; /* [items_max] */
	uint32_t *ends;     /* [experts_max]: one past the last item of each expert */
	/* ASSIST_SETS of each: bytes of one, multiples of 64 */
	float *hidden;
	uint8_t *prepared_x, *prepared_hidden;
	uint64_t hidden_bytes, prepared_x_bytes, prepared_hidden_bytes;

	/* the caller's own */
	uint32_t added, done, item_count;
	uint64_t rows;

	/* each on a cache line of its own: one is read while another is written */
	char apart_1[64];
	_Atomic uint32_t published; /* items of the job that may be taken */
	_Atomic uint32_t job;       /* number of the job, from 1 */
	char apart_2[64];
	_Atomic uint32_t inside; /* ASSIST_OPEN | threads in the job */
	char apart_3[64];
	_Atomic uint32_t signals; /* counts what a sleeping thread must look at */
	_Atomic uint32_t sleepers;
	_Atomic bool stop;
	char apart_4[64];
	assist_forgets forgets;

	lock lock; /* guards nothing but the sleep of threads */
	lock_cond woken;
	assist_worker workers[];
};

/* worker.c */
void *assist_worker_main(void *arg); /* an assist_worker */
/* Tells all threads, sleeping or not, that there is something to look at. */
void assist_signal(assist *a);
/* Waits politely: pauses at first, then gives the core away. `round` counts from 0. */
void assist_breathe(uint32_t round);

/* forget.c */
void assist_forgets_open(assist *a);
/* Drops a chunk, if there is one left. */
bool assist_forget_some(assist *a);

/* pin.c */
/* Keeps each thread on one core, the first being left free; does nothing where cores are fewer than
 * that or are shared out by time. */
void assist_pin(assist *a);

#endif
