/* SPDX-License-Identifier: MIT */
/* A plugin whose table ends before the last function that must be there. */
#include <stddef.h>

#include "stub_table.h"

static const ufm_backend table = {
	.abi_version = UFM_BACKEND_ABI,
	.struct_size = offsetof(ufm_backend, adopt),
	.name = "small",
	STUB_FUNCTIONS_BUT_COMBINE,
	.combine = stub_combine,
};

const ufm_backend *ufm_backend_entry(const ufm_backend_core *core)
{
	(void)core;
	return &table;
}
