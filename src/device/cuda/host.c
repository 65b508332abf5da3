/* SPDX-License-Identifier: MIT */
/* Page-locked host memory. What is registered is remembered, because one copy must not cross from
 * one registration into the next. */
#include <stdlib.h>
#include <string.h>

#include "device/cuda/cuda_int.h"

typedef struct registration {
	uint64_t base, size_bytes;
} registration;

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER; /* guards what follows */
static registration *list;                                 /* by rising base, apart */
static size_t count, room;

/* Index of the first registration that ends above `at`; the lock is held. */
static size_t find(uint64_t at)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (list[middle].base + list[middle].size_bytes <= at)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool remember(uint64_t base, uint64_t size_bytes)
{
	pthread_rwlock_wrlock(&lock);
	if (count == room) {
		size_t larger = room ? 2 * room : 64;
		registration *grown = realloc(list, larger * sizeof *list);
		if (!grown) {
			pthread_rwlock_unlock(&lock);
			return false;
		}
		list = grown;
		room = larger;
	}
	size_t at = find(base);
	memmove(list + at + 1, list + at, (count - at) * sizeof *list);
	list[at] = (registration){base, size_bytes};
	count++;
	pthread_rwlock_unlock(&lock);
	return true;
}

static void forget(uint64_t base)
{
	pthread_rwlock_wrlock(&lock);
	size_t at = find(base);
	if (at < count && list[at].base == base) {
		memmove(list + at, list + at + 1, (count - at - 1) * sizeof *list);
		count--;
	}
	pthread_rwlock_unlock(&lock);
}

uint64_t cuda_host_span(ufm_devptr at, uint64_t size_bytes)
{
	pthread_rwlock_rdlock(&lock);
	size_t i = find(at);
	uint64_t end = i == count          ? UINT64_MAX
	               : list[i].base > at ? list[i].base
	                                   : list[i].base + list[i].size_bytes;
	pthread_rwlock_unlock(&lock);
	return end - at < size_bytes ? end - at : size_bytes;
}

bool cuda_host_holds(ufm_devptr at, uint64_t size_bytes)
{
	pthread_rwlock_rdlock(&lock);
	size_t i = find(at);
	bool holds =
		i < count && list[i].base <= at && size_bytes <= list[i].base + list[i].size_bytes - at;
	pthread_rwlock_unlock(&lock);
	return holds;
}

ufm_status cuda_host_register(void *memory, uint64_t size_bytes)
{
	if (!memory || size_bytes == 0 || size_bytes > CUDA_REGISTER_BYTES_MAX)
		return cuda_fail(
			UFM_EINVAL, "page-locking: found %llu bytes at %p, expected 1 … %llu of memory",
			(unsigned long long)size_bytes, memory, (unsigned long long)CUDA_REGISTER_BYTES_MAX);
	ufm_status status = cuda_driver_load();
	if (status != UFM_OK)
		return status;
	cudaError_t code =
		cudaHostRegister(memory, size_bytes, cudaHostRegisterPortable | cudaHostRegisterMapped);
	status = cuda_check(NULL, code, "cudaHostRegister");
	if (code == cudaErrorMemoryAllocation)
		return cuda_fail(UFM_ENOMEM, "page-locking: the driver refused %llu bytes%s",
		                 (unsigned long long)size_bytes,
		                 cuda_wsl_hint("; WSL2 lets only a part of the memory be page-locked"));
	if (status == UFM_OK && !remember((uint64_t)(uintptr_t)memory, size_bytes)) {
		(void)cuda_check(NULL, cudaHostUnregister(memory), "cudaHostUnregister");
		return cuda_fail(UFM_ENOMEM, "host memory: not available");
	}
	return status;
}

void cuda_host_unregister(void *memory, uint64_t size_bytes)
{
	(void)size_bytes;
	forget((uint64_t)(uintptr_t)memory);
	(void)cuda_check(NULL, cudaHostUnregister(memory), "cudaHostUnregister");
}

ufm_status cuda_host_view(ufm_device *device, const void *memory, ufm_devptr *out)
{
	void *view = NULL;
	/* The driver writes nothing to it here. */
	ufm_status status =
		CHECK_RUNTIME(device, cudaHostGetDevicePointer, &view, (void *)(uintptr_t)memory, 0);

	if (status == UFM_OK)
		*out = (ufm_devptr)(uintptr_t)view;
	return status;
}
