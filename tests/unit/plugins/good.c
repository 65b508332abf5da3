/* SPDX-License-Identifier: MIT */
/* A sound plugin without devices of its own. */
#include "stub_table.h"

static const ufm_backend table = {
	UFM_BACKEND_HEADER("good"),
	STUB_FUNCTIONS_BUT_COMBINE,
	.combine = stub_combine,
};

const ufm_backend *ufm_backend_entry(void)
{
	return &table;
}
