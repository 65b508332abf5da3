/* SPDX-License-Identifier: MIT */
/* A row as JSON: the fields that every reader may rely on, in a fixed order, then our own. */
#include <inttypes.h>

#include "cli/bench/row.h"
#include "cli/json_put.h"
#include "cli/json_text.h"

static json_t *bytes(uint64_t value)
{
	return json_integer((json_int_t)value);
}

static json_t *choice(const char *option, const bench_config *config)
{
	char name[64];
	const option_spec *spec = &bench_options.specs[options_find(&bench_options, option)];
	return json_string(option_value_text(spec, config, name, sizeof name));
}

/* Counted over the measured steps; null when none ended. */
static json_t *counted(const bench_row *row, counter_id id)
{
	return row->measured ? bytes(row->counters[id]) : json_null();
}

static void add_counter(json_t *out, const char *name, const bench_row *row, counter_id id)
{
	json_put(out, name, counted(row, id));
}

static json_t *steps(const bench_row *row)
{
	json_t *array = json_array();
	for (uint32_t i = 0; i < row->measured; i++)
		json_add(array, json_real(row->step_ms[i]));
	return array;
}

/* Distinct experts that one layer used in one step, on average. */
static json_t *touched(const bench_row *row, const bench_config *config)
{
	if (row->measured == 0)
		return json_null();
	return json_real((double)row->counters[COUNTER_uses] / row->measured / config->layers);
}

static json_t *hash_text(const bench_row *row)
{
	char hash[24];
	if (row->measured == 0)
		return json_null();
	snprintf(hash, sizeof hash, "%016" PRIx64, row->output_hash);
	return json_string(hash);
}

static void add_memory(json_t *out, const bench_row *row, const bench_config *config)
{
	bool bound = row->mode == MODE_UFM && row->opened;
	json_put(out, "bank_bytes", bytes(row->bank_bytes));
	json_put(out, "expert_bytes", bytes(row->expert_bytes));
	uint64_t target = bound ? row->engine.vram_target_bytes : config->vram_target_bytes;
	json_put(out, "vram_target_bytes",
	         target ? bytes(target) : json_null()); /* auto, not resolved */
	json_put(out, "peak_vram_bytes", bytes(row->peak_live_bytes));
	json_put(out, "slab_high_water_bytes", bytes(row->slab_high_water_bytes));
	json_put(out, "context_bytes", row->opened ? bytes(row->engine.context_bytes) : json_null());
	json_put(out, "peak_ram_bytes", bytes(row->peak_ram_bytes));
}

static void add_figures(json_t *out, const bench_row *row, const bench_config *config)
{
	json_put(out, "tokens_per_s", row->measured ? json_real(row_tokens_per_s(row, config)) : NULL);
	json_put(out, "step_ms", steps(row));
	json_put(out, "slots", row->opened ? json_integer(row_slots(row)) : NULL);
	json_put(out, "experts_touched", touched(row, config));
	add_counter(out, "uses", row, COUNTER_uses);
	add_counter(out, "resident_uses", row, COUNTER_resident_uses);
	add_counter(out, "streamed_uses", row, COUNTER_streamed_uses);
	add_counter(out, "cpu_uses", row, COUNTER_cpu_uses);
	add_counter(out, "prefetch_loads", row, COUNTER_prefetch_loads);
	add_counter(out, "h2d_weight_bytes", row, COUNTER_h2d_weight_bytes);
	add_counter(out, "h2d_activation_bytes", row, COUNTER_h2d_activation_bytes);
	add_counter(out, "d2h_weight_bytes", row, COUNTER_d2h_weight_bytes);
	add_counter(out, "evictions", row, COUNTER_evictions);
	json_put(out, "stall_ms",
	         row->measured ? json_real((double)row->counters[COUNTER_stall_ns] / 1e6) : NULL);
	json_put(out, "output_hash", hash_text(row));
}

static void add_run(json_t *out, const bench_row *row, const bench_config *config)
{
	json_put(out, "deterministic", row->opened ? json_boolean(row->deterministic) : NULL);
	json_put(out, "workload", json_text(config->workload));
	json_put(out, "policy", json_text(row->mode == MODE_UFM ? config->policy : ""));
	json_put(out, "dtype", choice("dtype", config));
	json_put(out, "backend", json_text(row->backend));
	json_put(out, "device", json_text(row->device));
	json_put(out, "seed", bytes(config->seed));
}

