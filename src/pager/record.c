/* SPDX-License-Identifier: MIT */
/*
 * Routing of layer calls, kept for a trace. Ids come to the host in any case: before the experts run where it
 * schedules them, with the call's uses where a layer is wholly resident. So recording is a copy on the host and
 * nothing on the device.
 */
#include "base/status.h"
#include "pager/pager_int.h"
#include "telemetry/routing_file.h"

ufm_status record_check(const ufm_engine_config *c)
{
	if (c->routing_bytes && !c->max_tokens)
		return status_fail(UFM_EINVAL, "routing_bytes: %llu without max_tokens",
		                   (unsigned long long)c->routing_bytes);
	return UFM_OK;
}

ufm_status record_open(ufm_engine *e)
{
	routing_config config = {.layers = e->layers,
	                         .experts = e->experts,
	                         .ranks = e->config.top_k_max,
	                         .ring_bytes = e->config.routing_bytes};
	return config.ring_bytes ? routing_open(&config, &e->routing) : UFM_OK;
}

void record_close(ufm_engine *e)
{
	routing_close(e->routing);
}

void engine_record_routing(ufm_engine *e, uint32_t layer, const int32_t *ids, uint32_t tokens,
                           uint32_t top_k)
{
	routing_add(e->routing, layer, ids, tokens, top_k);
}

/* Calls of resident layers are read when their marks have passed. */
static ufm_status settle(ufm_engine *e)
{
	engine_enter(e);
	lock_take(&e->lock);
	ufm_status status = resident_settle(e);
	lock_drop(&e->lock);
	engine_leave(e);
	return status;
}

static ufm_status write_table(ufm_engine *e, const char *path, uint32_t sequences,
                              ufm_routing_info *info)
{
	routing_table table;
	ufm_status status = routing_copy(e->routing, sequences, &table);
	if (status != UFM_OK)
		return status;
	status = routing_file_write(path, &table);
	if (status == UFM_OK && info)
		*info = table.info;
	routing_table_close(&table);
	return status;
}

ufm_status ufm_engine_write_routing(ufm_engine *e, const char *path, uint32_t sequences,
                                    ufm_routing_info *info)
{
	if (!e->routing)
		return status_fail(UFM_EINVAL, "routing: this engine records none (routing_bytes is 0)");
	if (!path || !*path)
		return status_fail(UFM_EINVAL, "path is empty, expected a file to write");
	if (sequences == 0)
		return status_fail(UFM_EINVAL, "sequences: 0, expected at least 1");
	ufm_status status = settle(e);
	return status == UFM_OK ? write_table(e, path, sequences, info) : status;
}
