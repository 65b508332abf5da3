/* SPDX-License-Identifier: MIT */
/* A plugin of another version of the interface. */
#include "stub_table.h"

static const ufm_backend table = {
	.abi_version = UFM_BACKEND_ABI + 1,
	.struct_size = sizeof(ufm_backend),
	.name = "badabi",
	STUB_FUNCTIONS_BUT_COMBINE,
	.combine = stub_combine,
};

const ufm_backend *ufm_backend_entry(const ufm_backend_core *core)
{
	(void)core;
	return &table;
}
