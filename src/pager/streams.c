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

/* The engine's lock is held. */
static ufm_status find_stream(ufm_engine *e, void *native, ufm_stream **out)
{
	wrapped *w = &e->wrapped;
	for (uint32_t i = 0; i < w->count; i++) {
		if (w->natives[i] == native) {
			*out = w->streams[i];
			return UFM_OK;
		}
	}
	if (w->count == UFM_STREAMS_MAX)
		return status_fail(
			UFM_EBUSY, "native stream: the engine knows %u already, expected no more", w->count);
	ufm_status status = e->b->stream_open(e->device, native, out);
	if (status != UFM_OK)
		return status;
	w->natives[w->count] = native;
	w->streams[w->count++] = *out;
	return UFM_OK;
}

/* The handle by which the backend's API names what it also calls NULL, so that NULL stays "a new one" in stream_open:
 * CU_STREAM_LEGACY. */
#define DEFAULT_STREAM ((void *)(uintptr_t)1)

ufm_status ufm_stream_of(ufm_engine *e, void *native, ufm_stream **out)
{
	ufm_status status = engine_check_process(e);
	if (status == UFM_OK)
		status = status_need((const void *)out, "out", "where to put the stream");
	if (status != UFM_OK)
		return status;
	lock_take(&e->lock);
	status = find_stream(e, native ? native : DEFAULT_STREAM, out);
	lock_drop(&e->lock);
	return status;
}

void streams_close(ufm_engine *e)
{
	for (uint32_t i = 0; i < e->wrapped.count; i++)
		e->b->stream_close(e->wrapped.streams[i]);
	e->wrapped.count = 0;
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
