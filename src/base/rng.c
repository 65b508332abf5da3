/* SPDX-License-Identifier: MIT */
/* The sequential generator and the counter-based one that fills expert weights. */
#include "base/rng.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>

#include "base/bf16.h"

static inline uint64_t rotate_left(uint64_t x, unsigned bits)
{
	return (x << bits) | (x >> (64 - bits));
}

/* The finaliser of splitmix64 (Steele, Lea and Flood 2014). */
static inline uint64_t mix64(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

uint64_t rng_mix(uint64_t a, uint64_t b)
{
	return mix64(mix64(a + 0x9e3779b97f4a7c15u) + b * 0xd1342543de82ef95u + 1);
}

void rng_seed(rng *r, uint64_t seed)
{
	for (unsigned i = 0; i < 4; i++) {
		seed += 0x9e3779b97f4a7c15u;
		r->s[i] = mix64(seed);
	}
}

uint64_t rng_u64(rng *r)
{
	uint64_t *s = r->s;
	uint64_t value = rotate_left(s[1] * 5, 7) * 9;
	uint64_t carried = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= carried;
	s[3] = rotate_left(s[3], 45);
	return value;
}

double rng_unit(rng *r)
{
	return (double)(rng_u64(r) >> 11) * 0x1p-53;
}

/* A multiplication maps 32 random bits onto 0 … n-1; draws that would make some results more likely
 * than others are repeated (Lemire 2019). */
uint32_t rng_below(rng *r, uint32_t n)
{
	assert(n >= 1);
	uint32_t surplus = (uint32_t)(-n) % n;

	for (;;) {
		uint64_t product = (rng_u64(r) >> 32) * n;
		if ((uint32_t)product >= surplus)
			return (uint32_t)(product >> 32);
	}
}

double rng_gauss(rng *r)
{
	double u, v, square;

	do {
		u = 2.0 * rng_unit(r) - 1.0;
		v = 2.0 * rng_unit(r) - 1.0;
		square = u * u + v * v;
	} while (square >= 1.0 || square == 0.0);
	return u * sqrt(-2.0 * log(square) / square);
}

/* Both halves of the key after a 64-bit mix, so that neighbouring keys share no structure. */
typedef struct stream_key {
	uint32_t low, high;
} stream_key;

static inline stream_key stream_key_of(uint64_t key)
{
	uint64_t mixed = mix64(key + 0x9e3779b97f4a7c15u);

	return (stream_key){(uint32_t)mixed, (uint32_t)(mixed >> 32)};
}

/* 32-bit operations alone, so that eight elements fit a vector register. The first two factors are
 * those of lowbias32 (Wellons 2018). */
static inline uint32_t stream_bits(stream_key key, uint32_t i)
{
	uint32_t x = i ^ key.low;

	x = (x ^ (x >> 16)) * 0x7feb352du;
	x = (x ^ (x >> 15)) * 0x846ca68bu;
	x += key.high;
	x = (x ^ (x >> 16)) * 0x9e3779b1u;
	return x ^ (x >> 15);
}

/* 24 bits centred on zero times a power of two: exact, whatever the compiler contracts. */
static inline float stream_value(stream_key key, uint32_t i)
{
	int32_t centred = (int32_t)(stream_bits(key, i) >> 8) - (1 << 23);

	return (float)centred * 0x1p-23f;
}

float rng_at(uint64_t key, uint32_t i)
{
	return stream_value(stream_key_of(key), i);
}

/* Loops of a fixed length vectorise at every optimisation level that vectorises at all. */
#define BATCH 64u
#define ALWAYS_INLINE static inline __attribute__((always_inline))

ALWAYS_INLINE void fill_f32(float *out, size_t count, stream_key key, uint32_t first, float scale)
{
	size_t done = 0;

	for (; count - done >= BATCH; done += BATCH) {
		for (uint32_t i = 0; i < BATCH; i++)
			out[done + i] = scale * stream_value(key, first + (uint32_t)done + i);
	}
	for (; done < count; done++)
		out[done] = scale * stream_value(key, first + (uint32_t)done);
}

ALWAYS_INLINE void fill_bf16(uint16_t *out, size_t count, stream_key key, uint32_t first,
                             float scale)
{
	size_t done = 0;

	for (; count - done >= BATCH; done += BATCH) {
		for (uint32_t i = 0; i < BATCH; i++)
			out[done + i] = bf16_from_number(scale * stream_value(key, first + (uint32_t)done + i));
	}
	for (; done < count; done++)
		out[done] = bf16_from_f32(scale * stream_value(key, first + (uint32_t)done));
}

#if defined(__x86_64__)
/* The same code for wider registers: integer operations and single roundings give the same bits. */
__attribute__((target("avx2"))) static void fill_f32_avx2(float *out, size_t count, stream_key key,
                                                          uint32_t first, float scale)
{
	fill_f32(out, count, key, first, scale);
}

__attribute__((target("avx2"))) static void fill_bf16_avx2(uint16_t *out, size_t count,
                                                           stream_key key, uint32_t first,
                                                           float scale)
{
	fill_bf16(out, count, key, first, scale);
}
#endif

void rng_fill_f32(float *out, size_t count, uint64_t key, uint32_t first, float scale)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx2")) {
		fill_f32_avx2(out, count, stream_key_of(key), first, scale);
		return;
	}
#endif
	fill_f32(out, count, stream_key_of(key), first, scale);
}

void rng_fill_bf16(uint16_t *out, size_t count, uint64_t key, uint32_t first, float scale)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx2")) {
		fill_bf16_avx2(out, count, stream_key_of(key), first, scale);
		return;
	}
#endif
	fill_bf16(out, count, stream_key_of(key), first, scale);
}
