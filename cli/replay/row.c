/* SPDX-License-Identifier: MIT */
/* Hits beside the bound and LRU, overall and by layer. */
#include "cli/replay/row.h"

#include "cli/json_put.h"
#include "cli/json_text.h"
#include "replay/limit.h"

/* The share of what LRU leaves that the policy gets; negative where it is worse than LRU. */
static json_t *gap_closed(uint64_t hits, uint64_t lru, uint64_t bound)
{
	if (bound == lru)
		return NULL;
	return json_real(((double)hits - (double)lru) / ((double)bound - (double)lru));
}

/* The bound is the policy's own; what may bypass can pass min, too. */
static void add_hits(json_t *out, const replay_count *hits, const replay_count *bound,
                     const replay_count *lru, const replay_count *min)
{
	json_put(out, "uses", json_whole(hits->uses));
	json_put(out, "hits", json_whole(hits->hits));
	json_put(out, "hit_rate", json_share(hits->hits, hits->uses));
	json_put(out, "bound_hit_rate", json_share(bound->hits, bound->uses));
	json_put(out, "fraction_of_bound", json_share(hits->hits, bound->hits));
	json_put(out, "lru_hit_rate", json_share(lru->hits, lru->uses));
	json_put(out, "gap_closed", gap_closed(hits->hits, lru->hits, bound->hits));
	json_put(out, "min_hit_rate", json_share(min->hits, min->uses));
	json_put(out, "gap_to_min_closed", gap_closed(hits->hits, lru->hits, min->hits));
}

static json_t *per_layer(const replay_row *row)
{
	json_t *layers = json_array();
	for (uint32_t i = 0; i < row->config->trace->layers; i++) {
		json_t *layer = json_object();
		json_put(layer, "layer", json_integer(trace_layer_number(row->config->trace, i)));
		add_hits(layer, &row->result->layers[i], &row->bound->layers[i], &row->lru->layers[i],
		         &row->min->layers[i]);
		json_add(layers, layer);
	}
	return layers;
}

/* Events of one member on equal blocks: what Belady proved. Of sets the bound is exact, too, among all who
 * bring only what is demanded and, for min, keep every member of an event; with a ring it is above what any
 * engine can reach. */
static const char *bound_is(const replay_config *c)
{
	if (c->ring)
		return "above any ring";
	return c->trace->ranks == 1 && c->batch == 1 ? "exact" : "exact for sets";
}

static void add_case(json_t *out, const replay_row *row)
{
	const replay_config *c = row->config;
	bool own = c->scope == REPLAY_LAYER;
	uint64_t keys = (uint64_t)(own ? 1 : c->trace->layers) * c->trace->experts;
	json_put(out, "trace", json_text(row->trace_name));
	json_put(out, "policy", json_string(row->result->policy->name));
	json_put(out, "capacity", json_integer(c->slots));
	json_put(out, "capacity_percent", json_real(100.0 * c->slots / (double)keys));
	json_put(out, "scope", json_string(replay_scope_name(c->scope)));
	json_put(out, "batch", json_integer(c->batch));
}

/* What an engine with the CPU path on goes by; null: as one with it off. */
static json_t *admission(const admit_terms *terms)
{
	json_t *out;
	if (terms->copy_ns == 0)
		return NULL;
	out = json_object();
	json_put(out, "copy_us", json_real((double)terms->copy_ns / 1e3));
	json_put(out, "cpu_us", json_real((double)terms->cpu_ns / 1e3));
	json_put(out, "call_us", json_real((double)terms->call_ns / 1e3));
	return out;
}

static void add_how(json_t *out, const replay_row *row)
{
	const replay_config *c = row->config;
	const replay_result *r = row->result;
	double s = (double)r->spent_ns / 1e9;
	json_put(out, "layers", json_integer(c->trace->layers));
	json_put(out, "experts", json_integer(c->trace->experts));
	json_put(out, "ring", json_integer(c->ring));
	json_put(out, "together", json_integer(c->ring ? (c->together ? c->together : 1) : 0));
	json_put(out, "admission", c->ring ? admission(&c->admit) : NULL);
	json_put(out, "state", json_string(c->cold ? "cold" : "persistent"));
	json_put(out, "part", json_string(c->parts ? (c->part ? "odd" : "even") : "all"));
	json_put(out, "warmup", json_whole(c->warmup_steps));
	json_put(out, "steps", c->steps ? json_whole(c->steps) : NULL);
	json_put(out, "cost_saved", json_known(r->cost_used > 0, r->cost_saved / r->cost_used));
	json_put(out, "uses_per_s", json_known(s > 0, (double)r->total.uses / s));
}

/* What a step reads at best, whatever the policy. */
static void add_limit(json_t *out, const replay_row *row)
{
	const replay_count *best = &row->bypass->total;
	double steps = (double)row->steps, bytes = (double)row->expert_bytes;
	double reads = steps > 0 ? (double)(best->uses - best->hits) / steps : 0;
	bool sized = steps > 0 && bytes > 0, timed = sized && row->read_gbps > 0;
	json_put(out, "steps_counted", json_whole(row->steps));
	json_put(out, "limit_reads", json_known(steps > 0, reads));
	json_put(out, "limit_bytes", json_known(sized, reads * bytes));
	json_put(out, "limit_ms", json_known(timed, limit_ms(0, reads, bytes, row->read_gbps)));
}

json_t *replay_row_json(const replay_row *row)
{
	json_t *out = json_object();
	add_case(out, row);
	add_hits(out, &row->result->total, &row->bound->total, &row->lru->total, &row->min->total);
	json_put(out, "bound", json_string(row->bound->policy->name));
	json_put(out, "bound_is", json_string(bound_is(row->config)));
	add_how(out, row);
	add_limit(out, row);
	json_put(out, "per_layer", per_layer(row));
	return out;
}
