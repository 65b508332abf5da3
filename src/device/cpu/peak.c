/* SPDX-License-Identifier: MIT */
/* The most products that the pool's threads make: loops that touch no memory, so that no kernel of ours can be faster
 * or make them slower. */
#include <stdatomic.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/status.h"
#include "device/cpu/cpu_int.h"

#define RUN_NS 10000000u
#define RUNS 5u
#define ROUNDS 10000u

typedef struct peak_job {
	const kernel_table *kernels;
	ufm_dtype dtype;
	uint64_t until_ns;
	_Atomic uint64_t operations;
	const char *loop;
} peak_job;

static void run_thread(void *ctx, uint32_t item, uint32_t worker)
{
	peak_job *job = ctx;
	const char *loop = "";
	uint64_t operations = 0;

	(void)worker;
	while (clock_now_ns() < job->until_ns)
		operations += kernels_peak(job->kernels, job->dtype, ROUNDS, &loop);
	atomic_fetch_add(&job->operations, operations);
	if (item == 0)
		job->loop = loop;
}

/* A thread that others keep from its core makes fewer: the best run counts. */
static double best_of_runs(ufm_device *device, peak_job *job)
{
	uint32_t threads = pool_threads(device->pool);
	double best = 0;

	lock_take(&device->compute_lock);
	for (uint32_t i = 0; i < RUNS; i++) {
		uint64_t begin_ns = clock_now_ns();
		atomic_store(&job->operations, 0);
		job->until_ns = begin_ns + RUN_NS;
		pool_run(device->pool, threads, run_thread, job);
		double gflops = (double)atomic_load(&job->operations) / (double)(clock_now_ns() - begin_ns);
		best = gflops > best ? gflops : best;
	}
	lock_drop(&device->compute_lock);
	return best;
}

ufm_status cpu_peak(ufm_stream *stream, ufm_dtype dtype, ufm_math math, ufm_peak *out)
{
	ufm_device *device = stream->device;
	peak_job job = {.kernels = device->kernels, .dtype = dtype, .loop = ""};
	uint32_t threads = pool_threads(device->pool);

	if (math != 0 && math != UFM_MATH_FP32)
		return status_fail(UFM_EUNSUPPORTED,
		                   "math: %d, expected fp32: the cpu backend has no other", (int)math);
	if (dtype != UFM_F32 && dtype != UFM_BF16)
		return status_fail(UFM_EINVAL, "dtype: %d, expected f32 or bf16", (int)dtype);
	ufm_status status = cpu_stream_sync(stream);
	if (status != UFM_OK)
		return status;
	ufm_peak peak = {.gflops = best_of_runs(device, &job)};
	snprintf(peak.source, sizeof peak.source, "loop of products in registers, %s, %u thread%s",
	         job.loop, threads, threads == 1 ? "" : "s");
	*out = peak;
	return UFM_OK;
}
