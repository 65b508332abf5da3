/* SPDX-License-Identifier: MIT */
/* A fixed set of threads that share the items of one job at a time. */
#ifndef UFM_BASE_POOL_H
#define UFM_BASE_POOL_H

#include <stdint.h>
#include <ufm/ufm.h>

typedef struct pool pool;

/* threads >= 1, the caller of pool_run counted; UFM_ENOMEM. */
ufm_status pool_open(uint32_t threads, pool **out);
void pool_close(pool *p); /* NULL is allowed */
uint32_t pool_threads(const pool *p);

/* Calls work(ctx, i, worker) once for every i in 0 … items-1, spread over the threads, the calling
 * one among them; worker is in 0 … threads-1. Returns when all are done. One job at a time: callers
 * serialise. Makes no allocation. */
typedef void (*pool_work)(void *ctx, uint32_t item, uint32_t worker);
void pool_run(pool *p, uint32_t items, pool_work work, void *ctx);

#endif
