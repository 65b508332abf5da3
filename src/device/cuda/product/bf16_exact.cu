/* SPDX-License-Identifier: MIT */
/* Bf16 weights, f32 products: an arithmetic a file, so that they compile side by side. */
#include "device/cuda/product/tiles.cuh"

DEFINE_PRODUCT(bf16_exact)
