/* SPDX-License-Identifier: MIT */
/*
 * The most arithmetic that a device does: one large product by the vendor's library, or else what the vendor publishes.
 *
 * The library works in a context of its own, made for it and gone afterwards: what it loads and takes there is none of
 * the engine's, and the driver's free memory is then what it was.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/cuda/peak.h"

const char *peak_kind_name(peak_kind kind)
{
	static const char *const names[] = {"fp32", "tf32", "bf16"};
	return names[kind];
}

/* ------------------------------------------------------------------ ways */

#define WAYS_MAX 2u

/* An f32 is three bf16, or for products of two f32 three of tf32 each; a tf32 is two bf16. */
static uint32_t find_ways(ufm_dtype dtype, ufm_math math, peak_way out[WAYS_MAX])
{
	bool bf16 = dtype == UFM_BF16;

	if (math == UFM_MATH_BF16) {
		out[0] = (peak_way){PEAK_BF16, 1};
		return 1;
	}
	if (math == UFM_MATH_TF32) {
		out[0] = (peak_way){PEAK_TF32, 1};
		out[1] = (peak_way){PEAK_BF16, 2};
		return bf16 ? 2 : 1;
	}
	out[0] = (peak_way){PEAK_FP32, 1};
	out[1] = (peak_way){bf16 ? PEAK_BF16 : PEAK_TF32, 3};
	return 2;
}

static void name_way(const peak_way *way, const char *from, ufm_peak *out)
{
	const char *kind = peak_kind_name(way->kind);

	if (way->products == 1)
		snprintf(out->source, sizeof out->source, "%s, %s", from, kind);
	else
		snprintf(out->source, sizeof out->source, "%s, %u products of %s for one", from,
		         way->products, kind);
}

/* ------------------------------------------------------------------ the driver */

/* Of the driver, beside those that all work needs (driver.c). */
typedef struct peak_driver {
	CUresult (*CtxCreate)(CUcontext *, unsigned, CUdevice);
	CUresult (*CtxDestroy)(CUcontext);
	CUresult (*StreamCreate)(CUstream *, unsigned);
	CUresult (*StreamSynchronize)(CUstream);
	CUresult (*EventCreate)(CUevent *, unsigned);
	CUresult (*EventRecord)(CUevent, CUstream);
	CUresult (*EventSynchronize)(CUevent);
	CUresult (*EventElapsedTime)(float *, CUevent, CUevent);
	CUresult (*MemGetInfo)(size_t *, size_t *);
	CUresult (*MemAlloc)(CUdeviceptr *, size_t);
	CUresult (*MemFree)(CUdeviceptr);
	CUresult (*MemcpyHtoD)(CUdeviceptr, const void *, size_t);
	CUresult (*MemcpyDtoD)(CUdeviceptr, CUdeviceptr, size_t);
} peak_driver;

static const struct {
	const char *name;
	size_t offset_bytes;
} functions[] = {
	{"cuCtxCreate_v2", offsetof(peak_driver, CtxCreate)},
	{"cuCtxDestroy_v2", offsetof(peak_driver, CtxDestroy)},
	{"cuStreamCreate", offsetof(peak_driver, StreamCreate)},
	{"cuStreamSynchronize", offsetof(peak_driver, StreamSynchronize)},
	{"cuEventCreate", offsetof(peak_driver, EventCreate)},
	{"cuEventRecord", offsetof(peak_driver, EventRecord)},
	{"cuEventSynchronize", offsetof(peak_driver, EventSynchronize)},
	{"cuEventElapsedTime", offsetof(peak_driver, EventElapsedTime)},
	{"cuMemGetInfo_v2", offsetof(peak_driver, MemGetInfo)},
	{"cuMemAlloc_v2", offsetof(peak_driver, MemAlloc)},
	{"cuMemFree_v2", offsetof(peak_driver, MemFree)},
	{"cuMemcpyHtoD_v2", offsetof(peak_driver, MemcpyHtoD)},
	{"cuMemcpyDtoD_v2", offsetof(peak_driver, MemcpyDtoD)},
};

static bool find_driver(peak_driver *out)
{
	void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);

	for (size_t i = 0; library && i < sizeof functions / sizeof functions[0]; i++) {
		void *function = dlsym(library, functions[i].name);

		if (!function)
			return false;
		memcpy((char *)out + functions[i].offset_bytes, &function, sizeof function);
	}
	return library != NULL;
}

/* ------------------------------------------------------------------ one product */

/* cuBLAS's numbers. */
enum { TYPE_F32 = 0, TYPE_BF16 = 14 };
enum { COMPUTE_32F = 68, COMPUTE_32F_FAST_TF32 = 77 };
enum { OP_N = 0, OP_T = 1 };
#define ALGORITHM_DEFAULT (-1)

#define SIDE_MAX 8192u
#define SIDE_MIN 2048u
#define SPARE_BYTES ((uint64_t)512 << 20) /* what the library takes for itself */
#define PATTERN_WORDS ((size_t)1 << 20)
#define RUN_MS 30.0f /* of several products, whose clocks have settled */
#define RUNS 5
#define PRODUCTS_MAX 64u

