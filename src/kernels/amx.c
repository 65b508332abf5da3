/* SPDX-License-Identifier: MIT */
/* The table for x86 with AMX tiles for bf16: these for bf16 weights, AVX-512 for all else. Built with
 * the flags of AVX-512; the tile instructions are assembly, so that the compiler knows that they touch
 * memory. */
#include "kernels/kernels_int.h"

#if defined(__x86_64__) && defined(__AVX512F__) && defined(__AVX512BW__) && \
	defined(__AVX512VL__) && defined(__AVX512DQ__)

#define TILES_CONFIGURE(shapes) __asm__ volatile("ldtilecfg %0" ::"m"(*(shapes)) : "memory")
#define TILES_RELEASE() __asm__ volatile("tilerelease" ::: "memory")
#define TILE_ZERO(n) __asm__ volatile("tilezero %%tmm" #n ::: "memory")
#define TILE_LOAD(n, at, stride) \
	__asm__ volatile("tileloadd (%0,%1,1), %%tmm" #n ::"r"(at), "r"((size_t)(stride)) : "memory")
#define TILE_STORE(n, at, stride) \
	do { \
		void *to = (at); \
		__asm__ volatile("tilestored %%tmm" #n ", (%0,%1,1)" ::"r"(to), "r"((size_t)(stride)) \
		                 : "memory"); \
	} while (0)
#define TILE_DOT(sum, weights, inputs) \
	__asm__ volatile("tdpbf16ps %%tmm" #inputs ", %%tmm" #weights ", %%tmm" #sum ::: "memory")

#include "kernels/avx512_impl.h"

#include "kernels/amx_impl.h"

#include "kernels/table_impl.h"

const kernel_table *kernels_amx(void)
{
	static const kernel_table table = TABLE("amx");

	return &table;
}

#else

const kernel_table *kernels_amx(void)
{
	return NULL;
}

#endif
