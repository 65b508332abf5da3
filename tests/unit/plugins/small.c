/* SPDX-License-Identifier: MIT */
/* A plugin whose table ends before ours. */
#include "stub_table.h"

static const ufm_backend table = {
	.abi_version = UFM_BACKEND_ABI,
	.struct_size = sizeof(ufm_backend) - sizeof(void *),
	.name = "small",
	STUB_FUNCTIONS_BUT_COMBINE,
	.combine = stub_combine,
};

const ufm_backend *ufm_backend_entry(const ufm_backend_core *core)
{
	(void)core;
	return &table;
}
