/* SPDX-License-Identifier: MIT */
/* Deterministic random numbers: the same on every machine. */
#ifndef UFM_BASE_RNG_H
#define UFM_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

/* A sequential generator (xoshiro256**, Blackman and Vigna 2018; seeded by splitmix64). */
typedef struct rng {
	uint64_t s[4];
} rng;
void rng_seed(rng *r, uint64_t seed);
uint64_t rng_u64(rng *r);
double rng_unit(rng *r);                /* [0, 1) */
uint32_t rng_below(rng *r, uint32_t n); /* [0, n), n >= 1, without bias */
double rng_gauss(rng *r);               /* mean 0, variance 1 (polar method) */

/* A 64-bit mix of two numbers, for deriving seeds. */
uint64_t rng_mix(uint64_t a, uint64_t b);

/* Element i of stream `key` as a counter-based value: can be filled in any order and in parallel.
 * Uniform in [-1, 1), a multiple of 2^-23. A stream has 2^32 elements; longer fills repeat it. */
float rng_at(uint64_t key, uint32_t i);
/* out[i] = scale * rng_at(key, first + i); vectorises. */
void rng_fill_f32(float *out, size_t count, uint64_t key, uint32_t first, float scale);
/* The same values rounded to bf16; scale is finite. */
void rng_fill_bf16(uint16_t *out, size_t count, uint64_t key, uint32_t first, float scale);

#endif
