/* SPDX-License-Identifier: MIT */
/* Opens what the mode needs, computes the layer once, and closes in reverse order. */
#include "cli/forward/run.h"

#include <stdio.h>
#include <string.h>

#include "bank/bank.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/status.h"
#include "budget/workspace.h"
#include "cli/exit.h"
#include "cli/forward/rule.h"
#include "cli/interrupt.h"
#include "cli/message.h"
#include "cli/modes/filling.h"
#include "cli/modes/options.h"
#include "cli/modes/record.h"
#include "cli/modes/timeline.h"
#include "device/registry.h"
#include "moe/source.h"

#define MAX_TOKENS_AUTO 1024u

typedef struct run {
	forward_config *config;
	option_state *state;
	const forward_input *input;
	forward_result *out;
	timeline_file *timeline;
	const char *backend;
	ufm_bank *bank;
	float *router; /* NULL: ids and gates are given */
	ufm_host *host;
	ufm_engine *engine;
	naive *naive;
	ufm_layer *layer;
} run;

/* ---- weights */

/* One that no option names stays what the checkpoint says. */
static void take_activation(run *r)
{
	ufm_activation found = r->out->bank.desc.activation;
	if (r->config->activation != FROM_CHECKPOINT)
		return;
	if (found == UFM_ACT_SILU)
		r->config->activation = ACTIVATION_SILU;
	else if (found == UFM_ACT_GELU)
		r->config->activation = ACTIVATION_GELU;
	forward_origin(r->state, "activation",
	               checkpoint_values(bank_checkpoint(r->bank)) ? "the GGUF file's architecture"
	                                                           : "config.json");
}

static ufm_status open_bank(run *r)
{
	static const ufm_activation activations[] = {0, UFM_ACT_GELU, UFM_ACT_SILU};
	forward_config *c = r->config;
	ufm_bank_checkpoint_config config;
	ufm_status status;
	UFM_STRUCT_INIT(&config);
	config.f16_as = OPTION_F16_AS(c->f16_as);
	config.activation = activations[c->activation];
	config.layer_begin = c->layer;
	config.layer_end = c->layer + 1;
	config.prefix = c->prefix;
	status = ufm_bank_checkpoint(c->weights, &config, &r->bank);
	/* The options are checked: all that can still be lacking is the activation. */
	if (status == UFM_EINVAL)
		return status_prefix(status, "--activation");
	if (status)
		return status;
	r->out->bank = *bank_get_shape(r->bank);
	if (!c->prefix) {
		c->prefix =
			tower_text(&bank_towers(r->bank)->items[0], r->out->prefix, sizeof r->out->prefix);
		forward_origin(r->state, "prefix", "most routed layers");
	}
	take_activation(r);
	return UFM_OK;
}

static ufm_status check_width(const run *r)
{
	uint32_t d_model = r->out->bank.desc.d_model;
	if (r->input->d_model == d_model)
		return UFM_OK;
	return status_fail(UFM_EFORMAT, "--input: %s: found f4 [%u, %u], expected f4 [T, %u]",
	                   r->config->input, r->input->tokens, r->input->d_model, d_model);
}

static void derive(run *r)
{
	forward_config *c = r->config;
	uint32_t tokens = r->input->tokens ? r->input->tokens : 1;
	limits here;
	if (c->max_tokens == 0) {
		c->max_tokens = tokens < MAX_TOKENS_AUTO ? tokens : MAX_TOKENS_AUTO;
		forward_origin(r->state, "max-tokens",
		               c->max_tokens == tokens ? "tokens of the input" : "at most that many");
	} else if (c->max_tokens > tokens) {
		/* A workspace larger than any call holds nothing more. */
		c->max_tokens = tokens;
		forward_origin(r->state, "max-tokens",
		               "tokens of the input, which are less than was asked for");
	}
	if (c->threads == 0) {
		limits_read(&here);
		c->threads = here.cores;
		forward_origin(r->state, "threads", "cores of this process");
	}
}