/* Null unless it was probed. */
static json_t *rate(const bench_row *row, double value)
{
	return row->probed && value > 0 ? json_real(value) : NULL;
}

static void add_probes(json_t *out, const bench_row *row)
{
	const probe_rates *r = &row->rates;
	json_put(out, "probe_link_gbps", rate(row, r->link_gbps));
	json_put(out, "probe_hbm_gbps", rate(row, r->hbm_gbps));
	json_put(out, "probe_dram_gbps", rate(row, r->dram_gbps));
	json_put(out, "probe_sum_gbps", rate(row, r->sum_link_gbps + r->sum_cpu_gbps));
	json_put(out, "probe_sum_link_gbps", rate(row, r->sum_link_gbps));
	json_put(out, "probe_sum_cpu_gbps", rate(row, r->sum_cpu_gbps));
	const char *source;
	double gflops = peak_used(&row->peak, r->gflops, &source);
	bool vendors = row->probed && source == row->peak.peak.source && gflops > 0;
	json_put(out, "probe_gflops", rate(row, gflops));
	json_put(out, "peak_source", row->probed && gflops > 0 ? json_string(source) : NULL);
	json_put(out, "peak_shape", vendors ? json_text(row->peak.peak.shape) : NULL);
	json_put(out, "probe_kernel_gflops", rate(row, r->gflops));
	json_put(out, "probe_threads", row->probed ? json_integer(r->threads) : NULL);
}

static void add_floor(json_t *out, const bench_row *row, const bench_config *config)
{
	step_floor f;
	bool known = row_floor(row, config, &f);
	bool copied = row->measured && row->counters[COUNTER_copy_ns] > 0;
	json_put(out, "floor_ms", known ? json_real(f.step_ms) : NULL);
	json_put(out, "fraction_of_floor", known ? json_real(row_fraction_of_floor(row, &f)) : NULL);
	json_put(out, "bound_by", known ? json_string(floor_bound_name(f.bound)) : NULL);
	json_put(out, "floor_kind", known ? json_string(floor_kind_name(f.kind)) : NULL);
	json_put(out, "floor_misses", known ? json_real(f.misses) : NULL);
	json_put(out, "floor_resident_ms", known ? json_real(f.resident_ms) : NULL);
	json_put(out, "floor_miss_ms", known ? json_real(f.miss_ms) : NULL);
	json_put(out, "measured_again", json_boolean(row->measured_again));
	json_put(out, "link_gbps_used", row->measured ? json_real(row_link_gbps_used(row)) : NULL);
	json_put(out, "overlap", copied ? json_real(row_overlap(row)) : NULL);
}

static void add_warmup(json_t *out, const bench_row *row)
{
	bool slots = row->warm && row->mode != MODE_NAIVE_OFFLOAD;
	json_put(out, "warmup", json_integer(row->warmed));
	json_put(out, "first_step", row->warm ? json_integer(row->from + row->warmed) : NULL);
	json_put(out, "slots_held", slots ? json_integer(row->slots_held) : NULL);
	json_put(out, "slots_filled", slots ? json_boolean(!row_is_cold(row)) : NULL);
}

static void add_own_geometry(json_t *out, const bench_config *config)
{
	json_put(out, "kind", choice("kind", config));
	json_put(out, "d_model", json_integer(config->d_model));
	json_put(out, "d_hidden", json_integer(config->d_hidden));
	json_put(out, "top_k", json_integer(config->top_k));
	json_put(out, "norm_topk", json_boolean(config->norm_topk));
	json_put(out, "batch", json_integer(config->batch));
	json_put(out, "seq", json_integer(config->seq));
	json_put(out, "steps", json_integer(config->steps));
	json_put(out, "max_tokens", json_integer(config->max_tokens));
	json_put(out, "threads", json_integer(config->threads));
	json_put(out, "scoring", choice("scoring", config));
	json_put(out, "math", choice("math", config));
	json_put(out, "preset", config->preset ? choice("preset", config) : NULL);
	json_put(out, "phase", json_string(bench_phase_name((bench_phase)config->phase)));
}

