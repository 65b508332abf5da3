/* SPDX-License-Identifier: MIT */
/* What targets share that open bytes as a checkpoint's file. */
#ifndef UFM_FUZZ_FUZZED_FILE_H
#define UFM_FUZZ_FUZZED_FILE_H

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ufm/ufm.h>

#include "require.h"

/* Such a file may be refused by its content alone, in one line. */
static inline void check_refused(ufm_status status)
{
	require(status == UFM_EFORMAT || status == UFM_EINVAL || status == UFM_EFILE);
	require(*ufm_last_error() && !strchr(ufm_last_error(), '\n'));
}

/* A file in memory, one for the process, under a path that any opener can use. */
static inline int memory_file(char path[64])
{
	static int fd = -1;

	if (fd < 0)
		fd = memfd_create("fuzz", MFD_CLOEXEC);
	require(fd >= 0);
	snprintf(path, 64, "/proc/self/fd/%d", fd);
	return fd;
}

#endif