/* All that can be wrong with the request is found before a weight is read. */
static ufm_status open_request(run *r)
{
	const ufm_backend *backend;
	ufm_status status = mode_find_backend(r->config->backend, &backend);
	if (status)
		return status;
	r->backend = backend->name;
	snprintf(r->out->backend, sizeof r->out->backend, "%s", backend->name);
	status = open_bank(r);
	if (!status)
		status = check_width(r);
	if (!status)
		status = forward_rule(r->bank, r->input, r->config, r->state);
	if (!status && !r->input->ids)
		status = forward_router(r->bank, r->config->layer, &r->router);
	if (!status)
		derive(r);
	return status;
}

static ufm_status open_host(run *r)
{
	uint64_t begin_ns = clock_now_ns();
	ufm_host_config config;
	ufm_status status;
	filling bar;
	UFM_STRUCT_INIT(&config);
	config.backend = r->backend;
	mode_ask_host((placement_mode)r->config->mode, &config);
	snprintf(bar.what, sizeof bar.what, "reading layer %u", r->config->layer);
	filling_watch(&bar, &config);
	status = ufm_host_open(r->bank, &config, &r->host);
	r->out->load_ns = clock_now_ns() - begin_ns;
	return status;
}

/* ---- device */

static ufm_layer_config describe_layer(const run *r)
{
	ufm_layer_config layer;
	UFM_STRUCT_INIT(&layer);
	layer.top_k = r->config->top_k;
	layer.norm_topk = r->config->norm_topk;
	layer.router_weight = r->router;
	layer.scoring = r->config->scoring == SCORING_SIGMOID ? UFM_SCORE_SIGMOID : UFM_SCORE_SOFTMAX;
	return layer;
}

/* What auto has chosen changes with every call. */
static void note_cpu(run *r)
{
	ufm_engine_info info = {.struct_size = sizeof info};
	ufm_engine_get_info(r->engine, &info);
	snprintf(r->out->cpu_assist, sizeof r->out->cpu_assist, "%s", info.cpu_assist);
}

static ufm_status open_engine(run *r, const ufm_layer_config *layer)
{
	const forward_config *c = r->config;
	mode_budget budget = {c->vram_target_bytes, c->headroom_bytes};
	ufm_engine_config engine;
	ufm_status status;
	UFM_STRUCT_INIT(&engine);
	engine.vram_limit_bytes = c->vram_limit_bytes;
	engine.compute_threads = c->threads;
	engine.policy = c->policy;
	engine.math = mode_math(c->math);
	engine.max_tokens = c->max_tokens;
	engine.call_tokens_max = r->input->tokens > c->max_tokens ? r->input->tokens : c->max_tokens;
	engine.top_k_max = c->top_k;
	engine.arena_bytes = budget_layer_bytes(r->out->bank.desc.d_model, r->out->bank.experts,
	                                        layer->router_weight, layer->norm_weight);
	engine.timeline_events = r->timeline ? MODE_TIMELINE_EVENTS : 0;
	engine.routing_bytes =
		mode_record_bytes(c->record_trace, r->input->tokens ? r->input->tokens : 1, 1, c->top_k);
	mode_ask_engine((placement_mode)c->mode, &r->out->bank.desc, &budget, &engine);
	mode_ask_cpu((placement_mode)c->mode, c->cpu_assist, c->cpu_share, &engine);
	status = ufm_engine_open(r->host, &engine, &r->engine);
	if (status)
		return status;
	UFM_STRUCT_INIT(&r->out->engine);
	ufm_engine_get_info(r->engine, &r->out->engine);
	snprintf(r->out->device, sizeof r->out->device, "%s", r->out->engine.device);
	note_cpu(r);
	r->out->deterministic = mode_deterministic(&r->out->engine);
	r->out->opened = true;
	return UFM_OK;
}

static ufm_status open_layer(run *r)
{
	uint64_t begin_ns = clock_now_ns();
	ufm_layer_config layer = describe_layer(r);
	ufm_status status;
	message_progress("placing layer %u", r->config->layer);
	status = open_engine(r, &layer);
	if (!status)
		status = mode_place((placement_mode)r->config->mode, r->engine, &r->naive);
	if (!status)
		status = ufm_layer_open(r->engine, &layer, &r->layer);
	if (!status && r->naive)
		layer_set_source(r->layer, naive_source(r->naive));
	r->out->place_ns = clock_now_ns() - begin_ns;
	return status;
}

/* ---- the call */

