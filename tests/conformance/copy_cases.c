/* SPDX-License-Identifier: MIT */
/* Copies, fills, and the order of work within one stream. */
#include "conformance.h"

#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"

static const uint64_t sizes[] = {0,    1,    3,    4,     63,      64,
                                 4095, 4096, 4097, 65537, 1000003, (uint64_t)6 * 1024 * 1024 + 5};

#define SIZES (sizeof sizes / sizeof sizes[0])
#define GUARD_BYTES 64u

/* To the device, across it, and back, at unaligned addresses, with nothing touched around. */
static void round_trip(uint64_t size_bytes, uint64_t shift)
{
	const ufm_backend *b = the.backend;
	uint64_t all_bytes = size_bytes + 2 * GUARD_BYTES;
	unsigned char *in = host_alloc(all_bytes), *out = host_alloc(all_bytes);
	ufm_devptr first = device_alloc(all_bytes), second = device_alloc(all_bytes);

	rng r;
	rng_seed(&r, the.seed + size_bytes);
	for (uint64_t i = 0; i < all_bytes; i++)
		in[i] = (unsigned char)(rng_u64(&r) >> 56);
	memset(out, 0x5a, all_bytes);
	OK(b->fill(the.stream, first, 0x11, all_bytes));
	OK(b->fill(the.stream, second, 0x22, all_bytes));
	OK(b->copy(the.stream, UFM_COPY_H2D, first + shift, (ufm_devptr)(uintptr_t)(in + shift),
	           size_bytes));
	OK(b->copy(the.stream, UFM_COPY_D2D, second + shift, first + shift, size_bytes));
	OK(b->copy(the.stream, UFM_COPY_D2H, (ufm_devptr)(uintptr_t)out, second, all_bytes));
	OK(b->stream_sync(the.stream));
	for (uint64_t i = 0; i < all_bytes; i++) {
		bool inside = i >= shift && i < shift + size_bytes;
		if (out[i] != (inside ? in[i] : 0x22))
			fail_msg("copy of %llu bytes at offset %llu: byte %llu is wrong, seed %llu",
			         (unsigned long long)size_bytes, (unsigned long long)shift,
			         (unsigned long long)i, (unsigned long long)the.seed);
	}
}

static void copy_small_sizes(void **state)
{
	(void)state;
	for (size_t s = 0; s < SIZES - 2; s++) {
		round_trip(sizes[s], 0);
		round_trip(sizes[s], 1);
		round_trip(sizes[s], 37);
	}
}

static void copy_large_sizes(void **state)
{
	(void)state;
	round_trip(sizes[SIZES - 2], 3);
	round_trip(sizes[SIZES - 1], 5);
}

/* Every second block of one side to every second of the other, in reverse; what lies between stays. */
static void many(uint32_t count, uint64_t size_bytes, uint64_t stride_bytes)
{
	const ufm_backend *b = the.backend;
	uint64_t all_bytes = 2 * count * stride_bytes + 1;
	unsigned char *in = host_alloc(all_bytes), *out = host_alloc(all_bytes);
	ufm_devptr first = device_alloc(all_bytes), second = device_alloc(all_bytes);
	ufm_devptr from[70], across[70], over[70], back[70];

	rng r;
	rng_seed(&r, the.seed + count + size_bytes);
	for (uint64_t i = 0; i < all_bytes; i++)
		in[i] = (unsigned char)(rng_u64(&r) >> 56);
	memset(out, 0x5a, all_bytes);
	for (uint32_t i = 0; i < count; i++) {
		uint64_t up = (2 * i + 1) * stride_bytes, down = (2 * (count - 1 - i)) * stride_bytes;
		from[i] = (ufm_devptr)(uintptr_t)in + up;
		across[i] = first + down;
		over[i] = second + up;
		back[i] = (ufm_devptr)(uintptr_t)out + down;
	}
	ufm_copies_args args = {
		.kind = UFM_COPY_H2D, .count = count, .dst = across, .src = from, .size_bytes = size_bytes};
	OK(b->fill(the.stream, first, 0x11, all_bytes));
	OK(b->copies(the.stream, &args));
	args = (ufm_copies_args){UFM_COPY_D2D, count, over, across, size_bytes};
	OK(b->copies(the.stream, &args));
	args = (ufm_copies_args){UFM_COPY_D2H, count, back, over, size_bytes};
	OK(b->copies(the.stream, &args));
	OK(b->stream_sync(the.stream));
	for (uint64_t i = 0; i < all_bytes; i++) {
		uint64_t block = i / stride_bytes, at = i % stride_bytes;
		bool written = block % 2 == 0 && block < 2 * count && at < size_bytes;
		uint64_t source = (2 * (count - 1 - block / 2) + 1) * stride_bytes + at;
		if (out[i] != (written ? in[source] : 0x5a))
			fail_msg("%u copies of %llu bytes: byte %llu is wrong, seed %llu", count,
			         (unsigned long long)size_bytes, (unsigned long long)i,
			         (unsigned long long)the.seed);
	}
}

