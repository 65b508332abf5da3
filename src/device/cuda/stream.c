/* SPDX-License-Identifier: MIT */
/* Streams and events. */
#include <stdlib.h>
#include <time.h>

#include "device/cuda/cuda_int.h"

#define MAX_OF(a, b) ((a) > (b) ? (a) : (b))
#define MIN_OF(a, b) ((a) < (b) ? (a) : (b))
#define SPIN_NS 4000000u /* of a wait without a limit */

/* ------------------------------------------------------------------ streams */

ufm_status cuda_stream_open(ufm_device *device, void *native, ufm_stream **out)
{
	cuda_scope scope;
	ufm_stream *stream = calloc(1, sizeof *stream);

	if (!stream)
		return cuda_fail(UFM_ENOMEM, "host memory: %zu bytes asked, not available", sizeof *stream);
	*stream = (ufm_stream){.device = device, .stream = native, .owned = !native};
	ufm_status status = cuda_enter(device, &scope);
	if (status == UFM_OK && stream->owned)
		status = CHECK_RUNTIME(device, cudaStreamCreateWithFlags, &stream->stream,
		                       cudaStreamNonBlocking);
	cuda_leave(&scope);
	if (status != UFM_OK) {
		free(stream);
		return status;
	}
	*out = stream;
	return UFM_OK;
}

void cuda_stream_close(ufm_stream *stream)
{
	if (!stream)
		return;
	(void)cuda_stream_sync(stream);
	if (stream->owned)
		(void)CHECK_RUNTIME(stream->device, cudaStreamDestroy, stream->stream);
	free(stream);
}

ufm_status cuda_stream_sync(ufm_stream *stream)
{
	return CHECK_RUNTIME(stream->device, cudaStreamSynchronize, stream->stream);
}

ufm_status cuda_stream_wait(ufm_stream *stream, ufm_event *event)
{
	return CHECK_RUNTIME(stream->device, cudaStreamWaitEvent, stream->stream, event->event, 0);
}

/* ------------------------------------------------------------------ events */

ufm_status cuda_event_open(ufm_device *device, ufm_event **out)
{
	cuda_scope scope;
	ufm_event *event = calloc(1, sizeof *event);

	if (!event)
		return cuda_fail(UFM_ENOMEM, "host memory: %zu bytes asked, not available", sizeof *event);
	event->device = device;
	ufm_status status = cuda_enter(device, &scope);
	if (status == UFM_OK)
		status = CHECK_RUNTIME(device, cudaEventCreateWithFlags, &event->event, cudaEventDefault);
	cuda_leave(&scope);
	if (status != UFM_OK) {
		free(event);
		return status;
	}
	*out = event;
	return UFM_OK;
}

void cuda_event_close(ufm_event *event)
{
	if (!event)
		return;
	(void)CHECK_RUNTIME(event->device, cudaEventDestroy, event->event);
	free(event);
}

ufm_status cuda_event_record(ufm_event *event, ufm_stream *stream)
{
	return CHECK_RUNTIME(event->device, cudaEventRecord, event->event, stream->stream);
}

ufm_status cuda_event_query(ufm_event *event, int *done)
{
	cudaError_t code = cudaEventQuery(event->event);
	ufm_status status =
		cuda_check(event->device, code == cudaErrorNotReady ? cudaSuccess : code, "cudaEventQuery");

	if (status == UFM_OK)
		*done = code == cudaSuccess;
	return status;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The driver has no wait with a limit: asks in rising intervals of up to a millisecond. */
static ufm_status wait_at_most(ufm_event *event, uint64_t wait_ns)
{
	uint64_t begin_ns = now_ns(), pause_ns = 1000;
	int done = 0;
	ufm_status status = cuda_event_query(event, &done);

	while (status == UFM_OK && !done) {
		uint64_t spent_ns = now_ns() - begin_ns;
		if (spent_ns >= wait_ns)
			return cuda_fail(UFM_ETIMEDOUT, "the event did not pass within %llu ns",
			                 (unsigned long long)wait_ns);
		uint64_t sleep_ns = MIN_OF(pause_ns, wait_ns - spent_ns);
		nanosleep(&(struct timespec){.tv_nsec = (long)sleep_ns}, NULL);
		pause_ns = MIN_OF(2 * pause_ns, 1000000u);
		status = cuda_event_query(event, &done);
	}
	return status;
}

ufm_status cuda_event_sync(ufm_event *event, uint64_t wait_ns)
{
	if (wait_ns != UFM_WAIT_FOREVER)
		return wait_at_most(event, wait_ns);
	/* A decode step waits for ids once a layer, for some tens of microseconds: spinning so long
	 * avoids a sleep and a wake-up each time. What that alone brings has not been measured. */
	uint64_t begin_ns = now_ns();
	int done = 0;
	ufm_status status = cuda_event_query(event, &done);
	while (status == UFM_OK && !done && now_ns() - begin_ns < SPIN_NS)
		status = cuda_event_query(event, &done);
	if (status != UFM_OK || done)
		return status;
	return CHECK_RUNTIME(event->device, cudaEventSynchronize, event->event);
}

ufm_status cuda_event_elapsed(ufm_event *from, ufm_event *to, uint64_t *elapsed_ns)
{
	float elapsed_ms = 0.0f;
	ufm_status status =
		CHECK_RUNTIME(from->device, cudaEventElapsedTime, &elapsed_ms, from->event, to->event);

	if (status == UFM_OK)
		*elapsed_ns = (uint64_t)((double)MAX_OF(elapsed_ms, 0.0f) * 1e6);
	return status;
}