static void note_memory(run *r)
{
	ufm_engine_memory memory = {.struct_size = sizeof memory};
	ufm_engine_get_memory(r->engine, &memory);
	if (memory.live_bytes > r->out->peak_bytes)
		r->out->peak_bytes = memory.live_bytes;
	if (memory.held_bytes > r->out->peak_bytes)
		r->out->peak_bytes = memory.held_bytes;
}

static ufm_status compute(run *r, float *y)
{
	const ufm_tokens from = {.struct_size = sizeof from,
	                         .host = (void *)(uintptr_t)r->input->x.data}; /* is only read */
	ufm_tokens to = {.struct_size = sizeof to};
	ufm_moe_call call;
	ufm_ticket ticket;
	ufm_status status;
	UFM_STRUCT_INIT(&call);
	call.tokens = r->input->tokens;
	to.host = y;
	call.x = &from;
	call.y = &to;
	call.ids = r->input->ids;
	call.gates = forward_input_gates(r->input);
	status = ufm_moe_forward(r->layer, &call, &ticket);
	return status ? status : ufm_ticket_wait(r->engine, ticket, UFM_WAIT_FOREVER);
}

static ufm_status measure(run *r, float *y)
{
	uint64_t before[COUNTER_COUNT], begin_ns;
	ufm_status status;
	message_progress("computing layer %u", r->config->layer);
	note_memory(r);
	ufm_engine_get_counters(r->engine, before, COUNTER_COUNT);
	begin_ns = clock_now_ns();
	status = compute(r, y);
	r->out->forward_ns = clock_now_ns() - begin_ns;
	note_memory(r);
	ufm_engine_get_counters(r->engine, r->out->counters, COUNTER_COUNT);
	for (uint32_t i = 0; i < COUNTER_COUNT; i++)
		r->out->counters[i] -= before[i];
	note_cpu(r);
	return status;
}

/* ---- all of it */

static void close_all(run *r)
{
	ufm_layer_close(r->layer);
	naive_close(r->naive);
	ufm_engine_close(r->engine);
	ufm_host_close(r->host);
	ufm_bank_close(r->bank);
	alloc_free(r->router);
}

static void fail(run *r, ufm_status cause)
{
	mode_failure failure;
	mode_explain((placement_mode)r->config->mode, cause, &failure);
	r->out->out_of_memory = failure.out_of_memory;
	r->out->exit_code = failure.exit_code;
	snprintf(r->out->error, sizeof r->out->error, "%s", failure.error);
}

static void check_figures(run *r)
{
	mode_figures figures = {.counters = r->out->counters,
	                        .engine = &r->out->engine,
	                        .expert_bytes = r->out->bank.desc.expert_bytes,
	                        .peak_bytes = r->out->peak_bytes};
	if (!mode_adds_up((placement_mode)r->config->mode, &figures, r->out->error))
		r->out->exit_code = CLI_FAILED;
}

static bool stopped(run *r)
{
	if (!interrupt_seen())
		return false;
	r->out->exit_code = CLI_INTERRUPTED;
	return true;
}

/* While the engine is open. */
static void write_files(run *r)
{
	ufm_status status = mode_timeline_add(r->timeline, r->engine, "forward");
	ufm_status closed = mode_timeline_close(r->timeline);
	if (!status)
		status = closed;
	if (!status)
		status = mode_record_write(r->config->record_trace, r->engine, 1);
	if (!status || r->out->exit_code)
		return;
	fail(r, status);
	r->out->exit_code = CLI_FAILED;
}

void forward_run(forward_config *config, option_state *state, const forward_input *input, float *y,
                 forward_result *out)
{
	run r = {.config = config, .state = state, .input = input, .out = out};
	ufm_status status;
	memset(out, 0, sizeof *out);
	if (mode_record_check(config->record_trace) != UFM_OK ||
	    mode_timeline_open(config->timeline, &r.timeline) != UFM_OK) {
		fail(&r, UFM_EFILE);
		out->exit_code = CLI_FAILED;
		return;
	}
	status = open_request(&r);
	if (!status)
		status = open_host(&r);
	if (!status && !stopped(&r))
		status = open_layer(&r);
	if (!status && r.layer && !stopped(&r))
		status = measure(&r, y);
	if (status && status != UFM_ECANCELED)
		fail(&r, status);
	else if (!stopped(&r))
		check_figures(&r);
	write_files(&r);
	close_all(&r);
	message_progress_clear();
}