static void copy_many(void **state)
{
	(void)state;
	static const uint32_t counts[] = {0, 1, 2, 31, 32, 33, 70};

	for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
		many(counts[i], 0, 64);
		many(counts[i], 1, 3);
		many(counts[i], 4097, 4100);
	}
}

static void copy_many_large(void **state)
{
	(void)state;
	many(33, 65537, 65540);
}

static void copy_fill(void **state)
{
	(void)state;
	static unsigned char out[5000];
	ufm_devptr data = device_alloc(sizeof out);

	OK(the.backend->fill(the.stream, data, 1, sizeof out));
	OK(the.backend->fill(the.stream, data + 1, 2, 4097));
	OK(the.backend->fill(the.stream, data + 4500, 3, 0));
	OK(the.backend->fill(the.stream, data + 4999, 4, 1));
	download(out, data, sizeof out);
	for (size_t i = 0; i < sizeof out; i++)
		assert_int_equal(out[i], i == 4999 ? 4 : i >= 1 && i < 4098 ? 2 : 1);
}

/* More commands than any queue holds, each of which undoes the last. */
static void copy_order_in_a_stream(void **state)
{
	(void)state;
	const ufm_backend *b = the.backend;
	ufm_devptr data = device_alloc(4096);
	unsigned char *seen = host_alloc(3000);

	for (uint32_t i = 0; i < 3000; i++) {
		OK(b->fill(the.stream, data, (uint8_t)(i * 7), 4096));
		OK(b->copy(the.stream, UFM_COPY_D2H, (ufm_devptr)(uintptr_t)(seen + i), data + i, 1));
	}
	OK(b->stream_sync(the.stream));
	for (uint32_t i = 0; i < 3000; i++)
		assert_int_equal(seen[i], (uint8_t)(i * 7));
}

/* Arguments are copied at the call. */
static void copy_closing_waits(void **state)
{
	(void)state;
	const ufm_backend *b = the.backend;
	unsigned char *out = host_alloc(4096);
	ufm_devptr data = device_alloc(4096);
	ufm_stream *stream;

	for (uint32_t round = 0; round < 5; round++) {
		OK(b->stream_open(the.device, NULL, &stream));
		keep_busy(stream);
		OK(b->fill(stream, data, (uint8_t)(0x40 + round), 4096));
		OK(b->copy(stream, UFM_COPY_D2H, (ufm_devptr)(uintptr_t)out, data, 4096));
		b->stream_close(stream);
		assert_int_equal(out[0], 0x40 + round);
		assert_int_equal(out[4095], 0x40 + round);
	}
}

static void copy_sync_of_an_idle_stream(void **state)
{
	(void)state;
	ufm_stream *stream;

	OK(the.backend->stream_open(the.device, NULL, &stream));
	OK(the.backend->stream_sync(stream));
	OK(the.backend->stream_sync(stream));
	the.backend->stream_close(stream);
}

static const struct CMUnitTest cases[] = {
	CASE(copy_small_sizes),   CASE(copy_large_sizes),
	CASE(copy_fill),          CASE(copy_many),
	CASE(copy_many_large),    CASE(copy_order_in_a_stream),
	CASE(copy_closing_waits), CASE(copy_sync_of_an_idle_stream),
};
const case_list copy_cases = CASE_LIST(cases);
