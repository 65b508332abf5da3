/* SPDX-License-Identifier: MIT */
/* Reads the environment of a summary.json. */
#include "cli/plot/machine.h"

#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/json_field.h"
#include "cli/json_memory.h"
#include "cli/lines.h"

static void describe(const json_t *cpu, char text[PLOT_MACHINE_BYTES])
{
	const char *model = field_string(cpu, "model");
	json_int_t cores = json_integer_value(json_object_get(cpu, "usable_cores"));
	int used = snprintf(text, PLOT_MACHINE_BYTES, "%.128s", model);
	if (cores > 0)
		snprintf(text + used, PLOT_MACHINE_BYTES - (size_t)used, "%s%lld core%s", used ? ", " : "",
		         (long long)cores, cores == 1 ? "" : "s");
}

ufm_status plot_machine_read(const char *folder, char text[PLOT_MACHINE_BYTES])
{
	char path[PATH_MAX];
	lines file;
	*text = '\0';
	snprintf(path, sizeof path, "%.3900s/summary.json", folder);
	if (access(path, F_OK) != 0)
		return UFM_OK;
	if (lines_open(path, &file) != UFM_OK) {
		log_warn("%s; figures do not name the machine", ufm_last_error());
		return UFM_OK;
	}
	json_t *summary = json_loadf(file.file, 0, NULL);
	lines_close(&file);
	ufm_status status = json_memory_check();
	if (!status && !json_is_object(summary))
		log_warn("%s: expected the summary of ufm bench; figures do not name the machine", path);
	if (!status)
		describe(json_object_get(json_object_get(summary, "environment"), "cpu"), text);
	json_decref(summary);
	return status;
}
