/* SPDX-License-Identifier: MIT */
/* An assertion of fuzz targets, in every build. */
#ifndef UFM_FUZZ_REQUIRE_H
#define UFM_FUZZ_REQUIRE_H

#include <stdbool.h>
#include <stdlib.h>

static inline void require(bool truth)
{
	if (!truth)
		abort();
}

#endif
