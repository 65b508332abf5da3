/* SPDX-License-Identifier: MIT */
/* Device memory: reserved address ranges, each granule of which is backed by memory of its own or
 * by none, and the ballast that makes a card smaller. */
#include <stdlib.h>

#include "device/cuda/cuda_int.h"

struct cuda_range {
	cuda_range *next;
	CUdeviceptr base;
	uint64_t size_bytes;
	CUmemGenericAllocationHandle handles[]; /* one a granule; 0: not mapped */
};

CUmemAllocationProp cuda_memory_prop(const ufm_device *device)
{
	return (CUmemAllocationProp){
		.type = CU_MEM_ALLOCATION_TYPE_PINNED,
		.location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = device->index}};
}

static uint64_t free_bytes_of(ufm_device *device)
{
	ufm_device_memory memory;

	cuda_device_get_memory(device, &memory);
	return memory.free_bytes;
}

/* ------------------------------------------------------------------ ballast */

static ufm_status ballast_room(ufm_device *device)
{
	if (device->ballast_count < device->ballast_room)
		return UFM_OK;
	uint32_t room = device->ballast_room ? 2 * device->ballast_room : 64;
	void *larger = realloc(device->ballast, room * sizeof *device->ballast);
	if (!larger)
		return cuda_fail(UFM_ENOMEM, "host memory: %zu bytes asked, not available",
		                 room * sizeof *device->ballast);
	device->ballast = larger;
	device->ballast_room = room;
	return UFM_OK;
}

/* Large pieces first, then smaller ones for what is left. What is created is held although it is
 * mapped nowhere. */
ufm_status cuda_ballast_fill(ufm_device *device, uint64_t free_bytes)
{
	CUmemAllocationProp prop = cuda_memory_prop(device);
	uint64_t granule_bytes = device->info.map_granularity_bytes;
	uint64_t piece_bytes = 512 * granule_bytes;
	ufm_status status = UFM_OK;

	for (uint64_t now = free_bytes_of(device); now > free_bytes && status == UFM_OK;
	     now = free_bytes_of(device)) {
		uint64_t excess_bytes = now - free_bytes;
		while (piece_bytes > granule_bytes && piece_bytes > excess_bytes)
			piece_bytes /= 2;
		status = ballast_room(device);
		if (status == UFM_OK)
			status = CHECK_DRIVER(device, MemCreate, &device->ballast[device->ballast_count],
			                      piece_bytes, &prop, 0);
		device->ballast_count += status == UFM_OK;
	}
	return status;
}

void cuda_ballast_drop(ufm_device *device)
{
	for (uint32_t i = 0; i < device->ballast_count; i++)
		(void)CHECK_DRIVER(device, MemRelease, device->ballast[i]);
	free(device->ballast);
	device->ballast = NULL;
	device->ballast_count = device->ballast_room = 0;
}

/* ------------------------------------------------------------------ ranges */

static ufm_status check_size(const ufm_device *device, uint64_t size_bytes)
{
	uint64_t granule_bytes = device->info.map_granularity_bytes;

	if (size_bytes != 0 && size_bytes % granule_bytes == 0)
		return UFM_OK;
	return cuda_fail(UFM_EINVAL, "device memory: %llu bytes, expected a multiple of %llu",
	                 (unsigned long long)size_bytes, (unsigned long long)granule_bytes);
}

ufm_status cuda_mem_reserve(ufm_device *device, uint64_t size_bytes, ufm_devptr *base)
{
	ufm_status status = check_size(device, size_bytes);
	CUdeviceptr at = 0;

	if (status != UFM_OK)
		return status;
	uint64_t granules = size_bytes / device->info.map_granularity_bytes;
	cuda_range *range = calloc(1, sizeof *range + granules * sizeof range->handles[0]);
	if (!range)
		return cuda_fail(UFM_ENOMEM, "host memory: %llu entries asked, not available",
		                 (unsigned long long)granules);
	status = CHECK_DRIVER(device, MemAddressReserve, &at, size_bytes, 0, 0, 0);
	if (status != UFM_OK) {
		free(range);
		return status;
	}
	range->base = at;
	range->size_bytes = size_bytes;
	pthread_mutex_lock(&device->memory_lock);
	range->next = device->ranges;
	device->ranges = range;
	pthread_mutex_unlock(&device->memory_lock);
	*base = at;
	return UFM_OK;
}

/* The granules of a range that must all be mapped, or all not. NULL, with the reason, otherwise. */
static CUmemGenericAllocationHandle *find_granules(ufm_device *device, ufm_devptr at,
                                                   uint64_t size_bytes, bool mapped)
{
	uint64_t granule_bytes = device->info.map_granularity_bytes;
	cuda_range *range = device->ranges;

	while (range && (at < range->base || at - range->base >= range->size_bytes ||
	                 size_bytes > range->size_bytes - (at - range->base)))
		range = range->next;
	if (!range || (at - range->base) % granule_bytes != 0) {
		cuda_fail(UFM_EINVAL,
		          "device memory at %#llx: %llu bytes are not whole granules of one reserved range",
		          (unsigned long long)at, (unsigned long long)size_bytes);
		return NULL;
	}
	CUmemGenericAllocationHandle *first = range->handles + (at - range->base) / granule_bytes;
	for (uint64_t i = 0; i < size_bytes / granule_bytes; i++) {
		if ((first[i] != 0) != mapped) {
			cuda_fail(UFM_EINVAL, "device memory at %#llx: %s",
			          (unsigned long long)(at + i * granule_bytes),
			          mapped ? "not mapped" : "already mapped");
			return NULL;
		}
	}
	return first;
}

