/* SPDX-License-Identifier: MIT */
/* Guesses of each predictor, beside a cache that says what would have missed. */
#include "base/status.h"
#include "cli/interrupt.h"
#include "cli/json_put.h"
#include "cli/json_text.h"
#include "cli/replay/run.h"

static const char *predictor_name(uint32_t kind)
{
	return kind == PREDICT_POPULARITY ? "popularity" : "coactivation";
}

static json_t *row_of(const char *name, uint32_t kind, uint32_t guesses, const replay_config *c,
                      const predict_count *count)
{
	json_t *out = json_object();
	json_put(out, "trace", json_text(name));
	json_put(out, "predictor", json_string(predictor_name(kind)));
	json_put(out, "guesses", json_integer(guesses));
	json_put(out, "recall", json_share(count->guessed, count->uses));
	json_put(out, "policy", json_string(c->policy->name));
	json_put(out, "capacity", json_integer(c->slots));
	json_put(out, "scope", json_string(replay_scope_name(c->scope)));
	json_put(out, "batch", json_integer(c->batch));
	json_put(out, "uses", json_integer((json_int_t)count->uses));
	json_put(out, "misses", json_integer((json_int_t)count->misses));
	json_put(out, "recall_of_misses", json_share(count->fetched, count->misses));
	/* Of what a prefetcher would have copied, the part that was demanded. */
	json_put(out, "precision", json_share(count->fetched, count->guesses));
	return out;
}

static ufm_status predict(const replay_options *o, const char *name, replay_config config,
                          uint32_t kind, json_t *rows)
{
	predictor *p;
	replay_count total;
	ufm_status status =
		predictor_open((predict_kind)kind, config.trace, o->guesses.items, o->guesses.count, &p);
	if (status)
		return status;
	replay_observer observer = predictor_observer(p);
	config.observer = &observer;
	status = interrupt_check();
	if (!status)
		status = replay_run(&config, &total, NULL);
	for (uint32_t g = 0; g < o->guesses.count && !status; g++) {
		predict_count count = predictor_count(p, g);
		json_t *row = row_of(name, kind, o->guesses.items[g], &config, &count);
		interrupt_guard();
		json_add(rows, row);
		interrupt_unguard();
	}
	predictor_close(p);
	return status;
}

static ufm_status predict_all(const replay_options *o, const char *name,
                              const replay_config *config, json_t *rows)
{
	ufm_status status = UFM_OK;
	for (uint32_t i = 0; i < o->predict.count && !status; i++)
		status = predict(o, name, *config, o->predict.items[i], rows);
	return status;
}

static ufm_status predict_scope(const replay_options *o, const char *name, const trace *t,
                                replay_scope scope, uint32_t batch, json_t *rows)
{
	const ufm_policy *policies[REPLAY_LIST_MAX];
	replay_capacity capacities[REPLAY_LIST_MAX];
	uint32_t policy_count = replay_policies(o->policy, policies);
	uint32_t count = replay_capacities(o->capacity, capacities), slots = 0;
	ufm_status status = UFM_OK;
	for (uint32_t i = 0; i < count && !status; i++) {
		status = replay_slots(&capacities[i], t, scope, o->expert_bytes, &slots);
		for (uint32_t p = 0; p < policy_count && !status; p++) {
			replay_config config = replay_config_of(o, t, scope, batch, slots, policies[p]);
			status = predict_all(o, name, &config, rows);
			if (status)
				status = status_prefix(status, "%s", name);
		}
	}
	return status;
}

ufm_status replay_predictions(const replay_options *o, const char *name, const trace *t,
                              json_t *rows)
{
	ufm_status status = UFM_OK;
	for (uint32_t b = 0; b < o->batches.count && !status; b++)
		for (uint32_t s = 0; s < o->scopes.count && !status; s++)
			status = predict_scope(o, name, t, (replay_scope)o->scopes.items[s],
			                       o->batches.items[b], rows);
	return status;
}
