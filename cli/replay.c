/* SPDX-License-Identifier: MIT */
/* ufm replay: what policies would hit on recorded routing. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"
#include "cli/command.h"
#include "cli/exit.h"
#include "cli/interrupt.h"
#include "cli/json_memory.h"
#include "cli/message.h"
#include "cli/nearest.h"
#include "cli/plot.h"
#include "cli/plot/gnuplot.h"
#include "cli/presets.h"
#include "cli/replay/config.h"
#include "cli/replay/report.h"
#include "cli/replay/run.h"
#include "cli/rows.h"
#include "cli/same_file.h"
#include "trace/sticky.h"

static ufm_status use_preset(replay_options *o)
{
	const preset *p = preset_at(o->preset);
	bank_shape bank;
	if (!p)
		return UFM_OK;
	ufm_status status = preset_bank(p, &bank);
	if (!status && o->expert_bytes == 0)
		o->expert_bytes = bank.desc.block_bytes;
	if (o->experts == 0)
		o->experts = p->experts;
	return status;
}

static ufm_status check_options(const replay_options *o, const option_state *state)
{
	if (state->operand_count == 0)
		return status_fail(UFM_EINVAL,
		                   "found no TRACE, expected at least one: a .npy of expert ids "
		                   "[token, layer, rank], or a .jsonl");
	if (o->cold && !(o->batches.count == 1 && o->batches.items[0] == 1))
		return status_fail(UFM_EINVAL,
		                   "--cold: found it beside --batch, expected a batch of 1: with "
		                   "more no sequence begins alone");
	if (o->admission && o->ring == 0)
		return status_fail(UFM_EINVAL,
		                   "--admission: found %.60s without --ring, expected both: only with a "
		                   "ring it replays as an engine does",
		                   o->admission);
	if (o->read_gbps > 0 && o->expert_bytes == 0)
		return status_fail(UFM_EINVAL,
		                   "--read-gbps: found %g without the size of an expert, expected "
		                   "--expert-bytes or --preset beside it",
		                   o->read_gbps);
	return UFM_OK;
}

/* A synthetic router's, with its own shape and length. */
static ufm_status make_trace(const replay_options *o, const char *name, trace *out)
{
	sticky_config config;
	if (!sticky_preset(name, &config))
		return status_fail(UFM_EINVAL,
		                   "TRACE: found 'sticky:%.60s', expected sticky:PRESET of %s%s", name,
		                   STICKY_PRESETS, nearest_name(name, STICKY_PRESETS).text);
	config.seed = o->seed;
	return trace_sticky(&config, out);
}

static ufm_status open_trace(const replay_options *o, const char *path, trace *out)
{
	trace_source source = {.path = path, .sequences_path = o->sequences, .experts = o->experts};
	bool made = strncmp(path, "sticky:", 7) == 0;
	message_progress("%s %s", made ? "making" : "reading", path);
	ufm_status status = made ? make_trace(o, path + 7, out) : trace_read(&source, out);
	message_progress_clear();
	return status;
}

static ufm_status run_trace(const replay_options *o, const char *path, json_t *rows)
{
	trace t;
	ufm_status status = open_trace(o, path, &t);
	if (status)
		return status;
	status =
		o->predict.count ? replay_predictions(o, path, &t, rows) : replay_rows(o, path, &t, rows);
	trace_close(&t);
	return status;
}

/* ---- the results folder */

static ufm_status cannot(const char *path)
{
	return status_fail(UFM_EFILE, "--out: cannot write %s: %s", path, strerror(errno));
}

static ufm_status write_rows(const char *folder, const json_t *rows)
{
	gnuplot_file o;
	if (mkdir(folder, 0777) != 0 && errno != EEXIST)
		return cannot(folder);
	ufm_status status = gnuplot_open(&o, folder, "replay", "jsonl");
	if (status)
		return status_prefix(status, "--out");
	rows_write(o.file, ROWS_JSONL, rows);
	status = gnuplot_close(&o);
	return status ? status_prefix(status, "--out") : UFM_OK;
}

