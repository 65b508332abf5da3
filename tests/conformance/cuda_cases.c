/* SPDX-License-Identifier: MIT */
/* What only the cuda backend promises: a real card's limits, page-locking in pieces, native streams. */
#include "conformance.h"

#include <string.h>

#include "base/alloc.h"

static void cuda_bad_config(void **state)
{
	(void)state;
	ufm_device_config config;
	ufm_device *device = NULL;
	uint32_t count = 0;

	OK(the.backend->device_count(&count));
	UFM_STRUCT_INIT(&config);
	config.index = count;
	FAILS(the.backend->device_open(&config, &device), UFM_EINVAL);
	assert_non_null(strstr(ufm_last_error(), "device_index"));
	FAILS(open_device(0, 5.0, &device), UFM_EUNSUPPORTED);
	FAILS(open_device(1, 0.0, &device), UFM_EDEVMEM);
	assert_non_null(strstr(ufm_last_error(), "vram-limit: 1 bytes"));
	FAILS(open_device(UINT64_MAX, 0.0, &device), UFM_EINVAL);
	assert_null(device);
}

static void cuda_bad_memory_calls(void **state)
{
	(void)state;
	const ufm_backend *b = the.backend;
	ufm_devptr data = device_alloc(64), unused = 0;
	static const int pageable = 1;

	FAILS(b->host_view(the.device, &pageable, &unused), UFM_EINVAL);
	FAILS(b->mem_map(the.device, data + 1, the.info.map_granularity_bytes), UFM_EINVAL);
	FAILS(b->mem_map(the.device, data, the.info.map_granularity_bytes), UFM_EINVAL);
	FAILS(b->mem_map(the.device, data, 1), UFM_EINVAL);
	FAILS(b->mem_unmap(the.device, 4096, the.info.map_granularity_bytes), UFM_EINVAL);
}

/* One copy over three registrations and the memory between them. */
static void cuda_copy_across_registrations(void **state)
{
	(void)state;
	enum { PAGE = 4096, SIZE = 64 * PAGE };
	static const struct {
		uint32_t page, pages;
	} locked[] = {{3, 10}, {13, 20}, {40, 24}};
	const ufm_backend *b = the.backend;
	unsigned char *memory = alloc_pages(SIZE), *back = alloc_zeroed(1, SIZE);
	ufm_devptr data = device_alloc(SIZE);

	assert_true(memory && back);
	for (uint32_t i = 0; i < 3; i++)
		OK(b->host_register(memory + locked[i].page * PAGE, locked[i].pages * PAGE));
	for (uint32_t i = 0; i < SIZE; i++)
		memory[i] = (unsigned char)(i * 2654435761u >> 24);
	OK(b->copy(the.stream, UFM_COPY_H2D, data, (ufm_devptr)(uintptr_t)memory, SIZE));
	OK(b->stream_sync(the.stream));
	memcpy(back, memory, SIZE);
	memset(memory, 0, SIZE);
	OK(b->copy(the.stream, UFM_COPY_D2H, (ufm_devptr)(uintptr_t)memory, data, SIZE));
	OK(b->stream_sync(the.stream));
	assert_memory_equal(memory, back, SIZE);
	for (uint32_t i = 3; i-- > 0;)
		b->host_unregister(memory + locked[i].page * PAGE, locked[i].pages * PAGE);
	alloc_pages_free(memory, SIZE);
	alloc_free(back);
}

/* The runtime's per-thread stream has a constant handle. */
static void cuda_native_stream(void **state)
{
	(void)state;
	void *const per_thread = (void *)2;
	ufm_devptr data = device_alloc(1000);
	ufm_stream *stream;
	unsigned char seen[1000] = {0};

	OK(the.backend->stream_open(the.device, per_thread, &stream));
	OK(the.backend->fill(stream, data, 9, sizeof seen));
	OK(the.backend->stream_sync(stream));
	the.backend->stream_close(stream);
	download(seen, data, sizeof seen);
	assert_true(seen[0] == 9 && seen[999] == 9);
}

/* All that is free but what is said to be unusable can be had, on the whole card. */
static void cuda_whole_card(void **state)
{
	(void)state;
	const ufm_backend *b = the.backend;
	uint64_t granule = the.info.map_granularity_bytes;
	ufm_device_memory memory;
	ufm_devptr base;

	b->device_get_memory(the.device, &memory);
	uint64_t size_bytes = (memory.free_bytes - the.info.unusable_bytes) / granule * granule;
	OK(b->mem_reserve(the.device, size_bytes, &base));
	OK(b->mem_map(the.device, base, size_bytes));
	OK(b->fill(the.stream, base + size_bytes - granule, 1, granule));
	OK(b->stream_sync(the.stream));
	OK(b->mem_unmap(the.device, base, size_bytes));
	b->mem_release(the.device, base, size_bytes);
	ufm_device_memory after;
	b->device_get_memory(the.device, &after);
	assert_true(after.free_bytes + the.info.unusable_bytes >= memory.free_bytes);
}

static const struct CMUnitTest cases[] = {
	BARE_CASE(cuda_bad_config), CASE(cuda_bad_memory_calls), CASE(cuda_copy_across_registrations),
	CASE(cuda_native_stream),   CASE(cuda_whole_card),
};
const case_list cuda_cases = CASE_LIST(cases);
