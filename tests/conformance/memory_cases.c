/* SPDX-License-Identifier: MIT */
/* Device memory: ranges, chunks, the account, and page-locking. */
#include "conformance.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

/* A device whose free memory is a known, small number of granules. */
typedef struct small_device {
	ufm_device *device;
	uint64_t granule_bytes, limit_bytes, free_bytes, unusable_bytes;
} small_device;

static uint64_t free_bytes_of(ufm_device *device)
{
	ufm_device_memory memory;

	the.backend->device_get_memory(device, &memory);
	assert_true(memory.free_bytes <= memory.total_bytes);
	return memory.free_bytes;
}

static void open_small(small_device *s)
{
	ufm_device_info info;

	/* Granule and context are known only once a device is open. */
	OK(open_device(0, 0.0, &s->device));
	the.backend->device_get_info(s->device, &info);
	the.backend->device_close(s->device);
	s->granule_bytes = info.map_granularity_bytes;
	s->unusable_bytes = info.unusable_bytes;
	s->limit_bytes = info.context_bytes + 64 * s->granule_bytes;
	OK(open_device(s->limit_bytes, 0.0, &s->device));
	s->free_bytes = free_bytes_of(s->device);
	assert_true(s->free_bytes >= 8 * s->granule_bytes);
}

static void memory_limit(void **state)
{
	(void)state;
	small_device s;
	ufm_device_info info;
	ufm_device_memory memory;

	open_small(&s);
	the.backend->device_get_info(s.device, &info);
	the.backend->device_get_memory(s.device, &memory);
	assert_int_equal(info.memory_total_bytes, s.limit_bytes);
	assert_int_equal(memory.total_bytes, s.limit_bytes);
	assert_true(info.name[0] != '\0' && info.compute_units > 0);
	assert_true(info.link_gbps == 0.0);
	the.backend->device_close(s.device);
}

static void memory_map_and_unmap(void **state)
{
	(void)state;
	small_device s;
	ufm_devptr base;

	open_small(&s);
	/* An address range costs no memory, even one larger than the device. */
	uint64_t range_bytes = 256 * s.granule_bytes;
	OK(the.backend->mem_reserve(s.device, range_bytes, &base));
	assert_true(base != 0);
	assert_int_equal(free_bytes_of(s.device), s.free_bytes);
	for (uint64_t i = 0; i < 4; i++) {
		OK(the.backend->mem_map(s.device, base + 3 * i * s.granule_bytes, s.granule_bytes));
		assert_int_equal(free_bytes_of(s.device), s.free_bytes - (i + 1) * s.granule_bytes);
	}
	for (uint64_t i = 4; i-- > 0;) {
		OK(the.backend->mem_unmap(s.device, base + 3 * i * s.granule_bytes, s.granule_bytes));
		assert_int_equal(free_bytes_of(s.device), s.free_bytes - i * s.granule_bytes);
	}
	the.backend->mem_release(s.device, base, range_bytes);
	the.backend->device_close(s.device);
}

/* Maps granules from `at` on until one is refused; returns how many were had. */
static uint64_t map_to_the_end(const small_device *s, ufm_devptr at, uint64_t most)
{
	uint64_t had = 0;
	ufm_status status = UFM_OK;

	for (; status == UFM_OK && had <= most; had += status == UFM_OK)
		status = the.backend->mem_map(s->device, at + had * s->granule_bytes, s->granule_bytes);
	assert_int_equal(status, UFM_EDEVMEM);
	return had;
}

static void memory_exhaustion(void **state)
{
	(void)state;
	small_device s;
	ufm_devptr base;
	char part[64];

	open_small(&s);
	uint64_t granule = s.granule_bytes, spare = s.unusable_bytes / granule;
	uint64_t whole_bytes = (s.free_bytes - s.unusable_bytes) / granule * granule;
	uint64_t range_bytes = whole_bytes + (spare + 2) * granule;
	OK(the.backend->mem_reserve(s.device, range_bytes, &base));
	FAILS(the.backend->mem_map(s.device, base, range_bytes), UFM_EDEVMEM);
	assert_int_equal(free_bytes_of(s.device), s.free_bytes);
	OK(the.backend->mem_map(s.device, base, whole_bytes));
	assert_int_equal(free_bytes_of(s.device), s.free_bytes - whole_bytes);
	uint64_t more_bytes = granule * map_to_the_end(&s, base + whole_bytes, spare);
	snprintf(part, sizeof part, "asked %llu bytes", (unsigned long long)granule);
	assert_non_null(strstr(ufm_last_error(), part));
	snprintf(part, sizeof part, "%llu free", (unsigned long long)free_bytes_of(s.device));
	assert_non_null(strstr(ufm_last_error(), part));
	/* What one chunk gives back, another can have. */
	OK(the.backend->mem_unmap(s.device, base, granule));
	OK(the.backend->mem_map(s.device, base + whole_bytes + more_bytes, granule));
	OK(the.backend->mem_unmap(s.device, base + granule, whole_bytes + more_bytes));
	assert_int_equal(free_bytes_of(s.device), s.free_bytes);
	the.backend->mem_release(s.device, base, range_bytes);
	the.backend->device_close(s.device);
}

