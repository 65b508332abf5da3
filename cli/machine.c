/* SPDX-License-Identifier: MIT */
/* Reads /proc and /sys; what cannot be read is null, never a failure. */
#include "cli/machine.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "cli/json_put.h"
#include "cli/version.h"
#include "kernels/kernels.h"

#ifdef __clang__
#define COMPILER "" /* clang's version names it */
#else
#define COMPILER "gcc "
#endif

char *machine_read_line(const char *path, char *buffer, size_t size)
{
	FILE *file = fopen(path, "re");
	buffer[0] = '\0';
	if (!file)
		return buffer;
	if (!fgets(buffer, (int)size, file) || ferror(file))
		buffer[0] = '\0';
	fclose(file);
	buffer[strcspn(buffer, "\n")] = '\0';
	return buffer;
}

/* The value of a line that begins with `key` and a separator (":" or "="), or NULL. */
static char *value_of(char *line, const char *key)
{
	size_t length = strlen(key), end;
	char *at = line + length;
	if (strncmp(line, key, length) != 0)
		return NULL;
	at += strspn(at, " \t");
	if (*at != ':' && *at != '=')
		return NULL;
	at++;
	at += strspn(at, " \t\"");
	end = strlen(at);
	while (end && strchr(" \t\n\"", at[end - 1]))
		at[--end] = '\0';
	return at;
}

bool machine_read_key(const char *path, const char *key, char *buffer, size_t size)
{
	char line[1024];
	bool found = false;
	FILE *file = fopen(path, "re");
	if (!file)
		return false;
	while (!found && fgets(line, sizeof line, file) && !ferror(file)) {
		const char *value = value_of(line, key);
		if (value) {
			snprintf(buffer, size, "%s", value);
			found = true;
		}
	}
	fclose(file);
	return found;
}

static json_t *key_text(const char *path, const char *key)
{
	char text[256];
	return machine_read_key(path, key, text, sizeof text) ? json_string(text) : json_null();
}

static json_t *bytes_or_null(uint64_t value)
{
	return value == LIMITS_NONE ? json_null() : json_integer((json_int_t)value);
}

/* {"scalar": "yes", "avx512": "why not", …} */
static json_t *kernel_tables(void)
{
	json_t *tables = json_object();
	const char *name;
	for (uint32_t i = 0; (name = kernels_name(i)); i++) {
		const char *why = "not available";
		bool found = kernels_find(name, &why) != NULL;
		json_put(tables, name, json_string(found ? "yes" : why));
	}
	return tables;
}

json_t *machine_cpu(const limits *here)
{
	json_t *cpu = json_object();
	json_put(cpu, "model", key_text("/proc/cpuinfo", "model name"));
	json_put(cpu, "machine_cores", json_integer(here->machine_cores));
	json_put(cpu, "affinity_cores", json_integer(here->affinity_cores));
	json_put(cpu, "cgroup_cores",
	         here->cgroup_cores > 0 ? json_real(here->cgroup_cores) : json_null());
	json_put(cpu, "usable_cores", json_integer(here->cores));
	json_put(cpu, "kernels", json_string(kernels_best()->isa));
	json_put(cpu, "kernel_tables", kernel_tables());
	return cpu;
}

static json_t *huge_pages(void)
{
	char mode[128];
	json_t *huge = json_object();
	machine_read_line("/sys/kernel/mm/transparent_hugepage/enabled", mode, sizeof mode);
	json_put(huge, "transparent", *mode ? json_string(mode) : json_null());
	json_put(huge, "explicit_total", key_text("/proc/meminfo", "HugePages_Total"));
	json_put(huge, "explicit_size", key_text("/proc/meminfo", "Hugepagesize"));
	return huge;
}

json_t *machine_memory(const limits *here)
{
	json_t *memory = json_object();
	json_put(memory, "machine_bytes", bytes_or_null(here->machine_ram_bytes));
	json_put(memory, "available_bytes", bytes_or_null(here->available_ram_bytes));
	json_put(memory, "cgroup_limit_bytes", bytes_or_null(here->cgroup_ram_bytes));
	json_put(memory, "cgroup_used_bytes", bytes_or_null(here->cgroup_ram_used_bytes));
	json_put(memory, "usable_bytes", bytes_or_null(here->ram_bytes));
	json_put(memory, "usable_free_bytes", bytes_or_null(here->ram_free_bytes));
	json_put(memory, "lockable_bytes", bytes_or_null(limits_lockable_bytes(here)));
	json_put(memory, "memlock_limit_bytes", bytes_or_null(here->memlock_bytes));
	json_put(memory, "huge_pages", huge_pages());
	return memory;
}

json_t *machine_versions(void)
{
	struct utsname system;
	char kernel[256] = "";
	json_t *versions = json_object();
	if (uname(&system) == 0)
		snprintf(kernel, sizeof kernel, "%.60s %.120s %.60s", system.sysname, system.release,
		         system.machine);
	json_put(versions, "ufm", json_string(version_text()));
	json_put(versions, "git", version_git() ? json_string(version_git()) : json_null());
	json_put(versions, "compiler", json_string(COMPILER __VERSION__));
	json_put(versions, "jansson", json_string(JANSSON_VERSION));
	json_put(versions, "kernel", json_string(kernel));
	json_put(versions, "system", key_text("/etc/os-release", "PRETTY_NAME"));
	return versions;
}

json_t *machine_json(void)
{
	limits here;
	json_t *machine = json_object();
	limits_read(&here);
	json_put(machine, "cpu", machine_cpu(&here));
	json_put(machine, "memory", machine_memory(&here));
	json_put(machine, "versions", machine_versions());
	return machine;
}
