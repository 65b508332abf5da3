/* SPDX-License-Identifier: MIT */
/* A row's fields as JSON; cli/row_fields.def has their order. */
#include <inttypes.h>

#include "cli/bench/row.h"
#include "cli/json_put.h"
#include "cli/json_text.h"

static json_t *choice(const char *option, const bench_config *config)
{
	char name[64];
	const option_spec *spec = &bench_options.specs[options_find(&bench_options, option)];
	return json_string(option_value_text(spec, config, name, sizeof name));
}

/* Null when no step was measured, as is every figure over the steps. */
static json_t *counted(const bench_row *row, counter_id id)
{
	return row->measured ? json_whole(row->counters[id]) : NULL;
}

static json_t *time_ms(const bench_row *row, counter_id id)
{
	return json_known(row->measured, (double)row->counters[id] / 1e6);
}

static json_t *quantile(const bench_row *row, double share)
{
	return json_known(row->measured, row_step_ms_quantile(row, share));
}

/* What the table says to be a counter or an option. */
static void add_by_name(row_values *out, const bench_row *row, const bench_config *config)
{
#define ROW_FIELD(name, form, meaning)
#define ROW_COUNTER(name, meaning) row_put(out, ROW_##name, counted(row, COUNTER_##name));
#define ROW_OPTION(name, form, meaning) row_put(out, ROW_##name, json_whole(config->name));
#define ROW_CHOICE(name, meaning) row_put(out, ROW_##name, choice(#name, config));
#include "cli/row_fields.def"
#undef ROW_FIELD
}

static json_t *steps(const bench_row *row)
{
	json_t *array = json_array();
	for (uint32_t i = 0; i < row->measured; i++)
		json_add(array, json_real(row->step_ms[i]));
	return array;
}

static json_t *hash_text(const bench_row *row)
{
	char hash[24];
	if (row->measured == 0)
		return NULL;
	snprintf(hash, sizeof hash, "%016" PRIx64, row->output_hash);
	return json_string(hash);
}

static void add_memory(row_values *out, const bench_row *row, const bench_config *config)
{
	bool bound = row->mode == MODE_UFM && row->opened;
	row_put(out, ROW_bank_bytes, json_whole(row->bank_bytes));
	row_put(out, ROW_expert_bytes, json_whole(row->expert_bytes));
	uint64_t target = bound ? row->engine.vram_target_bytes : config->vram_target_bytes;
	row_put(out, ROW_vram_target_bytes,
	        target ? json_whole(target) : NULL); /* auto, not resolved */
	row_put(out, ROW_peak_vram_bytes, json_whole(row->peak_live_bytes));
	row_put(out, ROW_slab_high_water_bytes, json_whole(row->slab_high_water_bytes));
	row_put(out, ROW_context_bytes, row->opened ? json_whole(row->engine.context_bytes) : NULL);
	row_put(out, ROW_peak_ram_bytes, json_whole(row->peak_ram_bytes));
	row_put(out, ROW_vram_limit_bytes,
	        config->vram_limit_bytes ? json_whole(config->vram_limit_bytes) : NULL);
	row_put(out, ROW_reserved_vram_bytes, json_whole(row->peak_held_bytes));
	row_put(out, ROW_workspace_bytes, row->opened ? json_whole(row->engine.workspace_bytes) : NULL);
	row_put(out, ROW_slots, row->opened ? json_integer(row_slots(row)) : NULL);
	row_put(out, ROW_ring_slots, row->opened ? json_integer(row->engine.ring_slots) : NULL);
}

static void add_figures(row_values *out, const bench_row *row, const bench_config *config)
{
	double uses = (double)row->counters[COUNTER_uses], expected = row->experts_expected;
	double median = row_tokens_per_s_median(row, config);
	bool measured = row->measured;
	row_put(out, ROW_steps_measured, json_integer(row->measured));
	row_put(out, ROW_tokens_per_s, json_known(measured, row_tokens_per_s(row, config)));
	row_put(out, ROW_tokens_per_s_median, json_known(measured, median));
	row_put(out, ROW_step_ms, steps(row));
	row_put(out, ROW_step_ms_median, quantile(row, 0.5));
	row_put(out, ROW_step_ms_q1, quantile(row, 0.25));
	row_put(out, ROW_step_ms_q3, quantile(row, 0.75));
	row_put(out, ROW_experts_touched, json_known(measured, uses / row->measured / config->layers));
	row_put(out, ROW_experts_touched_expected, json_known(expected > 0, expected));
	row_put(out, ROW_stall_ms, time_ms(row, COUNTER_stall_ns));
	row_put(out, ROW_copy_ms, time_ms(row, COUNTER_copy_ns));
	row_put(out, ROW_route_wait_ms, time_ms(row, COUNTER_route_wait_ns));
	row_put(out, ROW_cpu_ms, time_ms(row, COUNTER_cpu_ns));
	row_put(out, ROW_output_hash, hash_text(row));
}

