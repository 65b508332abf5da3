/* SPDX-License-Identifier: MIT */
/* Opening and closing a cpu device, what it says about itself, and the backend's table. */
#include <stdio.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/status.h"
#include "device/cpu/cpu_int.h"
#include "device/registry.h"

#define LINK_GBPS_MIN 1e-3
#define LINK_GBPS_MAX 1e6

static ufm_status cpu_device_count(uint32_t *count)
{
	*count = 1;
	return UFM_OK;
}

static ufm_status check_config(const ufm_device_config *config)
{
	if (config->index != 0)
		return status_fail(UFM_EINVAL, "cpu device index: found %u, expected 0 (there is one)",
		                   config->index);
	/* Written so that NaN fails too. */
	if (config->link_gbps != 0.0 &&
	    !(config->link_gbps >= LINK_GBPS_MIN && config->link_gbps <= LINK_GBPS_MAX))
		return status_fail(UFM_EINVAL, "link_gbps: found %g, expected 0 or %g … %g",
		                   config->link_gbps, LINK_GBPS_MIN, LINK_GBPS_MAX);
	if (config->compute_threads > CPU_THREADS_MAX)
		return status_fail(UFM_EINVAL, "compute_threads: found %u, expected at most %u",
		                   config->compute_threads, CPU_THREADS_MAX);
	return UFM_OK;
}

/* Without a limit half of what is free: the other half is for the host tier. */
static ufm_status choose_memory(uint64_t limit_bytes, const limits *machine, uint64_t *memory_bytes)
{
	uint64_t own_bytes = machine->ram_free_bytes / 2 / CPU_GRANULE_BYTES * CPU_GRANULE_BYTES;

	if (limit_bytes > machine->ram_free_bytes)
		return status_fail(
			UFM_EUNSUPPORTED,
			"vram-limit: %llu bytes asked, but a cpu device is host memory and %llu bytes are free",
			(unsigned long long)limit_bytes, (unsigned long long)machine->ram_free_bytes);
	*memory_bytes = limit_bytes ? limit_bytes : own_bytes;
	return UFM_OK;
}

static size_t scratch_bytes(const ufm_device *device)
{
	return (size_t)pool_threads(device->pool) * CPU_EXPERTS_MAX * sizeof(float);
}

static ufm_status open_compute(ufm_device *device, uint32_t threads)
{
	ufm_status status = pool_open(threads, &device->pool);

	if (status != UFM_OK)
		return status;
	device->scratch = alloc_pages(scratch_bytes(device));
	if (!device->scratch) {
		pool_close(device->pool);
		return UFM_ENOMEM;
	}
	lock_init(&device->lock, LOCK_RANK_DEVICE, "cpu device");
	lock_init(&device->compute_lock, LOCK_RANK_STREAM, "cpu compute");
	lock_cond_init(&device->progress);
	return UFM_OK;
}

static ufm_status cpu_device_open(const ufm_device_config *config, ufm_device **out)
{
	ufm_device_config c = {.struct_size = sizeof c};
	ufm_device *device;
	limits machine;
	uint64_t memory_bytes = 0;
	ufm_status status = status_read_config(&c, sizeof c, config, "ufm_device_config");

	if (status == UFM_OK)
		status = check_config(&c);
	if (status != UFM_OK)
		return status;
	limits_read(&machine);
	status = choose_memory(c.memory_limit_bytes, &machine, &memory_bytes);
	if (status != UFM_OK)
		return status;
	device = alloc_zeroed(1, sizeof *device);
	if (!device)
		return UFM_ENOMEM;
	device->memory_bytes = memory_bytes;
	device->link_gbps = c.link_gbps;
	device->kernels = kernels_best();
	status = open_compute(device, c.compute_threads ? c.compute_threads : machine.cores);
	if (status != UFM_OK) {
		alloc_free(device);
		return status;
	}
	*out = device;
	return UFM_OK;
}

static void free_timelines(ufm_device *device)
{
	while (device->unused) {
		cpu_timeline *timeline = device->unused;
		device->unused = timeline->next;
		alloc_free(timeline);
	}
}

