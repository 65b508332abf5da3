/* SPDX-License-Identifier: MIT */
/* Hits beside the bound and LRU, overall and by layer. */
#include "cli/replay/row.h"

#include "cli/json_text.h"

static void add(json_t *out, const char *name, json_t *value)
{
	json_object_set_new(out, name, value ? value : json_null());
}

static json_t *whole(uint64_t value)
{
	return json_integer((json_int_t)value);
}

/* null where there is nothing to divide by */
static json_t *share(uint64_t part, uint64_t of)
{
	return of ? json_real((double)part / (double)of) : NULL;
}

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
	add(out, "uses", whole(hits->uses));
	add(out, "hits", whole(hits->hits));
	add(out, "hit_rate", share(hits->hits, hits->uses));
	add(out, "bound_hit_rate", share(bound->hits, bound->uses));
	add(out, "fraction_of_bound", share(hits->hits, bound->hits));
	add(out, "lru_hit_rate", share(lru->hits, lru->uses));
	add(out, "gap_closed", gap_closed(hits->hits, lru->hits, bound->hits));
	add(out, "min_hit_rate", share(min->hits, min->uses));
	add(out, "gap_to_min_closed", gap_closed(hits->hits, lru->hits, min->hits));
}

static json_t *per_layer(const replay_row *row)
{
	json_t *layers = json_array();
	for (uint32_t i = 0; i < row->config->trace->layers; i++) {
		json_t *layer = json_object();
		add(layer, "layer", json_integer(i));
		add_hits(layer, &row->result->layers[i], &row->bound->layers[i], &row->lru->layers[i],
		         &row->min->layers[i]);
		json_array_append_new(layers, layer);
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
	add(out, "trace", json_text(row->trace_name));
	add(out, "policy", json_string(row->result->policy->name));
	add(out, "capacity", json_integer(c->slots));
	add(out, "capacity_percent", json_real(100.0 * c->slots / (double)keys));
	add(out, "scope", json_string(replay_scope_name(c->scope)));
	add(out, "batch", json_integer(c->batch));
}

static void add_how(json_t *out, const replay_row *row)
{
	const replay_config *c = row->config;
	const replay_result *r = row->result;
	double s = (double)r->spent_ns / 1e9;
	add(out, "layers", json_integer(c->trace->layers));
	add(out, "experts", json_integer(c->trace->experts));
	add(out, "ring", json_integer(c->ring));
	add(out, "together", json_integer(c->ring ? (c->together ? c->together : 1) : 0));
	add(out, "state", json_string(c->cold ? "cold" : "persistent"));
	add(out, "part", json_string(c->parts ? (c->part ? "odd" : "even") : "all"));
	add(out, "warmup", whole(c->warmup_steps));
	add(out, "steps", c->steps ? whole(c->steps) : NULL);
	add(out, "cost_saved", r->cost_used > 0 ? json_real(r->cost_saved / r->cost_used) : NULL);
	add(out, "uses_per_s", s > 0 ? json_real((double)r->total.uses / s) : NULL);
}

json_t *replay_row_json(const replay_row *row)
{
	json_t *out = json_object();
	add_case(out, row);
	add_hits(out, &row->result->total, &row->bound->total, &row->lru->total, &row->min->total);
	add(out, "bound", json_string(row->bound->policy->name));
	add(out, "bound_is", json_string(bound_is(row->config)));
	add_how(out, row);
	add(out, "per_layer", per_layer(row));
	return out;
}