typedef struct measuring {
	int device;
	peak_driver driver;
	const cublas *library;
	void *handle;
	int version;
	CUstream stream;
	CUevent begin, end;
	uint32_t side;
	CUdeviceptr a, b, c;
	peak_way ways[WAYS_MAX];
	uint32_t way_count;
	ufm_peak best;
} measuring;

static uint32_t element_bytes(peak_kind kind)
{
	return kind == PEAK_BF16 ? 2 : 4;
}

/* Numbers of 2^-7 to 1 of either sign, as they are in weights: with zeros a device draws less power and is faster than
 * with anything that is worth multiplying. */
static uint32_t *make_pattern(peak_kind kind)
{
	uint32_t *words = malloc(PATTERN_WORDS * sizeof *words), state = 0x9e3779b9u;

	for (size_t i = 0; words && i < PATTERN_WORDS; i++) {
		state = state * 1664525u + 1013904223u;
		uint32_t mixed = state ^ state >> 15;
		/* The exponent's 8 bits become 120 to 127. */
		words[i] = (mixed & 0x83ffffffu) | 0x3c000000u;
		if (kind == PEAK_BF16)
			words[i] = (words[i] & 0xffff0000u) | ((mixed >> 3 & 0x83ffu) | 0x3c00u);
	}
	return words;
}

static bool fill(const measuring *m, CUdeviceptr at, uint64_t size_bytes, const uint32_t *pattern)
{
	uint64_t done = PATTERN_WORDS * sizeof *pattern;
	CUresult code;

	done = done < size_bytes ? done : size_bytes;
	code = m->driver.MemcpyHtoD(at, pattern, done);
	while (code == CUDA_SUCCESS && done < size_bytes) {
		uint64_t part = done < size_bytes - done ? done : size_bytes - done;
		code = m->driver.MemcpyDtoD(at + done, at, part);
		done += part;
	}
	return code == CUDA_SUCCESS;
}

static void free_matrices(measuring *m)
{
	CUdeviceptr *const all[] = {&m->a, &m->b, &m->c};

	for (int i = 0; i < 3; i++) {
		if (*all[i])
			(void)m->driver.MemFree(*all[i]);
		*all[i] = 0;
	}
}

/* Three square matrices of the side, where there is room for them. */
static bool make_matrices(measuring *m, peak_kind kind, uint32_t side)
{
	uint64_t bytes = (uint64_t)side * side * element_bytes(kind);
	size_t free_bytes = 0, total_bytes = 0;
	uint32_t *pattern;
	bool made;

	if (m->driver.MemGetInfo(&free_bytes, &total_bytes) != CUDA_SUCCESS ||
	    free_bytes < 3 * bytes + SPARE_BYTES)
		return false;
	m->side = side;
	pattern = make_pattern(kind);
	made = pattern && m->driver.MemAlloc(&m->a, bytes) == CUDA_SUCCESS &&
	       m->driver.MemAlloc(&m->b, bytes) == CUDA_SUCCESS &&
	       m->driver.MemAlloc(&m->c, bytes) == CUDA_SUCCESS && fill(m, m->a, bytes, pattern) &&
	       fill(m, m->b, bytes, pattern);
	free(pattern);
	if (!made)
		free_matrices(m);
	return made;
}

/* Weights lie as the engine has them: row by row. */
static bool multiply(const measuring *m, peak_kind kind)
{
	static const float one = 1.0f, zero = 0.0f;
	int side = (int)m->side, type = kind == PEAK_BF16 ? TYPE_BF16 : TYPE_F32;
	int compute = kind == PEAK_TF32 ? COMPUTE_32F_FAST_TF32 : COMPUTE_32F;

	return m->library->gemm(m->handle, OP_T, OP_N, side, side, side, &one, (const void *)m->a, type,
	                        side, (const void *)m->b, type, side, &zero, (void *)m->c, type, side,
	                        compute, ALGORITHM_DEFAULT) == 0;
}

static bool time_products(const measuring *m, peak_kind kind, uint32_t count, float *each_ms)
{
	const peak_driver *d = &m->driver;
	float elapsed_ms = 0;
	bool good = d->EventRecord(m->begin, m->stream) == CUDA_SUCCESS;

	for (uint32_t i = 0; i < count && good; i++)
		good = multiply(m, kind);
	good = good && d->EventRecord(m->end, m->stream) == CUDA_SUCCESS &&
	       d->EventSynchronize(m->end) == CUDA_SUCCESS &&
	       d->EventElapsedTime(&elapsed_ms, m->begin, m->end) == CUDA_SUCCESS && elapsed_ms > 0;
	*each_ms = elapsed_ms / (float)count;
	return good;
}

