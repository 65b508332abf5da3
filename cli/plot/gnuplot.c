/* SPDX-License-Identifier: MIT */
/* Files for gnuplot, and gnuplot itself. */
#include "cli/plot/gnuplot.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/log.h"
#include "base/status.h"
#include "cli/child.h"
#include "cli/interrupt.h"
#include "cli/json_memory.h"
#include "cli/output.h"

#define LINE_BYTES 256
#define TAIL_BYTES 64

static ufm_status cannot_write(const char *path, int error)
{
	return status_fail(UFM_EFILE, "%s: cannot write: %s", path,
	                   error ? strerror(error) : "an earlier write failed");
}

ufm_status gnuplot_open(gnuplot_file *o, const char *folder, const char *name, const char *ending)
{
	snprintf(o->path, sizeof o->path, "%.3900s/%s.%s", folder, name, ending);
	ufm_status status = output_open(o->path, &o->replaced);
	if (status)
		return status;
	errno = 0;
	o->file = replacement_stream(&o->replaced);
	if (o->file)
		return UFM_OK;
	status = cannot_write(o->path, errno);
	replacement_abandon(&o->replaced);
	return status;
}

/* A write that failed since the file was opened has left its error. */
static ufm_status close_stream(gnuplot_file *o)
{
	int error = ferror(o->file) ? errno : 0;
	bool lost = ferror(o->file) != 0;
	errno = 0;
	if (fclose(o->file) != 0 || lost)
		return cannot_write(o->path, error ? error : errno);
	return json_memory_check();
}

ufm_status gnuplot_close(gnuplot_file *o)
{
	ufm_status status = close_stream(o);
	if (!status)
		return replacement_commit(&o->replaced);
	replacement_abandon(&o->replaced);
	return status;
}

/* Starts `gnuplot NAME.gp` in the folder, with no settings of anybody's but the script's (-d); a missing program is told
 * at once. */
static int start_gnuplot(const char *folder, char *script, child *c)
{
	char program[] = "gnuplot", defaults[] = "-d";
	char *argv[] = {program, defaults, script, NULL};
	return child_start(c, folder, argv);
}

/* ---- what gnuplot wrote: it does not say when a disk was full */

static ufm_status cannot_check(const char *path)
{
	return status_fail(UFM_EFILE, "%s: cannot be read after gnuplot: %s", path, strerror(errno));
}

/* 0 bytes: it is missing, or shorter than any figure. */
static ufm_status read_tail(const char *path, char tail[TAIL_BYTES], size_t *length)
{
	ufm_status status = UFM_OK;
	FILE *file = fopen(path, "re");
	*length = 0;
	if (!file)
		return errno == ENOENT ? UFM_OK : cannot_check(path);
	if (fseek(file, -TAIL_BYTES, SEEK_END) == 0)
		*length = fread(tail, 1, TAIL_BYTES, file);
	else if (errno != EINVAL)
		status = cannot_check(path);
	if (ferror(file))
		status = cannot_check(path);
	fclose(file);
	return status;
}

static ufm_status check_end(const char *path, const char *end)
{
	char tail[TAIL_BYTES];
	size_t length;
	ufm_status status = read_tail(path, tail, &length);
	if (!status && !memmem(tail, length, end, strlen(end)))
		status = status_fail(UFM_EFILE,
		                     "%s: found it cut off or missing after gnuplot, expected a whole "
		                     "figure: is the disk full?",
		                     path);
	return status;
}

static ufm_status check_whole(const char *folder, const char *name)
{
	static const struct {
		const char *ending, *last;
	} formats[] = {{"png", "IEND\xae\x42\x60\x82"}, {"svg", "</svg>"}};
	ufm_status status = UFM_OK;
	for (size_t i = 0; i < sizeof formats / sizeof formats[0] && !status; i++) {
		char path[PATH_MAX];
		snprintf(path, sizeof path, "%.3900s/%s.%s", folder, name, formats[i].ending);
		status = check_end(path, formats[i].last);
	}
	return status;
}

/* What it says is about the figure, and ours to pass on. */
static ufm_status finish_drawing(const child *c, const char *folder, const char *name)
{
	char line[LINE_BYTES];
	int exit_code;
	int error = child_wait(c, &exit_code);
	if (error)
		return status_fail(UFM_EFILE, "%s/%s.gp: gnuplot cannot be waited for: %s", folder, name,
		                   strerror(error));
	ufm_status status = interrupt_check();
	if (status)
		return status;
	child_said(c, line, sizeof line);
	if (exit_code)
		return status_fail(UFM_EFILE, "%s/%s.gp: gnuplot failed on it: %s", folder, name,
		                   *line ? line : "without saying why");
	if (*line)
		log_info("%s/%s.gp: gnuplot: %s", folder, name, line);
	return check_whole(folder, name);
}

/* Whoever has no gnuplot is told EACCES where a folder of PATH is closed to him. Else the machine lacks what a process
 * needs, as for a thread. */
static ufm_status cannot_start(const char *folder, int error)
{
	if (error != ENOENT && error != EACCES)
		return status_fail(UFM_ENOMEM, "gnuplot: cannot start: %s", strerror(error));
	return status_fail(UFM_EUNSUPPORTED,
	                   "gnuplot %s; scripts and data are kept in %s: install gnuplot "
	                   "(package gnuplot-nox), then run: ufm plot %s",
	                   error == ENOENT ? "is missing" : "cannot be run: Permission denied", folder,
	                   folder);
}

ufm_status gnuplot_draw(const char *folder, const char *name)
{
	char script[64];
	child c;
	snprintf(script, sizeof script, "%s.gp", name);
	int error = start_gnuplot(folder, script, &c);
	if (error)
		return cannot_start(folder, error);
	ufm_status status = finish_drawing(&c, folder, name);
	child_close(&c);
	return status;
}