/* Chunks that lie side by side are one memory, and keep their bytes when a neighbour goes. */
static void memory_chunks_are_contiguous(void **state)
{
	(void)state;
	const ufm_backend *b = the.backend;
	uint64_t granule = the.info.map_granularity_bytes;
	unsigned char *out = alloc_zeroed(3, granule), *in = alloc_zeroed(3, granule);
	ufm_devptr base;

	assert_true(out && in);
	OK(b->mem_reserve(the.device, 4 * granule, &base));
	for (uint64_t i = 0; i < 3; i++)
		OK(b->mem_map(the.device, base + i * granule, granule));
	for (uint64_t i = 0; i < 3 * granule; i++)
		in[i] = (unsigned char)(i * 131 >> 7);
	ufm_devptr data = upload(in, 3 * granule);
	OK(b->copy(the.stream, UFM_COPY_D2D, base, data, 3 * granule));
	download(out, base, 3 * granule);
	assert_memory_equal(out, in, 3 * granule);
	OK(b->mem_unmap(the.device, base + granule, granule));
	OK(b->mem_map(the.device, base + 3 * granule, granule));
	download(out, base, granule);
	assert_memory_equal(out, in, granule);
	download(out, base + 2 * granule, granule);
	assert_memory_equal(out, in + 2 * granule, granule);
	/* The hole can be filled again. */
	OK(b->mem_map(the.device, base + granule, granule));
	OK(b->fill(the.stream, base, 7, 4 * granule));
	download(out, base + granule, granule);
	assert_int_equal(out[0], 7);
	assert_int_equal(out[granule - 1], 7);
	OK(b->mem_unmap(the.device, base, 4 * granule));
	b->mem_release(the.device, base, 4 * granule);
	alloc_free(out);
	alloc_free(in);
}

static void memory_page_locking(void **state)
{
	(void)state;
	const ufm_backend *b = the.backend;
	size_t size_bytes = 3 * 1024 * 1024 + 4096;
	unsigned char *memory = alloc_pages(size_bytes);
	unsigned char byte = 0;
	ufm_devptr view = 0;

	assert_non_null(memory);
	FAILS(b->host_register(memory, 0), UFM_EINVAL);
	FAILS(b->host_register(memory, ((uint64_t)1 << 30) + 4096), UFM_EINVAL);
	OK(b->host_register(memory, size_bytes));
	OK(b->host_view(the.device, memory + 4096, &view));
	assert_true(view != 0);
	/* The device reads and writes what the host does. */
	memory[4096] = 0xa7;
	ufm_devptr data = device_alloc(1);
	OK(b->copy(the.stream, UFM_COPY_H2D, data, (ufm_devptr)(uintptr_t)(memory + 4096), 1));
	download(&byte, data, 1);
	assert_int_equal(byte, 0xa7);
	b->host_unregister(memory, size_bytes);
	OK(b->host_register(memory, size_bytes));
	b->host_unregister(memory, size_bytes);
	alloc_pages_free(memory, size_bytes);
}

static void memory_closing_null(void **state)
{
	(void)state;
	uint32_t count = 0;

	the.backend->device_close(NULL);
	the.backend->stream_close(NULL);
	OK(the.backend->device_count(&count));
	assert_true(count >= 1);
}

static const struct CMUnitTest cases[] = {
	BARE_CASE(memory_limit),
	BARE_CASE(memory_map_and_unmap),
	BARE_CASE(memory_exhaustion),
	BARE_CASE(memory_closing_null),
	CASE(memory_chunks_are_contiguous),
	CASE(memory_page_locking),
};
const case_list memory_cases = CASE_LIST(cases);
