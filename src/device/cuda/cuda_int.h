/* SPDX-License-Identifier: MIT */
/* The inside of the cuda plugin: how a driver call is checked, and what a device, a stream and an
 * event are. The plugin shares no code with the library; it knows backend.h and the CUDA runtime,
 * which is linked in, so that its state is apart from other users of CUDA in the process. */
#ifndef UFM_DEVICE_CUDA_INT_H
#define UFM_DEVICE_CUDA_INT_H

#include <cuda.h>
#include <cuda_runtime_api.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <ufm/backend.h>

#define CUDA_LINE_BYTES 512u
#define CUDA_REGISTER_BYTES_MAX ((uint64_t)1 << 30)

typedef struct cuda_range cuda_range;

struct ufm_device {
	int index;
	ufm_device_info info;
	uint64_t memory_limit_bytes; /* 0: none */
	uint32_t router_experts_max; /* whose scores fit a block's shared memory */
	uint32_t group_experts_max;  /* whose rows can be counted there */
	bool chains;                 /* launch.cuh */
	bool wide;                   /* product/wide.cuh */
	_Atomic bool lost;
	pthread_mutex_t lost_lock; /* guards why_lost */
	char why_lost[CUDA_LINE_BYTES];
	pthread_mutex_t memory_lock; /* guards ranges and what is mapped in them */
	cuda_range *ranges;
	/* The rest of the card, held under a limit. */
	CUmemGenericAllocationHandle *ballast;
	uint32_t ballast_count, ballast_room;
};

struct ufm_stream {
	ufm_device *device;
	cudaStream_t stream;
	bool owned;
	bool grouped; /* the last operation was group */
};

struct ufm_event {
	ufm_device *device;
	cudaEvent_t event;
};

/* ---- check.c */

