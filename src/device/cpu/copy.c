/* SPDX-License-Identifier: MIT */
/* Copies and fills of the cpu backend, and the emulated link. */
#include <string.h>

#include "base/clock.h"
#include "base/status.h"
#include "device/cpu/cpu_int.h"

static ufm_status copy_one(ufm_stream *stream, ufm_copy_kind kind, ufm_devptr dst, ufm_devptr src,
                           uint64_t size_bytes, uint64_t together_bytes)
{
	cpu_command command = {.op = CPU_OP_COPY, .copy = {kind, dst, src, size_bytes, together_bytes}};

	if (kind < UFM_COPY_H2D || kind > UFM_COPY_D2D)
		return status_fail(UFM_EINVAL, "copy kind: found %d, expected 1 … 3", (int)kind);
	if (size_bytes == 0)
		return UFM_OK;
	if (!dst || !src)
		return status_fail(UFM_EINVAL, "copy of %llu bytes: an address is 0",
		                   (unsigned long long)size_bytes);
	cpu_enqueue(stream, &command);
	return UFM_OK;
}

ufm_status cpu_copy(ufm_stream *stream, ufm_copy_kind kind, ufm_devptr dst, ufm_devptr src,
                    uint64_t size_bytes)
{
	return copy_one(stream, kind, dst, src, size_bytes, size_bytes);
}

/* The emulated link has no time of its own for a copy, so together they take what they take one by one. */
ufm_status cpu_copies(ufm_stream *stream, const ufm_copies_args *args)
{
	ufm_status status = UFM_OK;

	for (uint32_t i = 0; i < args->count && status == UFM_OK; i++)
		status = copy_one(stream, args->kind, args->dst[i], args->src[i], args->size_bytes,
		                  args->count * args->size_bytes);
	return status;
}

ufm_status cpu_fill(ufm_stream *stream, ufm_devptr dst, uint8_t byte, uint64_t size_bytes)
{
	cpu_command command = {.op = CPU_OP_FILL, .fill = {dst, size_bytes, byte}};

	if (size_bytes == 0)
		return UFM_OK;
	if (!dst)
		return status_fail(UFM_EINVAL, "fill of %llu bytes: the address is 0",
		                   (unsigned long long)size_bytes);
	cpu_enqueue(stream, &command);
	return UFM_OK;
}

static bool is_on_link(const ufm_device *device, const cpu_command *command)
{
	return device->link_gbps > 0.0 && command->copy.kind != UFM_COPY_D2D;
}

bool cpu_is_short(const ufm_device *device, const cpu_command *command)
{
	if (command->op == CPU_OP_FILL)
		return command->fill.size_bytes <= CPU_SHORT_BYTES;
	return command->op == CPU_OP_COPY && command->copy.together_bytes <= CPU_SHORT_BYTES &&
	       !is_on_link(device, command);
}

/* Takes the next free time of one direction of the link; gives when the copy ends on it. */
static uint64_t book_link(ufm_device *device, ufm_copy_kind kind, uint64_t size_bytes)
{
	uint64_t *free_ns = &device->link_free_ns[kind == UFM_COPY_D2H];
	/* Decimal GB/s are bytes a nanosecond. */
	uint64_t takes_ns = (uint64_t)((double)size_bytes / device->link_gbps) + 1;
	uint64_t now_ns = clock_now_ns();

	lock_take(&device->lock);
	*free_ns = (*free_ns > now_ns ? *free_ns : now_ns) + takes_ns;
	uint64_t end_ns = *free_ns;
	lock_drop(&device->lock);
	return end_ns;
}

void cpu_run_copy(ufm_device *device, const cpu_command *command)
{
	bool on_link = is_on_link(device, command);
	uint64_t end_ns = 0;

	if (on_link)
		end_ns = book_link(device, command->copy.kind, command->copy.size_bytes);
	memmove(cpu_host(command->copy.dst), cpu_host(command->copy.src), command->copy.size_bytes);
	if (on_link)
		clock_sleep_until_ns(end_ns);
}

void cpu_run_fill(const cpu_command *command)
{
	memset(cpu_host(command->fill.dst), command->fill.byte, command->fill.size_bytes);
}
