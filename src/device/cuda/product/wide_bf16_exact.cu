/* SPDX-License-Identifier: MIT */
/* Bf16 weights, f32 products, by warpgroups. */
#include "device/cuda/product/wide_launch.cuh"

DEFINE_PRODUCT_WIDE(bf16_exact)
