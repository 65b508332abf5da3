/* SPDX-License-Identifier: MIT */
/* The run as JSON. */
#include "cli/forward/report.h"

#include "bank/bank.h"
#include "cli/json_put.h"
#include "cli/json_text.h"
#include "cli/options_json.h"

static json_t *ms(uint64_t value_ns)
{
	return json_real((double)value_ns / 1e6);
}

static void add_layer(json_t *out, const forward_config *config, const forward_input *input,
                      const forward_result *r)
{
	const ufm_expert_desc *desc = &r->bank.desc;
	char types[BANK_TYPES_BYTES];
	json_put(out, "layer", json_integer(config->layer));
	json_put(out, "experts", json_integer(r->bank.experts));
	json_put(out, "d_model", json_integer(desc->d_model));
	json_put(out, "d_hidden", json_integer(desc->d_hidden));
	json_put(out, "gated", json_boolean(ufm_expert_part(desc, UFM_ROLE_GATE) != NULL));
	json_put(out, "dtype",
	         desc->part_count ? json_string(bank_types_text(desc, types, sizeof types)) : NULL);
	json_put(out, "tokens", json_integer(input->tokens));
	json_put(out, "top_k", json_integer(config->top_k));
	json_put(out, "routing", json_string(input->ids ? "ids" : "router"));
}

static void add_memory(json_t *out, const forward_config *config, const forward_result *r)
{
	/* naive_offload keeps nothing: the pager's slots that its engine has stay empty. */
	uint32_t slots = config->mode == MODE_NAIVE_OFFLOAD ? 0 : r->engine.slots;
	bool bound = r->opened && config->mode == MODE_UFM;
	json_put(out, "bank_bytes", json_whole(r->bank.bank_bytes));
	json_put(out, "expert_bytes", json_whole(r->bank.desc.expert_bytes));
	json_put(out, "vram_target_bytes", bound ? json_whole(r->engine.vram_target_bytes) : NULL);
	json_put(out, "headroom_bytes", bound ? json_whole(r->engine.headroom_bytes) : NULL);
	json_put(out, "vram_limit_bytes",
	         config->vram_limit_bytes ? json_whole(config->vram_limit_bytes) : NULL);
	json_put(out, "workspace_bytes", r->opened ? json_whole(r->engine.workspace_bytes) : NULL);
	json_put(out, "arena_bytes", r->opened ? json_whole(r->engine.arena_bytes) : NULL);
	json_put(out, "slots", r->opened ? json_integer(slots) : NULL);
	json_put(out, "ring_slots", r->opened ? json_integer(r->engine.ring_slots) : NULL);
	json_put(out, "peak_vram_bytes", r->opened ? json_whole(r->peak_bytes) : NULL);
}

static void add_cpu(json_t *out, const forward_result *r)
{
	uint32_t share = r->opened && r->engine.cpu_threads ? r->engine.cpu_share_percent : 0;
	json_put(out, "cpu_assist", json_text(r->cpu_assist));
	json_put(out, "cpu_threads", r->opened ? json_integer(r->engine.cpu_threads) : NULL);
	json_put(out, "cpu_share_percent", share ? json_integer(share) : NULL);
	json_put(out, "deterministic", r->opened ? json_boolean(r->deterministic) : NULL);
}

static void add_figures(json_t *out, const forward_result *r)
{
	static const struct {
		const char *name;
		counter_id id;
	} counted[] = {
		{"uses", COUNTER_uses},
		{"resident_uses", COUNTER_resident_uses},
		{"streamed_uses", COUNTER_streamed_uses},
		{"cpu_uses", COUNTER_cpu_uses},
		{"late_uses", COUNTER_late_uses},
		{"admitted_loads", COUNTER_admitted_loads},
		{"h2d_weight_bytes", COUNTER_h2d_weight_bytes},
		{"d2h_weight_bytes", COUNTER_d2h_weight_bytes},
		{"h2d_activation_bytes", COUNTER_h2d_activation_bytes},
		{"d2h_activation_bytes", COUNTER_d2h_activation_bytes},
		{"evictions", COUNTER_evictions},
		{"cpu_rows", COUNTER_cpu_rows},
		{"fp32_rows", COUNTER_fp32_rows},
		{"tf32_rows", COUNTER_tf32_rows},
		{"bf16_rows", COUNTER_bf16_rows},
	};
	bool ran = !*r->error;
	for (size_t i = 0; i < sizeof counted / sizeof counted[0]; i++)
		json_put(out, counted[i].name, ran ? json_whole(r->counters[counted[i].id]) : NULL);
	json_put(out, "load_ms", ms(r->load_ns));
	json_put(out, "place_ms", ms(r->place_ns));
	json_put(out, "forward_ms", ran ? ms(r->forward_ns) : NULL);
	json_put(out, "stall_ms", ran ? ms(r->counters[COUNTER_stall_ns]) : NULL);
}

/* With the caller's routing there is no rule to report. */
static json_t *configuration(const forward_config *config, const option_state *state)
{
	json_t *all = options_json(&forward_options, config, state);
	/* Says what norm-topk says. */
	json_object_del(all, "no-norm-topk");
	if (config->ids) {
		json_object_del(all, "norm-topk");
		json_object_del(all, "scoring");
	}
	return all;
}

json_t *forward_json(const forward_config *config, const option_state *state,
                     const forward_input *input, const forward_result *r)
{
	json_t *out = json_object(), *options = configuration(config, state);
	json_t *output = json_object_get(json_object_get(options, "output"), "value");
	json_put(out, "mode", json_string(mode_name((placement_mode)config->mode)));
	json_put(out, "status", json_string(r->out_of_memory ? "oom" : "ok"));
	json_put(out, "error", json_text(r->error));
	json_put(out, "output", *r->error ? NULL : json_incref(output));
	json_put(out, "backend", json_text(r->backend));
	json_put(out, "device", json_text(r->device));
	add_layer(out, config, input, r);
	add_memory(out, config, r);
	add_cpu(out, r);
	add_figures(out, r);
	json_put(out, "config", options);
	return out;
}