/* Which arithmetic ran: the device's rows are all under one name. */
static void add_device_rows(json_t *out, const bench_row *row)
{
	add_counter(out, "fp32_rows", row, COUNTER_fp32_rows);
	add_counter(out, "tf32_rows", row, COUNTER_tf32_rows);
	add_counter(out, "bf16_rows", row, COUNTER_bf16_rows);
}

/* How the steps were routed and counted. */
static void add_basis(json_t *out, const bench_row *row, const bench_config *config)
{
	double median = row_tokens_per_s_median(row, config);
	json_put(out, "ids", choice("ids", config));
	json_put(out, "steps_measured", json_integer(row->measured));
	json_put(out, "tokens_per_s_median", row->measured ? json_real(median) : NULL);
}

static json_t *quantile(const bench_row *row, double share)
{
	return row->measured ? json_real(row_step_ms_quantile(row, share)) : json_null();
}

static void add_spread(json_t *out, const bench_row *row)
{
	json_put(out, "step_ms_median", quantile(row, 0.5));
	json_put(out, "step_ms_q1", quantile(row, 0.25));
	json_put(out, "step_ms_q3", quantile(row, 0.75));
}

static void add_own(json_t *out, const bench_row *row, const bench_config *config)
{
	double link_gbps = row->opened ? row->engine.link_gbps : config->link_gbps;
	double expected = row->experts_expected;
	add_spread(out, row);
	json_put(out, "experts_touched_expected", expected > 0 ? json_real(expected) : NULL);
	json_put(out, "link_gbps_emulated", link_gbps > 0 ? json_real(link_gbps) : NULL);
	json_put(out, "vram_limit_bytes",
	         config->vram_limit_bytes ? bytes(config->vram_limit_bytes) : NULL);
	json_put(out, "headroom_bytes", bytes(config->headroom_bytes));
	json_put(out, "reserved_vram_bytes", bytes(row->peak_held_bytes));
	json_put(out, "ring_slots", row->opened ? json_integer(row->engine.ring_slots) : NULL);
	add_counter(out, "bypasses", row, COUNTER_bypasses);
	add_counter(out, "prefetch_dropped", row, COUNTER_prefetch_dropped);
	add_counter(out, "d2h_activation_bytes", row, COUNTER_d2h_activation_bytes);
	json_put(out, "copy_ms",
	         row->measured ? json_real((double)row->counters[COUNTER_copy_ns] / 1e6) : NULL);
	json_put(out, "route_wait_ms",
	         row->measured ? json_real((double)row->counters[COUNTER_route_wait_ns] / 1e6) : NULL);
	json_put(out, "workload_wrapped", json_boolean(row->workload_wrapped));
	add_counter(out, "resident_calls", row, COUNTER_resident_calls);
	add_counter(out, "copies", row, COUNTER_copies);
	add_probes(out, row);
	add_floor(out, row, config);
	row_put_limit(out, row, config);
	json_put(out, "fill_s", row->fill_ns ? json_real((double)row->fill_ns / 1e9) : NULL);
	json_put(out, "fill_gbps",
	         row->fill_ns ? json_real((double)row->bank_bytes / (double)row->fill_ns) : NULL);
	add_own_geometry(out, config);
	add_warmup(out, row);
	row_put_cpu(out, row, config);
	json_put(out, "workspace_bytes", row->opened ? bytes(row->engine.workspace_bytes) : NULL);
	add_device_rows(out, row);
	add_basis(out, row, config);
}

json_t *row_json(const bench_row *row, const bench_config *config)
{
	json_t *out = json_object();
	json_put(out, "mode", json_string(mode_name(row->mode)));
	json_put(out, "num_experts", json_integer(row->experts));
	json_put(out, "layers", json_integer(config->layers));
	json_put(out, "status", json_string(row_status_name(row->status)));
	json_put(out, "error", json_text(row->error));
	add_memory(out, row, config);
	add_figures(out, row, config);
	add_run(out, row, config);
	add_own(out, row, config);
	return out;
}