/* The rows are what counts: without gnuplot the command has done its work. */
static int keep_rows(const replay_options *o, const json_t *rows)
{
	bool drawing;
	interrupt_guard();
	ufm_status status = write_rows(o->out, rows);
	interrupt_unguard();
	if (!status && !o->no_figures && !o->predict.count)
		status = plot_folder(o->out, &drawing);
	if (status == UFM_EUNSUPPORTED)
		message_note("replay", "no figure: %s", ufm_last_error());
	else if (status == UFM_ECANCELED)
		return interrupt_end();
	else if (status) {
		message_status("replay", status);
		return CLI_FAILED;
	}
	return CLI_OK;
}

/* ---- a signal */

typedef struct so_far {
	const replay_options *options;
	json_t *rows; /* grows with interrupt_guard */
} so_far;

static void print_rows(const replay_options *o, json_t *rows)
{
	if (json_memory_check())
		return;
	sheet to = sheet_open(stdout, o->wide);
	if (o->format == ROWS_MD)
		replay_markdown(&to, o, rows);
	else
		rows_write(stdout, (rows_format)o->format, rows);
}

/* With the guard. Rows are whole: a capacity that is not through has none. */
static void keep_so_far(void *ctx)
{
	const so_far *s = ctx;
	const char *folder = s->options->out;
	size_t count = json_array_size(s->rows);
	if (count && folder && write_rows(folder, s->rows) != UFM_OK)
		message_error("replay", "%s", ufm_last_error());
	else
		interrupt_say("interrupted; %zu rows are kept%s%s%s", count, count && folder ? " in " : "",
		              count && folder ? folder : "", count && folder ? "/replay.jsonl" : "");
	if (count == 0 || ftrylockfile(stdout) != 0)
		return;
	print_rows(s->options, s->rows);
	fflush(stdout);
	funlockfile(stdout);
}

/* Before anything is read: what is read is not written over. */
static ufm_status check_files(const replay_options *o, const option_state *state)
{
	char path[4096];
	const named_file output = {"--out", path};
	const named_file others[] = {{"--sequences", o->sequences}, {"--cost", o->cost}};
	ufm_status status = UFM_OK;
	if (!o->out)
		return UFM_OK;
	snprintf(path, sizeof path, "%.3900s/replay.jsonl", o->out);
	for (size_t i = 0; i < sizeof others / sizeof others[0] && !status; i++)
		status = check_other_file(&output, &others[i]);
	for (uint32_t i = 0; i < state->operand_count && !status; i++)
		status = check_other_file(&output, &(named_file){"TRACE", state->operands[i]});
	return status;
}

static int replay_run_command(int argc, char *argv[])
{
	replay_options o = {0};
	option_state state;
	int exit_code;
	if (!command_read(&replay_options_table, argc, argv, SIZE_MAX, &o, &state, &exit_code))
		return exit_code;
	message_log(isatty(STDERR_FILENO) == 1);
	ufm_status status = use_preset(&o);
	if (!status)
		status = check_options(&o, &state);
	if (!status)
		status = check_files(&o, &state);
	json_t *rows = json_array();
	so_far kept = {.options = &o, .rows = rows};
	interrupt_set_keep(keep_so_far, &kept);
	for (uint32_t i = 0; i < state.operand_count && !status; i++)
		status = run_trace(&o, state.operands[i], rows);
	exit_code = status ? message_status("replay", status) : CLI_OK;
	interrupt_set_keep(NULL, NULL);
	if (!status)
		print_rows(&o, rows);
	command_printed();
	if (!status && o.out)
		exit_code = keep_rows(&o, rows);
	json_decref(rows);
	return command_finish(&replay_options_table, exit_code);
}

const command replay_command = {.options = &replay_options_table, .run = replay_run_command};