static void add_run(row_values *out, const bench_row *row, const bench_config *config)
{
	double link_gbps = row->opened ? row->engine.link_gbps : config->link_gbps;
	row_put(out, ROW_mode, json_string(mode_name(row->mode)));
	row_put(out, ROW_num_experts, json_integer(row->experts));
	row_put(out, ROW_status, json_string(row_status_name(row->status)));
	row_put(out, ROW_error, json_text(row->error));
	row_put(out, ROW_deterministic, row->opened ? json_boolean(row->deterministic) : NULL);
	row_put(out, ROW_workload, json_text(config->workload));
	row_put(out, ROW_workload_wrapped, json_boolean(row->workload_wrapped));
	row_put(out, ROW_policy, json_text(row->mode == MODE_UFM ? config->policy : ""));
	row_put(out, ROW_backend, json_text(row->backend));
	row_put(out, ROW_device, json_text(row->device));
	row_put(out, ROW_link_gbps_emulated, json_known(link_gbps > 0, link_gbps));
	row_put(out, ROW_norm_topk, json_boolean(config->norm_topk));
	row_put(out, ROW_model, json_text(config->model ? config->model : ""));
	row_put(out, ROW_preset, config->preset ? choice("preset", config) : NULL);
	row_put(out, ROW_phase, json_string(bench_phase_name((bench_phase)config->phase)));
}

/* Null unless it was probed. */
static json_t *rate(const bench_row *row, double value)
{
	return json_known(row->probed && value > 0, value);
}

static void add_probes(row_values *out, const bench_row *row)
{
	const probe_rates *r = &row->rates;
	row_put(out, ROW_probe_link_gbps, rate(row, r->link_gbps));
	row_put(out, ROW_probe_hbm_gbps, rate(row, r->hbm_gbps));
	row_put(out, ROW_probe_dram_gbps, rate(row, r->dram_gbps));
	row_put(out, ROW_probe_sum_gbps, rate(row, r->sum_link_gbps + r->sum_cpu_gbps));
	row_put(out, ROW_probe_sum_link_gbps, rate(row, r->sum_link_gbps));
	row_put(out, ROW_probe_sum_cpu_gbps, rate(row, r->sum_cpu_gbps));
	const char *source;
	double gflops = peak_used(&row->peak, r->gflops, &source);
	bool vendors = row->probed && source == row->peak.peak.source && gflops > 0;
	row_put(out, ROW_probe_gflops, rate(row, gflops));
	row_put(out, ROW_peak_source, row->probed && gflops > 0 ? json_string(source) : NULL);
	row_put(out, ROW_peak_shape, vendors ? json_text(row->peak.peak.shape) : NULL);
	row_put(out, ROW_probe_kernel_gflops, rate(row, r->gflops));
	row_put(out, ROW_probe_threads, row->probed ? json_integer(r->threads) : NULL);
}

static void add_floor(row_values *out, const bench_row *row, const bench_config *config)
{
	step_floor f;
	bool known = row_floor(row, config, &f);
	bool copied = row->measured && row->counters[COUNTER_copy_ns] > 0;
	row_put(out, ROW_floor_ms, known ? json_real(f.step_ms) : NULL);
	row_put(out, ROW_fraction_of_floor, known ? json_real(row_fraction_of_floor(row, &f)) : NULL);
	row_put(out, ROW_bound_by, known ? json_string(floor_bound_name(f.bound)) : NULL);
	row_put(out, ROW_floor_kind, known ? json_string(floor_kind_name(f.kind)) : NULL);
	row_put(out, ROW_floor_misses, known ? json_real(f.misses) : NULL);
	row_put(out, ROW_floor_resident_ms, known ? json_real(f.resident_ms) : NULL);
	row_put(out, ROW_floor_miss_ms, known ? json_real(f.miss_ms) : NULL);
	row_put(out, ROW_measured_again, json_boolean(row->measured_again));
	row_put(out, ROW_link_gbps_used, json_known(row->measured, row_link_gbps_used(row)));
	row_put(out, ROW_overlap, json_known(copied, row_overlap(row)));
}

/* What came before the steps. */
static void add_start(row_values *out, const bench_row *row)
{
	bool slots = row->warm && row->mode != MODE_NAIVE_OFFLOAD;
	double fill_ns = (double)row->fill_ns;
	row_put(out, ROW_fill_s, json_known(row->fill_ns, fill_ns / 1e9));
	row_put(out, ROW_fill_gbps, json_known(row->fill_ns, (double)row->bank_bytes / fill_ns));
	row_put(out, ROW_warmup, json_integer(row->warmed));
	row_put(out, ROW_first_step, row->warm ? json_integer(row->from + row->warmed) : NULL);
	row_put(out, ROW_slots_held, slots ? json_integer(row->slots_held) : NULL);
	row_put(out, ROW_slots_filled, slots ? json_boolean(!row_is_cold(row)) : NULL);
}

json_t *row_json(const bench_row *row, const bench_config *config)
{
	row_values out = {0};
	add_by_name(&out, row, config);
	add_run(&out, row, config);
	add_memory(&out, row, config);
	add_figures(&out, row, config);
	add_probes(&out, row);
	add_floor(&out, row, config);
	add_start(&out, row);
	row_put_limit(&out, row, config);
	row_put_cpu(&out, row, config);
	return row_object(&out);
}
