/* SPDX-License-Identifier: MIT */
/* The engine that `ufm bench` would open: its layers with router and norm, its workspace. */
#include "plan/division.h"

void division_open(const division_config *c, division *out)
{
	const bank_shape *bank = &c->shape->bank;
	const budget_stack stack = {.layers = bank->layers,
	                            .experts = bank->experts,
	                            .d_model = bank->desc.d_model,
	                            .router = !c->given,
	                            .tokens = c->tokens};
	ufm_engine_config *e = &out->engine;
	bool whole = c->max_tokens == 0 || c->max_tokens > c->tokens;
	UFM_STRUCT_INIT(e);
	e->headroom_bytes = c->headroom_bytes;
	e->ring_slots = c->ring;
	e->max_tokens = whole ? c->tokens : c->max_tokens;
	e->call_tokens_max = c->tokens;
	e->top_k_max = c->shape->top_k;
	e->arena_bytes = budget_stack_bytes(&stack);
	out->terms = (budget_terms){.config = e,
	                            .desc = &bank->desc,
	                            .layers = bank->layers,
	                            .experts = bank->experts,
	                            .hidden_bytes = machine_hidden_bytes,
	                            .granularity_bytes = c->granularity_bytes,
	                            .memory_bytes = UINT64_MAX};
}

ufm_status division_of(const division *d, uint64_t target_bytes, budget *out)
{
	return budget_plan(&d->terms, target_bytes, 0, out);
}

uint64_t division_target_min(const division *d)
{
	return budget_target(&d->terms, budget_slots_min(&d->terms));
}

uint64_t division_target(const division *d, uint32_t slots)
{
	return budget_target(&d->terms, slots);
}

uint64_t division_host_bytes(const division *d)
{
	const ufm_engine_config *e = &d->engine;
	const budget_terms *t = &d->terms;
	uint64_t bank_bytes = (uint64_t)t->layers * t->experts * t->desc->block_bytes;
	uint64_t token_bytes = 4ull * t->desc->d_model * e->call_tokens_max;
	if (e->call_tokens_max <= e->max_tokens)
		return bank_bytes;
	return bank_bytes + token_bytes * (e->top_k_max + 1ull);
}
