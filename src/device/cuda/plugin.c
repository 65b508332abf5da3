/* SPDX-License-Identifier: MIT */
/* The table of the cuda backend. */
#include "device/cuda/cuda_int.h"

static const ufm_backend table = {
	UFM_BACKEND_HEADER("cuda"),
	.dtypes = 1u << UFM_F32 | 1u << UFM_BF16,
	.formats = 1u << UFM_FORMAT_PLAIN,
	.device_count = cuda_device_count,
	.device_open = cuda_device_open,
	.device_close = cuda_device_close,
	.device_get_info = cuda_device_get_info,
	.device_get_memory = cuda_device_get_memory,
	.mem_reserve = cuda_mem_reserve,
	.mem_release = cuda_mem_release,
	.mem_map = cuda_mem_map,
	.mem_unmap = cuda_mem_unmap,
	.host_register = cuda_host_register,
	.host_unregister = cuda_host_unregister,
	.host_view = cuda_host_view,
	.stream_open = cuda_stream_open,
	.stream_close = cuda_stream_close,
	.stream_sync = cuda_stream_sync,
	.stream_wait = cuda_stream_wait,
	.event_open = cuda_event_open,
	.event_close = cuda_event_close,
	.event_record = cuda_event_record,
	.event_query = cuda_event_query,
	.event_sync = cuda_event_sync,
	.event_elapsed = cuda_event_elapsed,
	.copy = cuda_copy,
	.fill = cuda_fill,
	.gather = cuda_gather,
	.route = cuda_route,
	.experts = cuda_experts,
	.combine = cuda_combine,
	.hidden_bytes = cuda_hidden_bytes,
	.group = cuda_group,
	.read = cuda_read,
	.copies = cuda_copies,
	.adopt = cuda_adopt,
	.peak = cuda_peak,
	.route_tokens = cuda_route_tokens,
};

__attribute__((visibility("default"))) const ufm_backend *ufm_backend_entry(
	const ufm_backend_core *core);

const ufm_backend *ufm_backend_entry(const ufm_backend_core *core)
{
	cuda_set_core(core);
	return &table;
}
