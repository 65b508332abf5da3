/* SPDX-License-Identifier: MIT */
/* Events of the cpu backend: a place on the timeline of the stream that recorded them last. */

#include "base/alloc.h"
#include "base/clock.h"
#include "base/status.h"
#include "device/cpu/cpu_int.h"

ufm_status cpu_event_open(ufm_device *device, ufm_event **out)
{
	ufm_event *event = alloc_zeroed(1, sizeof *event);

	if (!event)
		return UFM_ENOMEM;
	event->device = device;
	*out = event;
	return UFM_OK;
}

void cpu_event_close(ufm_event *event)
{
	if (!event)
		return;
	ufm_device *device = event->device;
	lock_take(&device->lock);
	bool unused = event->queued == 0;
	event->closed = true;
	lock_drop(&device->lock);
	if (unused)
		alloc_free(event);
}

ufm_status cpu_event_record(ufm_event *event, ufm_stream *stream)
{
	cpu_command command = {.op = CPU_OP_RECORD, .record = {event}};

	if (event->device != stream->device)
		return status_fail(UFM_EINVAL, "event_record: event and stream belong to two devices");
	lock_take(&event->device->lock);
	event->timeline = stream->timeline;
	/* All work so far is done, so a record passes at once: waking the thread for it would cost more than all else that a
	 * lease of resident experts does. */
	if (cpu_stream_is_idle(stream)) {
		event->position = stream->timeline->enqueued;
		event->passed_ns = clock_now_ns();
	} else {
		event->position = cpu_enqueue_locked(stream, &command);
		event->queued++;
	}
	lock_drop(&event->device->lock);
	return UFM_OK;
}

void cpu_run_record(ufm_stream *stream, const cpu_command *command)
{
	ufm_event *event = command->record.event;
	uint64_t now_ns = clock_now_ns();

	lock_take(&stream->device->lock);
	/* A later record, perhaps on another stream, may have passed already. */
	if (event->timeline == stream->timeline && event->position == stream->timeline->done + 1)
		event->passed_ns = now_ns;
	bool unused = --event->queued == 0 && event->closed;
	lock_drop(&stream->device->lock);
	if (unused)
		alloc_free(event);
}

static bool has_passed(const ufm_event *event)
{
	return !event->timeline || event->timeline->done >= event->position;
}

ufm_status cpu_event_query(ufm_event *event, int *done)
{
	lock_take(&event->device->lock);
	*done = has_passed(event);
	lock_drop(&event->device->lock);
	return UFM_OK;
}

ufm_status cpu_event_sync(ufm_event *event, uint64_t wait_ns)
{
	ufm_device *device = event->device;
	uint64_t now_ns = clock_now_ns();
	uint64_t until_ns = wait_ns < UINT64_MAX - now_ns ? now_ns + wait_ns : UINT64_MAX;
	bool in_time = true;

	lock_take(&device->lock);
	const cpu_timeline *timeline = event->timeline;
	uint64_t position = event->position;
	while (in_time && timeline && timeline->done < position) {
		if (until_ns == UINT64_MAX)
			lock_wait(&device->progress, &device->lock);
		else
			in_time = lock_wait_until(&device->progress, &device->lock, until_ns);
	}
	in_time = !timeline || timeline->done >= position;
	lock_drop(&device->lock);
	if (!in_time)
		return status_fail(UFM_ETIMEDOUT, "event: not passed within %llu ns",
		                   (unsigned long long)wait_ns);
	return UFM_OK;
}

ufm_status cpu_event_elapsed(ufm_event *from, ufm_event *to, uint64_t *elapsed_ns)
{
	if (from->device != to->device)
		return status_fail(UFM_EINVAL, "event_elapsed: the events belong to two devices");
	lock_take(&from->device->lock);
	bool both = from->timeline && to->timeline && has_passed(from) && has_passed(to);
	uint64_t from_ns = from->passed_ns, to_ns = to->passed_ns;
	lock_drop(&from->device->lock);
	if (!both)
		return status_fail(UFM_EINVAL, "event_elapsed: expected two recorded and passed events");
	*elapsed_ns = to_ns > from_ns ? to_ns - from_ns : 0;
	return UFM_OK;
}

/* What is awaited is fixed now, whatever the event records later. */
ufm_status cpu_stream_wait(ufm_stream *stream, ufm_event *event)
{
	if (event->device != stream->device)
		return status_fail(UFM_EINVAL, "stream_wait: event and stream belong to two devices");
	lock_take(&event->device->lock);
	cpu_command command = {.op = CPU_OP_WAIT, .wait = {event->timeline, event->position}};
	if (!has_passed(event) && event->timeline != stream->timeline)
		cpu_enqueue_locked(stream, &command);
	lock_drop(&event->device->lock);
	return UFM_OK;
}

void cpu_run_wait(ufm_device *device, const cpu_command *command)
{
	lock_take(&device->lock);
	while (command->wait.timeline->done < command->wait.position)
		lock_wait(&device->progress, &device->lock);
	lock_drop(&device->lock);
}
