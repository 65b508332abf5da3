/* SPDX-License-Identifier: MIT */
/* Streams of the cpu backend: a ring of commands and the thread that runs them in order. */
#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "base/thread.h"
#include "device/cpu/cpu_int.h"

static void run(ufm_stream *stream, const cpu_command *command)
{
	switch (command->op) {
	case CPU_OP_WAIT:
		cpu_run_wait(stream->device, command);
		break;
	case CPU_OP_RECORD:
		cpu_run_record(stream, command);
		break;
	case CPU_OP_COPY:
		cpu_run_copy(stream->device, command);
		break;
	case CPU_OP_FILL:
		cpu_run_fill(command);
		break;
	case CPU_OP_GATHER:
		cpu_run_gather(stream->device, &command->gather);
		break;
	case CPU_OP_ROUTE:
		cpu_run_route(stream->device, &command->route);
		break;
	case CPU_OP_EXPERTS:
		cpu_run_experts(stream->device, &command->experts);
		break;
	case CPU_OP_COMBINE:
		cpu_run_combine(stream->device, &command->combine);
		break;
	case CPU_OP_GROUP:
		cpu_run_group(stream->device, &command->group);
		break;
	case CPU_OP_ADOPT:
		cpu_run_adopt(&command->adopt);
		break;
	case CPU_OP_READ:
		cpu_run_read(stream->device, command);
		break;
	}
}

/* Waits for a command; false when the stream is to stop and its queue is empty. */
static bool take_command(ufm_stream *stream, cpu_command *command)
{
	while (stream->count == 0 || stream->taken) {
		if (stream->stop && !stream->taken)
			return false;
		lock_wait(&stream->work, &stream->device->lock);
	}
	*command = stream->queue[stream->head];
	stream->head = (stream->head + 1) % CPU_QUEUE_COMMANDS;
	stream->count--;
	lock_wake_one(&stream->space);
	return true;
}

static void *stream_main(void *arg)
{
	ufm_stream *stream = arg;
	ufm_device *device = stream->device;
	cpu_command command;

	lock_take(&device->lock);
	while (take_command(stream, &command)) {
		lock_drop(&device->lock);
		run(stream, &command);
		lock_take(&device->lock);
		stream->timeline->done++;
		lock_wake_all(&device->progress);
	}
	lock_drop(&device->lock);
	return NULL;
}

uint64_t cpu_enqueue_locked(ufm_stream *stream, const cpu_command *command)
{
	while (stream->count == CPU_QUEUE_COMMANDS)
		lock_wait(&stream->space, &stream->device->lock);
	stream->queue[(stream->head + stream->count) % CPU_QUEUE_COMMANDS] = *command;
	stream->count++;
	lock_wake_one(&stream->work);
	return ++stream->timeline->enqueued;
}

bool cpu_stream_is_idle(const ufm_stream *stream)
{
	return stream->timeline->done == stream->timeline->enqueued;
}

/* The lock is held before and after. */
static void run_here(ufm_stream *stream, const cpu_command *command)
{
	stream->timeline->enqueued++;
	stream->taken = true;
	lock_drop(&stream->device->lock);
	run(stream, command);
	lock_take(&stream->device->lock);
	stream->taken = false;
	stream->timeline->done++;
	lock_wake_all(&stream->device->progress);
	if (stream->count || stream->stop)
		lock_wake_one(&stream->work);
}

void cpu_enqueue(ufm_stream *stream, const cpu_command *command)
{
	lock_take(&stream->device->lock);
	bool here = stream->in_caller || cpu_is_short(stream->device, command);
	if (here && cpu_stream_is_idle(stream))
		run_here(stream, command);
	else
		cpu_enqueue_locked(stream, command);
	lock_drop(&stream->device->lock);
}

void cpu_stream_inline(ufm_stream *stream, int on)
{
	lock_take(&stream->device->lock);
	stream->in_caller = on != 0;
	lock_drop(&stream->device->lock);
}

static cpu_timeline *take_timeline(ufm_device *device)
{
	lock_take(&device->lock);
	cpu_timeline *timeline = device->unused;
	if (timeline)
		device->unused = timeline->next;
	lock_drop(&device->lock);
	return timeline ? timeline : alloc_zeroed(1, sizeof *timeline);
}

static void give_timeline(ufm_device *device, cpu_timeline *timeline)
{
	timeline->next = device->unused;
	device->unused = timeline;
}

static ufm_status start_thread(ufm_stream *stream)
{
	int error = thread_start(&stream->thread, stream_main, stream);
	if (error)
		return status_fail(UFM_ENOMEM, "thread of a cpu stream: %s", strerror(error));
	return UFM_OK;
}

static void forget(ufm_stream *stream)
{
	ufm_device *device = stream->device;

	lock_take(&device->lock);
	ufm_stream **link = &device->streams;
	while (*link && *link != stream)
		link = &(*link)->next;
	if (*link)
		*link = stream->next;
	give_timeline(device, stream->timeline);
	lock_drop(&device->lock);
	lock_cond_destroy(&stream->work);
	lock_cond_destroy(&stream->space);
	alloc_free(stream);
}

ufm_status cpu_stream_open(ufm_device *device, void *native, ufm_stream **out)
{
	if (native)
		return status_fail(UFM_EUNSUPPORTED,
		                   "native stream: the cpu backend has none to wrap, expected NULL");
	ufm_stream *stream = alloc_zeroed(1, sizeof *stream);
	if (!stream)
		return UFM_ENOMEM;
	stream->device = device;
	stream->timeline = take_timeline(device);
	if (!stream->timeline) {
		alloc_free(stream);
		return UFM_ENOMEM;
	}
	lock_cond_init(&stream->work);
	lock_cond_init(&stream->space);
	ufm_status status = start_thread(stream);
	if (status != UFM_OK) {
		forget(stream);
		return status;
	}
	lock_take(&device->lock);
	stream->next = device->streams;
	device->streams = stream;
	lock_drop(&device->lock);
	*out = stream;
	return UFM_OK;
}

void cpu_stream_close(ufm_stream *stream)
{
	if (!stream)
		return;
	lock_take(&stream->device->lock);
	stream->stop = true;
	lock_wake_one(&stream->work);
	lock_drop(&stream->device->lock);
	pthread_join(stream->thread, NULL);
	forget(stream);
}

ufm_status cpu_stream_sync(ufm_stream *stream)
{
	ufm_device *device = stream->device;

	lock_take(&device->lock);
	uint64_t position = stream->timeline->enqueued;
	while (stream->timeline->done < position)
		lock_wait(&device->progress, &device->lock);
	lock_drop(&device->lock);
	return UFM_OK;
}
