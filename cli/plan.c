/* SPDX-License-Identifier: MIT */
/* ufm plan: what a model gives within a budget, before it is run. */
#include <errno.h>
#include <stdio.h>
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
#include "cli/plan/budgets.h"
#include "cli/plan/cards.h"
#include "cli/plan/config.h"
#include "cli/plan/report.h"
#include "cli/plot/gnuplot.h"
#include "cli/presets.h"
#include "cli/rows.h"
#include "cli/weights.h"
#include "plan/routing.h"
#include "policy/registry.h"

typedef struct plan {
	plan_config config;
	option_state state;
	plan_shape shape;
	told_machine machine;
	planner planner;
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

static ufm_status shape_of_preset(const preset *known, plan_shape *out)
{
	plan_shape s = {.top_k = known->top_k};
	ufm_status status = preset_bank(known, &s.bank);
	if (status)
		return status;
	snprintf(s.name, sizeof s.name, "%s", known->name);
	if (known->left_out)
		shape_note(&s, "Left out of the shape: %s.", known->left_out);
	*out = s;
	return UFM_OK;
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
	if (c->prefix && !c->model)
		return status_fail(UFM_EINVAL, "--prefix: found without --model, expected both or neither");
	if (known)
		return shape_of_preset(known, &p->shape);
	if (c->model)
		return shape_of_path(c->model, c->prefix, &p->shape);
	if (missing)
		return status_fail(UFM_EINVAL,
		                   "--%s: not given, expected with the other numbers of a shape", missing);
	if (c->top_k > c->experts)
		return status_fail(UFM_EINVAL,
		                   "--top-k: found %u, expected at most %u, the number of --experts",
		                   c->top_k, c->experts);
	static const ufm_expert_kind kinds[] = {UFM_EXPERT_MLP, UFM_EXPERT_MLP_BIAS, UFM_EXPERT_GATED};
	const shape_given given = {.layers = c->layers,
	                           .experts = c->experts,
	                           .top_k = c->top_k,
	                           .d_model = c->d_model,
	                           .d_hidden = c->d_hidden,
	                           .kind = kinds[c->kind],
	                           .dtype = UFM_BF16};
	return shape_of_given(&given, &p->shape);
}

/* What is not downloaded yet may be published in another type. */
static ufm_status store_as(plan *p)
{
	ufm_expert_desc desc = {.struct_size = sizeof desc};
	const ufm_expert_desc *was = &p->shape.bank.desc;
	if (!said(p, "dtype"))
		return UFM_OK;
	ufm_status status =
		weights_desc(p->config.dtype, weights_kind(was), was->d_model, was->d_hidden, &desc);
	if (!status)
		status = shape_describe(&p->shape, &desc);
	if (status)
		return status_prefix(status, "--dtype %s", weights_word(p->config.dtype));
	shape_note(&p->shape, "Its experts count as %s.", weights_word(p->config.dtype));
	return UFM_OK;
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
	return machine_of_here(&p->shape.bank.desc, p->shape.top_k, &given, &p->machine);
}

/* Until the plugin's kernels read formats: what is planned for a GPU could not be run there. */
static void note_formats(plan *p)
{
	const char *backend = p->machine.plan.backend;
	const ufm_part *up = ufm_expert_part(&p->shape.bank.desc, UFM_ROLE_UP);
	bool plain = !up->format && up->dtype != UFM_F16;
	if (!plain && (!backend || strcmp(backend, "cpu") != 0))
		shape_note(&p->shape, "The cuda plugin does not read them yet: it reads f32 and bf16.");
}

/* ------------------------------------------------------------------ what cannot be */

static planner_config planner_of(const plan *p)
{
	const plan_config *c = &p->config;
	return (planner_config){.shape = &p->shape,
	                        .machine = &p->machine.plan,
	                        .workload = c->workload,
	                        .seed = c->seed,
	                        .policy = policy_find(c->policy),
	                        .headroom_bytes = c->headroom_bytes,
	                        .batch = c->batch,
	                        .prompt = c->prompt,
	                        .ring = c->ring,
	                        .max_tokens = c->max_tokens,
	                        .given = c->routing != 0};
}

static ufm_status check(const plan *p)
{
	const plan_config *c = &p->config;
	const planner_config planned = planner_of(p);
	if ((c->prefetch_recall > 0) != (c->prefetch_guesses > 0))
		return status_fail(UFM_EINVAL,
		                   "--prefetch-recall and --prefetch-guesses: found one, expected both or "
		                   "neither");
	return planner_check(&planned, "--");
}

/* 0, or how the command ends: no tier below host memory could hold the rest. What this machine lacks another one may
 * have that is planned for here. */
static int check_ram(const plan *p)
{
	char need[32], have[32], bank[32];
	if (!p->machine.ram_bytes || p->host_bytes <= p->machine.ram_bytes)
		return CLI_OK;
	size_format_apart(p->host_bytes, p->machine.ram_bytes, need, have);
	message_error(
		"plan",
		"%s%s: %s of experts need %s of page-locked host memory, found %s%s: the engine has no "
		"disk "
		"tier yet; "
		"what would run: a machine with more memory, a smaller model, or narrower weights",
		p->machine.ram_given ? "" : "warning: ", p->shape.name,
		size_format(p->shape.bank.bank_bytes, bank, sizeof bank), need, have,
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

static void divide(plan *p)
{
	const planner_config planned = planner_of(p);
	const card *known = card_at(p->config.card);
	planner_begin(&planned, &p->planner);
	p->host_bytes = division_host_bytes(&p->planner.division);
	budgets_of(p->config.vram_target, &p->planner.division,
	           known ? (uint64_t)known->memory_gib << 30 : 0, &p->budgets);
}

static ufm_status route(plan *p)
{
	const planner_config planned = planner_of(p);
	ufm_status status = planner_route(&planned, &p->planner);
	return status == UFM_EINVAL ? status_prefix(status, "--workload") : status;
}

static void show(void *ctx, uint32_t done, uint32_t total)
{
	(void)ctx;
	if (done < total)
		message_progress("budget %u of %u", done + 1, total);
	else
		message_progress("searching what binds next");
}

static ufm_status open_ladder(plan *p)
{
	const ladder_watch watch = {.progress = show, .stop = interrupt_stop};
	p->ladder = alloc_zeroed(1, sizeof *p->ladder);
	if (!p->ladder)
		return UFM_ENOMEM;
	ufm_status status = ladder_open(&p->planner.point, &p->budgets, &watch, p->ladder);
	message_progress_clear();
	return status;
}

static int make_plan(plan *p)
{
	ufm_status status = find_shape(p);
	if (!status)
		status = store_as(p);
	if (!status)
		status = check(p);
	if (!status)
		status = find_machine(p);
	if (status)
		return message_status("plan", status);
	note_formats(p);
	divide(p);
	int exit_code = check_ram(p);
	if (exit_code)
		return exit_code;
	status = route(p);
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
	                 .planner = &p->planner,
	                 .ladder = p->ladder,
	                 .policy = policy_find(p->config.policy)->name,
	                 .host_bytes = p->host_bytes,
	                 .budget_shift = report_budget_shift(p->ladder)};
	const plan_routing_config routing = {.spec = p->config.workload, .shape = &p->shape};
	plan_routing_words(&routing, r.workload, sizeof r.workload);
	if (p->planner.repeats)
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
	planner_close(&p->planner);
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
