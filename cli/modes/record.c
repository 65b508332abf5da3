/* SPDX-License-Identifier: MIT */
/* --record-trace: what every command that runs layers does with it. */
#include "cli/modes/record.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/status.h"
#include "cli/message.h"
#include "cli/output.h"
#include "telemetry/counters.h"

#define RING_BYTES_MAX ((uint64_t)256 << 20)

ufm_status mode_record_check(const char *path)
{
	ufm_status status = path ? output_check(path) : UFM_OK;
	return status ? status_prefix(status, "--record-trace") : UFM_OK;
}

uint64_t mode_record_bytes(const char *path, uint64_t tokens, uint32_t layers, uint32_t top_k)
{
	uint64_t token_bytes = 2ull * layers * top_k;
	if (!path)
		return 0;
	return tokens < RING_BYTES_MAX / token_bytes ? tokens * token_bytes : RING_BYTES_MAX;
}

static bool has_routed(ufm_engine *engine)
{
	uint64_t values[COUNTER_COUNT];
	if (!engine)
		return false;
	ufm_engine_get_counters(engine, values, COUNTER_COUNT);
	return values[COUNTER_tokens] != 0;
}

static void say(const char *path, uint64_t tokens, const char *what)
{
	if (!tokens)
		return;
	message_note(NULL, "--record-trace: %s: %" PRIu64 " %s", path, tokens, what);
}

ufm_status mode_record_write(const char *path, ufm_engine *engine, uint32_t sequences)
{
	ufm_routing_info info = {.struct_size = sizeof info};
	if (!path)
		return UFM_OK;
	if (!has_routed(engine)) {
		message_note(NULL, "--record-trace: %s is not written: no token was routed", path);
		return UFM_OK;
	}
	ufm_status status = ufm_engine_write_routing(engine, path, sequences, &info);
	if (status)
		return status_prefix(status, "--record-trace");
	say(path, info.dropped_tokens, "earlier tokens were dropped");
	say(path, info.partial_tokens, "tokens at the end are left out: not every layer routed them");
	return UFM_OK;
}
