/* SPDX-License-Identifier: MIT */
/* getline, with what it does not tell apart. */
#include "cli/lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/status.h"

ufm_status lines_open(const char *path, lines *out)
{
	int fd;
	uint64_t size_bytes;
	ufm_status status = file_open(path, &fd, &size_bytes);
	if (status)
		return status_prefix(status, "%s", path);
	FILE *file = fdopen(fd, "r");
	if (!file) {
		close(fd);
		return status_fail(UFM_ENOMEM, "%s: cannot be read: %s", path, strerror(errno));
	}
	*out = (lines){.path = path, .file = file};
	return UFM_OK;
}

ufm_status lines_next(lines *l, bool *more)
{
	errno = 0;
	ssize_t length = getline(&l->line, &l->room, l->file);
	l->number += length > 0;
	/* After a failed read it returns what it had of the line. Memory that ran out sets no flag. */
	if (ferror(l->file) || (length <= 0 && !feof(l->file)))
		return status_fail(errno == ENOMEM ? UFM_ENOMEM : UFM_EFILE,
		                   "%s: line %u: cannot be read: %s", l->path, l->number + (length <= 0),
		                   strerror(errno));
	*more = length > 0;
	l->length = *more ? (size_t)length : 0;
	l->whole = *more ? l->line[length - 1] == '\n' : l->whole;
	return UFM_OK;
}

void lines_close(lines *l)
{
	fclose(l->file);
	free(l->line); /* getline's own */
}