/* Records a line as the library's last error and gives the status. */
ufm_status cuda_fail(ufm_status status, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void cuda_set_core(const ufm_backend_core *given);

/* Every call of the driver goes through this one function. `call` names it in the message. A sticky
 * error loses the device: from then on every check gives UFM_EDEVICE with the first reason. device
 * NULL: the call concerns no device. Codes of the driver (CUresult) have the numbers of the
 * runtime's errors. */
ufm_status cuda_check(ufm_device *device, cudaError_t code, const char *call);
#define CHECK_RUNTIME(device, name, ...) cuda_check((device), name(__VA_ARGS__), #name)
#define CHECK_DRIVER(device, name, ...) \
	cuda_check((device), (cudaError_t)cuda_driver.name(__VA_ARGS__), "cu" #name)

/* UFM_EDEVICE with the first reason once the device is lost. */
ufm_status cuda_usable(ufm_device *device);

/* Makes a device current for the calling thread until cuda_leave, which puts back what was. */
typedef struct cuda_scope {
	int before;
	bool changed;
} cuda_scope;
ufm_status cuda_enter(ufm_device *device, cuda_scope *scope);
void cuda_leave(const cuda_scope *scope);

/* ---- driver.c: the driver's virtual memory functions, found at run time */

typedef struct cuda_driver_table {
	CUresult (*MemAddressReserve)(CUdeviceptr *, size_t, size_t, CUdeviceptr, unsigned long long);
	CUresult (*MemAddressFree)(CUdeviceptr, size_t);
	CUresult (*MemCreate)(CUmemGenericAllocationHandle *, size_t, const CUmemAllocationProp *,
	                      unsigned long long);
	CUresult (*MemRelease)(CUmemGenericAllocationHandle);
	CUresult (*MemMap)(CUdeviceptr, size_t, size_t, CUmemGenericAllocationHandle,
	                   unsigned long long);
	CUresult (*MemUnmap)(CUdeviceptr, size_t);
	CUresult (*MemSetAccess)(CUdeviceptr, size_t, const CUmemAccessDesc *, size_t);
	CUresult (*MemGetAllocationGranularity)(size_t *, const CUmemAllocationProp *,
	                                        CUmemAllocationGranularity_flags);
} cuda_driver_table;
extern cuda_driver_table cuda_driver;

/* Loads the driver once; UFM_EBACKEND names what is missing and the driver needed. */
ufm_status cuda_driver_load(void);
ufm_status cuda_device_count(uint32_t *count);
/* "; WSL2 …" where this is WSL2, else "". */
const char *cuda_wsl_hint(const char *hint);

/* ---- device.c */
ufm_status cuda_device_open(const ufm_device_config *config, ufm_device **out);
void cuda_device_close(ufm_device *device);
void cuda_device_get_info(ufm_device *device, ufm_device_info *info);
void cuda_device_get_memory(ufm_device *device, ufm_device_memory *memory);

/* ---- memory.c */
CUmemAllocationProp cuda_memory_prop(const ufm_device *device);
/* Holds device memory until at most free_bytes are free. */
ufm_status cuda_ballast_fill(ufm_device *device, uint64_t free_bytes);
void cuda_ballast_drop(ufm_device *device);
void cuda_ranges_drop(ufm_device *device);
ufm_status cuda_mem_reserve(ufm_device *device, uint64_t size_bytes, ufm_devptr *base);
void cuda_mem_release(ufm_device *device, ufm_devptr base, uint64_t size_bytes);
ufm_status cuda_mem_map(ufm_device *device, ufm_devptr at, uint64_t size_bytes);
ufm_status cuda_mem_unmap(ufm_device *device, ufm_devptr at, uint64_t size_bytes);

/* ---- host.c */
ufm_status cuda_host_register(void *memory, uint64_t size_bytes);
void cuda_host_unregister(void *memory, uint64_t size_bytes);
ufm_status cuda_host_view(ufm_device *device, const void *memory, ufm_devptr *out);
/* Whether all of them lie within one registration. */
bool cuda_host_holds(ufm_devptr at, uint64_t size_bytes);
/* How many of size_bytes from `at` on lie within one registration, or outside of all. */
uint64_t cuda_host_span(ufm_devptr at, uint64_t size_bytes);

/* ---- stream.c */
ufm_status cuda_stream_open(ufm_device *device, void *native, ufm_stream **out);
void cuda_stream_close(ufm_stream *stream);
ufm_status cuda_stream_sync(ufm_stream *stream);
ufm_status cuda_stream_wait(ufm_stream *stream, ufm_event *event);
ufm_status cuda_event_open(ufm_device *device, ufm_event **out);
void cuda_event_close(ufm_event *event);
ufm_status cuda_event_record(ufm_event *event, ufm_stream *stream);
ufm_status cuda_event_query(ufm_event *event, int *done);
ufm_status cuda_event_sync(ufm_event *event, uint64_t wait_ns);
ufm_status cuda_event_elapsed(ufm_event *from, ufm_event *to, uint64_t *elapsed_ns);

/* ---- copy.c */
ufm_status cuda_copy(ufm_stream *stream, ufm_copy_kind kind, ufm_devptr dst, ufm_devptr src,
                     uint64_t size_bytes);
ufm_status cuda_copies(ufm_stream *stream, const ufm_copies_args *args);
ufm_status cuda_fill(ufm_stream *stream, ufm_devptr dst, uint8_t byte, uint64_t size_bytes);

/* ---- ops.c: checks, then the launches of kernels.h */
ufm_status cuda_gather(ufm_stream *stream, const ufm_gather_args *args);
ufm_status cuda_route(ufm_stream *stream, const ufm_router_args *args);
ufm_status cuda_experts(ufm_stream *stream, const ufm_experts_args *args);
ufm_status cuda_combine(ufm_stream *stream, const ufm_combine_args *args);
ufm_status cuda_group(ufm_stream *stream, const ufm_group_args *args);
ufm_status cuda_route_tokens(ufm_stream *stream, const ufm_gather_args *gather,
                             const ufm_router_args *route, const ufm_group_args *group);
ufm_status cuda_adopt(ufm_stream *stream, const ufm_adopt_args *args);
ufm_status cuda_read(ufm_stream *stream, ufm_devptr at, uint64_t size_bytes, ufm_devptr out);
uint64_t cuda_hidden_bytes(const ufm_expert_desc *desc, uint32_t rows);
/* Loads all device code now: loaded later it would take memory that the account does not expect. */
ufm_status cuda_load_kernels(ufm_device *device);

/* ---- peak.c */
ufm_status cuda_peak(ufm_stream *stream, ufm_dtype dtype, ufm_math math, ufm_peak *out);

#endif