static void unmap_granules(ufm_device *device, ufm_devptr at, CUmemGenericAllocationHandle *handles,
                           uint64_t count)
{
	uint64_t granule_bytes = device->info.map_granularity_bytes;

	if (count)
		(void)CHECK_DRIVER(device, MemUnmap, at, count * granule_bytes);
	for (uint64_t i = 0; i < count; i++) {
		(void)CHECK_DRIVER(device, MemRelease, handles[i]);
		handles[i] = 0;
	}
}

static ufm_status back_granule(ufm_device *device, ufm_devptr at,
                               CUmemGenericAllocationHandle *handle)
{
	uint64_t granule_bytes = device->info.map_granularity_bytes;
	CUmemAllocationProp prop = cuda_memory_prop(device);
	CUmemGenericAllocationHandle made = 0;
	ufm_status status = CHECK_DRIVER(device, MemCreate, &made, granule_bytes, &prop, 0);

	if (status != UFM_OK)
		return status;
	status = CHECK_DRIVER(device, MemMap, at, granule_bytes, 0, made, 0);
	if (status != UFM_OK)
		(void)CHECK_DRIVER(device, MemRelease, made);
	else
		*handle = made;
	return status;
}

static ufm_status back_granules(ufm_device *device, ufm_devptr at, uint64_t size_bytes,
                                CUmemGenericAllocationHandle *handles)
{
	uint64_t granule_bytes = device->info.map_granularity_bytes;
	uint64_t count = size_bytes / granule_bytes, done = 0;
	CUmemAccessDesc access = {.location = cuda_memory_prop(device).location,
	                          .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
	ufm_status status = UFM_OK;

	for (; done < count && status == UFM_OK; done += status == UFM_OK)
		status = back_granule(device, at + done * granule_bytes, &handles[done]);
	if (status == UFM_OK)
		status = CHECK_DRIVER(device, MemSetAccess, at, size_bytes, &access, 1);
	if (status != UFM_OK)
		unmap_granules(device, at, handles, done);
	return status;
}

static ufm_status tell_exhausted(ufm_device *device, ufm_status status, uint64_t size_bytes)
{
	if (status != UFM_EDEVMEM)
		return status;
	return cuda_fail(UFM_EDEVMEM,
	                 "device memory: asked %llu bytes, %llu free (the driver refused: "
	                 "cudaErrorMemoryAllocation)",
	                 (unsigned long long)size_bytes, (unsigned long long)free_bytes_of(device));
}

ufm_status cuda_mem_map(ufm_device *device, ufm_devptr at, uint64_t size_bytes)
{
	ufm_status status = check_size(device, size_bytes);

	if (status == UFM_OK)
		status = cuda_usable(device);
	if (status != UFM_OK)
		return status;
	pthread_mutex_lock(&device->memory_lock);
	CUmemGenericAllocationHandle *handles = find_granules(device, at, size_bytes, false);
	status = handles ? back_granules(device, at, size_bytes, handles) : UFM_EINVAL;
	pthread_mutex_unlock(&device->memory_lock);
	return tell_exhausted(device, status, size_bytes);
}

/* Memory that work in flight may still use must not go. */
ufm_status cuda_mem_unmap(ufm_device *device, ufm_devptr at, uint64_t size_bytes)
{
	cuda_scope scope;
	ufm_status status = check_size(device, size_bytes);

	if (status != UFM_OK)
		return status;
	status = cuda_enter(device, &scope);
	if (status == UFM_OK)
		status = CHECK_RUNTIME(device, cudaDeviceSynchronize);
	cuda_leave(&scope);
	pthread_mutex_lock(&device->memory_lock);
	CUmemGenericAllocationHandle *handles = find_granules(device, at, size_bytes, true);
	if (handles)
		unmap_granules(device, at, handles, size_bytes / device->info.map_granularity_bytes);
	else if (status == UFM_OK)
		status = UFM_EINVAL;
	pthread_mutex_unlock(&device->memory_lock);
	return status;
}

static void drop_range(ufm_device *device, cuda_range *range)
{
	uint64_t granule_bytes = device->info.map_granularity_bytes;

	for (uint64_t i = 0; i < range->size_bytes / granule_bytes; i++) {
		if (range->handles[i])
			unmap_granules(device, range->base + i * granule_bytes, &range->handles[i], 1);
	}
	(void)CHECK_DRIVER(device, MemAddressFree, range->base, range->size_bytes);
	free(range);
}

void cuda_mem_release(ufm_device *device, ufm_devptr base, uint64_t size_bytes)
{
	(void)size_bytes;
	pthread_mutex_lock(&device->memory_lock);
	cuda_range **link = &device->ranges;
	while (*link && (*link)->base != base)
		link = &(*link)->next;
	cuda_range *range = *link;
	if (range)
		*link = range->next;
	pthread_mutex_unlock(&device->memory_lock);
	if (range)
		drop_range(device, range);
}

void cuda_ranges_drop(ufm_device *device)
{
	while (device->ranges)
		cuda_mem_release(device, device->ranges->base, device->ranges->size_bytes);
}
