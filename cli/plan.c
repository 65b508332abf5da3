/* SPDX-License-Identifier: MIT */
/* ufm plan: what a model gives within a budget, before it is run. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/size.h"
#include "base/status.h"
#include "cli/command.h"
#include "cli/exit.h"
#include "cli/interrupt.h"
#include "cli/message.h"
#include "cli/plan/against.h"
#include "cli/plan/cards.h"
#include "cli/plan/config.h"
#include "cli/plan/report.h"
#include "cli/plan/routing.h"
#include "cli/plot/gnuplot.h"
#include "cli/rows.h"
#include "policy/registry.h"

typedef struct plan {
	plan_config config;
	option_state state;
	plan_shape shape;
	plan_machine machine;
	division division;
	trace decode_routing, prefill_routing;
	budget_list budgets;
	plan_ladder *ladder;
	uint64_t host_bytes;
	bool writing; /* into --out, under interrupt_guard */
} plan;

/* ------------------------------------------------------------------ the model */

static bool said(const plan *p, const char *option)
{
	return option_is_by_hand(&plan_options, &p->state, option);
}

/* A preset, a path, or a shape: one of them. */
static ufm_status find_shape(plan *p)
{
	static const char *const needed[] = {"layers", "experts", "top-k", "d-model", "d-hidden"};
	const plan_config *c = &p->config;
	const preset *known = preset_at(c->preset);
	uint32_t parts = 0;
	const char *missing = NULL;
	for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
		parts += said(p, needed[i]);
		missing = missing || said(p, needed[i]) ? missing : needed[i];
	}
	if ((known != NULL) + (c->model != NULL) + (parts > 0) != 1)
		return status_fail(
			UFM_EINVAL,
			"found %s model, expected one of --preset NAME, --model DIR, or a shape by "
			"--layers, --experts, --top-k, --d-model and --d-hidden",
			known || c->model || parts ? "more than one" : "no");
	if (known)
		return shape_of_preset(known, &p->shape);
	if (c->model)
		return shape_of_path(c->model, &p->shape);
	if (missing)
		return status_fail(UFM_EINVAL,
		                   "--%s: not given, expected with the other numbers of a shape", missing);
	static const ufm_expert_kind kinds[] = {UFM_EXPERT_MLP, UFM_EXPERT_MLP_BIAS, UFM_EXPERT_GATED};
	const shape_given given = {.layers = c->layers,
	                           .experts = c->experts,
	                           .top_k = c->top_k,
	                           .d_model = c->d_model,
	                           .d_hidden = c->d_hidden,
	                           .kind = kinds[c->kind],
	                           .dtype = c->dtype ? UFM_BF16 : UFM_F32};
	return shape_of_given(&given, &p->shape);
}

/* ------------------------------------------------------------------ the machine */

static double or_of_card(double given, const card *c, double (*rate)(const card *))
{
	return given > 0 || !c ? given : rate(c);
}

static ufm_status find_machine(plan *p)
{
	const plan_config *c = &p->config;
	const card *known = card_at(c->card);
	const machine_given given = {.card = known,
	                             .link_gbps = or_of_card(c->link_gbps, known, card_link_gbps),
	                             .dram_gbps = c->dram_gbps,
	                             .hbm_gbps = or_of_card(c->hbm_gbps, known, card_memory_gbps),
	                             .disk_gbps = c->disk_gbps,
	                             .gflops = c->gflops,
	                             .ram_bytes = c->ram_bytes,
	                             .cores = c->cores,
	                             .backend = c->backend};
	if (c->machine)
		return machine_of_file(c->machine, &given, &p->machine);
	if (machine_is_given(&given))
		return machine_of_given(&given, &p->machine);
	return machine_probe(&p->shape.bank.desc, p->shape.top_k, &given, &p->machine);
}

/* ------------------------------------------------------------------ what cannot be */

/* Made routing scores every expert for every token, once; its choices are walked for every budget. So many of either
 * are a few minutes. */
#define SCORES_MAX ((uint64_t)1 << 32)
#define CHOICES_MAX ((uint64_t)1 << 28)

static uint64_t routed_max(const plan *p)
{
	const ufm_bank_info *bank = &p->shape.bank;
	uint64_t walked = CHOICES_MAX / ((uint64_t)bank->layers * p->shape.top_k);
	uint64_t scored = SCORES_MAX / ((uint64_t)bank->layers * bank->experts);
	return strncmp(p->config.workload, "sticky", 6) == 0 && scored < walked ? scored : walked;
}

