/* SPDX-License-Identifier: MIT */
/* What a code of the driver means to a caller, and when a device is lost. */
#include <stdarg.h>
#include <stdio.h>

#include "device/cuda/cuda_int.h"

static const ufm_backend_core *core;

void cuda_set_core(const ufm_backend_core *given)
{
	core = given;
}

ufm_status cuda_fail(ufm_status status, const char *format, ...)
{
	char line[CUDA_LINE_BYTES];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(line, sizeof line, format, arguments);
	va_end(arguments);
	core->fail(line);
	return status;
}

/* After these the context computes nothing any more: every later call returns the same error. */
static bool is_sticky(cudaError_t code)
{
	switch (code) {
	case cudaErrorECCUncorrectable:
	case cudaErrorNvlinkUncorrectable:
	case cudaErrorIllegalAddress:
	case cudaErrorLaunchTimeout:
	case cudaErrorContextIsDestroyed:
	case cudaErrorAssert:
	case cudaErrorHardwareStackError:
	case cudaErrorIllegalInstruction:
	case cudaErrorMisalignedAddress:
	case cudaErrorInvalidAddressSpace:
	case cudaErrorInvalidPc:
	case cudaErrorLaunchFailure:
	case cudaErrorTensorMemoryLeak:
	case cudaErrorExternalDevice:
	case cudaErrorUnknown:
	case cudaErrorCudartUnloading:
	case cudaErrorDeviceUninitialized:
		return true;
	default:
		return false;
	}
}

static ufm_status status_of(cudaError_t code)
{
	switch (code) {
	case cudaErrorMemoryAllocation:
		return UFM_EDEVMEM;
	case cudaErrorInvalidValue:
	case cudaErrorInvalidDevice:
	case cudaErrorInvalidResourceHandle:
	case cudaErrorInvalidConfiguration:
	case cudaErrorHostMemoryAlreadyRegistered:
	case cudaErrorHostMemoryNotRegistered:
	case cudaErrorNotReady:
		return UFM_EINVAL;
	case cudaErrorNotSupported:
	case cudaErrorNoKernelImageForDevice:
	case cudaErrorInvalidDeviceFunction:
	case cudaErrorUnsupportedPtxVersion:
		return UFM_EUNSUPPORTED;
	default:
		return UFM_EDEVICE;
	}
}

static void lose(ufm_device *device, cudaError_t code, const char *call)
{
	pthread_mutex_lock(&device->lost_lock);
	if (!atomic_load(&device->lost)) {
		snprintf(device->why_lost, sizeof device->why_lost, "%s: %s (%s)", call,
		         cudaGetErrorString(code), cudaGetErrorName(code));
		atomic_store(&device->lost, true);
	}
	pthread_mutex_unlock(&device->lost_lock);
}

ufm_status cuda_usable(ufm_device *device)
{
	if (!device || !atomic_load(&device->lost))
		return UFM_OK;
	return cuda_fail(UFM_EDEVICE,
	                 "device %d is lost, only closing works: %s. The process must be restarted to "
	                 "use it again",
	                 device->index, device->why_lost);
}

ufm_status cuda_check(ufm_device *device, cudaError_t code, const char *call)
{
	ufm_status usable = cuda_usable(device);

	if (code == cudaSuccess || usable != UFM_OK)
		return usable;
	(void)cudaGetLastError(); /* a failed call must not be found again after the next launch */
	if (device && is_sticky(code)) {
		lose(device, code, call);
		return cuda_usable(device);
	}
	return cuda_fail(status_of(code), "%s: %s (%s)", call, cudaGetErrorString(code),
	                 cudaGetErrorName(code));
}

ufm_status cuda_enter(ufm_device *device, cuda_scope *scope)
{
	*scope = (cuda_scope){.before = device->index};
	ufm_status status = CHECK_RUNTIME(device, cudaGetDevice, &scope->before);
	if (status == UFM_OK && scope->before != device->index) {
		status = CHECK_RUNTIME(device, cudaSetDevice, device->index);
		scope->changed = status == UFM_OK;
	}
	return status;
}

void cuda_leave(const cuda_scope *scope)
{
	if (scope->changed)
		(void)cuda_check(NULL, cudaSetDevice(scope->before), "cudaSetDevice");
}
