/* SPDX-License-Identifier: MIT */
/* The caller's own streams and copies. */
#include "base/status.h"
#include "pager/pager_int.h"

static ufm_stream *or_own(ufm_engine *e, ufm_stream *stream)
{
	return stream ? stream : e->compute;
}

ufm_status ufm_stream_open(ufm_engine *e, void *native, ufm_stream **out)
{
	ufm_status status = engine_check_process(e);
	if (status == UFM_OK)
		status = status_need((const void *)out, "out", "where to put the stream");
	return status == UFM_OK ? e->b->stream_open(e->device, native, out) : status;
}

/* A slot may still name the stream; its mark is in an event by then, and closing waits for it. */
void ufm_stream_close(ufm_engine *e, ufm_stream *stream)
{
	if (e && stream && !host_is_parents(e->host))
		e->b->stream_close(stream);
}

ufm_status ufm_stream_sync(ufm_engine *e, ufm_stream *stream)
{
	ufm_status status = engine_check_process(e);
	return status == UFM_OK ? e->b->stream_sync(or_own(e, stream)) : status;
}

ufm_status ufm_copy_to_device(ufm_engine *e, ufm_stream *stream, ufm_devptr dst, const void *src,
                              uint64_t size_bytes)
{
	ufm_status status = engine_check_process(e);
	if (status == UFM_OK && size_bytes)
		status = status_need(src, "src", "the bytes to copy");
	if (status != UFM_OK)
		return status;
	return e->b->copy(or_own(e, stream), UFM_COPY_H2D, dst, (ufm_devptr)(uintptr_t)src, size_bytes);
}

ufm_status ufm_copy_to_host(ufm_engine *e, ufm_stream *stream, void *dst, ufm_devptr src,
                            uint64_t size_bytes)
{
	ufm_status status = engine_check_process(e);
	if (status == UFM_OK && size_bytes)
		status = status_need(dst, "dst", "memory to copy to");
	if (status != UFM_OK)
		return status;
	return e->b->copy(or_own(e, stream), UFM_COPY_D2H, (ufm_devptr)(uintptr_t)dst, src, size_bytes);
}
