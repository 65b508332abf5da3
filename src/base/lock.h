/* SPDX-License-Identifier: MIT */
/* Mutexes with a rank: a thread takes them in rising order only. Builds without NDEBUG abort on
 * misuse, naming both locks. */
#ifndef UFM_BASE_LOCK_H
#define UFM_BASE_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum lock_rank {
	LOCK_RANK_SAMPLER = 5, /* held while a probe asks an engine */
	LOCK_RANK_LENDER = 7,  /* held while engines make room */
	LOCK_RANK_LAYER = 10,  /* one layer call at a time on an engine */
	LOCK_RANK_ENGINE = 20, /* cache, rings and marks of an engine */
	LOCK_RANK_SPANS = 30,  /* device work of an engine that is not on the timeline yet */
	LOCK_RANK_DEVICE = 40, /* events and memory accounts of a cpu device */
	LOCK_RANK_STREAM = 50, /* one stream computes at a time on a cpu device */
	LOCK_RANK_POOL = 60,
	LOCK_RANK_LEAF = 90,
} lock_rank;

typedef struct lock {
	pthread_mutex_t mutex;
	lock_rank rank;
	const char *name;
} lock;

void lock_init(lock *l, lock_rank rank, const char *name);
void lock_destroy(lock *l);
void lock_take(lock *l);
void lock_drop(lock *l);

/* A condition on CLOCK_MONOTONIC. */
typedef struct lock_cond {
	pthread_cond_t cond;
} lock_cond;
void lock_cond_init(lock_cond *c);
void lock_cond_destroy(lock_cond *c);
void lock_wait(lock_cond *c, lock *l);
/* false when until_ns (clock_now_ns time) passed first. */
bool lock_wait_until(lock_cond *c, lock *l, uint64_t until_ns);
void lock_wake_one(lock_cond *c);
void lock_wake_all(lock_cond *c);

#endif
