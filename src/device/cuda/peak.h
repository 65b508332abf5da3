/* SPDX-License-Identifier: MIT */
/* Between the files that find out what a device can compute at most. */
#ifndef UFM_DEVICE_CUDA_PEAK_H
#define UFM_DEVICE_CUDA_PEAK_H

#include "device/cuda/cuda_int.h"
#include "device/cuda/published.h"

const char *peak_kind_name(peak_kind kind); /* "fp32", "tf32", "bf16" */

/* A way to the exactness that was asked for: so many products of a kind stand for one. */
typedef struct peak_way {
	peak_kind kind;
	uint32_t products;
} peak_way;

/* ---- cublas.c: the vendor's library, found at run time */

typedef struct cublas {
	/* As cublas_api.h declares them; enumerations are int there. */
	int (*create)(void **handle);
	int (*destroy)(void *handle);
	int (*set_stream)(void *handle, CUstream stream);
	int (*get_version)(void *handle, int *version);
	int (*gemm)(void *handle, int op_a, int op_b, int m, int n, int k, const void *alpha,
	            const void *a, int type_a, int lda, const void *b, int type_b, int ldb,
	            const void *beta, void *c, int type_c, int ldc, int compute, int algorithm);
} cublas;

/* Calls use with one library after the other until it returns true: the file that UFM_CUBLAS names and no other, or
 * those of the loader's path, the toolkit and PyTorch's packages. Libraries stay loaded. Gives whether one was of use;
 * UFM_EFILE: UFM_CUBLAS names a file that cannot be loaded. */
typedef bool (*cublas_use)(void *ctx, const cublas *library);
ufm_status cublas_find(cublas_use use, void *ctx, bool *used);

#endif
