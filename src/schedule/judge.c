/* SPDX-License-Identifier: MIT */
/* Which misses are worth the link, which resident makes room, and how choosy a placement is. */
#include "schedule/judge.h"

admit_turn judge_misses(const judge_call *call, schedule_demand *wanted, uint32_t n,
                        uint32_t *fills)
{
	*fills = call->shares_always ? 0 : cache_fills(call->cache, call->misses);
	for (uint32_t i = 0; i < n && call->misses <= SCHEDULE_APPEAL_MISSES; i++) {
		uint32_t key = call->first + wanted[i].expert;
		if (cache_find(call->cache, key) == SLOT_NONE)
			wanted[i].appeal = (uint8_t)cache_appeal(call->cache, key);
	}
	return call->broad ? admit_freely() : admit_call(call->admit, call->misses, *fills);
}

void judge_free_one_early(const cache *c, schedule_demand *wanted, uint32_t n, const uint32_t *held)
{
	cache_stats stats;
	cache_get_stats(c, &stats);
	for (uint32_t i = 0; i < n && stats.pinned == stats.slots; i++) {
		cache_slot view = {0};
		if (wanted[i].resident)
			cache_get_slot(c, held[wanted[i].expert], &view);
		if (view.pins == 1) {
			wanted[i].refilled_next = true;
			return;
		}
	}
}

ufm_status judge_place(cache *c, admit_turn *turn, uint32_t key, cache_placement *out)
{
	cache_set_bar(c, admit_bar(turn));
	ufm_status status = cache_place(c, key, out);
	if (!status)
		admit_placed(turn, out->kept);
	return status;
}

bool judge_reserve(cache *c, const admit_turn *turn, uint32_t key, cache_placement *out)
{
	if (!admit_is_free(turn))
		return false;
	cache_set_bar(c, admit_bar(turn));
	return cache_reserve(c, key, out);
}

bool judge_decide(cache *c, admit_turn *turn, uint32_t key)
{
	cache_set_bar(c, admit_bar(turn));
	bool kept = cache_decide(c, key);
	admit_placed(turn, kept);
	return kept;
}
