/* SPDX-License-Identifier: MIT */
/* A row becomes what the plan needs to know, and nothing of what it measured but its probes. */
#include "cli/plan/against.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/median.h"
#include "base/status.h"
#include "cli/exit.h"
#include "cli/json_field.h"
#include "cli/message.h"
#include "cli/plan/predict.h"
#include "cli/plan/routing.h"
#include "cli/plan/row_file.h"
#include "cli/rows.h"
#include "cli/text_table.h"
#include "policy/registry.h"

/* Uses that a prediction counts at least, where its routing is drawn and not known: so that what it says is not chance
 * (a hit rate near one half then varies by 0.005). */
#define DRAWN_USES 10000u
#define DRAWS_MAX 16u
#define NEAR_SPEED 0.10
#define NEAR_HITS 0.02

typedef struct row_case {
	const json_t *row;
	plan_shape shape;
	plan_machine machine;
	division_config division;
	bool decode, known, given, cpu; /* known: its very ids; given: to the host, ahead */
	uint32_t tokens, warmup, steps;
	uint64_t target_bytes;
	const ufm_policy *policy;
	char workload[1024];
} row_case;

/* ------------------------------------------------------------------ from a row */

static uint32_t whole(const json_t *row, const char *name)
{
	return (uint32_t)field_whole(row, name);
}

static ufm_status read_shape(const json_t *row, plan_shape *out)
{
	static const char *const kinds[] = {"mlp", "mlp-bias", "gated"};
	static const ufm_expert_kind values[] = {UFM_EXPERT_MLP, UFM_EXPERT_MLP_BIAS, UFM_EXPERT_GATED};
	shape_given given = {.layers = whole(row, "layers"),
	                     .experts = whole(row, "num_experts"),
	                     .top_k = whole(row, "top_k"),
	                     .d_model = whole(row, "d_model"),
	                     .d_hidden = whole(row, "d_hidden"),
	                     .dtype =
	                         strcmp(field_string(row, "dtype"), "f32") == 0 ? UFM_F32 : UFM_BF16};
	for (uint32_t i = 0; i < 3; i++)
		if (strcmp(kinds[i], field_string(row, "kind")) == 0)
			given.kind = values[i];
	if (!given.kind || !given.layers || !given.top_k || !given.experts)
		return status_fail(UFM_EFORMAT,
		                   "no kind, layers, top_k or num_experts, expected a row of ufm bench");
	ufm_status status = shape_of_given(&given, out);
	if (!status)
		out->scoring = strcmp(field_string(row, "scoring"), "sigmoid") == 0 ? UFM_SCORE_SIGMOID
		                                                                    : UFM_SCORE_SOFTMAX;
	return status;
}

/* A trace may lie elsewhere than it did for the run. */
static void read_workload(const plan_config *c, const json_t *row, row_case *out)
{
	const char *text = field_string(row, "workload");
	out->known = plan_routing_is_known(text);
	/* Rows without the field had ids ahead wherever they were known. */
	out->given =
		field_known(row, "ids") ? strcmp(field_string(row, "ids"), "ahead") == 0 : out->known;
	if (strncmp(text, "trace:", 6) == 0 && strncmp(c->workload, "trace:", 6) == 0)
		text = c->workload;
	snprintf(out->workload, sizeof out->workload, "%s", text);
}

static ufm_status read_case(const plan_config *c, const json_t *row, row_case *out)
{
	memset(out, 0, sizeof *out);
	out->row = row;
	ufm_status status = read_shape(row, &out->shape);
	if (status)
		return status;
	if (!machine_of_row(row, &out->machine))
		return status_fail(UFM_EFORMAT,
		                   "no probe_link_gbps, expected a row of ufm bench --probe on");
	status = machine_finish(&out->machine);
	if (status)
		return status;
	out->decode = strcmp(field_string(row, "phase"), "decode") == 0;
	out->tokens = whole(row, "batch") * whole(row, "seq");
	out->warmup = whole(row, "warmup");
	out->steps = (uint32_t)json_array_size(json_object_get(row, "step_ms"));
	out->target_bytes = field_whole(row, "vram_target_bytes");
	out->cpu = field_whole(row, "cpu_threads") > 0;
	if (out->cpu)
		out->machine.rates.cpu_threads = whole(row, "cpu_threads");
	out->policy = policy_find(field_string(row, "policy"));
	read_workload(c, row, out);
	out->division = (division_config){.shape = &out->shape,
	                                  .granularity_bytes = out->machine.granularity_bytes,
	                                  .headroom_bytes = field_whole(row, "headroom_bytes"),
	                                  .tokens = out->tokens,
	                                  .max_tokens = whole(row, "max_tokens"),
	                                  .given = out->given};
	if (!out->policy || !out->tokens || !out->steps)
		return status_fail(UFM_EFORMAT,
		                   "no policy, batch, seq or step_ms, expected a row of ufm bench");
	return plan_routing_check(out->workload);
}

