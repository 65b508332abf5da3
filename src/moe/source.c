/* SPDX-License-Identifier: MIT */
/* The pager as a source of experts. */
#include "moe/moe_int.h"

static uint32_t together(void *self)
{
	return pager_copies_together(self);
}

static ufm_status begin(void *self, uint32_t layer, schedule_demand *demands, uint32_t n)
{
	return pager_layer_begin(self, layer, demands, n);
}

static ufm_status start(void *self, uint32_t layer, const schedule_demand *demands, uint32_t n,
                        uint32_t *started)
{
	return pager_layer_start(self, layer, demands, n, started);
}

static ufm_status take(void *self, uint32_t layer, const schedule_demand *demand, ufm_devptr *block)
{
	return pager_layer_take(self, layer, demand, block);
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
	return (moe_source){.self = engine,
	                    .paged = true,
	                    .together = together,
	                    .begin = begin,
	                    .start = start,
	                    .take = take,
	                    .done = done,
	                    .end = end};
}

void layer_set_source(ufm_layer *layer, const moe_source *source)
{
	layer->source = source ? *source : source_pager(layer->engine);
}
