/* SPDX-License-Identifier: MIT */
/* Reads the machine's, the cgroup's and the process's own limits and takes the smallest. */
#include "base/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#define FILE_TEXT_BYTES 16384
#define AFFINITY_WORDS 8 /* of cpu_set_t: 8192 processors */
/* cgroup v1 writes "no limit" as the largest multiple of a page below 2^63. */
#define CGROUP_V1_UNLIMITED ((uint64_t)1 << 62)

/* The text of folder/name, NUL-terminated, cut at the buffer's size. */
static bool read_text(const char *folder, const char *name, char *text, size_t text_size)
{
	char path[PATH_MAX];
	size_t used = 0;
	ssize_t got;

	if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
		return false;
	int file = open(path, O_RDONLY | O_CLOEXEC);
	if (file < 0)
		return false;
	do {
		got = read(file, text + used, text_size - 1 - used);
		used += got > 0 ? (size_t)got : 0;
	} while ((got > 0 && used < text_size - 1) || (got < 0 && errno == EINTR));
	close(file);
	text[used] = '\0';
	return got >= 0;
}

/* A number at the start of text; "max", a sign and anything else are none. */
static bool parse_number(const char *text, uint64_t *value)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*value = strtoull(text, &end, 10);
	return errno == 0 && end != text;
}

static bool read_number(const char *folder, const char *name, uint64_t *value)
{
	char text[64];

	return read_text(folder, name, text, sizeof text) && parse_number(text, value);
}

/* The number after "key" and blanks, where key begins a line. */
static bool find_number(const char *text, const char *key, uint64_t *value)
{
	size_t key_length = strlen(key);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, key_length) == 0)
			return parse_number(line + key_length + strspn(line + key_length, " \t"), value);
	}
	return false;
}

static bool read_meminfo(const char *root, uint64_t *total_bytes, uint64_t *available_bytes)
{
	char text[FILE_TEXT_BYTES];
	uint64_t total_kib, available_kib;

	if (!read_text(root, "proc/meminfo", text, sizeof text) ||
	    !find_number(text, "MemTotal:", &total_kib) ||
	    !find_number(text, "MemAvailable:", &available_kib))
		return false;
	*total_bytes = total_kib * 1024;
	*available_bytes = available_kib * 1024;
	return true;
}

/* Where containers hide the file. The kernel does not count what its page cache would give up: an underestimate. */
static void ask_kernel(uint64_t *total_bytes, uint64_t *available_bytes)
{
	struct sysinfo info;

	if (sysinfo(&info) != 0)
		return;
	*total_bytes = (uint64_t)info.totalram * info.mem_unit;
	*available_bytes = ((uint64_t)info.freeram + info.bufferram) * info.mem_unit;
}

static void read_memory(const char *root, uint64_t *total_bytes, uint64_t *available_bytes)
{
	if (!read_meminfo(root, total_bytes, available_bytes) && !*root)
		ask_kernel(total_bytes, available_bytes);
}

/* One cgroup's tightest figures so far, from its own folder up to the mount's root. */
typedef struct cgroup_limits {
	uint64_t ram_bytes, ram_used_bytes, ram_free_bytes;
	double cores;
} cgroup_limits;

/* Page cache that the kernel drops before it refuses memory is not in the way. */
static uint64_t droppable_bytes(const char *folder, const char *key)
{
	char text[FILE_TEXT_BYTES];
	uint64_t bytes = 0;

	if (read_text(folder, "memory.stat", text, sizeof text))
		find_number(text, key, &bytes);
	return bytes;
}

static void note_ram(cgroup_limits *found, uint64_t limit, uint64_t used, uint64_t droppable)
{
	used -= droppable < used ? droppable : used;
	uint64_t left = limit > used ? limit - used : 0;

	if (limit < found->ram_bytes) {
		found->ram_bytes = limit;
		found->ram_used_bytes = used;
	}
	if (left < found->ram_free_bytes)
		found->ram_free_bytes = left;
}