static ufm_status check_routed(const plan *p)
{
	const plan_config *c = &p->config;
	uint32_t tokens = c->batch * c->prompt;
	uint64_t routed =
		(uint64_t)c->batch * point_decode_steps() + (uint64_t)tokens * point_prefill_steps(tokens);
	if (routed <= routed_max(p))
		return UFM_OK;
	return status_fail(
		UFM_EINVAL,
		"--batch and --prompt: found %u and %u, which route %" PRIu64
		" tokens through %u layers of %u experts, expected at most %" PRIu64 " tokens there",
		c->batch, c->prompt, routed, p->shape.bank.layers, p->shape.bank.experts, routed_max(p));
}

static ufm_status check(const plan *p)
{
	const plan_config *c = &p->config;
	uint64_t tokens = (uint64_t)c->batch * c->prompt;
	if (tokens * p->shape.top_k > 1u << 30 || tokens > 1u << 20)
		return status_fail(UFM_EINVAL, "--batch x --prompt: found %llu tokens, expected at most %u",
		                   (unsigned long long)tokens, 1u << 20);
	if ((c->prefetch_recall > 0) != (c->prefetch_guesses > 0))
		return status_fail(UFM_EINVAL,
		                   "--prefetch-recall and --prefetch-guesses: found one, expected both or "
		                   "neither");
	return check_routed(p);
}

/* 0, or how the command ends: no tier below host memory could hold the rest. What this machine lacks another one may
 * have that is planned for here. */
static int check_ram(const plan *p)
{
	char need[32], have[32], bank[32];
	if (!p->machine.ram_bytes || p->host_bytes <= p->machine.ram_bytes)
		return CLI_OK;
	message_error(
		"plan",
		"%s%s: %s of experts need %s of page-locked host memory, found %s%s: the engine has no "
		"disk "
		"tier yet; "
		"what would run: a machine with more memory, a smaller model, or narrower weights",
		p->machine.ram_given ? "" : "warning: ", p->shape.name,
		size_format(p->shape.bank.bank_bytes, bank, sizeof bank),
		size_format(p->host_bytes, need, sizeof need),
		size_format(p->machine.ram_bytes, have, sizeof have),
		p->machine.ram_given ? " (--ram)" : " that may be locked here (80 % of what is free)");
	return p->machine.ram_given ? CLI_USAGE : CLI_OK;
}

/* Every budget is too small: the reason of the largest. */
static int check_any(const plan *p)
{
	const plan_point *most = &p->ladder->points[0];
	for (uint32_t i = 0; i < p->ladder->count; i++) {
		const plan_point *point = &p->ladder->points[i];
		if (!point->refused)
			return CLI_OK;
		most = point->target_bytes > most->target_bytes ? point : most;
	}
	message_error("plan", "--vram-target: %s", most->why);
	return CLI_USAGE;
}

/* ------------------------------------------------------------------ the plan */

static ufm_status open_routing(const plan *p, uint32_t tokens, uint32_t steps, bool side_by_side,
                               trace *out)
{
	plan_routing_config config = {.spec = p->config.workload,
	                              .seed = p->config.seed,
	                              .step_tokens = tokens,
	                              .steps = steps,
	                              .side_by_side = side_by_side,
	                              .shape = &p->shape};
	return plan_routing_open(&config, out);
}

/* Made prompts and answers are of different tokens; recorded ones are what there is. */
static ufm_status open_routings(plan *p)
{
	const plan_config *c = &p->config;
	uint32_t tokens = c->batch * c->prompt;
	ufm_status status = open_routing(p, c->batch, point_decode_steps(), true, &p->decode_routing);
	if (!status)
		status = open_routing(p, tokens, point_prefill_steps(tokens), false, &p->prefill_routing);
	return status;
}

static void open_division(plan *p)
{
	const plan_config *c = &p->config;
	const division_config config = {.shape = &p->shape,
	                                .granularity_bytes = p->machine.granularity_bytes,
	                                .headroom_bytes = c->headroom_bytes,
	                                .tokens = c->batch * c->prompt,
	                                .max_tokens = c->max_tokens,
	                                .ring = c->ring,
	                                .given = c->routing != 0};
	division_open(&config, &p->division);
	p->host_bytes = division_host_bytes(&p->division);
	const card *known = card_at(c->card);
	budgets_of(c->vram_target, &p->division, known ? (uint64_t)known->memory_gib << 30 : 0,
	           &p->budgets);
}

static ufm_status open_ladder(plan *p)
{
	const plan_config *c = &p->config;
	const point_config config = {.shape = &p->shape,
	                             .machine = &p->machine,
	                             .decode_routing = &p->decode_routing,
	                             .prefill_routing = &p->prefill_routing,
	                             .policy = policy_find(c->policy),
	                             .division = &p->division,
	                             .batch = c->batch,
	                             .prompt = c->prompt,
	                             .given = c->routing != 0};
	p->ladder = alloc_zeroed(1, sizeof *p->ladder);
	return p->ladder ? ladder_open(&config, &p->budgets, p->ladder) : UFM_ENOMEM;
}

