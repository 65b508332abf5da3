/* SPDX-License-Identifier: MIT */
/* A backend table whose functions refuse everything; the plugins of this folder vary it. */
#ifndef UFM_TESTS_PLUGINS_STUB_TABLE_H
#define UFM_TESTS_PLUGINS_STUB_TABLE_H

#include <stdlib.h>
#include <ufm/backend.h>

__attribute__((visibility("default"))) const ufm_backend *ufm_backend_entry(
	const ufm_backend_core *core);

/* UFM_TEST_DEVICES: how many devices there are, or a negative number for a failing driver. */
static inline ufm_status stub_device_count(uint32_t *count)
{
	const char *devices = getenv("UFM_TEST_DEVICES");
	int number = devices ? atoi(devices) : 0;

	if (number < 0)
		return UFM_EBACKEND;
	*count = (uint32_t)number;
	return UFM_OK;
}

/* Refusals by the shape of their arguments. */
#define STUB(name, ...) \
	static inline ufm_status stub_##name(__VA_ARGS__) \
	{ \
		return UFM_EUNSUPPORTED; \
	}
#define STUB_VOID(name, ...) \
	static inline void stub_##name(__VA_ARGS__) \
	{ \
	}
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
STUB(device_open, const ufm_device_config *config, ufm_device **out)
STUB_VOID(device_close, ufm_device *device)
STUB_VOID(device_get_info, ufm_device *device, ufm_device_info *info)
STUB_VOID(device_get_memory, ufm_device *device, ufm_device_memory *memory)
STUB(mem_reserve, ufm_device *device, uint64_t size_bytes, ufm_devptr *base)
STUB_VOID(mem_release, ufm_device *device, ufm_devptr base, uint64_t size_bytes)
STUB(mem_map, ufm_device *device, ufm_devptr at, uint64_t size_bytes)
STUB(host_register, void *memory, uint64_t size_bytes)
STUB_VOID(host_unregister, void *memory, uint64_t size_bytes)
STUB(host_view, ufm_device *device, const void *memory, ufm_devptr *out)
STUB(stream_open, ufm_device *device, void *native, ufm_stream **out)
STUB_VOID(stream_close, ufm_stream *stream)
STUB(stream_sync, ufm_stream *stream)
STUB(stream_wait, ufm_stream *stream, ufm_event *event)
STUB(event_open, ufm_device *device, ufm_event **out)
STUB_VOID(event_close, ufm_event *event)
STUB(event_record, ufm_event *event, ufm_stream *stream)
STUB(event_query, ufm_event *event, int *done)
STUB(event_sync, ufm_event *event, uint64_t wait_ns)
STUB(event_elapsed, ufm_event *from, ufm_event *to, uint64_t *elapsed_ns)
STUB(copy, ufm_stream *stream, ufm_copy_kind kind, ufm_devptr dst, ufm_devptr src,
     uint64_t size_bytes)
STUB(fill, ufm_stream *stream, ufm_devptr dst, uint8_t byte, uint64_t size_bytes)
STUB(gather, ufm_stream *stream, const ufm_gather_args *args)
STUB(route, ufm_stream *stream, const ufm_router_args *args)
STUB(experts, ufm_stream *stream, const ufm_experts_args *args)
STUB(combine, ufm_stream *stream, const ufm_combine_args *args)
STUB(group, ufm_stream *stream, const ufm_group_args *args)
STUB(read, ufm_stream *stream, ufm_devptr at, uint64_t size_bytes, ufm_devptr out)
STUB(copies, ufm_stream *stream, const ufm_copies_args *args)
STUB(adopt, ufm_stream *stream, const ufm_adopt_args *args)
static inline uint64_t stub_hidden_bytes(const ufm_expert_desc *desc, uint32_t rows)
{
	return 0;
}
#pragma GCC diagnostic pop

#define STUB_FUNCTIONS_BUT_COMBINE .device_count = stub_device_count, STUB_FUNCTIONS_BUT_DEVICES
/* Neither device_count nor combine. */
#define STUB_FUNCTIONS_BUT_DEVICES \
	.device_open = stub_device_open, .device_close = stub_device_close, \
	.device_get_info = stub_device_get_info, .device_get_memory = stub_device_get_memory, \
	.mem_reserve = stub_mem_reserve, .mem_release = stub_mem_release, .mem_map = stub_mem_map, \
	.mem_unmap = stub_mem_map, .host_register = stub_host_register, \
	.host_unregister = stub_host_unregister, .host_view = stub_host_view, \
	.stream_open = stub_stream_open, .stream_close = stub_stream_close, \
	.stream_sync = stub_stream_sync, .stream_wait = stub_stream_wait, \
	.event_open = stub_event_open, .event_close = stub_event_close, \
	.event_record = stub_event_record, .event_query = stub_event_query, \
	.event_sync = stub_event_sync, .event_elapsed = stub_event_elapsed, .copy = stub_copy, \
	.fill = stub_fill, .gather = stub_gather, .route = stub_route, .experts = stub_experts, \
	.hidden_bytes = stub_hidden_bytes, .group = stub_group, .read = stub_read, \
	.copies = stub_copies, .adopt = stub_adopt

#endif
