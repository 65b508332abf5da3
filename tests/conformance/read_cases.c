/* SPDX-License-Identifier: MIT */
/* read: the xor of every 32-bit word of the range, and of nothing beside it. */
#include "conformance.h"

#include "base/alloc.h"
#include "base/rng.h"

#define MIB (1u << 20)
#define GUARD_BYTES 256u

static uint32_t xor_of(const uint32_t *words, uint64_t size_bytes)
{
	uint32_t sum = 0;

	for (uint64_t i = 0; i < size_bytes / sizeof *words; i++)
		sum ^= words[i];
	return sum;
}

/* Reads `size_bytes` from `offset_bytes` on; what lies around it is random too. */
static void check(uint64_t offset_bytes, uint64_t size_bytes)
{
	uint64_t all_bytes = offset_bytes + size_bytes + GUARD_BYTES;
	uint32_t *words = alloc_zeroed(all_bytes, 1), found;
	rng r;

	assert_non_null(words);
	rng_seed(&r, rng_mix(the.seed, offset_bytes ^ size_bytes));
	for (uint64_t i = 0; i < all_bytes / sizeof *words; i++)
		words[i] = rng_below(&r, UINT32_MAX);
	ufm_devptr data = upload(words, all_bytes), out = device_alloc(4);
	OK(the.backend->read(the.stream, data + offset_bytes, size_bytes, out));
	download(&found, out, sizeof found);
	uint32_t wanted = xor_of(words + offset_bytes / sizeof *words, size_bytes);
	if (found != wanted)
		fail_msg("%llu bytes at %llu: %08x, expected %08x, seed %llu",
		         (unsigned long long)size_bytes, (unsigned long long)offset_bytes, found, wanted,
		         (unsigned long long)the.seed);
	alloc_free(words);
}

static void read_sizes(void **state)
{
	(void)state;
	static const uint64_t sizes[] = {0, 16, 32, 48, 64, 80, 4096, 65536 + 16, MIB, MIB + 16};

	for (uint32_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
		check(0, sizes[i]);
}

static void read_offsets(void **state)
{
	(void)state;
	check(16, 16);
	check(48, 64);
	check(16, MIB + 16);
	check(240, 3 * MIB + 32);
}

/* More than one round of every thread. */
static void read_much(void **state)
{
	(void)state;
	check(0, 12ull * MIB + 16);
}

/* In the order of the stream, and again with the same `out`. */
static void read_in_order(void **state)
{
	(void)state;
	ufm_devptr data = device_alloc(MIB), out = device_alloc(4);
	uint32_t found;

	OK(the.backend->fill(the.stream, data, 0, MIB));
	OK(the.backend->fill(the.stream, data + 16, 0x5a, 4));
	OK(the.backend->read(the.stream, data, MIB, out));
	OK(the.backend->read(the.stream, data, MIB, out));
	download(&found, out, sizeof found);
	assert_int_equal(found, 0x5a5a5a5a);
}

static void read_refusals(void **state)
{
	(void)state;
	const ufm_backend *b = the.backend;
	ufm_devptr data = device_alloc(64), out = device_alloc(4);

	FAILS(b->read(the.stream, data, 8, out), UFM_EINVAL);
	FAILS(b->read(the.stream, data, 17, out), UFM_EINVAL);
	FAILS(b->read(the.stream, data + 4, 16, out), UFM_EINVAL);
	FAILS(b->read(the.stream, 0, 16, out), UFM_EINVAL);
	FAILS(b->read(the.stream, data, 16, 0), UFM_EINVAL);
	FAILS(b->read(the.stream, data, 16, out + 1), UFM_EINVAL);
	OK(b->read(the.stream, data, 64, out));
	OK(b->stream_sync(the.stream));
}

static const struct CMUnitTest cases[] = {
	CASE(read_sizes), CASE(read_offsets), CASE(read_much), CASE(read_in_order), CASE(read_refusals),
};
const case_list read_cases = CASE_LIST(cases);
