/* SPDX-License-Identifier: MIT */
/* Reading device memory at its full rate: every thread of the pool takes pieces of the range. */
#include <stdatomic.h>
#include <string.h>

#include "base/status.h"
#include "device/cpu/cpu_int.h"

#define PIECE_BYTES ((uint64_t)256 * 1024)
#define LANES 8u

/* Registers as wide as the machine has; the compiler splits what is wider. */
typedef uint64_t wide __attribute__((vector_size(64), aligned(16), may_alias));

typedef struct reading {
	const uint8_t *at;
	uint64_t size_bytes;
	_Atomic uint32_t sum;
} reading;

static uint32_t fold(uint64_t sum)
{
	return (uint32_t)(sum ^ sum >> 32);
}

/* Several sums, so that no load waits for the one before. */
static uint32_t xor_words(const uint8_t *at, uint64_t size_bytes)
{
	const wide *in = (const wide *)at;
	uint64_t count = size_bytes / sizeof(wide), i = 0, sum = 0;
	wide a = {0}, b = {0}, c = {0}, d = {0};
	for (; i + 4 <= count; i += 4) {
		a ^= in[i];
		b ^= in[i + 1];
		c ^= in[i + 2];
		d ^= in[i + 3];
	}
	for (; i < count; i++)
		a ^= in[i];
	a ^= b ^ c ^ d;
	for (uint32_t lane = 0; lane < LANES; lane++)
		sum ^= a[lane];
	for (uint64_t left = count * sizeof(wide); left < size_bytes; left += sizeof sum) {
		uint64_t word;
		memcpy(&word, at + left, sizeof word);
		sum ^= word;
	}
	return fold(sum);
}

static void read_piece(void *ctx, uint32_t item, uint32_t worker)
{
	reading *r = ctx;
	uint64_t first = item * PIECE_BYTES, left = r->size_bytes - first;

	(void)worker;
	atomic_fetch_xor_explicit(&r->sum,
	                          xor_words(r->at + first, left < PIECE_BYTES ? left : PIECE_BYTES),
	                          memory_order_relaxed);
}

void cpu_run_read(ufm_device *device, const cpu_command *command)
{
	reading r = {.at = cpu_host(command->read.at), .size_bytes = command->read.size_bytes};
	uint32_t items = (uint32_t)((r.size_bytes + PIECE_BYTES - 1) / PIECE_BYTES);

	lock_take(&device->compute_lock);
	pool_run(device->pool, items, read_piece, &r);
	lock_drop(&device->compute_lock);
	uint32_t sum = atomic_load(&r.sum);
	memcpy(cpu_host(command->read.out), &sum, sizeof sum);
}

#define READ_BYTES_MAX (PIECE_BYTES * UINT32_MAX)

ufm_status cpu_read(ufm_stream *stream, ufm_devptr at, uint64_t size_bytes, ufm_devptr out)
{
	cpu_command command = {.op = CPU_OP_READ, .read = {at, out, size_bytes}};

	if (size_bytes % 16 || at % 16 || size_bytes > READ_BYTES_MAX)
		return status_fail(UFM_EINVAL,
		                   "read of %llu bytes: size and address must be multiples of 16",
		                   (unsigned long long)size_bytes);
	if (!at || !out || out % 4)
		return status_fail(UFM_EINVAL, "read of %llu bytes: an address is 0, or out not aligned",
		                   (unsigned long long)size_bytes);
	cpu_enqueue(stream, &command);
	return UFM_OK;
}
