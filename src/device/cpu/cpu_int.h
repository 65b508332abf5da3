/* SPDX-License-Identifier: MIT */
/* The inside of the cpu backend: a device, its memory, its streams and their events. */
#ifndef UFM_DEVICE_CPU_INT_H
#define UFM_DEVICE_CPU_INT_H

#include <pthread.h>
#include <stdbool.h>
#include <ufm/backend.h>

#include "base/lock.h"
#include "base/pool.h"
#include "kernels/kernels.h"

#define CPU_GRANULE_BYTES ((uint64_t)64 * 1024)
#define CPU_REGISTER_BYTES_MAX ((uint64_t)1 << 30)
#define CPU_THREADS_MAX 1024u
#define CPU_EXPERTS_MAX \
	65536u /* of a router: its logits for one token fit the scratch of a thread */
#define CPU_QUEUE_COMMANDS 256u
/* So much is copied in no more time than another thread takes to wake up. */
#define CPU_SHORT_BYTES ((uint64_t)256 * 1024)

/* One address range and which of its granules hold memory. */
typedef struct cpu_range {
	struct cpu_range *next;
	ufm_devptr base;
	uint64_t size_bytes;
	uint64_t mapped[]; /* a bit a granule */
} cpu_range;

/* How far a stream has come. Closing a stream leaves its timeline to the device, which gives it to
 * the next stream and lets the counts go on: events and waits that name it stay true. */
typedef struct cpu_timeline {
	struct cpu_timeline *next; /* unused ones of a device */
	uint64_t enqueued, done;
} cpu_timeline;

struct ufm_device {
	lock lock;          /* guards all below that changes, and every stream's and event's fields */
	lock_cond progress; /* a command of any stream is done */
	cpu_range *ranges;
	uint64_t mapped_bytes;
	cpu_timeline *unused;
	ufm_stream *streams;
	uint64_t link_free_ns[2]; /* when each direction of the emulated link is next free */

	/* constant once open */
	uint64_t memory_bytes;
	double link_gbps;
	const kernel_table *kernels;
	float *scratch; /* CPU_EXPERTS_MAX logits for each thread of the pool */

	lock compute_lock; /* one stream at a time uses pool and scratch */
	pool *pool;
};

struct ufm_event {
	ufm_device *device;
	cpu_timeline *timeline; /* of the last record; NULL: none */
	uint64_t position;      /* on it */
	uint64_t passed_ns;     /* of the last record, once passed */
	uint32_t queued;        /* records in queues */
	bool closed;            /* the last record in a queue frees it */
};

typedef enum cpu_op {
	CPU_OP_WAIT,
	CPU_OP_RECORD,
	CPU_OP_COPY,
	CPU_OP_FILL,
	CPU_OP_GATHER,
	CPU_OP_ROUTE,
	CPU_OP_EXPERTS,
	CPU_OP_COMBINE,
	CPU_OP_GROUP,
	CPU_OP_READ,
	CPU_OP_ADOPT,
} cpu_op;

typedef struct cpu_command {
	cpu_op op;
	union {
		struct {
			cpu_timeline *timeline;
			uint64_t position;
		} wait;
		struct {
			ufm_event *event;
		} record;
		struct {
			ufm_copy_kind kind;
			ufm_devptr dst, src;
			uint64_t size_bytes;
			uint64_t together_bytes; /* with those that were enqueued with it */
		} copy;
		struct {
			ufm_devptr dst;
			uint64_t size_bytes;
			uint8_t byte;
		} fill;
		ufm_gather_args gather;
		ufm_router_args route;
		ufm_experts_args experts;
		ufm_combine_args combine;
		ufm_group_args group;
		ufm_adopt_args adopt;
		struct {
			ufm_devptr at, out;
			uint64_t size_bytes;
		} read;
	};
} cpu_command;

struct ufm_stream {
	ufm_device *device;
	cpu_timeline *timeline;
	ufm_stream *next; /* on the device */
	pthread_t thread;
	lock_cond work, space; /* the queue got a command, or room for one */
	bool stop;
	bool in_caller; /* whoever enqueues does the work, where nothing is before it */
	bool taken;     /* and is doing so: the thread waits */
	uint32_t head, count;
	cpu_command queue[CPU_QUEUE_COMMANDS];
};

static inline void *cpu_host(ufm_devptr at)
{
	return (void *)(uintptr_t)at;
}