/* ------------------------------------------------------------------ its prediction */

typedef struct row_outcome {
	double *step_ns; /* [draws, steps] while it is walked */
	double tokens_per_s, hit_rate;
	budget budget;
	timing_bound bound;
	walk_result walked;
} row_outcome;

/* As the row counts: of earlier builds it has the median step's. */
static double speed_of(const row_case *k, double *step_ns, uint32_t steps)
{
	double sum_ns = 0;
	if (!field_known(k->row, "tokens_per_s_median"))
		return k->tokens * 1e9 / median_of(step_ns, steps);
	for (uint32_t i = 0; i < steps; i++)
		sum_ns += step_ns[i];
	return k->tokens * 1e9 * steps / sum_ns;
}

/* A ring that was asked for is not in the row: it shows in its size. */
static ufm_status divide(row_case *k, division *d, budget *out)
{
	uint32_t ring = whole(k->row, "ring_slots");
	division_open(&k->division, d);
	ufm_status status = division_of(d, k->target_bytes, out);
	if (status || out->ring == ring || ring == 0)
		return status;
	k->division.ring = ring;
	division_open(&k->division, d);
	return division_of(d, k->target_bytes, out);
}

/* Where the row's very ids are not known, others are as likely. */
static uint32_t draws_of(const row_case *k)
{
	uint64_t pairs = (uint64_t)k->tokens * k->shape.top_k, experts = k->shape.bank.experts;
	uint64_t uses = (uint64_t)k->steps * k->shape.bank.layers * (pairs < experts ? pairs : experts);
	uint64_t draws = (DRAWN_USES + uses - 1) / uses;
	if (k->known)
		return 1;
	return draws < DRAWS_MAX ? (uint32_t)draws : DRAWS_MAX;
}

static ufm_status open_routing(const row_case *k, uint32_t draw, trace *out)
{
	uint32_t width = k->shape.bank.desc.d_model;
	plan_routing_config routing = {.spec = k->workload,
	                               .seed = field_whole(k->row, "seed") + draw,
	                               .step_tokens = k->tokens,
	                               .steps = k->warmup + k->steps,
	                               .side_by_side = k->decode,
	                               .columns = k->known && !k->given ? width : 0,
	                               .shape = &k->shape};
	return plan_routing_open(&routing, out);
}

static ufm_status walk_routing(const row_case *k, const division *d, const budget *b,
                               const walk_phase *phase, walk_result *sum)
{
	walk_result one;
	predict_config predict = {.shape = &k->shape,
	                          .machine = &k->machine,
	                          .policy = k->policy,
	                          .division = d,
	                          .budget = b,
	                          .given = k->given,
	                          .cpu = k->cpu};
	ufm_status status = predict_run(&predict, phase, 1, &one);
	if (!status)
		walk_result_add(sum, &one);
	return status;
}

static ufm_status walk_draws(const row_case *k, const division *d, uint32_t draws, row_outcome *out)
{
	ufm_status status = UFM_OK;
	for (uint32_t i = 0; i < draws && !status; i++) {
		trace routing;
		status = open_routing(k, i, &routing);
		if (status)
			return status;
		walk_phase phase = {.routing = &routing,
		                    .tokens = k->tokens,
		                    .side_by_side = k->decode,
		                    .warmup = k->warmup,
		                    .steps = k->steps,
		                    .step_ns = out->step_ns + (uint64_t)i * k->steps};
		status = walk_routing(k, d, &out->budget, &phase, &out->walked);
		trace_close(&routing);
	}
	return status;
}

