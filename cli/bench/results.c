/* SPDX-License-Identifier: MIT */
/* Files of a results folder. */
#include "cli/bench/results.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/status.h"
#include "cli/interrupt.h"
#include "cli/json_print.h"
#include "cli/output.h"

#define NONE (-1)
#define BASE "results"
#define LATEST BASE "/latest"
#define TIMES_MAX 1000 /* folders of one second */

struct results {
	char folder[PATH_MAX], path[PATH_MAX + 264];
	int rows;           /* runs.jsonl, or what will replace an earlier one */
	int earlier;        /* an earlier one that has rows, locked; NONE: none has */
	replacement next;   /* of it, until it is replaced */
	bool by_time, kept; /* kept: results_keep was here */
	off_t whole_bytes;  /* of the rows: where the last whole one ends */
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

/* ---- folders */

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

/* A name that the link may have for a moment. */
static void unfinished_latest(char *path, size_t size)
{
	snprintf(path, size, LATEST ".%ld.tmp", (long)getpid());
}

/* The link is made last; that it can be made is known first. */
static ufm_status check_latest(void)
{
	char unfinished[64];
	struct stat found;
	if (lstat(LATEST, &found) == 0 && !S_ISLNK(found.st_mode))
		return status_fail(UFM_EFILE,
		                   LATEST ": is no link, expected one to the latest results, or nothing; "
		                          "or name a folder by --out");
	unfinished_latest(unfinished, sizeof unfinished);
	interrupt_unfinished(unfinished);
	if (symlink(".", unfinished) != 0)
		return status_fail(UFM_EFILE, LATEST ": cannot be made: %s; name a folder by --out",
		                   strerror(errno));
	unlink(unfinished);
	return UFM_OK;
}

static ufm_status switch_latest(const results *r)
{
	char unfinished[64];
	unfinished_latest(unfinished, sizeof unfinished);
	if (symlink(strrchr(r->folder, '/') + 1, unfinished) == 0 && rename(unfinished, LATEST) == 0)
		return UFM_OK;
	ufm_status status = cannot("switch", LATEST);
	unlink(unfinished);
	return status;
}

/* Whoever makes it has it: two that start in one second get two. */
static ufm_status make_by_time(results *r)
{
	char now[32];
	time_t seconds = time(NULL);
	struct tm local;
	localtime_r(&seconds, &local);
	strftime(now, sizeof now, "%Y-%m-%dT%H-%M-%S", &local);
	snprintf(r->folder, sizeof r->folder, BASE "/%s", now);
	for (int i = 2; mkdir(r->folder, 0777) != 0; i++) {
		if (errno != EEXIST || i > TIMES_MAX)
			return cannot("make the folder", r->folder);
		snprintf(r->folder, sizeof r->folder, BASE "/%s-%d", now, i);
	}
	r->by_time = true;
	return UFM_OK;
}

/* ---- earlier results */

static bool is_ours(const char *name, const char *const *patterns, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (fnmatch(patterns[i], name, 0) == 0)
			return true;
	}
	return false;
}

static ufm_status remove_matching(results *r, const char *const *patterns, size_t count)
{
	ufm_status status = UFM_OK;
	DIR *folder = opendir(r->folder);
	if (!folder)
		return cannot("read the folder", r->folder);
	for (struct dirent *e = readdir(folder); e && !status; e = readdir(folder)) {
		bool ours = is_ours(e->d_name, patterns, count);
		if (ours && unlink(path_in(r, e->d_name)) != 0 && errno != ENOENT)
			status = cannot("replace", r->path);
	}
	closedir(folder);
	return status;
}

/* Figures and telemetry of an earlier run must not stand beside new rows. */
static ufm_status remove_earlier(results *r)
{
	static const char *const patterns[] = {"summary.json", "table.md", "telemetry_*_*.csv",
	                                       "throughput.*", "memory.*", "timeline.*"};
	return remove_matching(r, patterns, sizeof patterns / sizeof patterns[0]);
}

#define WAITING ".tmp" /* telemetry of a run, while an earlier one's stands under its name */

static ufm_status remove_waiting(results *r)
{
	static const char *const patterns[] = {"telemetry_*_*.csv" WAITING};
	return remove_matching(r, patterns, 1);
}

static ufm_status rename_waiting(results *r)
{
	char named[sizeof r->path];
	ufm_status status = UFM_OK;
	DIR *folder = opendir(r->folder);
	if (!folder)
		return cannot("read the folder", r->folder);
	for (struct dirent *e = readdir(folder); e && !status; e = readdir(folder)) {
		if (fnmatch("telemetry_*_*.csv" WAITING, e->d_name, 0) != 0)
			continue;
		snprintf(named, sizeof named, "%s", path_in(r, e->d_name));
		named[strlen(named) - strlen(WAITING)] = '\0';
		if (rename(r->path, named) != 0)
			status = cannot("write", named);
	}
	closedir(folder);
	return status;
}

/* ---- opening */

static ufm_status take_lock(const results *r, int fd)
{
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return UFM_OK;
	return status_fail(UFM_EFILE, "--out: another bench is writing to %s", r->folder);
}

