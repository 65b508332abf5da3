/* SPDX-License-Identifier: MIT */
/* Opens and closes what a case has, and the helpers that all cases share. */
#include "conformance.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"

#define ARENA_BYTES ((uint64_t)20 * 1024 * 1024)
#define ALIGN_BYTES 256u

conformance the;

static struct {
	ufm_devptr device;
	uint64_t device_bytes, device_used;
	unsigned char *host;
	uint64_t host_used;
	uint64_t random_streams;
} arena;

void must_be(ufm_status found, ufm_status expected, const char *call, const char *file, int line)
{
	if (found != expected)
		fail_msg("%s:%d: %s is %d, expected %d: %s", file, line, call, (int)found, (int)expected,
		         found == UFM_OK ? "" : ufm_last_error());
}

ufm_status open_device(uint64_t memory_limit_bytes, double link_gbps, ufm_device **out)
{
	ufm_device_config config;

	UFM_STRUCT_INIT(&config);
	config.memory_limit_bytes = memory_limit_bytes;
	config.link_gbps = link_gbps;
	/* More threads than most machines of a test have, so that work is cut up. */
	config.compute_threads = the.is_cpu ? 3 : 0;
	return the.backend->device_open(&config, out);
}

static uint64_t round_up(uint64_t value, uint64_t unit)
{
	return (value + unit - 1) / unit * unit;
}

int case_setup(void **state)
{
	const ufm_backend *b = the.backend;

	(void)state;
	OK(open_device(0, 0.0, &the.device));
	b->device_get_info(the.device, &the.info);
	OK(b->stream_open(the.device, NULL, &the.stream));
	arena.device_bytes = round_up(ARENA_BYTES, the.info.map_granularity_bytes);
	arena.device_used = arena.host_used = 0;
	OK(b->mem_reserve(the.device, arena.device_bytes, &arena.device));
	OK(b->mem_map(the.device, arena.device, arena.device_bytes));
	OK(b->fill(the.stream, arena.device, 0xff, arena.device_bytes));
	arena.host = alloc_pages(ARENA_BYTES);
	assert_non_null(arena.host);
	memset(arena.host, 0xff, ARENA_BYTES);
	OK(b->host_register(arena.host, ARENA_BYTES));
	OK(b->stream_sync(the.stream));
	return 0;
}

int case_teardown(void **state)
{
	const ufm_backend *b = the.backend;

	(void)state;
	OK(b->stream_sync(the.stream));
	b->stream_close(the.stream);
	b->host_unregister(arena.host, ARENA_BYTES);
	alloc_pages_free(arena.host, ARENA_BYTES);
	OK(b->mem_unmap(the.device, arena.device, arena.device_bytes));
	b->mem_release(the.device, arena.device, arena.device_bytes);
	b->device_close(the.device);
	return 0;
}

ufm_devptr device_alloc(uint64_t size_bytes)
{
	ufm_devptr at = arena.device + arena.device_used;

	arena.device_used += round_up(size_bytes, ALIGN_BYTES);
	assert_true(arena.device_used <= arena.device_bytes);
	return at;
}

void *host_alloc(uint64_t size_bytes)
{
	void *at = arena.host + arena.host_used;

	arena.host_used += round_up(size_bytes, ALIGN_BYTES);
	assert_true(arena.host_used <= ARENA_BYTES);
	return at;
}

memory_mark memory_now(void)
{
	return (memory_mark){arena.device_used, arena.host_used};
}

void memory_back_to(memory_mark mark)
{
	OK(the.backend->fill(the.stream, arena.device + mark.device_used, 0xff,
	                     arena.device_used - mark.device_used));
	OK(the.backend->stream_sync(the.stream));
	memset(arena.host + mark.host_used, 0xff, arena.host_used - mark.host_used);
	arena.device_used = mark.device_used;
	arena.host_used = mark.host_used;
}

ufm_devptr upload(const void *data, uint64_t size_bytes)
{
	ufm_devptr to = device_alloc(size_bytes);
	void *locked = host_alloc(size_bytes);

	memcpy(locked, data, size_bytes);
	OK(the.backend->copy(the.stream, UFM_COPY_H2D, to, (ufm_devptr)(uintptr_t)locked, size_bytes));
	OK(the.backend->stream_sync(the.stream));
	return to;
}

void download(void *data, ufm_devptr from, uint64_t size_bytes)
{
	void *locked = host_alloc(size_bytes);

	OK(the.backend->copy(the.stream, UFM_COPY_D2H, (ufm_devptr)(uintptr_t)locked, from,
	                     size_bytes));
	OK(the.backend->stream_sync(the.stream));
	memcpy(data, locked, size_bytes);
}

void random_f32(float *out, size_t count, float scale)
{
	rng_fill_f32(out, count, rng_mix(the.seed, arena.random_streams++), 0, scale);
}

void random_bf16(uint16_t *out, size_t count, float scale)
{
	rng_fill_bf16(out, count, rng_mix(the.seed, arena.random_streams++), 0, scale);
}

double error_of(const float *y, const double *ref, size_t count)
{
	double worst = 0.0, largest = 0.0;

	for (size_t i = 0; i < count; i++) {
		double e = fabs((double)y[i] - ref[i]);
		worst = e > worst || isnan(e) ? e : worst;
		if (isnan(worst))
			break;
		largest = fabs(ref[i]) > largest ? fabs(ref[i]) : largest;
	}
	return largest > 0.0 ? worst / largest : worst;
}

#define BUSY_BYTES ((uint64_t)512 * 1024)

/* Memory of its own at every call: two busy streams must not race. */
void keep_busy(ufm_stream *stream)
{
	ufm_devptr scratch = device_alloc(BUSY_BYTES);

	for (uint32_t i = 0; i < 96; i++)
		OK(the.backend->fill(stream, scratch, (uint8_t)i, BUSY_BYTES));
}
