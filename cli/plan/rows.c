/* SPDX-License-Identifier: MIT */
/* The rows of a plan: docs/formats.md names their fields. */
#include "cli/json_put.h"
#include "cli/json_text.h"
#include "cli/plan/report.h"

static void add_way(json_t *row, const char *prefix, const char *suffix, const point_way *way)
{
	const struct {
		const char *name;
		double value;
	} figures[] = {{"tokens_per_s", way->tokens_per_s},
	               {"hit_rate", way->hit_rate},
	               {"device_bytes_per_token", way->device_bytes},
	               {"link_bytes_per_token", way->link_bytes},
	               {"cpu_bytes_per_token", way->cpu_bytes},
	               {"step_ms", way->step_ns / 1e6},
	               {"overhead_share", way->parts_ns[TIMING_HOST] / way->step_ns},
	               {"link_idle_share", 1 - way->link_ns / way->step_ns}};
	char name[64];
	for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
		snprintf(name, sizeof name, "%s%s_%s", prefix, suffix, figures[i].name);
		json_put(row, name, json_known(way->known, figures[i].value));
	}
	snprintf(name, sizeof name, "%s%s_bound_by", prefix, suffix);
	json_put(row, name, way->known ? json_string(timing_bound_name(way->bound)) : NULL);
}

/* The quicker way, and what it gives. */
static void add_choice(json_t *row, const char *prefix, const plan_point *p, const point_way *way)
{
	char name[64];
	snprintf(name, sizeof name, "%s_choice", prefix);
	json_put(row, name, way->known ? json_string(point_way_name(p, way)) : NULL);
	snprintf(name, sizeof name, "%s_choice_tokens_per_s", prefix);
	json_put(row, name, json_known(way->known, way->tokens_per_s));
}

static void add_model(json_t *row, const plan_report *r)
{
	const bank_shape *bank = &r->shape->bank;
	json_put(row, "model", json_string(r->shape->name));
	json_put(row, "layers", json_whole(bank->layers));
	json_put(row, "experts", json_whole(bank->experts));
	json_put(row, "top_k", json_whole(r->shape->top_k));
	json_put(row, "expert_bytes", json_whole(bank->desc.expert_bytes));
	json_put(row, "bank_bytes", json_whole(bank->bank_bytes));
	json_put(row, "host_bytes", json_whole(r->host_bytes));
	json_put(row, "batch", json_whole(r->config->batch));
	json_put(row, "prompt", json_whole(r->config->prompt));
	json_put(row, "workload", json_string(r->config->workload));
	json_put(row, "policy", json_string(r->policy));
}

static void add_machine(json_t *row, const plan_machine *m)
{
	const timing_rates *rates = &m->rates;
	json_put(row, "backend", json_string(m->backend));
	json_put(row, "link_gbps", json_real(rates->link_gbps));
	json_put(row, "hbm_gbps", json_real(rates->hbm_gbps));
	json_put(row, "dram_gbps", json_known(rates->dram_gbps > 0, rates->dram_gbps));
	json_put(row, "sum_link_gbps", json_known(rates->sum_link_gbps > 0, rates->sum_link_gbps));
	json_put(row, "sum_cpu_gbps", json_known(rates->sum_cpu_gbps > 0, rates->sum_cpu_gbps));
	json_put(row, "gflops", json_known(rates->peak_gflops > 0, rates->peak_gflops));
}

static void add_limit(json_t *row, const plan_report *r, const plan_point *p)
{
	double limit = point_limit(&r->planner->point, p);
	double share = limit > 0 ? point_decode(p)->tokens_per_s / limit : 0;
	json_put(row, "limit_tokens_per_s", json_known(limit > 0, limit));
	json_put(row, "fraction_of_limit", json_known(limit > 0, share));
}

static json_t *row_of(const plan_report *r, const plan_point *p)
{
	json_t *row = json_object();
	bool bound = !p->refused && p->bound_hit_rate >= 0;
	double keys = (double)r->shape->bank.layers * r->shape->bank.experts;
	json_put(row, "vram_target_bytes", json_whole(p->target_bytes));
	json_put(row, "refused", json_text(p->why));
	json_put(row, "slots", json_whole(p->budget.slots));
	json_put(row, "ring_slots", json_whole(p->budget.ring));
	json_put(row, "share", json_real(p->budget.slots / keys));
	json_put(row, "workspace_bytes", json_whole(p->budget.workspace_bytes + p->budget.arena_bytes));
	json_put(row, "headroom_bytes", json_whole(r->config->headroom_bytes));
	json_put(row, "bound_hit_rate", json_known(bound, p->bound_hit_rate));
	add_limit(row, r, p);
	add_choice(row, "decode", p, point_decode(p));
	add_choice(row, "prefill", p, point_prefill(p));
	add_way(row, "decode", "", &p->decode);
	add_way(row, "decode", "_cpu", &p->decode_cpu);
	add_way(row, "prefill", "", &p->prefill);
	add_way(row, "prefill", "_cpu", &p->prefill_cpu);
	add_model(row, r);
	add_machine(row, &r->machine->plan);
	return row;
}

json_t *report_rows(const plan_report *r)
{
	json_t *rows = json_array();
	for (uint32_t i = 0; i < r->ladder->count; i++)
		json_add(rows, row_of(r, &r->ladder->points[i]));
	return rows;
}
