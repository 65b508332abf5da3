/* SPDX-License-Identifier: MIT */
/* F32 weights, bf16 products: an arithmetic a file, so that they compile side by side. */
#include "device/cuda/product/tiles.cuh"

DEFINE_PRODUCT_HALVES(f32_bf16)