static void note_cores(cgroup_limits *found, uint64_t quota_us, uint64_t period_us)
{
	if (quota_us == 0 || period_us == 0)
		return;
	double cores = (double)quota_us / (double)period_us;
	if (found->cores == 0 || cores < found->cores)
		found->cores = cores;
}

static void read_v2(const char *folder, cgroup_limits *found)
{
	char text[64];
	uint64_t limit, used = 0, quota_us, period_us;

	if (read_number(folder, "memory.max", &limit)) {
		read_number(folder, "memory.current", &used);
		note_ram(found, limit, used, droppable_bytes(folder, "inactive_file "));
	}
	if (read_text(folder, "cpu.max", text, sizeof text) && parse_number(text, &quota_us)) {
		const char *period = strchr(text, ' ');
		if (period && parse_number(period + 1, &period_us))
			note_cores(found, quota_us, period_us);
	}
}

static void read_v1_memory(const char *folder, cgroup_limits *found)
{
	uint64_t limit, used = 0;

	if (!read_number(folder, "memory.limit_in_bytes", &limit) || limit >= CGROUP_V1_UNLIMITED)
		return;
	read_number(folder, "memory.usage_in_bytes", &used);
	note_ram(found, limit, used, droppable_bytes(folder, "total_inactive_file "));
}

static void read_v1_cpu(const char *folder, cgroup_limits *found)
{
	uint64_t quota_us, period_us;

	if (read_number(folder, "cpu.cfs_quota_us", &quota_us) &&
	    read_number(folder, "cpu.cfs_period_us", &period_us))
		note_cores(found, quota_us, period_us);
}

typedef void (*cgroup_reader)(const char *folder, cgroup_limits *found);

/* Reads root/mount/path and every folder above it down to the mount. A container without a cgroup
 * namespace sees a path that its mount does not have: those folders are simply not there, and the
 * mount's root, which is the container's own group, is still read. */
static void read_ancestors(const char *root, const char *mount, const char *path,
                           cgroup_reader reader, cgroup_limits *found)
{
	char folder[PATH_MAX];
	int length = snprintf(folder, sizeof folder, "%s/%s", root, mount);

	if (length < 0 || length >= (int)sizeof folder)
		return;
	/* "/../x" is outside what this process may see. */
	if (!strstr(path, "/..") && strcmp(path, "/") != 0)
		snprintf(folder + length, sizeof folder - (size_t)length, "%s", path);
	for (;;) {
		reader(folder, found);
		char *slash = strrchr(folder + length, '/');
		if (!slash)
			return;
		*slash = '\0';
	}
}

static bool has_controller(const char *controllers, const char *name)
{
	size_t length = strlen(name);

	for (const char *at = controllers; at; at = strchr(at, ',')) {
		at += *at == ',';
		if (strncmp(at, name, length) == 0 && (at[length] == '\0' || at[length] == ','))
			return true;
	}
	return false;
}

/* One line of /proc/self/cgroup: number:controllers:path, the controllers empty for v2. */
static void read_cgroup_line(const char *root, char *line, cgroup_limits *found)
{
	char *controllers = strchr(line, ':');
	char *path = controllers ? strchr(controllers + 1, ':') : NULL;

	if (!path)
		return;
	*path++ = '\0';
	controllers++;
	if (!*controllers) {
		read_ancestors(root, "sys/fs/cgroup", path, read_v2, found);
		read_ancestors(root, "sys/fs/cgroup/unified", path, read_v2, found);
	}
	if (has_controller(controllers, "memory"))
		read_ancestors(root, "sys/fs/cgroup/memory", path, read_v1_memory, found);
	if (has_controller(controllers, "cpu")) {
		read_ancestors(root, "sys/fs/cgroup/cpu", path, read_v1_cpu, found);
		read_ancestors(root, "sys/fs/cgroup/cpu,cpuacct", path, read_v1_cpu, found);
	}
}

