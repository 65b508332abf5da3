/* SPDX-License-Identifier: MIT */
/* ufm forward: one routed layer of a checkpoint, from file to file. */
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/status.h"
#include "cli/command.h"
#include "cli/exit.h"
#include "cli/forward/output.h"
#include "cli/forward/report.h"
#include "cli/interrupt.h"
#include "cli/json_memory.h"
#include "cli/json_print.h"
#include "cli/message.h"

typedef struct task {
	forward_config config;
	option_state state;
	forward_output output;
	forward_input input;
	forward_result result;
	float *y;     /* [tokens, d_model] */
	bool written; /* under interrupt_guard */
} task;

/* Where the result should be. */
static const char *what_is_left(const task *t)
{
	return t->output.replaces ? "not written and as it was" : "not written";
}

/* With the guard. */
static void say_interrupted(void *ctx)
{
	const task *t = ctx;
	interrupt_say("interrupted; %s is %s", t->config.output,
	              t->written ? "written" : what_is_left(t));
}

/* CLI_OK, or why the run cannot begin. */
static int open_task(task *t)
{
	ufm_status status = forward_config_check(&t->config, &t->state);
	size_t count;
	if (!status)
		status = forward_input_open(&t->config, &t->input);
	if (status)
		return message_status("forward", status);
	if (forward_output_open(t->config.output, &t->output) != UFM_OK) {
		message_status("forward", UFM_EFILE);
		return CLI_FAILED;
	}
	interrupt_set_keep(say_interrupted, t);
	count = (size_t)t->input.tokens * t->input.d_model;
	t->y = alloc_zeroed(count ? count : 1, sizeof *t->y);
	return t->y ? CLI_OK : message_status("forward", UFM_ENOMEM);
}

static void close_task(task *t)
{
	alloc_free(t->y);
	forward_input_close(&t->input);
}

static void report(const task *t)
{
	json_t *run = forward_json(&t->config, &t->state, &t->input, &t->result);
	if (t->config.format == FORWARD_JSON) {
		(void)json_print(stdout, run, JSON_PRINT_PAGE);
	} else if (!json_memory_check()) {
		sheet to = sheet_open(stdout, t->config.wide);
		forward_markdown(&to, run);
	}
	json_decref(run);
}

/* A signal finds the file written, or as it was. */
static ufm_status write_output(task *t)
{
	ufm_status status = forward_output_write(&t->output, t->input.tokens, t->input.d_model, t->y);
	if (status)
		return status;
	interrupt_guard();
	status = forward_output_commit(&t->output);
	t->written = !status;
	interrupt_unguard();
	return status;
}

/* A baseline out of memory has its report, as in ufm bench; but whoever waits for the file must
 * hear that there is none. */
static int finish_without_memory(const task *t)
{
	message_error("forward", "%s is %s: the baseline does not fit: %s", t->config.output,
	              what_is_left(t), t->result.error);
	report(t);
	return exit_of(UFM_EDEVMEM);
}

static int finish(task *t)
{
	const forward_result *r = &t->result;
	if (r->exit_code == CLI_INTERRUPTED)
		return interrupt_end();
	if (r->exit_code) {
		message_error("forward", "%s", r->error);
		return r->exit_code;
	}
	if (r->out_of_memory)
		return finish_without_memory(t);
	if (write_output(t) != UFM_OK) {
		message_status("forward", UFM_EFILE);
		return CLI_FAILED;
	}
	report(t);
	return CLI_OK;
}

static int forward_run_command(int argc, char *argv[])
{
	task t = {.y = NULL};
	int exit_code;
	if (!command_read(&forward_options, argc, argv, SIZE_MAX, &t.config, &t.state, &exit_code))
		return exit_code;
	message_log(t.config.verbose || isatty(STDERR_FILENO) == 1);
	exit_code = open_task(&t);
	if (exit_code == CLI_OK) {
		forward_run(&t.config, &t.state, &t.input, t.y, &t.result);
		exit_code = finish(&t);
	}
	interrupt_set_keep(NULL, NULL);
	close_task(&t);
	return command_finish(&forward_options, exit_code);
}

const command forward_command = {.options = &forward_options, .run = forward_run_command};