/* Streams and ranges left open are closed: nothing may run or stay mapped afterwards. */
static void cpu_device_close(ufm_device *device)
{
	if (!device)
		return;
	while (device->streams)
		cpu_stream_close(device->streams);
	while (device->ranges)
		cpu_mem_release(device, device->ranges->base, device->ranges->size_bytes);
	free_timelines(device);
	alloc_pages_free(device->scratch, scratch_bytes(device));
	pool_close(device->pool);
	lock_cond_destroy(&device->progress);
	lock_destroy(&device->compute_lock);
	lock_destroy(&device->lock);
	alloc_free(device);
}

/* All that there are: the kernels expand them. */
#define CPU_FORMATS \
	(1u << UFM_FORMAT_PLAIN | 1u << UFM_FORMAT_Q8_0 | 1u << UFM_FORMAT_Q4_0 | \
	 1u << UFM_FORMAT_Q5_0 | 1u << UFM_FORMAT_Q4_K | 1u << UFM_FORMAT_Q5_K | \
	 1u << UFM_FORMAT_Q6_K | 1u << UFM_FORMAT_IQ4_NL | 1u << UFM_FORMAT_IQ4_XS | \
	 1u << UFM_FORMAT_MXFP4 | 1u << UFM_FORMAT_E4M3 | 1u << UFM_FORMAT_E2M1 | 1u << UFM_FORMAT_U4)

static void cpu_device_get_info(ufm_device *device, ufm_device_info *info)
{
	uint32_t threads = pool_threads(device->pool);

	*info = (ufm_device_info){
		.memory_total_bytes = device->memory_bytes,
		.map_granularity_bytes = CPU_GRANULE_BYTES,
		.compute_units = threads,
		.link_gbps = device->link_gbps,
		.math = 1u << UFM_MATH_FP32,
	};
	snprintf(info->name, sizeof info->name, "cpu (%u thread%s, %s)", threads,
	         threads == 1 ? "" : "s", device->kernels->isa);
	snprintf(info->driver, sizeof info->driver, "ufm %s", ufm_version());
}

static void cpu_device_get_memory(ufm_device *device, ufm_device_memory *memory)
{
	lock_take(&device->lock);
	memory->total_bytes = device->memory_bytes;
	memory->free_bytes = device->memory_bytes - device->mapped_bytes;
	lock_drop(&device->lock);
}

const ufm_backend cpu_backend = {
	UFM_BACKEND_HEADER("cpu"),
	.dtypes = 1u << UFM_F32 | 1u << UFM_BF16 | 1u << UFM_F16,
	.formats = CPU_FORMATS,
	.device_count = cpu_device_count,
	.device_open = cpu_device_open,
	.device_close = cpu_device_close,
	.device_get_info = cpu_device_get_info,
	.device_get_memory = cpu_device_get_memory,
	.mem_reserve = cpu_mem_reserve,
	.mem_release = cpu_mem_release,
	.mem_map = cpu_mem_map,
	.mem_unmap = cpu_mem_unmap,
	.host_register = cpu_host_register,
	.host_unregister = cpu_host_unregister,
	.host_view = cpu_host_view,
	.stream_open = cpu_stream_open,
	.stream_close = cpu_stream_close,
	.stream_sync = cpu_stream_sync,
	.stream_wait = cpu_stream_wait,
	.event_open = cpu_event_open,
	.event_close = cpu_event_close,
	.event_record = cpu_event_record,
	.event_query = cpu_event_query,
	.event_sync = cpu_event_sync,
	.event_elapsed = cpu_event_elapsed,
	.copy = cpu_copy,
	.fill = cpu_fill,
	.gather = cpu_gather,
	.route = cpu_route,
	.experts = cpu_experts,
	.combine = cpu_combine,
	.hidden_bytes = cpu_hidden_bytes,
	.group = cpu_group,
	.adopt = cpu_adopt,
	.read = cpu_read,
	.copies = cpu_copies,
	.peak = cpu_peak,
	.stream_inline = cpu_stream_inline,
};
