/* SPDX-License-Identifier: MIT */
/* Checks of the options that commands share. */
#include "cli/modes/options.h"

#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "base/status.h"
#include "cli/nearest.h"
#include "device/registry.h"

#define MODE_CPU_THREADS_MAX 1024u

ufm_status mode_check_policy(const char *text)
{
	const ufm_policy *policy = policy_find(text);
	if (policy && !(policy->flags & UFM_POLICY_OFFLINE))
		return UFM_OK;
	return status_fail(UFM_EINVAL, "found '%.60s', expected one of %s%s", text, POLICY_NAMES,
	                   nearest_name(text, POLICY_NAMES).text);
}

uint32_t mode_number(const char *text, uint32_t most)
{
	char *end;
	unsigned long value = *text >= '0' && *text <= '9' ? strtoul(text, &end, 10) : most + 1ul;
	return value <= most && *end == 0 ? (uint32_t)value : most + 1;
}

ufm_status mode_find_backend(const char *name, const ufm_backend **out)
{
	ufm_status status = registry_find(name, out);
	if (!status)
		return UFM_OK;
	return status_fail(status, "--backend: %s%s", ufm_last_error(),
	                   nearest_name(name, "auto, cpu, cuda").text);
}

ufm_status mode_parse_sticky(const char *text, sticky_config *out)
{
	if (sticky_parse(text, out) == UFM_OK)
		return UFM_OK;
	return status_fail(UFM_EINVAL, "%s%s", ufm_last_error(),
	                   nearest_name(text, STICKY_PRESETS).text);
}

ufm_status mode_check_cpu_assist(const char *text)
{
	uint32_t threads = mode_number(text, MODE_CPU_THREADS_MAX);
	if (strcmp(text, "auto") == 0 || strcmp(text, "off") == 0 ||
	    (threads >= 1 && threads <= MODE_CPU_THREADS_MAX))
		return UFM_OK;
	return status_fail(UFM_EINVAL, "found '%.60s', expected auto, off, or 1 to %u threads%s", text,
	                   MODE_CPU_THREADS_MAX, nearest_name(text, "auto, off").text);
}

ufm_status mode_check_cpu_share(const char *text)
{
	if (strcmp(text, "auto") == 0 || mode_number(text, 100) <= 100)
		return UFM_OK;
	return status_fail(UFM_EINVAL, "found '%.60s', expected auto, or 0 to 100%s", text,
	                   nearest_name(text, "auto").text);
}

ufm_status mode_check_cpu(const char *assist, const char *share)
{
	if (strcmp(assist, "off") != 0 || strcmp(share, "auto") == 0 || mode_number(share, 100) == 0)
		return UFM_OK;
	return status_fail(UFM_EINVAL,
	                   "--cpu-share: found %s, expected auto or 0 with --cpu-assist off", share);
}

void mode_ask_cpu(placement_mode mode, const char *assist, const char *share,
                  ufm_engine_config *engine)
{
	bool none = strcmp(share, "auto") != 0 && mode_number(share, 100) == 0;
	if (mode != MODE_UFM || none || strcmp(assist, "off") == 0) {
		engine->cpu_assist = UFM_CPU_OFF;
		return;
	}
	engine->cpu_assist = strcmp(assist, "auto") == 0 ? UFM_CPU_AUTO : UFM_CPU_ON;
	if (engine->cpu_assist == UFM_CPU_ON)
		engine->cpu_threads = mode_number(assist, MODE_CPU_THREADS_MAX);
	if (strcmp(share, "auto") != 0)
		engine->cpu_share_percent = mode_number(share, 100);
}

bool mode_deterministic(const ufm_engine_info *engine)
{
	return engine->cpu_threads == 0 || engine->cpu_share_percent != 0 ||
	       strcmp(engine->backend, "cpu") == 0;
}

ufm_status mode_check_sizes(uint64_t target_bytes, uint64_t headroom_bytes, uint64_t limit_bytes)
{
	char target[32], other[32];
	if (limit_bytes && target_bytes > limit_bytes) {
		size_format_apart(target_bytes, limit_bytes, target, other);
		return status_fail(UFM_EINVAL,
		                   "--vram-target: found %s, expected at most --vram-limit (%s)", target,
		                   other);
	}
	if (target_bytes && headroom_bytes >= target_bytes) {
		size_format_apart(headroom_bytes, target_bytes, other, target);
		return status_fail(UFM_EINVAL,
		                   "--headroom: found %s, expected less than --vram-target (%s)", other,
		                   target);
	}
	return UFM_OK;
}