static ufm_status predict_case(row_case *k, row_outcome *out)
{
	division d;
	uint32_t draws = draws_of(k), steps = draws * k->steps;
	*out = (row_outcome){0};
	ufm_status status = divide(k, &d, &out->budget);
	if (status)
		return status;
	out->step_ns = alloc_zeroed(steps, sizeof *out->step_ns);
	status = out->step_ns ? walk_draws(k, &d, draws, out) : UFM_ENOMEM;
	if (!status) {
		out->bound = timing_binds(&out->walked.sum);
		out->tokens_per_s = speed_of(k, out->step_ns, steps);
		out->hit_rate = (double)out->walked.hits / (double)out->walked.uses;
	}
	alloc_free(out->step_ns);
	out->step_ns = NULL;
	return status;
}

/* ------------------------------------------------------------------ the comparison */

static json_t *compare(const char *file, const row_case *k, const row_outcome *o)
{
	const json_t *row = k->row;
	json_t *out = json_object();
	double measured = field_number(row, "tokens_per_s");
	double hits = field_number(row, "resident_uses") / field_number(row, "uses");
	json_object_set_new(out, "file", json_string(file));
	json_object_set_new(out, "device", json_string(field_string(row, "device")));
	json_object_set_new(out, "preset", json_string(field_string(row, "preset")));
	json_object_set_new(out, "phase", json_string(field_string(row, "phase")));
	json_object_set_new(out, "workload", json_string(field_string(row, "workload")));
	json_object_set_new(out, "layers", json_integer(k->shape.bank.layers));
	json_object_set_new(out, "experts", json_integer(k->shape.bank.experts));
	json_object_set_new(out, "expert_bytes",
	                    json_integer((json_int_t)k->shape.bank.desc.expert_bytes));
	json_object_set_new(out, "batch", json_integer(whole(row, "batch")));
	json_object_set_new(out, "seq", json_integer(whole(row, "seq")));
	json_object_set_new(out, "ids", json_string(k->given ? "ahead" : "device"));
	json_object_set_new(out, "cpu", json_boolean(k->cpu));
	json_object_set_new(out, "vram_target_bytes", json_integer((json_int_t)k->target_bytes));
	json_object_set_new(out, "slots_measured", json_integer((json_int_t)field_whole(row, "slots")));
	json_object_set_new(out, "slots", json_integer(o->budget.slots));
	json_object_set_new(out, "tokens_per_s_measured", json_real(measured));
	json_object_set_new(out, "tokens_per_s", json_real(o->tokens_per_s));
	json_object_set_new(out, "tokens_per_s_error", json_real(o->tokens_per_s / measured - 1));
	json_object_set_new(out, "hit_rate_measured", json_real(hits));
	json_object_set_new(out, "hit_rate", json_real(o->hit_rate));
	json_object_set_new(out, "hit_rate_error", json_real(o->hit_rate - hits));
	json_object_set_new(out, "streamed",
	                    json_real((double)o->walked.streamed / (double)o->walked.steps));
	json_object_set_new(out, "on_cpu",
	                    json_real((double)o->walked.on_cpu / (double)o->walked.steps));
	json_object_set_new(out, "bound_by", json_string(timing_bound_name(o->bound)));
	return out;
}

static bool near(const json_t *row, const char *name, double most)
{
	return fabs(field_number(row, name)) <= most;
}

static const text_column columns[] = {
	{"case", true},     {"phase", true},     {"experts", false},   {"tokens", false},
	{"CPU", true},      {"slots", false},    {"tok/s", false},     {"predicted", false},
	{"error %", false}, {"hit rate", false}, {"predicted", false}, {"error", false},
	{"bound by", true},
};
#define COLUMNS (sizeof columns / sizeof columns[0])

/* The two folders above the file say which case it was. */
static const char *short_name(const char *path)
{
	const char *at = strrchr(path, '/');
	for (int up = 0; at && at > path && up < 2; up++)
		for (at--; at > path && *at != '/'; at--)
			;
	return at && *at == '/' ? at + 1 : path;
}

