/* SPDX-License-Identifier: MIT */
/*
 * What is recorded of layer calls: their routing for a trace, and their work on the timeline.
 *
 * Ids come to the host in any case: before the experts run where it schedules them, with the call's
 * uses where a layer is wholly resident. So recording routing is a copy on the host and nothing on
 * the device.
 */
#include "base/status.h"
#include "pager/pager_int.h"
#include "pager/settle.h"
#include "telemetry/routing_file.h"
#include "telemetry/timeline_file.h"

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

static ufm_status write_table(ufm_engine *e, const char *path, uint32_t sequences,
                              ufm_routing_info *info)
{
	routing_table table;
	ufm_status status = routing_copy(e->routing, sequences, &table);
	if (status != UFM_OK)
		return status;
	status = routing_file_write(path, &table);
	if (status == UFM_OK && info)
		status = status_write_info(info, &table.info, sizeof table.info, "ufm_routing_info");
	routing_table_close(&table);
	return status;
}

ufm_status ufm_engine_write_routing(ufm_engine *e, const char *path, uint32_t sequences,
                                    ufm_routing_info *info)
{
	ufm_status status = engine_check_process(e);
	if (status == UFM_OK && info)
		status = status_check_info(info, "ufm_routing_info");
	if (status != UFM_OK)
		return status;
	if (!e->routing)
		return status_fail(UFM_EINVAL, "routing: this engine records none (routing_bytes is 0)");
	if (!path || !*path)
		return status_fail(UFM_EINVAL, "path is empty, expected a file to write");
	if (sequences == 0)
		return status_fail(UFM_EINVAL, "sequences: 0, expected at least 1");
	status = settle_uses(e); /* calls of resident layers are read then */
	return status == UFM_OK ? write_table(e, path, sequences, info) : status;
}

/* ------------------------------------------------------------------ timeline */

timeline *engine_timeline(ufm_engine *e)
{
	return e->spans.timeline;
}

pager_work *pager_work_begin(ufm_engine *e, timeline_kind kind)
{
	return spans_begin(&e->spans, kind);
}

void pager_work_end(ufm_engine *e, pager_work *work, const timeline_span *span)
{
	spans_end(&e->spans, work, span);
}

ufm_status ufm_engine_write_timeline(ufm_engine *e, const char *path)
{
	timeline_file *file;
	ufm_status status = engine_check_process(e);
	if (status != UFM_OK)
		return status;
	if (!e->spans.timeline)
		return status_fail(UFM_EINVAL, "timeline: this engine keeps none (timeline_events is 0)");
	if (!path || !*path)
		return status_fail(UFM_EINVAL, "path is empty, expected a file to write");
	status = engine_settle(e);
	if (status == UFM_OK)
		status = timeline_file_open(path, &file);
	if (status != UFM_OK)
		return status;
	status = timeline_file_add(file, e->spans.timeline, "ufm");
	ufm_status closed = timeline_file_close(file);
	return status == UFM_OK ? closed : status;
}
