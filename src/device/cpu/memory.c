/* SPDX-License-Identifier: MIT */
/* Device memory of the cpu backend: address ranges without access, given pages out of a capped
 * account. */
#include <assert.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/status.h"
#include "device/cpu/cpu_int.h"

#define WORD_BITS 64u

static bool is_mapped(const cpu_range *range, uint64_t granule)
{
	return range->mapped[granule / WORD_BITS] >> (granule % WORD_BITS) & 1u;
}

static void set_mapped(cpu_range *range, uint64_t first, uint64_t count, bool mapped)
{
	for (uint64_t g = first; g < first + count; g++) {
		uint64_t bit = (uint64_t)1 << (g % WORD_BITS);
		if (mapped)
			range->mapped[g / WORD_BITS] |= bit;
		else
			range->mapped[g / WORD_BITS] &= ~bit;
	}
}

static uint64_t count_mapped(const cpu_range *range)
{
	uint64_t count = 0;

	for (uint64_t g = 0; g < range->size_bytes / CPU_GRANULE_BYTES; g++)
		count += is_mapped(range, g);
	return count;
}

static ufm_status check_size(const char *what, uint64_t size_bytes)
{
	if (size_bytes == 0 || size_bytes % CPU_GRANULE_BYTES != 0)
		return status_fail(UFM_EINVAL, "%s: found %llu bytes, expected a multiple of %llu", what,
		                   (unsigned long long)size_bytes, (unsigned long long)CPU_GRANULE_BYTES);
	return UFM_OK;
}

static void *map_without_access(void *at, uint64_t size_bytes)
{
	int fixed = at ? MAP_FIXED : 0;

	return mmap(at, size_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | fixed, -1,
	            0);
}

ufm_status cpu_mem_reserve(ufm_device *device, uint64_t size_bytes, ufm_devptr *base)
{
	ufm_status status = check_size("reserved device memory", size_bytes);

	if (status != UFM_OK)
		return status;
	uint64_t words = (size_bytes / CPU_GRANULE_BYTES + WORD_BITS - 1) / WORD_BITS;
	cpu_range *range = alloc_zeroed(1, sizeof *range + words * sizeof range->mapped[0]);
	if (!range)
		return UFM_ENOMEM;
	/* Any page-aligned start will do: granules count from it. */
	void *memory = map_without_access(NULL, size_bytes);
	if (memory == MAP_FAILED) {
		alloc_free(range);
		return status_fail(UFM_ENOMEM, "address space: %llu bytes asked, the system refused",
		                   (unsigned long long)size_bytes);
	}
	range->base = (ufm_devptr)(uintptr_t)memory;
	range->size_bytes = size_bytes;
	lock_take(&device->lock);
	range->next = device->ranges;
	device->ranges = range;
	lock_drop(&device->lock);
	*base = range->base;
	return UFM_OK;
}

void cpu_mem_release(ufm_device *device, ufm_devptr base, uint64_t size_bytes)
{
	lock_take(&device->lock);
	cpu_range **link = &device->ranges;
	while (*link && (*link)->base != base)
		link = &(*link)->next;
	cpu_range *range = *link;
	if (range) {
		assert(range->size_bytes == size_bytes);
		*link = range->next;
		device->mapped_bytes -= count_mapped(range) * CPU_GRANULE_BYTES;
		munmap(cpu_host(range->base), range->size_bytes);
	}
	lock_drop(&device->lock);
	alloc_free(range);
}

