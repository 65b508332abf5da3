/* SPDX-License-Identifier: MIT */
/* Backends, disk and programs, and what follows from all that was found. */
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/size.h"
#include "cli/doctor_parts.h"
#include "cli/json_put.h"
#include "device/registry.h"

static void add_backend(void *ctx, const char *name, const char *path, const char *verdict)
{
	json_t *entry = json_object();
	json_put(entry, "name", name ? json_string(name) : json_null());
	json_put(entry, "path", path ? json_string(path) : json_null());
	json_put(entry, "verdict", json_string(verdict));
	json_add(ctx, entry);
}

json_t *doctor_backends(void)
{
	json_t *found = json_object(), *tried = json_array();
	const ufm_backend *backend;
	const char *path = getenv("UFM_BACKEND_PATH");
	registry_list(add_backend, tried);
	json_put(found, "tried", tried);
	json_put(found, "auto",
	         registry_find("auto", &backend) == UFM_OK ? json_string(backend->name)
	                                                   : json_string(ufm_last_error()));
	json_put(found, "UFM_BACKEND_PATH", path ? json_string(path) : json_null());
	return found;
}

/* The folder itself, or the nearest parent that exists. */
static void existing_parent(const char *folder, char *out, size_t size)
{
	snprintf(out, size, "%s", folder);
	while (access(out, F_OK) != 0) {
		char *slash = strrchr(out, '/');
		if (!slash) {
			snprintf(out, size, ".");
			return;
		}
		slash[slash == out] = '\0';
		if (slash == out)
			return;
	}
}

static bool below(const char *path, const char *mount)
{
	size_t length = strlen(mount);
	if (strncmp(path, mount, length) != 0)
		return false;
	return length == 1 || path[length] == '/' || path[length] == '\0';
}

/* The type of the file system with the longest mount point above the path. */
static json_t *filesystem_of(const char *path)
{
	char line[PATH_MAX + 256], mount[PATH_MAX], type[64], best[64] = "";
	size_t longest = 0;
	FILE *mounts = fopen("/proc/self/mounts", "re");
	while (mounts && fgets(line, sizeof line, mounts))
		if (sscanf(line, "%*s %4095s %63s", mount, type) == 2 && below(path, mount) &&
		    strlen(mount) >= longest) {
			longest = strlen(mount);
			snprintf(best, sizeof best, "%s", type);
		}
	/* Of mounts that were not all read, none is known to be the longest. */
	if (mounts && ferror(mounts))
		*best = '\0';
	if (mounts)
		fclose(mounts);
	return *best ? json_string(best) : json_null();
}

json_t *doctor_disk(const char *folder)
{
	char parent[PATH_MAX], *real;
	struct statvfs about;
	json_t *disk = json_object();
	existing_parent(folder, parent, sizeof parent);
	real = realpath(parent, NULL);
	json_put(disk, "results_folder", json_string(folder));
	json_put(disk, "looked_at", json_string(real ? real : parent));
	json_put(disk, "writable", json_boolean(access(parent, W_OK) == 0));
	json_put(disk, "filesystem", filesystem_of(real ? real : parent));
	if (statvfs(parent, &about) == 0) {
		json_put(disk, "free_bytes", json_integer((json_int_t)(about.f_bavail * about.f_frsize)));
		json_put(disk, "total_bytes", json_integer((json_int_t)(about.f_blocks * about.f_frsize)));
	}
	free(real);
	return disk;
}

static json_t *find_program(const char *name)
{
	char path[PATH_MAX];
	const char *at = getenv("PATH");
	while (at && *at) {
		size_t length = strcspn(at, ":");
		snprintf(path, sizeof path, "%.*s/%s", (int)(length < 3000 ? length : 3000), at, name);
		if (access(path, X_OK) == 0)
			return json_string(path);
		at += length + (at[length] == ':');
	}
	return json_null();
}

json_t *doctor_programs(void)
{
	json_t *programs = json_object();
	json_put(programs, "gnuplot", find_program("gnuplot"));
	return programs;
}

/* ---- verdict */

static void say(json_t *list, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(json_t *list, const char *format, ...)
{
	char text[512];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	json_add(list, json_string(text));
}

static const json_t *at(const json_t *found, const char *part, const char *name)
{
	return json_object_get(json_object_get(found, part), name);
}

static void judge_device(json_t *list, const json_t *found)
{
	const char *taken = json_string_value(at(found, "backends", "auto"));
	size_t gpus = json_array_size(at(found, "gpu", "devices"));
	if (taken && strcmp(taken, "cpu") != 0)
		say(list, "'--backend auto' takes the plugin %s.", taken);
	else
		say(list,
		    "'--backend auto' takes cpu: device memory is emulated in host memory, and so is a "
		    "link "
		    "if one is asked for. %s",
		    gpus ? "A display device is there, but no plugin for it was taken (see backends)."
		         : "No GPU was found.");
}

#define REFERENCE_BANK_BYTES (192ull * 134258688ull)

static void judge_memory(json_t *list, const json_t *found)
{
	char size[32];
	uint64_t most_bytes = (uint64_t)json_integer_value(at(found, "memory", "lockable_bytes"));
	if (json_is_null(at(found, "memory", "lockable_bytes"))) {
		say(list, "How much memory is free is not known, nor what bank the host tier can hold.");
		return;
	}
	say(list,
	    "The host tier can hold a bank of at most %s, page-locked (80 %% of the memory "
	    "available)%s.",
	    size_format(most_bytes, size, sizeof size),
	    most_bytes < REFERENCE_BANK_BYTES
	        ? ", which is less than the reference sweep needs (192 experts, 24 GiB): 'ufm bench "
	          "--quick' fits, or fewer --experts"
	        : "");
}

json_t *doctor_verdict(const json_t *found)
{
	json_t *list = json_array();
	judge_device(list, found);
	judge_memory(list, found);
	if (!json_is_true(at(found, "disk", "writable")))
		say(list, "The results folder cannot be written here: give 'ufm bench --out' another one.");
	if (json_is_null(at(found, "programs", "gnuplot")))
		say(list, "gnuplot is missing: rows are written, figures are not (package gnuplot-nox).");
	return list;
}
