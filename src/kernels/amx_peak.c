/* SPDX-License-Identifier: MIT */
/* The most products of bf16 weights with f32 inputs that a core makes on AMX tiles: three tile products give one. */
#include "kernels/kernels_int.h"

#if defined(__x86_64__)

#define TILES_CONFIGURE(shapes) __asm__ volatile("ldtilecfg %0" ::"m"(*(shapes)) : "memory")
#define TERMS 3u
#define TILE 16u         /* rows, and columns of 4 bytes */
#define TILE_PAIRS_2 32u /* bf16 in a row of a tile */

/* As ldtilecfg reads it. */
typedef struct shapes_of_tiles {
	uint8_t palette, start_row, reserved[14];
	uint16_t row_bytes[16];
	uint8_t rows[16];
} shapes_of_tiles;

/* Four sums, so that none waits for the one before. */
uint64_t kernels_peak_amx(uint32_t rounds)
{
	shapes_of_tiles shapes = {.palette = 1};

	for (int i = 0; i < 8; i++) {
		shapes.rows[i] = TILE;
		shapes.row_bytes[i] = TILE * 4;
	}
	TILES_CONFIGURE(&shapes);
	__asm__ volatile("tilezero %%tmm0\n\ttilezero %%tmm1\n\ttilezero %%tmm2\n\ttilezero %%tmm3\n\t"
	                 "tilezero %%tmm4\n\ttilezero %%tmm5\n\ttilezero %%tmm6\n\ttilezero %%tmm7" ::
	                     : "memory");
	for (uint32_t r = 0; r < rounds; r++)
		__asm__ volatile("tdpbf16ps %%tmm6, %%tmm4, %%tmm0\n\t"
		                 "tdpbf16ps %%tmm7, %%tmm4, %%tmm1\n\t"
		                 "tdpbf16ps %%tmm6, %%tmm5, %%tmm2\n\t"
		                 "tdpbf16ps %%tmm7, %%tmm5, %%tmm3" ::
		                     : "memory");
	__asm__ volatile("tilerelease" ::: "memory");
	return 4ull * 2 * TILE * TILE * TILE_PAIRS_2 * rounds / TERMS;
}

#else

uint64_t kernels_peak_amx(uint32_t rounds)
{
	(void)rounds;
	return 0;
}

#endif
