/* SPDX-License-Identifier: MIT */
/* Hints order the copies; leases wait for them. */
#include "cli/modes/resident.h"

#include "base/alloc.h"
#include "cli/interrupt.h"

static ufm_status wait_lease(ufm_engine *engine, ufm_lease *lease, ufm_stream *stream)
{
	ufm_status status = ufm_acquire_ready(lease, stream, UFM_WAIT_FOREVER);
	if (!status)
		status = ufm_stream_sync(engine, stream);
	ufm_status released = ufm_release(lease, stream);
	return status ? status : released;
}

static ufm_status load_layer(ufm_engine *engine, const ufm_bank_info *bank, uint32_t layer,
                             const uint32_t *ids, ufm_stream *stream)
{
	uint32_t most = ufm_engine_lease_max(engine);
	ufm_status status = ufm_prefetch(engine, layer, ids, bank->experts);
	for (uint32_t at = 0; !status && at < bank->experts; at += most) {
		uint32_t left = bank->experts - at;
		ufm_lease *lease;
		status = interrupt_check();
		if (!status)
			status = ufm_acquire_begin(engine, layer, ids + at, left < most ? left : most, &lease);
		if (!status)
			status = wait_lease(engine, lease, stream);
	}
	return status;
}

ufm_status resident_load_all(ufm_engine *engine, const ufm_bank_info *bank)
{
	ufm_stream *stream;
	ufm_status status;
	uint32_t *ids = alloc_zeroed(bank->experts, sizeof *ids);
	if (!ids)
		return UFM_ENOMEM;
	for (uint32_t i = 0; i < bank->experts; i++)
		ids[i] = i;
	status = ufm_stream_open(engine, NULL, &stream);
	if (!status) {
		for (uint32_t layer = 0; !status && layer < bank->layers; layer++)
			status = load_layer(engine, bank, layer, ids, stream);
		ufm_stream_close(engine, stream);
	}
	alloc_free(ids);
	return status;
}
