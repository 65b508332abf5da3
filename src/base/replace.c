/* SPDX-License-Identifier: MIT */
/* Made with O_EXCL, flushed, renamed. */
#include "base/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/status.h"

#define NAMES 1000u /* tried: threads of one process, and files that killed ones have left */

static ufm_status cannot(const char *path, const char *what, int error)
{
	return status_fail(UFM_EFILE, "%s: cannot be %s: %s", path, what, strerror(error));
}

/* The path itself where there is nothing yet. A rename onto a link would put the file in its place. */
static ufm_status resolve(const char *path, char **out)
{
	struct stat found;
	char *resolved = realpath(path, NULL);
	if (!resolved && lstat(path, &found) == 0)
		return status_fail(UFM_EFILE, "%s: is a link to what cannot be found: %s", path,
		                   strerror(errno));
	if (resolved && stat(resolved, &found) == 0 && !S_ISREG(found.st_mode)) {
		free(resolved);
		return status_fail(UFM_EFILE,
		                   "%s: is not a regular file, expected one to replace or a new "
		                   "name",
		                   path);
	}
	*out = alloc_string(resolved ? resolved : path);
	free(resolved);
	return *out ? UFM_OK : UFM_ENOMEM;
}

/* Process numbers repeat, so a name may be taken: then the next. */
static ufm_status create(replacement *r)
{
	size_t size = strlen(r->path) + 48;
	r->temporary = alloc_zeroed(size, 1);
	if (!r->temporary)
		return UFM_ENOMEM;
	for (unsigned i = 0; i < NAMES; i++) {
		snprintf(r->temporary, size, "%s.%ld.%u.tmp", r->path, (long)getpid(), i);
		r->fd = open(r->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
		if (r->fd >= 0)
			return UFM_OK;
		if (errno != EEXIST)
			break;
	}
	return cannot(r->asked, "created", errno);
}

static void forget(replacement *r)
{
	alloc_free(r->asked);
	alloc_free(r->path);
	alloc_free(r->temporary);
	*r = (replacement){.fd = -1};
}

ufm_status replacement_open(const char *path, replacement *out)
{
	replacement r = {.fd = -1, .asked = alloc_string(path)};
	ufm_status status = r.asked ? resolve(path, &r.path) : UFM_ENOMEM;
	if (!status)
		status = create(&r);
	if (status)
		forget(&r);
	else
		*out = r;
	return status;
}

FILE *replacement_stream(const replacement *r)
{
	int own = fcntl(r->fd, F_DUPFD_CLOEXEC, 0);
	FILE *file = own < 0 ? NULL : fdopen(own, "w");
	if (!file && own >= 0)
		close(own);
	return file;
}

/* Some file systems tell of a full disk only when the file is flushed or closed. */
static ufm_status flush_and_close(replacement *r)
{
	int error = fsync(r->fd) != 0 ? errno : 0;
	if (close(r->fd) != 0 && !error)
		error = errno;
	r->fd = -1;
	return error ? cannot(r->asked, "written", error) : UFM_OK;
}

/* A rename is on disk when its folder is. Some file systems flush no folder: the file is whole anyway. Cuts the
 * path, which nobody needs any more: memory that lacks now would leave the file replaced and the call failed. */
static void flush_folder(char *path)
{
	char *slash = strrchr(path, '/');
	if (slash)
		slash[slash == path] = '\0';
	int fd = open(slash ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		(void)fsync(fd);
		close(fd);
	}
}

ufm_status replacement_commit(replacement *r)
{
	ufm_status status = flush_and_close(r);
	if (!status && rename(r->temporary, r->path) != 0)
		status = cannot(r->asked, "replaced", errno);
	if (status)
		unlink(r->temporary);
	else
		flush_folder(r->temporary);
	forget(r);
	return status;
}

void replacement_abandon(replacement *r)
{
	close(r->fd);
	unlink(r->temporary);
	forget(r);
}