static void fill_line(text_table *t, uint32_t line, const json_t *row)
{
	double measured = field_number(row, "tokens_per_s_measured");
	int digits = measured < 100 ? 2 : 0;
	const char *file = short_name(field_string(row, "file"));
	text_cell(t, line, 0, "%.*s", (int)strcspn(file, "/"), file);
	text_cell(t, line, 1, "%s", field_string(row, "phase"));
	text_cell(t, line, 2, "%" PRIu64 " x %" PRIu64, field_whole(row, "layers"),
	          field_whole(row, "experts"));
	text_cell(t, line, 3, "%" PRIu64 " x %" PRIu64, field_whole(row, "batch"),
	          field_whole(row, "seq"));
	text_cell(t, line, 4, "%s", json_is_true(json_object_get(row, "cpu")) ? "on" : "off");
	text_cell(t, line, 5, "%" PRIu64 "%s", field_whole(row, "slots"),
	          field_whole(row, "slots") == field_whole(row, "slots_measured") ? "" : " (!)");
	text_cell(t, line, 6, "%.*f", digits, measured);
	text_cell(t, line, 7, "%.*f", digits, field_number(row, "tokens_per_s"));
	text_cell(t, line, 8, "%+.1f", 100 * field_number(row, "tokens_per_s_error"));
	text_cell(t, line, 9, "%.3f", field_number(row, "hit_rate_measured"));
	text_cell(t, line, 10, "%.3f", field_number(row, "hit_rate"));
	text_cell(t, line, 11, "%+.3f", field_number(row, "hit_rate_error"));
	text_cell(t, line, 12, "%s", field_string(row, "bound_by"));
}

static void print_counts(json_t *rows, uint32_t left_out)
{
	size_t i, speed = 0, hits = 0, slots = 0;
	json_t *row;
	json_array_foreach(rows, i, row)
	{
		speed += near(row, "tokens_per_s_error", NEAR_SPEED);
		hits += near(row, "hit_rate_error", NEAR_HITS);
		slots += field_whole(row, "slots") == field_whole(row, "slots_measured");
	}
	printf("\n%zu cases: tok/s within 10 %% in %zu, hit rate within 0.02 in %zu, the number of "
	       "slots exact in "
	       "%zu.\n",
	       json_array_size(rows), speed, hits, slots);
	if (left_out)
		printf("%u rows are left out: they could not be predicted.\n", left_out);
}

static void print_table(json_t *rows, uint32_t left_out)
{
	text_table t;
	size_t i;
	json_t *row;
	if (!text_table_open(&t, columns, COLUMNS, (uint32_t)json_array_size(rows)))
		return;
	json_array_foreach(rows, i, row)
	{
		fill_line(&t, (uint32_t)i, row);
	}
	text_table_print(stdout, &t);
	text_table_close(&t);
	print_counts(rows, left_out);
}

/* ------------------------------------------------------------------ files */

static bool is_case(const json_t *row)
{
	return strcmp(field_string(row, "mode"), "ufm") == 0 &&
	       strcmp(field_string(row, "status"), "ok") == 0;
}

/* false: a row that cannot be predicted, which is said. */
static bool add_row(const plan_config *c, const char *file, size_t number, const json_t *row,
                    json_t *rows)
{
	row_case k;
	row_outcome outcome;
	if (!is_case(row))
		return true;
	message_progress("%s: row %zu", file, number + 1);
	ufm_status status = read_case(c, row, &k);
	if (!status)
		status = predict_case(&k, &outcome);
	if (status) {
		message_error("plan", "%s: row %zu is left out: %s", file, number + 1, ufm_last_error());
		return false;
	}
	json_array_append_new(rows, compare(file, &k, &outcome));
	return true;
}

static ufm_status add_file(const plan_config *c, const char *file, json_t *rows, uint32_t *left_out)
{
	json_t *found, *row;
	size_t i;
	ufm_status status = row_file_read(file, &found);
	if (status)
		return status;
	json_array_foreach(found, i, row)
	{
		*left_out += !add_row(c, file, i, row, rows);
	}
	json_decref(found);
	return UFM_OK;
}

int against_run(const plan_config *c, const char *const *files, uint32_t count)
{
	json_t *rows = json_array();
	uint32_t left_out = 0;
	ufm_status status = UFM_OK;
	for (uint32_t i = 0; i < count && !status; i++)
		status = add_file(c, files[i], rows, &left_out);
	message_progress_clear();
	if (!status && json_array_size(rows) == 0)
		status = status_fail(UFM_EFORMAT, "no row of mode ufm could be predicted");
	if (!status && c->format == ROWS_MD)
		print_table(rows, left_out);
	else if (!status)
		rows_write(stdout, (rows_format)c->format, rows);
	json_decref(rows);
	if (status)
		return message_status("plan", status);
	return left_out ? CLI_DATA : CLI_OK;
}