static void read_cgroup(const char *root, cgroup_limits *found)
{
	char text[FILE_TEXT_BYTES];
	char *rest = text, *line;

	if (!read_text(root, "proc/self/cgroup", text, sizeof text))
		return;
	while ((line = strsep(&rest, "\n")))
		read_cgroup_line(root, line, found);
}

static uint32_t count_online(void)
{
	long online = sysconf(_SC_NPROCESSORS_ONLN);

	return online > 0 ? (uint32_t)online : 1;
}

static uint32_t count_affinity(uint32_t otherwise)
{
	cpu_set_t set[AFFINITY_WORDS];

	if (sched_getaffinity(0, sizeof set, set) != 0)
		return otherwise;
	int count = CPU_COUNT_S(sizeof set, set);
	return count > 0 ? (uint32_t)count : otherwise;
}

static uint64_t read_memlock(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
		return LIMITS_NONE;
	return limit.rlim_cur;
}

/* "5.15.90.1-microsoft-standard-WSL2", and "Microsoft" in the first of them. */
static bool read_wsl(const char *root)
{
	char release[256];

	return read_text(root, "proc/sys/kernel/osrelease", release, sizeof release) &&
	       strcasestr(release, "microsoft");
}

/* A flag of the first processor; where processors have none it is not known. */
static bool read_virtual(const char *root)
{
	char text[FILE_TEXT_BYTES];

	if (!read_text(root, "proc/cpuinfo", text, sizeof text))
		return false;
	char *flags = strstr(text, "\nflags"), *end = flags ? strchr(flags + 1, '\n') : NULL;
	if (end)
		*end = '\0';
	return flags && strstr(flags, " hypervisor");
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* A part of a core is not counted: a thread for it would be throttled, and others wait for it. */
static uint32_t smallest_cores(const limits *l)
{
	uint32_t cores = l->affinity_cores < l->machine_cores ? l->affinity_cores : l->machine_cores;

	if (l->cgroup_cores > 0 && l->cgroup_cores < cores)
		cores = (uint32_t)l->cgroup_cores;
	return cores ? cores : 1;
}

void limits_read_root(limits *out, const char *root)
{
	cgroup_limits group = {LIMITS_NONE, 0, LIMITS_NONE, 0};
	limits l = {.machine_ram_bytes = LIMITS_NONE, .available_ram_bytes = LIMITS_NONE};

	read_memory(root, &l.machine_ram_bytes, &l.available_ram_bytes);
	read_cgroup(root, &group);
	l.machine_cores = count_online();
	l.affinity_cores = count_affinity(l.machine_cores);
	l.cgroup_cores = group.cores;
	l.cores = smallest_cores(&l);
	l.cgroup_ram_bytes = group.ram_bytes;
	l.cgroup_ram_used_bytes = group.ram_used_bytes;
	l.ram_bytes = smaller(l.machine_ram_bytes, group.ram_bytes);
	l.ram_free_bytes = smaller(l.available_ram_bytes, group.ram_free_bytes);
	l.memlock_bytes = read_memlock();
	l.wsl = read_wsl(root);
	l.virtual_machine = read_virtual(root);
	*out = l;
}

void limits_read(limits *out)
{
	limits_read_root(out, "");
}

uint64_t limits_lockable_bytes(const limits *now)
{
	return now->ram_free_bytes == LIMITS_NONE ? LIMITS_NONE : now->ram_free_bytes / 5 * 4;
}

void limits_read_memory(limits_memory *out)
{
	uint64_t total_bytes = 0, available_bytes = 0, resident_pages = 0;
	char text[256];

	read_memory("", &total_bytes, &available_bytes);
	/* statm: size, resident, …, in pages */
	if (read_text("/proc/self", "statm", text, sizeof text)) {
		const char *resident = strchr(text, ' ');
		if (resident)
			parse_number(resident + 1, &resident_pages);
	}
	out->process_rss_bytes = resident_pages * (uint64_t)sysconf(_SC_PAGESIZE);
	out->system_used_bytes = total_bytes > available_bytes ? total_bytes - available_bytes : 0;
}