static int make_plan(plan *p)
{
	ufm_status status = find_shape(p);
	if (!status)
		status = check(p);
	if (!status)
		status = find_machine(p);
	if (status)
		return message_status("plan", status);
	open_division(p);
	int exit_code = check_ram(p);
	if (exit_code)
		return exit_code;
	status = open_routings(p);
	if (!status)
		status = open_ladder(p);
	return status ? message_status("plan", status) : check_any(p);
}

/* ------------------------------------------------------------------ output */

static int lost(void)
{
	message_error("plan", "%s", ufm_last_error());
	return CLI_FAILED;
}

static ufm_status write_lines(const char *folder, json_t *rows)
{
	gnuplot_file o;
	ufm_status status = gnuplot_open(&o, folder, "plan", "jsonl");
	if (status)
		return status;
	rows_write(o.file, ROWS_JSONL, rows);
	return gnuplot_close(&o);
}

static ufm_status write_text(const char *folder, const plan_report *r)
{
	gnuplot_file o;
	ufm_status status = gnuplot_open(&o, folder, "plan", "md");
	if (status)
		return status;
	sheet to = sheet_open(o.file, true);
	report_plan(&to, r);
	return gnuplot_close(&o);
}

/* With the guard. */
static void say_interrupted(void *ctx)
{
	const plan *p = ctx;
	if (p->writing)
		interrupt_say("interrupted; files in %s may be missing or of an earlier plan",
		              p->config.out);
	else
		interrupt_say("interrupted; nothing is written");
}

/* Without gnuplot everything else is written. */
static int write_folder(const plan_report *r, json_t *rows)
{
	const char *folder = r->config->out;
	if (mkdir(folder, 0777) != 0 && errno != EEXIST) {
		message_error("plan", "%s: cannot make this folder: %s", folder, strerror(errno));
		return CLI_FAILED;
	}
	ufm_status status = write_lines(folder, rows);
	if (!status)
		status = write_text(folder, r);
	if (status)
		return lost();
	if (r->config->no_figures)
		return CLI_OK;
	status = report_figure(r, folder);
	if (status == UFM_ECANCELED)
		return interrupt_end();
	if (status == UFM_EUNSUPPORTED)
		message_note("plan", "no figure: %s", ufm_last_error());
	return status && status != UFM_EUNSUPPORTED ? lost() : CLI_OK;
}

static int report(plan *p)
{
	plan_report r = {.config = &p->config,
	                 .shape = &p->shape,
	                 .machine = &p->machine,
	                 .division = &p->division,
	                 .ladder = p->ladder,
	                 .policy = policy_find(p->config.policy)->name,
	                 .host_bytes = p->host_bytes};
	const plan_routing_config routing = {.spec = p->config.workload, .shape = &p->shape};
	plan_routing_words(&routing, r.workload, sizeof r.workload);
	if (p->decode_routing.tokens < (uint64_t)p->config.batch * point_decode_steps())
		strncat(r.workload, ", which is short and read more than once",
		        sizeof r.workload - strlen(r.workload) - 1);
	json_t *rows = report_rows(&r);
	sheet to = sheet_open(stdout, p->config.wide);
	if (p->config.format == ROWS_MD)
		report_plan(&to, &r);
	else
		rows_write(stdout, (rows_format)p->config.format, rows);
	command_printed();
	interrupt_guard();
	p->writing = p->config.out != NULL;
	interrupt_unguard();
	int exit_code = p->config.out ? write_folder(&r, rows) : CLI_OK;
	json_decref(rows);
	return exit_code;
}

static void close_plan(plan *p)
{
	trace_close(&p->decode_routing);
	trace_close(&p->prefill_routing);
	alloc_free(p->ladder);
}

/* ------------------------------------------------------------------ the command */

static int run(plan *p)
{
	if (!p->config.against && p->state.operand_count) {
		message_error("plan", "found '%.60s', expected FILE only with --against", p->state.operand);
		return CLI_USAGE;
	}
	if (p->config.against && !p->state.operand_count) {
		message_error("plan", "--against: found no FILE, expected rows of ufm bench");
		return CLI_USAGE;
	}
	if (p->config.against)
		return against_run(&p->config, p->state.operands, p->state.operand_count);
	int exit_code = make_plan(p);
	return exit_code ? exit_code : report(p);
}

static int plan_run(int argc, char *argv[])
{
	plan p = {.ladder = NULL};
	int exit_code;
	if (!command_read(&plan_options, argc, argv, SIZE_MAX, &p.config, &p.state, &exit_code))
		return exit_code;
	message_log(p.config.verbose || isatty(STDERR_FILENO) == 1);
	interrupt_set_keep(say_interrupted, &p);
	exit_code = run(&p);
	interrupt_set_keep(NULL, NULL);
	close_plan(&p);
	return command_finish(&plan_options, exit_code);
}

const command plan_command = {.options = &plan_options, .run = plan_run};
