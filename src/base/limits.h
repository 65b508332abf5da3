/* SPDX-License-Identifier: MIT */
/* What this process may use: the smallest of machine, cgroup and affinity. */
#ifndef UFM_BASE_LIMITS_H
#define UFM_BASE_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#define LIMITS_NONE UINT64_MAX

typedef struct limits {
	uint32_t machine_cores, affinity_cores;
	double cgroup_cores;            /* cpu quota; 0: none */
	uint32_t cores;                 /* the smallest, whole, at least 1 */
	uint64_t machine_ram_bytes;     /* MemTotal */
	uint64_t available_ram_bytes;   /* MemAvailable */
	uint64_t cgroup_ram_bytes;      /* limit, LIMITS_NONE: none (v1 and v2, all ancestors) */
	uint64_t cgroup_ram_used_bytes; /* of the tightest group, less droppable page cache */
	uint64_t ram_bytes;             /* the smaller of machine and cgroup */
	uint64_t ram_free_bytes;        /* what can still be taken under both */
	uint64_t memlock_bytes;         /* RLIMIT_MEMLOCK, LIMITS_NONE: unlimited */
	bool wsl;                       /* the kernel is that of WSL */
	bool virtual_machine;           /* a hypervisor runs it, and may give it more memory */
} limits;
/* Never fails: what cannot be read keeps a value that does not limit. */
void limits_read(limits *out);
/* The same with / replaced by another root ("tests/data/fakeroot"), for tests; the affinity and
 * RLIMIT_MEMLOCK are the process's own. */
void limits_read_root(limits *out, const char *root);

/* How much of ram_free_bytes may be page-locked, 80 %: locked pages cannot be taken back, and the rest is
 * for the system and for this process's own growth. */
uint64_t limits_lockable_bytes(const limits *now);

typedef struct limits_memory {
	uint64_t process_rss_bytes, system_used_bytes; /* system: MemTotal - MemAvailable */
} limits_memory;
void limits_read_memory(limits_memory *out);

#endif
