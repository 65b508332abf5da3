/* SPDX-License-Identifier: MIT */
/* The experiment as it was run: how long a copy takes of bytes that 15 threads have just read, by how they read and wait. */
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cuda_runtime.h>
#include <immintrin.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <thread>
#include <time.h>
#include <vector>
#define C(x) \
	do { \
		cudaError_t e = (x); \
		if (e) { \
			printf("%s: %s\n", #x, cudaGetErrorString(e)); \
			exit(1); \
		} \
	} while (0)
static double now()
{
	timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec * 1e-3;
}
__global__ void empty()
{
}
__global__ void wr(volatile unsigned *h)
{
	h[threadIdx.x] = threadIdx.x;
	__threadfence_system();
}
static std::atomic<int> job{0}, done{0}, stop{0};
static char *volatile jobp;
static volatile int wait_kind = 0, read_kind = 0;
static volatile unsigned sink[64 * 16];
const size_t B = 9437184;
const int T = 15;
static void breathe(unsigned r)
{
	if (wait_kind == 0) {
		if (r < 256)
			_mm_pause();
		else
			sched_yield();
	} else if (wait_kind == 1) {
		if (r % 256 != 255)
			_mm_pause();
		else
			sched_yield();
	} else {
		if (r < 256)
			_mm_pause();
		else {
			timespec t = {0, 50000};
			nanosleep(&t, 0);
		}
	}
}
__attribute__((target("avx512f,clflushopt"))) static void rd(char *p, size_t n, int id)
{
	__m512 s = _mm512_setzero_ps();
	int k = read_kind;
	for (size_t i = 0; i < n; i += 64) {
		if (k == 1)
			_mm_prefetch(p + i + 2048, _MM_HINT_NTA);
		s = _mm512_add_ps(s, _mm512_load_ps((float *)(p + i)));
	}
	if (k == 2) {
		for (size_t i = 0; i < n; i += 64)
			_mm_clflushopt(p + i);
		_mm_sfence();
	}
	sink[id * 16] = (unsigned)_mm512_reduce_add_ps(s);
}
__attribute__((target("clflushopt,avx512f"))) static void flush(char *p, size_t n)
{
	for (size_t i = 0; i < n; i += 64)
		_mm_clflushopt(p + i);
	_mm_sfence();
}
static void worker(int id)
{
	cpu_set_t s;
	CPU_ZERO(&s);
	CPU_SET(id + 1, &s);
	pthread_setaffinity_np(pthread_self(), sizeof s, &s);
	int seen = 0;
	for (;;) {
		unsigned r = 0;
		while (job.load() == seen) {
			if (stop)
				return;
			breathe(r++);
		}
		seen = job.load();
		char *p = jobp;
		if (p) {
			size_t n = B / T / 64 * 64;
			rd(p + id * n, n, id);
		}
		done.fetch_add(1);
	}
}
int main()
{
	char *h = (char *)mmap(0, B * 64, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(h, B * 64, MADV_HUGEPAGE);
	for (size_t i = 0; i < B * 64; i += 4096)
		h[i] = 1;
	C(cudaHostRegister(h, B * 64, 0));
	char *d;
	C(cudaMalloc(&d, B * 2));
	unsigned *hh;
	C(cudaMallocHost(&hh, 4096));
	cudaStream_t s, c;
	C(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
	C(cudaStreamCreateWithFlags(&c, cudaStreamNonBlocking));
	cudaEvent_t e0, e1;
	C(cudaEventCreate(&e0));
	C(cudaEventCreate(&e1));
	cpu_set_t cs;
	CPU_ZERO(&cs);
	CPU_SET(0, &cs);
	pthread_setaffinity_np(pthread_self(), sizeof cs, &cs);
	const char *w[] = {"yield", "yield 1/256", "sleep"},
			   *rk[] = {"plain", "nta", "clflushopt inline"};
	auto copy_time = [&](char *p) {
		float f;
		cudaEventRecord(e0, c);
		cudaMemcpyAsync(d, p, B, cudaMemcpyHostToDevice, c);
		cudaEventRecord(e1, c);
		cudaEventSynchronize(e1);
		cudaEventElapsedTime(&f, e0, e1);
		return f * 1e3;
	};
	auto med = [](std::vector<double> &v) {
		std::sort(v.begin(), v.end());
		return v[v.size() / 2];
	};
	{
		std::vector<double> a, b;
		for (int i = 0; i < 60; i++) {
			a.push_back(copy_time(h + B * (i % 64)));
			double t = now();
			wr<<<1, 32, 0, s>>>(hh);
			cudaStreamSynchronize(s);
			b.push_back(now() - t);
		}
		printf("no threads: copy %.0f us, launch+write+sync %.1f us\n", med(a), med(b));
	}
	std::vector<std::thread> th;
	for (int i = 0; i < T; i++)
		th.emplace_back(worker, i);
	for (wait_kind = 0; wait_kind < 3; wait_kind++) {
		{
			std::vector<double> a, b;
			for (int i = 0; i < 60; i++) {
				jobp = 0;
				done = 0;
				job++;
				while (done < T)
					;
				a.push_back(copy_time(h + B * (i % 64)));
				double t = now();
				wr<<<1, 32, 0, s>>>(hh);
				cudaStreamSynchronize(s);
				b.push_back(now() - t);
			}
			printf("waiting by %s, nothing read: copy %.0f us, launch+write+sync %.1f us\n",
			       w[wait_kind], med(a), med(b));
		}
		for (read_kind = 0; read_kind < 3; read_kind++)
			for (int which = 0; which < 3; which++) {
				std::vector<double> a, b, r;
				for (int i = 0; i < 60; i++) {
					char *p = h + B * (i % 64);
					jobp = p;
					done = 0;
					double t = now();
					job++;
					while (done < T)
						;
					r.push_back(now() - t);
					char *q = which == 0   ? p
					          : which == 1 ? h + B * ((i + 32) % 64)
					                       : h + B * ((i + 64 - 4) % 64);
					a.push_back(copy_time(q));
					t = now();
					wr<<<1, 32, 0, s>>>(hh);
					cudaStreamSynchronize(s);
					b.push_back(now() - t);
				}
				printf("waiting by %s, read (%s) took %.0f us, then copy of %s: %.0f us, "
				       "launch+write+sync %.1f us\n",
				       w[wait_kind], rk[read_kind], med(r),
				       which == 0   ? "the same"
				       : which == 1 ? "another"
				                    : "that of 4 before",
				       med(a), med(b));
			}
	}
	stop = 1;
	for (auto &t : th)
		t.join();
	std::vector<double> f;
	for (int i = 0; i < 10; i++) {
		double t = now();
		flush(h + B * i, B / 15);
		f.push_back(now() - t);
	}
	printf("clflushopt of 1/15 expert by one thread, uncached: %.0f us\n", med(f));
	return 0;
}
