/* SPDX-License-Identifier: MIT */
/* Checks of the options that commands share. */
#include "cli/modes/options.h"

#include "base/size.h"
#include "base/status.h"

ufm_status mode_check_policy(const char *text)
{
	const ufm_policy *policy = policy_find(text);
	if (policy && !(policy->flags & UFM_POLICY_OFFLINE))
		return UFM_OK;
	return status_fail(UFM_EINVAL, "found '%.60s', expected one of %s", text, policy_names(false));
}

ufm_status mode_check_sizes(uint64_t target_bytes, uint64_t headroom_bytes, uint64_t limit_bytes)
{
	char target[32], other[32];
	if (limit_bytes && target_bytes > limit_bytes)
		return status_fail(UFM_EINVAL,
		                   "--vram-target: found %s, expected at most --vram-limit (%s)",
		                   size_format(target_bytes, target, sizeof target),
		                   size_format(limit_bytes, other, sizeof other));
	if (target_bytes && headroom_bytes >= target_bytes)
		return status_fail(UFM_EINVAL,
		                   "--headroom: found %s, expected less than --vram-target (%s)",
		                   size_format(headroom_bytes, other, sizeof other),
		                   size_format(target_bytes, target, sizeof target));
	return UFM_OK;
}
