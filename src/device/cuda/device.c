/* SPDX-License-Identifier: MIT */
/* Opening a GPU: its context, what that takes, and the memory of a smaller card. */
#include <stdio.h>
#include <stdlib.h>

#include "device/cuda/cuda_int.h"

/* What the driver kept of the last free memory on an H200: under 4 MiB with 128 MiB mapped. */
#define UNUSABLE_BYTES ((uint64_t)32 << 20)

static ufm_status read_memory(ufm_device *device, size_t *free_bytes, size_t *total_bytes)
{
	cuda_scope scope;
	ufm_status status = cuda_enter(device, &scope);

	if (status == UFM_OK)
		status = CHECK_RUNTIME(device, cudaMemGetInfo, free_bytes, total_bytes);
	cuda_leave(&scope);
	return status;
}

static ufm_status attribute(ufm_device *device, enum cudaDeviceAttr which, int *value)
{
	return CHECK_RUNTIME(device, cudaDeviceGetAttribute, value, which, device->index);
}

static ufm_status check_config(const ufm_device_config *config)
{
	uint32_t count = 0;
	ufm_status status = cuda_device_count(&count);

	if (status != UFM_OK)
		return status;
	if (config->index >= count)
		return cuda_fail(UFM_EINVAL, "device_index: %u, expected less than %u", config->index,
		                 count);
	if (config->link_gbps > 0.0)
		return cuda_fail(UFM_EUNSUPPORTED,
		                 "link_gbps: %g, expected 0: this device has a link of its own",
		                 config->link_gbps);
	return UFM_OK;
}

/* Addresses of page-locked memory are the host's own on all systems with 64 bits but a few: there
 * the kernels could not be given what the pager gives them. */
static ufm_status check_features(ufm_device *device)
{
	int same_addresses = 0;
	ufm_status status =
		attribute(device, cudaDevAttrCanUseHostPointerForRegisteredMem, &same_addresses);

	if (status == UFM_OK && !same_addresses)
		return cuda_fail(UFM_EUNSUPPORTED,
		                 "device %d: page-locked memory has other addresses on the device",
		                 device->index);
	return status;
}

