/* SPDX-License-Identifier: MIT */
/* Sums of the kernel of warpgroups, finished and stored. */
#ifndef UFM_DEVICE_CUDA_PRODUCT_WIDE_STORE_CUH
#define UFM_DEVICE_CUDA_PRODUCT_WIDE_STORE_CUH

#include "device/cuda/product/epilogue.cuh"
#include "device/cuda/product/wide_shape.cuh"

#define WIDE_ANY (-1) /* activation: whatever the product says */

static __device__ __noinline__ float any_activated(product_finish f, float x)
{
	return activated(f, x);
}

static __device__ __noinline__ float any_gated(product_finish f, float gate, float up)
{
	return gated(f, gate, up);
}

template <int32_t ACTIVATION> __device__ float wide_activated(const product_finish &f, float x)
{
	if constexpr (ACTIVATION == WIDE_ANY)
		return any_activated(f, x);
	else if constexpr (ACTIVATION == UFM_ACT_SILU)
		return __fdividef(x, 1.0f + expf(-f.alpha * x));
	return x;
}

template <int32_t ACTIVATION>
__device__ float wide_gated(const product_finish &f, float gate, float up)
{
	if constexpr (ACTIVATION == WIDE_ANY)
		return any_gated(f, gate, up);
	return wide_activated<ACTIVATION>(f, gate) * up;
}

/* One, two or four units side by side, of which some may lie beyond the last. */
template <class A, uint32_t SIDE>
__device__ void store_side(const product &p, uint64_t row, uint32_t unit,
                           const float (&values)[SIDE])
{
	uint64_t at = row * p.units + unit;

	if (!p.out_fours) {
#pragma unroll
		for (uint32_t i = 0; i < SIDE; i++)
			if (unit + i < p.units)
				store_out<A>(p, row, unit + i, values[i]);
	} else if (A::halves && p.out_half) {
		uint16_t *to = (uint16_t *)p.out + at;
		if constexpr (SIDE == 4)
			*(uint2 *)to = {pack_bf16(values[0], values[1]), pack_bf16(values[2], values[3])};
		else if constexpr (SIDE == 2)
			*(uint32_t *)to = pack_bf16(values[0], values[1]);
		else
			*to = (uint16_t)pack_bf16(values[0], 0.0f);
	} else {
		float *to = (float *)p.out + at;
		if constexpr (SIDE == 4)
			*(float4 *)to = {values[0], values[1], values[2], values[3]};
		else if constexpr (SIDE == 2)
			*(float2 *)to = {values[0], values[1]};
		else
			*to = values[0];
	}
}

/* What becomes of the sums of a warpgroup. */
template <class T> struct wide_store {
	uint32_t group;

	__device__ explicit wide_store(uint32_t group) : group(group)
	{
	}
	/* Of the units of a thread, for one token: finished, and stored side by side. `low` are the sums of rows r by tile,
	 * `high` those of rows r + 8. */
	template <int32_t ACTIVATION, bool GATED>
	__device__ static void store_token(const product &p, uint32_t row, uint32_t unit,
	                                   const float (&low)[T::tiles], const float (&high)[T::tiles],
	                                   const float (&bias)[2 * T::tiles])
	{
		typedef typename T::arithmetic A;
		constexpr uint32_t side = GATED ? T::tiles : 2 * T::tiles;
		float values[side];
#pragma unroll
		for (uint32_t m = 0; m < T::tiles; m++) {
			float a = low[m] + bias[m], b = high[m] + bias[T::tiles + m];
			if constexpr (GATED) {
				values[m] = wide_gated<ACTIVATION>(p.finish, a, b);
			} else {
				values[m] = wide_activated<ACTIVATION>(p.finish, a);
				values[T::tiles + m] = wide_activated<ACTIVATION>(p.finish, b);
			}
		}
		store_side<A, side>(p, row, unit, values);
	}
	/* -0 + sum has the bits of sum. */
	__device__ static float bias_of(const product &p, const char *block, uint64_t at, uint32_t unit)
	{
		return at == PRODUCT_NONE || unit >= p.units ? -0.0f
		                                             : element_at(block + at, UFM_BF16, unit);
	}
	/* A lane has sums of two tokens of every eight. */
	template <int32_t ACTIVATION, bool GATED, uint32_t SUMS>
	__device__ void store_as(const product &p, const wide_tile &tile,
	                         const float (&sums)[T::tiles][SUMS]) const
	{
		uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x % WARPGROUP / WARP;
		uint32_t unit = tile.unit + wide_layout<T>(GATED).unit_of(group, warp, lane / 4);
		float bias[2 * T::tiles];

		if (unit >= p.units)
			return;
#pragma unroll
		for (uint32_t m = 0; m < T::tiles; m++) {
			bias[m] = bias_of(p, tile.block, GATED ? p.gate_bias : p.bias, unit + m);
			bias[T::tiles + m] =
				bias_of(p, tile.block, p.bias, GATED ? unit + m : unit + T::tiles + m);
		}
#pragma unroll
		for (uint32_t i = 0; i < SUMS; i += 4) {
#pragma unroll
			for (uint32_t odd = 0; odd < 2; odd++) {
				uint32_t token = i * 2 + lane % 4 * 2 + odd;
				float low[T::tiles], high[T::tiles];
#pragma unroll
				for (uint32_t m = 0; m < T::tiles; m++) {
					low[m] = sums[m][i + odd];
					high[m] = sums[m][i + 2 + odd];
				}
				if (token < tile.rows)
					store_token<ACTIVATION, GATED>(p, tile.row + token, unit, low, high, bias);
			}
		}
	}
	/* What is asked once for all sums. Code for what few experts have is called, not repeated for every sum: what does not
	 * fit the instruction cache is slower than all else. */
	template <uint32_t SUMS>
	__device__ void store(const product &p, const wide_tile &tile,
	                      const float (&sums)[T::tiles][SUMS]) const
	{
		bool plain = !p.finish.adjusted && p.finish.activation == UFM_ACT_SILU;
		if (p.gated && plain)
			store_as<UFM_ACT_SILU, true>(p, tile, sums);
		else if (p.gated)
			store_as<WIDE_ANY, true>(p, tile, sums);
		else if (p.finish.activation == 0)
			store_as<0, false>(p, tile, sums);
		else
			store_as<WIDE_ANY, false>(p, tile, sums);
	}
};

#endif