/* New rows are written beside those that are there. */
static ufm_status open_beside(results *r)
{
	ufm_status status = output_open(path_in(r, "runs.jsonl"), &r->next);
	if (status)
		return status_prefix(status, "--out");
	r->earlier = r->rows;
	r->rows = fcntl(r->next.fd, F_DUPFD_CLOEXEC, 0);
	if (r->rows == NONE)
		return cannot("write", r->next.temporary);
	status = take_lock(r, r->rows);
	return status ? status : remove_waiting(r);
}

/* Opened without truncation, so that a run that is still writing loses nothing. */
static ufm_status open_rows(results *r)
{
	struct stat found;
	r->rows = open(path_in(r, "runs.jsonl"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	if (r->rows == NONE)
		return cannot("write", r->path);
	ufm_status status = take_lock(r, r->rows);
	if (status)
		return status;
	bool earlier = fstat(r->rows, &found) == 0 && S_ISREG(found.st_mode) && found.st_size > 0;
	return earlier ? open_beside(r) : remove_earlier(r);
}

static ufm_status open_named(results *r, const char *folder)
{
	if (strlen(folder) >= PATH_MAX)
		return status_fail(UFM_EFILE, "--out: found %zu characters, expected less than %d",
		                   strlen(folder), PATH_MAX);
	snprintf(r->folder, sizeof r->folder, "%s", folder);
	return make_folder(folder);
}

static ufm_status open_by_time(results *r)
{
	ufm_status status = make_folder(BASE);
	if (!status)
		status = check_latest();
	return status ? status : make_by_time(r);
}

ufm_status results_open(const char *folder, results **out)
{
	results *r = alloc_zeroed(1, sizeof *r);
	if (!r)
		return UFM_ENOMEM;
	r->rows = r->earlier = r->next.fd = NONE;
	ufm_status status = folder ? open_named(r, folder) : open_by_time(r);
	if (!status)
		status = open_rows(r);
	if (status) {
		results_close(r);
		return status;
	}
	*out = r;
	return UFM_OK;
}

/* ---- keeping, closing */

bool results_are_ours(const results *r)
{
	return r->earlier == NONE || r->kept;
}

static ufm_status replace_earlier(results *r)
{
	ufm_status status = replacement_commit(&r->next);
	if (status)
		return status_prefix(status, "--out");
	status = remove_earlier(r);
	return status ? status : rename_waiting(r);
}

ufm_status results_keep(results *r)
{
	ufm_status status = UFM_OK;
	if (r->kept)
		return UFM_OK;
	r->kept = true;
	if (r->earlier != NONE)
		status = replace_earlier(r);
	if (!status && r->by_time)
		status = switch_latest(r);
	return status;
}

/* Nothing is left of a folder of our own that has got no row. */
static void leave(results *r)
{
	if (r->next.fd != NONE) {
		replacement_abandon(&r->next);
		(void)remove_waiting(r);
	}
	if (r->by_time && r->whole_bytes == 0) {
		unlink(path_in(r, "runs.jsonl"));
		rmdir(r->folder);
	}
}

void results_close(results *r)
{
	if (!r)
		return;
	leave(r);
	if (r->rows != NONE)
		close(r->rows);
	if (r->earlier != NONE)
		close(r->earlier);
	alloc_free(r);
}

/* ---- files */

const char *results_folder(const results *r)
{
	return r->folder;
}

const char *results_latest(const results *r)
{
	return r->by_time && r->kept ? LATEST : NULL;
}

const char *results_telemetry_path(results *r, const char *label, unsigned experts)
{
	char name[96];
	snprintf(name, sizeof name, "telemetry_%.48s_%u.csv%s", label, experts,
	         results_are_ours(r) ? "" : WAITING);
	for (char *at = strchr(name, ' '); at; at = strchr(at, ' '))
		*at = '_';
	return path_in(r, name);
}

/* Half a row would make the whole file unreadable. */
static void drop_part_of_row(results *r)
{
	if (ftruncate(r->rows, r->whole_bytes) != 0)
		return; /* no file of ours: a device keeps nothing */
}

/* What is no file, and some file systems, cannot be flushed. */
static bool flush_file(int fd)
{
	return fsync(fd) == 0 || errno == EINVAL || errno == EROFS || errno == ENOTSUP;
}

/* One line, on disk when this returns. By one call where the file takes all of it, so that a kill leaves a whole row or
 * none. */
ufm_status results_add(results *r, const json_t *row)
{
	size_t length;
	char *line = json_as_text(row, JSON_PRINT_LINE, &length);
	if (!line)
		return status_prefix(UFM_ENOMEM, "--out: %s", path_in(r, "runs.jsonl"));
	errno = 0;
	bool written = file_write(r->rows, line, length) && flush_file(r->rows);
	alloc_free(line);
	if (written) {
		r->whole_bytes += (off_t)length;
		return UFM_OK;
	}
	ufm_status status = cannot("write", path_in(r, "runs.jsonl"));
	drop_part_of_row(r);
	return status;
}

ufm_status results_put(results *r, const char *name, const char *text, size_t length)
{
	replacement file;
	ufm_status status = output_open(path_in(r, name), &file);
	if (status)
		return status_prefix(status, "--out");
	errno = 0;
	if (file_write(file.fd, text, length)) {
		status = replacement_commit(&file);
		return status ? status_prefix(status, "--out") : UFM_OK;
	}
	status = cannot("write", path_in(r, name));
	replacement_abandon(&file);
	return status;
}
