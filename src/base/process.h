/* SPDX-License-Identifier: MIT */
/* Tells a process from the one it was forked from: fork copies memory, but neither threads nor what a device
 * knows of its process. */
#ifndef UFM_BASE_PROCESS_H
#define UFM_BASE_PROCESS_H

#include <stdint.h>
#include <ufm/ufm.h>

/* From the first call on forks are counted, once whoever calls. UFM_ENOMEM. */
ufm_status process_watch(void);
/* How many forks lie between the process that watched first and this one: a child has one more than its parent.
 * A load, so that it can be asked in every call; the number of the process would be a system call. */
uint32_t process_forks(void);

#endif
