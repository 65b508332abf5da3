/* SPDX-License-Identifier: MIT */
/* From shape and machine to terms of time, and a walk. */
#include "plan/predict.h"

#define CPU_GAIN_MIN 1.05

bool predict_cpu_pays(const plan_machine *m)
{
	const timing_rates *r = &m->rates;
	double sum_gbps = r->sum_link_gbps + r->sum_cpu_gbps;
	return r->sum_cpu_gbps > 0 && r->cpu_threads > 0 && sum_gbps >= CPU_GAIN_MIN * r->link_gbps;
}

static bool is_bf16(const ufm_expert_desc *desc)
{
	const ufm_part *up = ufm_expert_part(desc, UFM_ROLE_UP);
	return up && up->format == UFM_FORMAT_PLAIN && up->dtype == UFM_BF16;
}

timing_terms predict_terms(const predict_config *c)
{
	return (timing_terms){.rates = c->machine->rates,
	                      .costs = timing_costs_of(c->machine->backend),
	                      .expert_bytes = c->shape->bank.desc.expert_bytes,
	                      .row_operations = 2 * shape_parameters(c->shape),
	                      .wide = is_bf16(&c->shape->bank.desc),
	                      .given = c->given,
	                      .cpu = c->cpu && predict_cpu_pays(c->machine)};
}

ufm_status predict_run(const predict_config *c, const walk_phase *phases, uint32_t count,
                       walk_result *results)
{
	timing_terms timing = predict_terms(c);
	walk_config config = {.policy = c->policy,
	                      .division = c->budget,
	                      .timing = &timing,
	                      .layers = c->shape->bank.layers,
	                      .experts = c->shape->bank.experts,
	                      .d_model = c->shape->bank.desc.d_model,
	                      .top_k = c->shape->top_k,
	                      .preload = count && phases[0].warmup};
	walk *w = NULL;
	ufm_status status = walk_open(&config, &w);
	for (uint32_t i = 0; i < count && !status; i++)
		status = walk_run(w, &phases[i], &results[i]);
	walk_close(w);
	return status;
}