/* The range that holds all of [at, at + size_bytes) and whose granules there are all `mapped`. */
static ufm_status find_range(const ufm_device *device, ufm_devptr at, uint64_t size_bytes,
                             bool mapped, cpu_range **out)
{
	cpu_range *range = device->ranges;

	while (range && (at < range->base || at - range->base >= range->size_bytes ||
	                 size_bytes > range->size_bytes - (at - range->base)))
		range = range->next;
	if (!range || (at - range->base) % CPU_GRANULE_BYTES != 0)
		return status_fail(UFM_EINVAL,
		                   "device memory at %#llx: %llu bytes are not whole granules of one "
		                   "reserved range",
		                   (unsigned long long)at, (unsigned long long)size_bytes);
	uint64_t first = (at - range->base) / CPU_GRANULE_BYTES;
	for (uint64_t g = first; g < first + size_bytes / CPU_GRANULE_BYTES; g++) {
		if (is_mapped(range, g) != mapped)
			return status_fail(UFM_EINVAL, "device memory at %#llx: %s",
			                   (unsigned long long)(range->base + g * CPU_GRANULE_BYTES),
			                   mapped ? "not mapped" : "already mapped");
	}
	*out = range;
	return UFM_OK;
}

static ufm_status give_pages(ufm_device *device, ufm_devptr at, uint64_t size_bytes)
{
	uint64_t free_bytes = device->memory_bytes - device->mapped_bytes;

	if (size_bytes > free_bytes)
		return status_fail(UFM_EDEVMEM, "device memory: asked %llu bytes, %llu free",
		                   (unsigned long long)size_bytes, (unsigned long long)free_bytes);
	if (mprotect(cpu_host(at), size_bytes, PROT_READ | PROT_WRITE) != 0)
		return status_fail(UFM_EDEVMEM,
		                   "device memory: asked %llu bytes, %llu free, but the system refused",
		                   (unsigned long long)size_bytes, (unsigned long long)free_bytes);
	/* Advice: without huge pages the memory is as good. */
	madvise(cpu_host(at), size_bytes, MADV_HUGEPAGE);
	return UFM_OK;
}

ufm_status cpu_mem_map(ufm_device *device, ufm_devptr at, uint64_t size_bytes)
{
	cpu_range *range = NULL;
	ufm_status status = check_size("mapped device memory", size_bytes);

	if (status != UFM_OK)
		return status;
	lock_take(&device->lock);
	status = find_range(device, at, size_bytes, false, &range);
	if (status == UFM_OK)
		status = give_pages(device, at, size_bytes);
	if (status == UFM_OK) {
		set_mapped(range, (at - range->base) / CPU_GRANULE_BYTES, size_bytes / CPU_GRANULE_BYTES,
		           true);
		device->mapped_bytes += size_bytes;
	}
	lock_drop(&device->lock);
	return status;
}

ufm_status cpu_mem_unmap(ufm_device *device, ufm_devptr at, uint64_t size_bytes)
{
	cpu_range *range = NULL;
	ufm_status status = check_size("unmapped device memory", size_bytes);

	if (status != UFM_OK)
		return status;
	lock_take(&device->lock);
	status = find_range(device, at, size_bytes, true, &range);
	if (status == UFM_OK && map_without_access(cpu_host(at), size_bytes) == MAP_FAILED)
		status = status_fail(UFM_EDEVICE, "device memory at %#llx: the system did not take it back",
		                     (unsigned long long)at);
	if (status == UFM_OK) {
		set_mapped(range, (at - range->base) / CPU_GRANULE_BYTES, size_bytes / CPU_GRANULE_BYTES,
		           false);
		device->mapped_bytes -= size_bytes;
	}
	lock_drop(&device->lock);
	return status;
}

/* Host and device are one memory: registering only holds callers to the rules of real devices. */
ufm_status cpu_host_register(void *memory, uint64_t size_bytes)
{
	if (!memory || size_bytes == 0 || size_bytes > CPU_REGISTER_BYTES_MAX)
		return status_fail(
			UFM_EINVAL, "page-locking: found %llu bytes at %p, expected 1 … %llu of memory",
			(unsigned long long)size_bytes, memory, (unsigned long long)CPU_REGISTER_BYTES_MAX);
	return UFM_OK;
}

void cpu_host_unregister(void *memory, uint64_t size_bytes)
{
	(void)memory;
	(void)size_bytes;
}

ufm_status cpu_host_view(ufm_device *device, const void *memory, ufm_devptr *out)
{
	(void)device;
	*out = (ufm_devptr)(uintptr_t)memory;
	return UFM_OK;
}
