/* SPDX-License-Identifier: MIT */
/* Placement modes: where experts lie while layers run. Every command that runs layers asks here what a
 * mode needs, what a failure in it means, and whether its figures add up. */
#ifndef CLI_MODES_MODE_H
#define CLI_MODES_MODE_H

#include <stdbool.h>
#include <ufm/ufm.h>

#include "cli/modes/naive.h"
#include "telemetry/counters.h"

typedef enum placement_mode { MODE_BASELINE, MODE_NAIVE_OFFLOAD, MODE_UFM } placement_mode;

#define MODES_CHOICES "baseline|naive_offload|ufm"

/* "baseline", … Static storage. */
const char *mode_name(placement_mode mode);

/* Before the host tier opens: how its memory must be. */
void mode_ask_host(placement_mode mode, ufm_host_config *host);

/* Before the engine opens: how its memory is divided. The target and its headroom bind ufm alone. */
typedef struct mode_budget {
	uint64_t vram_target_bytes, headroom_bytes;
} mode_budget;
void mode_ask_engine(placement_mode mode, const ufm_expert_desc *desc, const mode_budget *budget,
                     ufm_engine_config *engine);

/* The CPU path, from the texts of --cpu-assist and --cpu-share: a share of 0 turns it off. Only ufm has
 * misses that it could take. */
void mode_ask_cpu(placement_mode mode, const char *assist, const char *share,
                  ufm_engine_config *engine);
/* Whether outputs depend on the request alone: the path is off, its share is fixed, or it runs the
 * device's own kernels. */
bool mode_deterministic(const ufm_engine_info *engine);

/* Once the engine is open. baseline: loads every expert and waits. naive_offload: opens *own, whose
 * source its layers must take; NULL in the other modes, whose source is the pager. */
ufm_status mode_place(placement_mode mode, ufm_engine *engine, naive **own);

/* ---- outcome */

#define MODE_ERROR_BYTES 640

typedef struct mode_failure {
	bool out_of_memory; /* of the device; in the baseline a result and no failure: exit code 0 */
	int exit_code;
	char error[MODE_ERROR_BYTES]; /* the line, in terms of the option that can mend it */
} mode_failure;

/* Takes the status and the thread's last error. */
void mode_explain(placement_mode mode, ufm_status cause, mode_failure *out);

typedef struct mode_figures {
	const uint64_t *counters; /* [COUNTER_COUNT]: what the steps or the call added */
	const ufm_engine_info *engine;
	uint64_t expert_bytes;
	uint64_t peak_bytes; /* most device memory held or in use */
} mode_figures;

/* Whether uses, bytes and budget add up, and nothing was written back that should not be. If not,
 * `error` (MODE_ERROR_BYTES) says which figure, found and expected. */
bool mode_adds_up(placement_mode mode, const mode_figures *figures, char *error);

#endif
