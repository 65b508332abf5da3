/* SPDX-License-Identifier: MIT */
/* The result of one run, and its JSON. */
#ifndef CLI_BENCH_ROW_H
#define CLI_BENCH_ROW_H

#include <jansson.h>

#include "cli/bench/config.h"
#include "cli/bench/floor.h"
#include "cli/bench/workload.h"
#include "cli/row_fields.h"
#include "probe/peak.h"
#include "probe/probe.h"
#include "schedule/admit.h"
#include "telemetry/counters.h"

typedef enum row_status { ROW_OK, ROW_OOM, ROW_ERROR } row_status;

#define ROW_CPU_CHOICES_MAX 32

typedef struct bench_row {
	placement_mode mode;
	uint32_t experts;
	char label[32]; /* for people: the mode, and the phase if it is not "steps" */
	row_status status;
	int exit_code;                /* what this row alone would end the command with */
	char error[MODE_ERROR_BYTES]; /* "" when ok */
	bool interrupted;

	uint64_t bank_bytes, expert_bytes;
	uint64_t fill_ns; /* the host tier was filled and page-locked for this run; 0: it was open */
	bool opened;      /* the engine was opened, so that `engine` is known */
	ufm_engine_info engine;
	char backend[64], device[128], cpu_assist[256]; /* copies: the engine is gone */
	bool deterministic;
	ufm_cpu_choice cpu_choices[ROW_CPU_CHOICES_MAX]; /* of auto, after the last step */
	uint32_t cpu_choice_count;
	admit admission; /* what it went by then; terms of 0: by the policy alone */
	uint64_t admission_changes;

	uint64_t peak_live_bytes, peak_held_bytes, slab_high_water_bytes, peak_ram_bytes;
	uint32_t from, warmed; /* the workload's step that was run first; warm-up steps that followed */
	bool warm;             /* the warm-up ended, and what follows is known */
	uint32_t slots_held,
		free_places; /* when measuring began; of a mode that keeps no slots not used */
	double *step_ms; /* [config.steps], the first `measured` are filled */
	uint32_t measured;
	uint64_t counters[COUNTER_COUNT]; /* over the measured steps */
	uint64_t output_hash;
	bool probed;
	probe_rates rates;       /* of this machine, when probed */
	peak_found peak;         /* its arithmetic, by what is not ours; zeros: not asked */
	bool measured_again;     /* the first time it was faster than its floor */
	double experts_expected; /* 0: not known for this workload */
	bool workload_wrapped;
	bool limit_known;   /* the workload's routing is recorded or made, and the mode has slots */
	double limit_reads; /* experts that a measured step reads by the offline optimum, on average */
} bench_row;

ufm_status row_open(bench_row *row, const bench_config *config, placement_mode mode,
                    uint32_t experts);
void row_close(bench_row *row);

/* Takes the status and the thread's last error. UFM_EDEVMEM is ROW_OOM, which for the baseline is a
 * result and no failure. */
void row_fail(bench_row *row, ufm_status cause);
/* What the row says would be wrong. */
void row_refuse(bench_row *row, const char *why);

/* It has the steps that were measured until a signal came. */
void row_interrupt(bench_row *row, const bench_config *config);

/* Of the measured steps, sorted: 0.5 is the median, 0.25 and 0.75 the quartiles. 0 when nothing was measured. */
double row_step_ms_quantile(const bench_row *row, double share);
double row_step_ms_mean(const bench_row *row); /* 0 when nothing was measured */
/* Tokens over the time of all measured steps, and of the median one; 0 when nothing was measured. */
double row_tokens_per_s(const bench_row *row, const bench_config *config);
double row_tokens_per_s_median(const bench_row *row, const bench_config *config);

/* Slots that serve the mode: naive_offload keeps nothing, the pager's slots that its engine has stay
 * empty. */
uint32_t row_slots(const bench_row *row);

/* Measuring began while places were empty. Never of a mode that keeps no slots. */
bool row_is_cold(const bench_row *row);

/* false: not probed, or nothing measured. */
bool row_floor(const bench_row *row, const bench_config *config, step_floor *out);
/* The floor over the mean step, as its misses are a mean, too. */
double row_fraction_of_floor(const bench_row *row, const step_floor *floor);
#define FLOOR_BEATEN 1.05
/* A step that is shorter than its floor by more than its probes may stray: they did not see the machine that ran it. Never
 * on the cpu backend, where probes and steps share cores, memory and caches with each other and with whoever else runs, so
 * that no rate of it bounds anything that closely. */
bool row_beats_floor(const bench_row *row, const bench_config *config);
/* Makes such a row an error, which says so. */
void row_fail_floor(bench_row *row, const bench_config *config);
/* Expert bytes copied to the device over the time of the measured steps. */
double row_link_gbps_used(const bench_row *row);
/* The part of the copies' time that the compute stream did not wait for, 0 … 1; 0 without copies. */
double row_overlap(const bench_row *row);

/* Sets limit_reads of a row that was measured, where the workload says what was demanded. UFM_ENOMEM. */
ufm_status row_find_limit(bench_row *row, const bench_config *config, const workload *load);
/* false: the row has no limit, or was not probed. */
bool row_limit_ms(const bench_row *row, const bench_config *config, double *ms);
/* Its fields, null where they are not known. */
void row_put_limit(row_values *out, const bench_row *row, const bench_config *config);

/* What the CPU path has chosen and admission goes by, which changes while it runs. */
void row_note_cpu(bench_row *row, ufm_engine *engine);
/* Its fields. With a share of 0 and in other modes the path is off. */
void row_put_cpu(row_values *out, const bench_row *row, const bench_config *config);

/* Turns an ok row whose figures do not add up into an error: uses, bytes, nothing written back,
 * budget kept. */
void row_check(bench_row *row);

const char *row_status_name(row_status status);
json_t *row_json(const bench_row *row, const bench_config *config);

#endif