static ufm_status describe(ufm_device *device)
{
	struct cudaDeviceProp properties;
	int driver = 0, units = 0;
	ufm_status status = CHECK_RUNTIME(device, cudaGetDeviceProperties, &properties, device->index);

	if (status == UFM_OK)
		status = CHECK_RUNTIME(device, cudaDriverGetVersion, &driver);
	if (status == UFM_OK)
		status = attribute(device, cudaDevAttrMultiProcessorCount, &units);
	if (status != UFM_OK)
		return status;
	device->chains = properties.major >= 9;
	device->info.math = 1u << UFM_MATH_FP32 | 1u << UFM_MATH_TF32 | 1u << UFM_MATH_BF16;
	snprintf(device->info.name, sizeof device->info.name, "%.80s (sm_%d%d)", properties.name,
	         properties.major, properties.minor);
	snprintf(device->info.driver, sizeof device->info.driver, "CUDA %d.%d, runtime %d.%d",
	         driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
	device->info.compute_units = (uint32_t)units;
	return UFM_OK;
}

static ufm_status find_granularity(ufm_device *device)
{
	CUmemAllocationProp prop = cuda_memory_prop(device);
	size_t granularity_bytes = 0;
	ufm_status status = CHECK_DRIVER(device, MemGetAllocationGranularity, &granularity_bytes, &prop,
	                                 CU_MEM_ALLOC_GRANULARITY_RECOMMENDED);

	device->info.map_granularity_bytes = granularity_bytes;
	device->info.unusable_bytes = UNUSABLE_BYTES;
	return status;
}

/* The driver makes pools for streams and events when the first are opened, and keeps them. */
static ufm_status fill_driver_pools(ufm_device *device)
{
	enum { STREAMS = 4, EVENTS = 1024 };
	ufm_stream *streams[STREAMS] = {NULL};
	ufm_event *events[EVENTS] = {NULL};
	ufm_status status = UFM_OK;

	for (int i = 0; i < STREAMS && status == UFM_OK; i++)
		status = cuda_stream_open(device, NULL, &streams[i]);
	for (int i = 0; i < EVENTS && status == UFM_OK; i++) {
		status = cuda_event_open(device, &events[i]);
		if (status == UFM_OK)
			status = cuda_event_record(events[i], streams[i % STREAMS]);
	}
	for (int i = 0; i < STREAMS; i++)
		cuda_stream_close(streams[i]);
	for (int i = 0; i < EVENTS; i++)
		cuda_event_close(events[i]);
	return status;
}

static ufm_status limit_memory(ufm_device *device, uint64_t physical_bytes, uint64_t limit_bytes)
{
	uint64_t context_bytes = device->info.context_bytes;

	device->info.memory_total_bytes = limit_bytes ? limit_bytes : physical_bytes;
	if (!limit_bytes)
		return UFM_OK;
	if (limit_bytes > physical_bytes)
		return cuda_fail(UFM_EINVAL, "vram-limit: %llu bytes, expected at most the card's %llu",
		                 (unsigned long long)limit_bytes, (unsigned long long)physical_bytes);
	if (limit_bytes <= context_bytes)
		return cuda_fail(UFM_EDEVMEM,
		                 "vram-limit: %llu bytes, but %llu are taken by the driver and by other "
		                 "programs already",
		                 (unsigned long long)limit_bytes, (unsigned long long)context_bytes);
	device->memory_limit_bytes = limit_bytes;
	return cuda_ballast_fill(device, limit_bytes - context_bytes);
}

static ufm_status open_all(ufm_device *device, const ufm_device_config *config)
{
	size_t free_bytes = 0, total_bytes = 0;
	ufm_status status = check_features(device);

	if (status == UFM_OK)
		status = describe(device);
	if (status == UFM_OK)
		status = find_granularity(device);
	if (status == UFM_OK)
		status = cuda_load_kernels(device);
	if (status == UFM_OK)
		status = fill_driver_pools(device);
	if (status == UFM_OK)
		status = read_memory(device, &free_bytes, &total_bytes);
	if (status != UFM_OK)
		return status;
	device->info.context_bytes = total_bytes - free_bytes;
	return limit_memory(device, total_bytes, config->memory_limit_bytes);
}

ufm_status cuda_device_open(const ufm_device_config *config, ufm_device **out)
{
	ufm_status status = check_config(config);

	if (status != UFM_OK)
		return status;
	ufm_device *device = calloc(1, sizeof *device);
	if (!device)
		return cuda_fail(UFM_ENOMEM, "host memory: %zu bytes asked, not available", sizeof *device);
	device->index = (int)config->index;
	pthread_mutex_init(&device->lost_lock, NULL);
	pthread_mutex_init(&device->memory_lock, NULL);
	status = open_all(device, config);
	if (status != UFM_OK) {
		cuda_device_close(device);
		return status;
	}
	*out = device;
	return UFM_OK;
}

/* The context is the process's, shared with whoever else uses this device, so it stays. */
void cuda_device_close(ufm_device *device)
{
	cuda_scope scope;

	if (!device)
		return;
	if (cuda_enter(device, &scope) == UFM_OK)
		(void)CHECK_RUNTIME(device, cudaDeviceSynchronize);
	cuda_ranges_drop(device);
	cuda_ballast_drop(device);
	cuda_leave(&scope);
	pthread_mutex_destroy(&device->memory_lock);
	pthread_mutex_destroy(&device->lost_lock);
	free(device);
}

void cuda_device_get_info(ufm_device *device, ufm_device_info *info)
{
	*info = device->info;
}

/* A driver that does not answer has no free memory. */
void cuda_device_get_memory(ufm_device *device, ufm_device_memory *memory)
{
	size_t free_bytes = 0, total_bytes = 0;

	if (read_memory(device, &free_bytes, &total_bytes) != UFM_OK)
		free_bytes = 0;
	memory->total_bytes = device->info.memory_total_bytes;
	memory->free_bytes = free_bytes < memory->total_bytes ? free_bytes : memory->total_bytes;
}
