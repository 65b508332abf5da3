/* SPDX-License-Identifier: MIT */
/* What a trace must be to route a sweep of the benchmark. */
#include <inttypes.h>

#include "base/status.h"
#include "cli/bench/workload_int.h"

/* A model routes every token to top-k experts, no fewer. */
static ufm_status check_event(const trace *t, const char *path, const workload_config *c,
                              uint64_t token, uint32_t layer)
{
	const uint16_t *ids = trace_event(t, token, layer);
	for (uint32_t rank = 0; rank < t->ranks; rank++) {
		if (ids[rank] == TRACE_NONE)
			return status_fail(UFM_EFORMAT,
			                   "%s: found %" PRIu32 " experts at token %" PRIu64 ", layer %" PRIu32
			                   ", expected %" PRIu32 " (--top-k)",
			                   path, rank, token, trace_layer_number(t, layer), t->ranks);
		if (ids[rank] >= c->experts_min)
			return status_fail(UFM_EFORMAT,
			                   "%s: found expert id %" PRIu16 " at token %" PRIu64
			                   ", layer %" PRIu32 ", expected 0 to %" PRIu32 " (--experts %" PRIu32
			                   ")",
			                   path, ids[rank], token, trace_layer_number(t, layer),
			                   c->experts_min - 1, c->experts_min);
	}
	return UFM_OK;
}

static ufm_status check_events(const trace *t, const char *path, const workload_config *c)
{
	for (uint64_t token = 0; token < t->tokens; token++) {
		for (uint32_t layer = 0; layer < c->layers; layer++) {
			ufm_status status = check_event(t, path, c, token, layer);
			if (status)
				return status;
		}
	}
	return UFM_OK;
}

ufm_status workload_check_trace(const trace *t, const char *path, const workload_config *c)
{
	if (t->ranks != c->top_k)
		return status_fail(UFM_EFORMAT,
		                   "%s: found %" PRIu32 " ranks a token, expected %" PRIu32 " (--top-k)",
		                   path, t->ranks, c->top_k);
	if (t->layers < c->layers)
		return status_fail(UFM_EFORMAT,
		                   "%s: found %" PRIu32 " layers, expected at least %" PRIu32 " (--layers)",
		                   path, t->layers, c->layers);
	return check_events(t, path, c);
}
