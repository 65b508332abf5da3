/* SPDX-License-Identifier: MIT */
/* Copies and fills. */
#include "device/cuda/cuda_int.h"

#define COPIES_MAX 32u /* of one call of the driver */

/* The kind is not passed on: a "device" address may be page-locked host memory, and the driver
 * knows what each address is. */
ufm_status cuda_copy(ufm_stream *stream, ufm_copy_kind kind, ufm_devptr dst, ufm_devptr src,
                     uint64_t size_bytes)
{
	ufm_status status = UFM_OK;

	if (kind < UFM_COPY_H2D || kind > UFM_COPY_D2D)
		return cuda_fail(UFM_EINVAL, "copy: kind is %d, expected h2d, d2h or d2d", (int)kind);
	if (size_bytes && (!dst || !src))
		return cuda_fail(UFM_EINVAL, "copy of %llu bytes: an address is 0",
		                 (unsigned long long)size_bytes);
	while (size_bytes && status == UFM_OK) {
		uint64_t piece_bytes = cuda_host_span(src, cuda_host_span(dst, size_bytes));
		status = CHECK_RUNTIME(stream->device, cudaMemcpyAsync, (void *)(uintptr_t)dst,
		                       (const void *)(uintptr_t)src, piece_bytes, cudaMemcpyDefault,
		                       stream->stream);
		dst += piece_bytes;
		src += piece_bytes;
		size_bytes -= piece_bytes;
	}
	return status;
}

static bool may_go_together(const ufm_copies_args *args)
{
	for (uint32_t i = 0; i < args->count; i++) {
		if (args->kind == UFM_COPY_H2D && !cuda_host_holds(args->src[i], args->size_bytes))
			return false;
		if (args->kind == UFM_COPY_D2H && !cuda_host_holds(args->dst[i], args->size_bytes))
			return false;
	}
	return true;
}

/* One call of the driver for up to COPIES_MAX: between two copies of their own the link idles for
 * longer than 64 KiB take. */
static ufm_status copy_together(ufm_stream *stream, const ufm_copies_args *args, uint32_t first,
                                uint32_t count)
{
	void *dst[COPIES_MAX], *src[COPIES_MAX];
	size_t sizes[COPIES_MAX], attributes_of = 0;
	int here = stream->device->index;
	struct cudaMemLocation host = {.type = cudaMemLocationTypeHost};
	struct cudaMemLocation device = {.type = cudaMemLocationTypeDevice, .id = here};
	struct cudaMemcpyAttributes attributes = {
		.srcAccessOrder = cudaMemcpySrcAccessOrderStream,
		.srcLocHint = args->kind == UFM_COPY_H2D ? host : device,
		.dstLocHint = args->kind == UFM_COPY_D2H ? host : device};

	for (uint32_t i = 0; i < count; i++) {
		dst[i] = (void *)(uintptr_t)args->dst[first + i];
		src[i] = (void *)(uintptr_t)args->src[first + i];
		sizes[i] = args->size_bytes;
	}
#if CUDART_VERSION >= 13000
	return CHECK_RUNTIME(stream->device, cudaMemcpyBatchAsync, dst, (const void *const *)src, sizes,
	                     count, &attributes, &attributes_of, 1, stream->stream);
#else
	size_t failed;
	return CHECK_RUNTIME(stream->device, cudaMemcpyBatchAsync, dst, src, sizes, count, &attributes,
	                     &attributes_of, 1, &failed, stream->stream);
#endif
}

/* What is not page-locked as one goes the way that copes with it. */
ufm_status cuda_copies(ufm_stream *stream, const ufm_copies_args *args)
{
	bool together = args->size_bytes && args->count > 1 && may_go_together(args);
	ufm_status status = UFM_OK;

	if (args->kind < UFM_COPY_H2D || args->kind > UFM_COPY_D2D)
		return cuda_fail(UFM_EINVAL, "copies: kind is %d, expected h2d, d2h or d2d",
		                 (int)args->kind);
	for (uint32_t i = 0; i < args->count && together; i++) {
		if (!args->dst[i] || !args->src[i])
			return cuda_fail(UFM_EINVAL, "copies of %llu bytes: an address is 0",
			                 (unsigned long long)args->size_bytes);
	}
	for (uint32_t i = 0, n; i < args->count && status == UFM_OK; i += n) {
		n = !together ? 1 : args->count - i < COPIES_MAX ? args->count - i : COPIES_MAX;
		status = together
		             ? copy_together(stream, args, i, n)
		             : cuda_copy(stream, args->kind, args->dst[i], args->src[i], args->size_bytes);
	}
	return status;
}

ufm_status cuda_fill(ufm_stream *stream, ufm_devptr dst, uint8_t byte, uint64_t size_bytes)
{
	if (size_bytes == 0)
		return UFM_OK;
	if (!dst)
		return cuda_fail(UFM_EINVAL, "fill of %llu bytes: the address is 0",
		                 (unsigned long long)size_bytes);
	return CHECK_RUNTIME(stream->device, cudaMemsetAsync, (void *)(uintptr_t)dst, byte, size_bytes,
	                     stream->stream);
}
