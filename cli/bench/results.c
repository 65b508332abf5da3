/* SPDX-License-Identifier: MIT */
/* Files of a results folder. */
#include "cli/bench/results.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/status.h"
#include "cli/interrupt.h"
#include "cli/json_memory.h"
#include "cli/json_print.h"

struct results {
	char folder[PATH_MAX], path[PATH_MAX + 264];
	FILE *runs;
	off_t whole_bytes; /* of runs.jsonl: where the last whole row ends */
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

/* Half a row would make the whole file unreadable. */
static void drop_part_of_row(results *r)
{
	if (ftruncate(fileno(r->runs), r->whole_bytes) != 0)
		return; /* no file of ours: a device keeps nothing */
}

/* By one call where the file takes all of it, so that a kill leaves a whole row or none. */
static bool write_line(int fd, const char *line, size_t length)
{
	while (length) {
		ssize_t n = write(fd, line, length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		line += n;
		length -= (size_t)n;
	}
	return true;
}

/* What is no file, and some file systems, cannot be flushed. */
static bool flush_file(int fd)
{
	return fsync(fd) == 0 || errno == EINVAL || errno == EROFS || errno == ENOTSUP;
}

/* One line, on disk when this returns. */
ufm_status results_add(results *r, const json_t *row)
{
	size_t length;
	int fd = fileno(r->runs);
	char *line = json_as_text(row, JSON_PRINT_LINE, &length);
	if (!line)
		return status_prefix(UFM_ENOMEM, "--out: %s", path_in(r, "runs.jsonl"));
	errno = 0;
	bool written = write_line(fd, line, length) && flush_file(fd);
	alloc_free(line);
	if (written) {
		r->whole_bytes += (off_t)length;
		return UFM_OK;
	}
	ufm_status status = cannot("write", path_in(r, "runs.jsonl"));
	drop_part_of_row(r);
	return status;
}

static bool write_json(const char *path, const json_t *json)
{
	FILE *file = fopen(path, "we");
	if (!file)
		return false;
	bool written = json_print(file, json, JSON_PRINT_PAGE) == UFM_OK && fflush(file) == 0 &&
	               !ferror(file) && flush_file(fileno(file));
	return fclose(file) == 0 && written;
}

ufm_status results_summary(results *r, const json_t *summary)
{
	char unfinished[sizeof r->path];
	ufm_status memory = json_memory_check();
	if (memory)
		return status_prefix(memory, "--out: %s", path_in(r, "summary.json"));
	snprintf(unfinished, sizeof unfinished, "%s", unfinished_summary(r));
	errno = 0;
	if (write_json(unfinished, summary) && rename(unfinished, path_in(r, "summary.json")) == 0)
		return UFM_OK;
	ufm_status status = cannot("write", path_in(r, "summary.json"));
	unlink(unfinished);
	return status;
}
