/* SPDX-License-Identifier: MIT */
/* Finds the NVIDIA driver and says what is wrong with it when it cannot be used. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "device/cuda/cuda_int.h"

/* The first driver that runs programs of the toolkit's major version. */
#if CUDART_VERSION >= 13000
#define DRIVER_NEEDED "580"
#else
#define DRIVER_NEEDED "525"
#endif
#define CUDA_MAJOR (CUDART_VERSION / 1000)

cuda_driver_table cuda_driver;

static const struct {
	const char *name;
	size_t offset_bytes;
} functions[] = {
	{"cuMemAddressReserve", offsetof(cuda_driver_table, MemAddressReserve)},
	{"cuMemAddressFree", offsetof(cuda_driver_table, MemAddressFree)},
	{"cuMemCreate", offsetof(cuda_driver_table, MemCreate)},
	{"cuMemRelease", offsetof(cuda_driver_table, MemRelease)},
	{"cuMemMap", offsetof(cuda_driver_table, MemMap)},
	{"cuMemUnmap", offsetof(cuda_driver_table, MemUnmap)},
	{"cuMemSetAccess", offsetof(cuda_driver_table, MemSetAccess)},
	{"cuMemGetAllocationGranularity", offsetof(cuda_driver_table, MemGetAllocationGranularity)},
};

static bool is_wsl(void)
{
	char text[256] = "";
	FILE *version = fopen("/proc/version", "re");

	if (version) {
		text[fread(text, 1, sizeof text - 1, version)] = '\0';
		fclose(version);
	}
	return strstr(text, "microsoft") || strstr(text, "Microsoft");
}

const char *cuda_wsl_hint(const char *hint)
{
	return is_wsl() ? hint : "";
}

/* Opened by name first, because the runtime gives one error for a missing and for an old driver. */
static ufm_status load_library(void **library)
{
	*library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
	if (*library)
		return UFM_OK;
	return cuda_fail(UFM_EBACKEND,
	                 "the NVIDIA driver cannot be loaded (%s); CUDA %d needs driver " DRIVER_NEEDED
	                 " or newer%s",
	                 dlerror(), CUDA_MAJOR,
	                 cuda_wsl_hint("; under WSL2 it comes with the Windows driver and lies in "
	                               "/usr/lib/wsl/lib"));
}

static ufm_status find_functions(void *library)
{
	for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
		void *function = dlsym(library, functions[i].name);

		if (!function)
			return cuda_fail(
				UFM_EBACKEND,
				"the NVIDIA driver has no %s: it is too old; CUDA %d needs driver " DRIVER_NEEDED
				" or newer",
				functions[i].name, CUDA_MAJOR);
		memcpy((char *)&cuda_driver + functions[i].offset_bytes, &function, sizeof function);
	}
	return UFM_OK;
}

static pthread_mutex_t load_lock = PTHREAD_MUTEX_INITIALIZER;

ufm_status cuda_driver_load(void)
{
	static void *loaded; /* kept open as long as the process lives, as the runtime does */
	void *library = NULL;

	pthread_mutex_lock(&load_lock);
	ufm_status status = loaded ? UFM_OK : load_library(&library);
	if (status == UFM_OK && !loaded)
		status = find_functions(library);
	if (status == UFM_OK && !loaded)
		loaded = library;
	else if (library)
		dlclose(library);
	pthread_mutex_unlock(&load_lock);
	return status;
}

ufm_status cuda_device_count(uint32_t *count)
{
	int found = 0, version = 0;
	ufm_status status = cuda_driver_load();

	if (status != UFM_OK)
		return status;
	cudaError_t code = cudaGetDeviceCount(&found);
	if (code == cudaErrorInsufficientDriver && cudaDriverGetVersion(&version) == cudaSuccess)
		return cuda_fail(UFM_EBACKEND,
		                 "the NVIDIA driver runs CUDA %d.%d, and this plugin was built with "
		                 "%d.%d: driver " DRIVER_NEEDED " or newer is needed",
		                 version / 1000, version % 1000 / 10, CUDA_MAJOR,
		                 CUDART_VERSION % 1000 / 10);
	if (code != cudaSuccess) {
		(void)cuda_check(NULL, code, "cudaGetDeviceCount");
		return UFM_EBACKEND;
	}
	*count = (uint32_t)found;
	return UFM_OK;
}
