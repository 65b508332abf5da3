/* SPDX-License-Identifier: MIT */
/* A sound plugin without devices of its own. With a failing driver it gives its reason, unless
 * UFM_TEST_SILENT is set. */
#include "stub_table.h"

static const ufm_backend_core *given;

static ufm_status count_devices(uint32_t *count)
{
	ufm_status status = stub_device_count(count);

	if (status != UFM_OK && !getenv("UFM_TEST_SILENT"))
		given->fail("the driver said no");
	return status;
}

static const ufm_backend table = {
	UFM_BACKEND_HEADER("good"),
	STUB_FUNCTIONS_BUT_DEVICES,
	.device_count = count_devices,
	.combine = stub_combine,
};

const ufm_backend *ufm_backend_entry(const ufm_backend_core *core)
{
	given = core;
	return &table;
}
