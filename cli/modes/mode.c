/* SPDX-License-Identifier: MIT */
/* What a mode asks of host tier and engine, and what it puts in place. */
#include "cli/modes/mode.h"

#include "cli/interrupt.h"
#include "pager/pager.h"

const char *mode_name(placement_mode mode)
{
	switch (mode) {
	case MODE_BASELINE:
		return "baseline";
	case MODE_NAIVE_OFFLOAD:
		return "naive_offload";
	case MODE_UFM:
		break;
	}
	return "ufm";
}

void mode_ask_host(placement_mode mode, ufm_host_config *host)
{
	host->pageable = mode == MODE_NAIVE_OFFLOAD;
}

void mode_ask_engine(placement_mode mode, const ufm_expert_desc *desc, const mode_budget *budget,
                     ufm_engine_config *engine)
{
	switch (mode) {
	case MODE_BASELINE:
		engine->resident_all = 1;
		break;
	case MODE_NAIVE_OFFLOAD:
		/* The pager's slots stay empty; its least is what a plain program would not have. */
		engine->slots_max = 2;
		engine->arena_bytes += desc->block_bytes + 256;
		break;
	case MODE_UFM:
		engine->vram_target_bytes = budget->vram_target_bytes;
		engine->headroom_bytes = budget->headroom_bytes;
		break;
	}
}

ufm_status mode_place(placement_mode mode, ufm_engine *engine, naive **own)
{
	*own = NULL;
	switch (mode) {
	case MODE_BASELINE:
		return pager_load_all(engine, interrupt_stop, NULL);
	case MODE_NAIVE_OFFLOAD:
		return naive_open(engine, own);
	case MODE_UFM:
		break;
	}
	return UFM_OK;
}
