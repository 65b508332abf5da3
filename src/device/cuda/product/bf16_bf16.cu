/* SPDX-License-Identifier: MIT */
/* Bf16 weights, bf16 products: an arithmetic a file, so that they compile side by side. */
#include "device/cuda/product/tiles.cuh"

DEFINE_PRODUCT_HALVES(bf16_bf16)
