/* SPDX-License-Identifier: MIT */
/* Every expert into its slot, ahead of any call: hints order the copies; leases wait for them. */
#include "bank/bank.h"
#include "base/alloc.h"
#include "base/status.h"
#include "pager/host.h"
#include "pager/pager.h"

typedef struct loading {
	ufm_engine *engine;
	bank_shape bank;
	uint32_t *ids; /* [bank.experts] */
	ufm_stream *stream;
	int (*stop)(void *ctx);
	void *stop_ctx;
} loading;

static ufm_status wait_lease(const loading *l, ufm_lease *lease)
{
	ufm_status status = ufm_acquire_ready(lease, l->stream, UFM_WAIT_FOREVER);
	if (!status)
		status = ufm_stream_sync(l->engine, l->stream);
	ufm_status released = ufm_release(lease, l->stream);
	return status ? status : released;
}

static ufm_status check_stop(const loading *l, uint32_t layer)
{
	if (!l->stop || !l->stop(l->stop_ctx))
		return UFM_OK;
	return status_fail(UFM_ECANCELED,
	                   "stop: loading every expert was ended in layer %u, after %u of %u layers",
	                   host_layer_number(engine_host(l->engine), layer), layer, l->bank.layers);
}

static ufm_status load_layer(const loading *l, uint32_t layer)
{
	uint32_t most = ufm_engine_lease_max(l->engine), experts = l->bank.experts;
	ufm_status status = ufm_prefetch(l->engine, layer, l->ids, experts);
	for (uint32_t at = 0; !status && at < experts; at += most) {
		uint32_t left = experts - at;
		ufm_lease *lease;
		status = check_stop(l, layer);
		if (!status)
			status =
				ufm_acquire_begin(l->engine, layer, l->ids + at, left < most ? left : most, &lease);
		if (!status)
			status = wait_lease(l, lease);
	}
	return status;
}

static ufm_status load_layers(loading *l)
{
	ufm_status status = ufm_stream_open(l->engine, NULL, &l->stream);
	if (status)
		return status;
	for (uint32_t layer = 0; !status && layer < l->bank.layers; layer++)
		status = load_layer(l, layer);
	ufm_stream_close(l->engine, l->stream);
	return status;
}

ufm_status pager_load_all(ufm_engine *e, int (*stop)(void *ctx), void *stop_ctx)
{
	loading l = {.engine = e, .stop = stop, .stop_ctx = stop_ctx};
	l.bank = *bank_get_shape(host_bank(engine_host(e)));
	l.ids = alloc_zeroed(l.bank.experts, sizeof *l.ids);
	if (!l.ids)
		return UFM_ENOMEM;
	for (uint32_t i = 0; i < l.bank.experts; i++)
		l.ids[i] = i;
	ufm_status status = load_layers(&l);
	alloc_free(l.ids);
	return status;
}