/* memory.c */
ufm_status cpu_mem_reserve(ufm_device *device, uint64_t size_bytes, ufm_devptr *base);
void cpu_mem_release(ufm_device *device, ufm_devptr base, uint64_t size_bytes);
ufm_status cpu_mem_map(ufm_device *device, ufm_devptr at, uint64_t size_bytes);
ufm_status cpu_mem_unmap(ufm_device *device, ufm_devptr at, uint64_t size_bytes);
ufm_status cpu_host_register(void *memory, uint64_t size_bytes);
void cpu_host_unregister(void *memory, uint64_t size_bytes);
ufm_status cpu_host_view(ufm_device *device, const void *memory, ufm_devptr *out);

/* stream.c */
ufm_status cpu_stream_open(ufm_device *device, void *native, ufm_stream **out);
void cpu_stream_close(ufm_stream *stream);
ufm_status cpu_stream_sync(ufm_stream *stream);
void cpu_stream_inline(ufm_stream *stream, int on);
/* All that was enqueued is done. With the device's lock held. */
bool cpu_stream_is_idle(const ufm_stream *stream);
/* Does it at once where nothing is before it and the stream is inline or the command short. Blocks while the queue is
 * full. */
void cpu_enqueue(ufm_stream *stream, const cpu_command *command);
/* The same with the device's lock held; gives the command's position on the timeline. */
uint64_t cpu_enqueue_locked(ufm_stream *stream, const cpu_command *command);

/* event.c */
ufm_status cpu_event_open(ufm_device *device, ufm_event **out);
void cpu_event_close(ufm_event *event);
ufm_status cpu_event_record(ufm_event *event, ufm_stream *stream);
ufm_status cpu_event_query(ufm_event *event, int *done);
ufm_status cpu_event_sync(ufm_event *event, uint64_t wait_ns);
ufm_status cpu_event_elapsed(ufm_event *from, ufm_event *to, uint64_t *elapsed_ns);
ufm_status cpu_stream_wait(ufm_stream *stream, ufm_event *event);
/* On the stream's thread. */
void cpu_run_wait(ufm_device *device, const cpu_command *command);
void cpu_run_record(ufm_stream *stream, const cpu_command *command);

/* copy.c */
ufm_status cpu_copy(ufm_stream *stream, ufm_copy_kind kind, ufm_devptr dst, ufm_devptr src,
                    uint64_t size_bytes);
ufm_status cpu_copies(ufm_stream *stream, const ufm_copies_args *args);
ufm_status cpu_fill(ufm_stream *stream, ufm_devptr dst, uint8_t byte, uint64_t size_bytes);
/* Whether whoever enqueues it had better do it than wake a thread: no time of the link passes in it. */
bool cpu_is_short(const ufm_device *device, const cpu_command *command);
void cpu_run_copy(ufm_device *device, const cpu_command *command);
void cpu_run_fill(const cpu_command *command);

/* group.c */
ufm_status cpu_group(ufm_stream *stream, const ufm_group_args *args);
/* On the stream's thread; takes the compute lock. */
void cpu_run_group(ufm_device *device, const ufm_group_args *args);

/* adopt.c */
ufm_status cpu_adopt(ufm_stream *stream, const ufm_adopt_args *args);
void cpu_run_adopt(const ufm_adopt_args *args); /* on the stream's thread */

/* kernels_ops.c */
ufm_status cpu_gather(ufm_stream *stream, const ufm_gather_args *args);
ufm_status cpu_route(ufm_stream *stream, const ufm_router_args *args);
ufm_status cpu_experts(ufm_stream *stream, const ufm_experts_args *args);
ufm_status cpu_combine(ufm_stream *stream, const ufm_combine_args *args);
uint64_t cpu_hidden_bytes(const ufm_expert_desc *desc, uint32_t rows);
/* On the stream's thread; they take the compute lock. */
void cpu_run_gather(ufm_device *device, const ufm_gather_args *args);
void cpu_run_route(ufm_device *device, const ufm_router_args *args);
void cpu_run_experts(ufm_device *device, const ufm_experts_args *args);
void cpu_run_combine(ufm_device *device, const ufm_combine_args *args);

/* read.c */
ufm_status cpu_read(ufm_stream *stream, ufm_devptr at, uint64_t size_bytes, ufm_devptr out);
void cpu_run_read(ufm_device *device, const cpu_command *command);

/* peak.c */
ufm_status cpu_peak(ufm_stream *stream, ufm_dtype dtype, ufm_math math, ufm_peak *out);

#endif
