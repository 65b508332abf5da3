/* SPDX-License-Identifier: MIT */
/* The pager as a source of experts. */
#include "moe/moe_int.h"

static ufm_status begin(void *self, uint32_t layer, schedule_demand *demands, uint32_t n)
{
	return pager_layer_begin(self, layer, demands, n);
}

static ufm_status take(void *self, uint32_t layer, const schedule_demand *demand, ufm_devptr *block)
{
	return demand->resident ? pager_layer_address(self, layer, demand->expert, block)
	                        : pager_layer_load(self, layer, demand->expert, block);
}

static ufm_status done(void *self, uint32_t layer, uint32_t *experts, uint32_t n)
{
	(void)layer;
	return pager_layer_used(self, experts, n);
}

static void end(void *self)
{
	pager_layer_end(self);
}

moe_source source_pager(ufm_engine *engine)
{
	return (moe_source){.self = engine, .begin = begin, .take = take, .done = done, .end = end};
}

void layer_set_source(ufm_layer *layer, const moe_source *source)
{
	layer->paged = !source;
	layer->source = source ? *source : source_pager(layer->engine);
}
