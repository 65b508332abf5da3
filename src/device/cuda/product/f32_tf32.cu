/* SPDX-License-Identifier: MIT */
/* F32 weights, tf32 products: an arithmetic a file, so that they compile side by side. */
#include "device/cuda/product/tiles.cuh"

DEFINE_PRODUCT(f32_tf32)
