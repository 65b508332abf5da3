/* SPDX-License-Identifier: MIT */
/* Which dtypes are computed with. */
#ifndef UFM_BASE_DTYPE_H
#define UFM_BASE_DTYPE_H

#include <stdbool.h>
#include <ufm/ufm.h>

/* Weights. UFM_F16 is not: they lie in files as F16, and become one of these. */
static inline bool dtype_is_computed(ufm_dtype dtype)
{
	return dtype == UFM_F32 || dtype == UFM_BF16;
}

/* Tokens and gates, which are read as f32 and written from it. */
static inline bool dtype_is_token(ufm_dtype dtype)
{
	return dtype_is_computed(dtype) || dtype == UFM_F16;
}

#endif
