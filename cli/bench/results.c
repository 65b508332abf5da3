/* SPDX-License-Identifier: MIT */
/* Files of a results folder. */
#include "cli/bench/results.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/status.h"
#include "cli/interrupt.h"

struct results {
	char folder[PATH_MAX], path[PATH_MAX + 264];
	FILE *runs;
	long whole_bytes; /* of runs.jsonl: where the last whole row ends */
};

static ufm_status cannot(const char *what, const char *path)
{
	return status_fail(UFM_EFILE, "--out: cannot %s %s: %s", what, path, strerror(errno));
}

static const char *path_in(results *r, const char *name)
{
	snprintf(r->path, sizeof r->path, "%s/%s", r->folder, name);
	return r->path;
}

/* mkdir -p */
static ufm_status make_folder(const char *folder)
{
	char part[PATH_MAX];
	size_t length = strlen(folder);
	for (size_t i = 1; i <= length; i++) {
		if (folder[i] != '/' && folder[i] != '\0')
			continue;
		memcpy(part, folder, i);
		part[i] = '\0';
		if (mkdir(part, 0777) != 0 && errno != EEXIST)
			return cannot("make the folder", part);
	}
	struct stat found;
	if (stat(folder, &found) == 0 && !S_ISDIR(found.st_mode))
		return status_fail(UFM_EFILE, "--out: %s is not a folder", folder);
	return UFM_OK;
}

static bool is_ours(const char *name)
{
	static const char *const patterns[] = {"summary.json", "telemetry_*_*.csv", "throughput.*",
	                                       "memory.*", "timeline.*"};
	for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
		if (fnmatch(patterns[i], name, 0) == 0)
			return true;
	}
	return false;
}

/* Figures and telemetry of an earlier run must not stand beside new rows. */
static ufm_status remove_earlier(results *r)
{
	ufm_status status = UFM_OK;
	DIR *folder = opendir(r->folder);
	if (!folder)
		return cannot("read the folder", r->folder);
	for (struct dirent *e = readdir(folder); e && !status; e = readdir(folder)) {
		if (is_ours(e->d_name) && unlink(path_in(r, e->d_name)) != 0 && errno != ENOENT)
			status = cannot("replace", r->path);
	}
	closedir(folder);
	return status;
}

/* Opened without truncation, so that a run that is still writing loses nothing. */
static ufm_status open_runs(results *r)
{
	r->runs = fopen(path_in(r, "runs.jsonl"), "ae");
	if (!r->runs)
		return cannot("write", r->path);
	if (flock(fileno(r->runs), LOCK_EX | LOCK_NB) != 0)
		return status_fail(UFM_EFILE, "--out: another bench is writing to %s", r->folder);
	struct stat found;
	bool regular = fstat(fileno(r->runs), &found) == 0 && S_ISREG(found.st_mode);
	if (regular && ftruncate(fileno(r->runs), 0) != 0)
		return cannot("replace", r->path);
	return UFM_OK;
}

static const char *unfinished_summary(results *r)
{
	return path_in(r, "summary.json.tmp");
}

static ufm_status open_files(results *r)
{
	interrupt_unfinished(unfinished_summary(r));
	ufm_status status = make_folder(r->folder);
	if (!status)
		status = open_runs(r);
	return status ? status : remove_earlier(r);
}

ufm_status results_open(const char *folder, results **out)
{
	ufm_status status;
	results *r;
	if (strlen(folder) >= PATH_MAX)
		return status_fail(UFM_EFILE, "--out: found %zu characters, expected less than %d",
		                   strlen(folder), PATH_MAX);
	r = alloc_zeroed(1, sizeof *r);
	if (!r)
		return UFM_ENOMEM;
	snprintf(r->folder, sizeof r->folder, "%s", folder);
	status = open_files(r);
	if (status) {
		results_close(r);
		return status;
	}
	*out = r;
	return UFM_OK;
}

void results_close(results *r)
{
	if (!r)
		return;
	if (r->runs)
		fclose(r->runs);
	alloc_free(r);
}

const char *results_telemetry_path(results *r, const char *label, unsigned experts)
{
	char name[96];
	snprintf(name, sizeof name, "telemetry_%.48s_%u.csv", label, experts);
	for (char *at = strchr(name, ' '); at; at = strchr(at, ' '))
		*at = '_';
	return path_in(r, name);
}

/* Half a row would make the whole file unreadable. The stream is not used again: what it still holds
 * must not follow. */
static void drop_part_of_row(results *r)
{
	__fpurge(r->runs);
	if (ftruncate(fileno(r->runs), r->whole_bytes) != 0)
		return; /* no file of ours: a device keeps nothing */
}

/* One line, in the file when this returns. */
ufm_status results_add(results *r, const json_t *row)
{
	bool written;
	errno = 0;
	written = json_dumpf(row, r->runs, JSON_COMPACT | JSON_REAL_PRECISION(9)) == 0 &&
	          fputc('\n', r->runs) != EOF;
	if (fflush(r->runs) == 0 && written) {
		r->whole_bytes = ftell(r->runs);
		return UFM_OK;
	}
	ufm_status status = cannot("write", path_in(r, "runs.jsonl"));
	drop_part_of_row(r);
	return status;
}

static bool write_json(const char *path, const json_t *json)
{
	bool written;
	FILE *file = fopen(path, "we");
	if (!file)
		return false;
	written = json_dumpf(json, file, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) == 0 &&
	          fputc('\n', file) != EOF;
	return fclose(file) == 0 && written;
}

ufm_status results_summary(results *r, const json_t *summary)
{
	char unfinished[sizeof r->path];
	snprintf(unfinished, sizeof unfinished, "%s", unfinished_summary(r));
	errno = 0;
	if (write_json(unfinished, summary) && rename(unfinished, path_in(r, "summary.json")) == 0)
		return UFM_OK;
	ufm_status status = cannot("write", path_in(r, "summary.json"));
	unlink(unfinished);
	return status;
}
