/* SPDX-License-Identifier: MIT */
/* A plugin that leaves a function out. */
#include "stub_table.h"

static const ufm_backend table = {
	UFM_BACKEND_HEADER("nullfn"),
	STUB_FUNCTIONS_BUT_COMBINE,
	.combine = NULL,
};

const ufm_backend *ufm_backend_entry(const ufm_backend_core *core)
{
	(void)core;
	return &table;
}