/* The first product loads code; the second says how many make a run. */
static bool best_time(const measuring *m, peak_kind kind, float *best_ms)
{
	float each_ms = 0;

	if (!time_products(m, kind, 1, &each_ms) || !time_products(m, kind, 1, &each_ms))
		return false;
	float fit = RUN_MS / each_ms + 1;
	uint32_t count = fit < (float)PRODUCTS_MAX ? (uint32_t)fit : PRODUCTS_MAX;
	*best_ms = each_ms;
	for (int i = 0; i < RUNS; i++) {
		if (!time_products(m, kind, count, &each_ms))
			return false;
		*best_ms = each_ms < *best_ms ? each_ms : *best_ms;
	}
	return true;
}

static void keep_better(measuring *m, const peak_way *way, float each_ms)
{
	double side = m->side, operations = 2 * side * side * side;
	double gflops = operations / each_ms / 1e6 / way->products;
	char from[32];

	if (gflops <= m->best.gflops)
		return;
	m->best.gflops = gflops;
	snprintf(from, sizeof from, "cublas %d.%d", m->version / 10000, m->version % 10000 / 100);
	name_way(way, from, &m->best);
	snprintf(m->best.shape, sizeof m->best.shape, "%ux%ux%u", m->side, m->side, m->side);
}

/* The largest product that there is room for. */
static void measure_way(measuring *m, const peak_way *way)
{
	float each_ms = 0;

	for (uint32_t side = SIDE_MAX; side >= SIDE_MIN; side /= 2) {
		if (!make_matrices(m, way->kind, side))
			continue;
		if (best_time(m, way->kind, &each_ms))
			keep_better(m, way, each_ms);
		(void)m->driver.StreamSynchronize(m->stream);
		free_matrices(m);
		return;
	}
}

/* ------------------------------------------------------------------ the library */

static bool open_handle(measuring *m)
{
	const peak_driver *d = &m->driver;

	return d->StreamCreate(&m->stream, CU_STREAM_DEFAULT) == CUDA_SUCCESS &&
	       d->EventCreate(&m->begin, CU_EVENT_DEFAULT) == CUDA_SUCCESS &&
	       d->EventCreate(&m->end, CU_EVENT_DEFAULT) == CUDA_SUCCESS &&
	       m->library->create(&m->handle) == 0;
}

/* In the new context, which the calling thread has until it is gone; with it goes all that was made in it. */
static bool use_library(void *ctx, const cublas *library)
{
	measuring *m = ctx;
	CUcontext context = NULL;

	if (m->driver.CtxCreate(&context, CU_CTX_SCHED_AUTO, m->device) != CUDA_SUCCESS)
		return false;
	m->library = library;
	m->handle = NULL;
	if (open_handle(m)) {
		if (library->get_version(m->handle, &m->version) == 0 &&
		    library->set_stream(m->handle, m->stream) == 0)
			for (uint32_t i = 0; i < m->way_count; i++)
				measure_way(m, &m->ways[i]);
		(void)library->destroy(m->handle);
	}
	(void)m->driver.CtxDestroy(context);
	return m->best.gflops > 0;
}

/* ------------------------------------------------------------------ what is published */

static ufm_status take_published(const ufm_device *device, const peak_way *ways, uint32_t count,
                                 ufm_peak *out)
{
	const published_peak *found = published_find(device->info.name);
	char from[48];

	if (!found)
		return cuda_fail(UFM_EUNSUPPORTED,
		                 "no cuBLAS was found that could be timed (UFM_CUBLAS may name one), and "
		                 "no peak of %s is known",
		                 device->info.name);
	*out = (ufm_peak){0};
	snprintf(from, sizeof from, "published: %s", found->part);
	for (uint32_t i = 0; i < count; i++) {
		double gflops = 1000 * found->tflops[ways[i].kind] / ways[i].products;
		if (gflops <= out->gflops)
			continue;
		out->gflops = gflops;
		name_way(&ways[i], from, out);
	}
	return UFM_OK;
}

static ufm_status check(ufm_dtype dtype, ufm_math math)
{
	if (dtype != UFM_F32 && dtype != UFM_BF16)
		return cuda_fail(UFM_EINVAL, "dtype: %d, expected f32 or bf16", (int)dtype);
	if (math != 0 && math != UFM_MATH_FP32 && math != UFM_MATH_TF32 && math != UFM_MATH_BF16)
		return cuda_fail(UFM_EINVAL, "math: %d, expected fp32, tf32 or bf16", (int)math);
	return UFM_OK;
}

ufm_status cuda_peak(ufm_stream *stream, ufm_dtype dtype, ufm_math math, ufm_peak *out)
{
	ufm_device *device = stream->device;
	measuring m = {.device = device->index};
	bool used = false;
	ufm_status status = check(dtype, math);

	if (status == UFM_OK)
		status = cuda_stream_sync(stream);
	if (status != UFM_OK)
		return status;
	m.way_count = find_ways(dtype, math, m.ways);
	if (find_driver(&m.driver))
		status = cublas_find(use_library, &m, &used);
	if (status != UFM_OK)
		return status;
	if (!used)
		return take_published(device, m.ways, m.way_count, out);
	*out = m.best;
	return UFM_OK;
}
