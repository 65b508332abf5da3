/* SPDX-License-Identifier: MIT */
/* Chooses a backend by name, loads plugins, and says exactly why one is refused. */
#include "device/registry.h"

#include <assert.h>
#include <ctype.h>
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/status.h"
#include "device/search.h"

#define FOLDERS_TEXT_BYTES 400

/* Tried first under "auto", and listed even where no file is found. */
static const char known_plugin[] = "cuda";

/* ------------------------------------------------------------------ checks */

#define REQUIRED(function) \
	{ \
#function, offsetof(ufm_backend, function) \
	}

static const struct {
	const char *name;
	size_t offset_bytes;
} required[] = {
	REQUIRED(device_count),
	REQUIRED(device_open),
	REQUIRED(device_close),
	REQUIRED(device_get_info),
	REQUIRED(device_get_memory),
	REQUIRED(mem_reserve),
	REQUIRED(mem_release),
	REQUIRED(mem_map),
	REQUIRED(mem_unmap),
	REQUIRED(host_register),
	REQUIRED(host_unregister),
	REQUIRED(host_view),
	REQUIRED(stream_open),
	REQUIRED(stream_close),
	REQUIRED(stream_sync),
	REQUIRED(stream_wait),
	REQUIRED(event_open),
	REQUIRED(event_close),
	REQUIRED(event_record),
	REQUIRED(event_query),
	REQUIRED(event_sync),
	REQUIRED(event_elapsed),
	REQUIRED(copy),
	REQUIRED(fill),
	REQUIRED(gather),
	REQUIRED(route),
	REQUIRED(experts),
	REQUIRED(combine),
	REQUIRED(hidden_bytes),
	REQUIRED(group),
	REQUIRED(read),
	REQUIRED(copies),
	REQUIRED(adopt),
};

/* What comes after is optional: a plugin of before does without it. */
#define REQUIRED_BYTES offsetof(ufm_backend, peak)

static ufm_status check_functions(const ufm_backend *backend, const char *path)
{
	for (size_t i = 0; i < sizeof required / sizeof required[0]; i++) {
		void (*function)(void);
		memcpy(&function, (const char *)backend + required[i].offset_bytes, sizeof function);
		if (!function)
			return status_fail(UFM_EBACKEND, "%s: function %s is NULL, expected all of backend.h",
			                   path, required[i].name);
	}
	return UFM_OK;
}

ufm_status registry_check(const ufm_backend *backend, const char *name, const char *path)
{
	if (!backend)
		return status_fail(UFM_EBACKEND, "%s: ufm_backend_entry gave no table", path);
	/* In this order: without the right version not even the size can be trusted. */
	if (backend->abi_version != UFM_BACKEND_ABI)
		return status_fail(UFM_EBACKEND, "%s: abi_version is %u, expected %u", path,
		                   backend->abi_version, UFM_BACKEND_ABI);
	if (backend->struct_size < REQUIRED_BYTES)
		return status_fail(UFM_EBACKEND, "%s: struct_size is %u, expected at least %zu", path,
		                   backend->struct_size, REQUIRED_BYTES);
	if (!backend->name || strcmp(backend->name, name) != 0)
		return status_fail(UFM_EBACKEND, "%s: the backend's name is \"%s\", expected \"%s\"", path,
		                   backend->name ? backend->name : "", name);
	return check_functions(backend, path);
}

ufm_status registry_peak(const ufm_backend *backend, ufm_stream *stream, ufm_dtype dtype,
                         ufm_math math, ufm_peak *out)
{
	size_t end = offsetof(ufm_backend, peak) + sizeof backend->peak;

	if (backend->struct_size < end || !backend->peak)
		return status_fail(UFM_EUNSUPPORTED, "backend %s does not say what its device can do",
		                   backend->name);
	return backend->peak(stream, dtype, math, out);
}

void registry_inline(const ufm_backend *backend, ufm_stream *stream, int on)
{
	size_t end = offsetof(ufm_backend, stream_inline) + sizeof backend->stream_inline;

	if (backend->struct_size >= end && backend->stream_inline)
		backend->stream_inline(stream, on);
}

ufm_status registry_route_tokens(const ufm_backend *backend, ufm_stream *stream,
                                 const ufm_gather_args *gather, const ufm_router_args *route,
                                 const ufm_group_args *group)
{
	size_t end = offsetof(ufm_backend, route_tokens) + sizeof backend->route_tokens;

	if (backend->struct_size >= end && backend->route_tokens)
		return backend->route_tokens(stream, gather, route, group);
	ufm_status status = backend->gather(stream, gather);
	if (status == UFM_OK)
		status = backend->route(stream, route);
	return status == UFM_OK && group ? backend->group(stream, group) : status;
}

static ufm_status check_devices(const ufm_backend *backend, const char *path)
{
	uint32_t count = 0;

	assert(backend);
	/* What device_count does not overwrite is the reason. */
	status_fail(UFM_EBACKEND, "it gave no reason");
	ufm_status status = backend->device_count(&count);
	if (status != UFM_OK)
		return status_prefix(UFM_EBACKEND, "%s: no device", path);
	if (count == 0)
		return status_fail(UFM_EBACKEND, "%s: no device: it counts 0", path);
	return UFM_OK;
}

/* ------------------------------------------------------------------ loading */

static void core_fail(const char *line)
{
	status_record("%s", line);
}

static void core_log(ufm_log_level level, const char *line)
{
	if (level == UFM_LOG_WARN)
		log_warn("%s", line);
	else
		log_info("%s", line);
}

static const ufm_backend_core core = {
	.struct_size = sizeof core, .fail = core_fail, .log = core_log};

/* dlopen would wait for the writer of a pipe. */
static ufm_status check_file(const char *path)
{
	int fd;
	uint64_t size_bytes;
	ufm_status status = file_open(path, &fd, &size_bytes);

	if (status)
		return status_prefix(UFM_EBACKEND, "%s", path);
	close(fd);
	return UFM_OK;
}

/* The table of a plugin that passes the checks. *library is open even when it does not, or NULL. */
static ufm_status load_table(const char *name, const char *path, void **library,
                             const ufm_backend **out)
{
	ufm_backend_entry_fn entry;
	ufm_status status = check_file(path);

	*library = NULL;
	if (status)
		return status;
	*library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!*library)
		return status_fail(UFM_EBACKEND, "%s: cannot be loaded: %s", path, dlerror());
	void *symbol = dlsym(*library, "ufm_backend_entry");
	memcpy(&entry, &symbol, sizeof entry);
	if (!entry)
		return status_fail(UFM_EBACKEND, "%s: no symbol ufm_backend_entry", path);
	const ufm_backend *backend = entry(&core);
	status = registry_check(backend, name, path);
	if (status == UFM_OK)
		*out = backend;
	return status;
}

typedef enum outcome {
	OUTCOME_OK,
	OUTCOME_NO_DEVICE, /* a sound plugin, nothing to use */
	OUTCOME_REFUSED,
} outcome;

/* The last error says why not. */
static outcome load_plugin(const char *name, const char *path, const ufm_backend **out)
{
	const ufm_backend *backend = NULL;
	void *library;
	outcome found = OUTCOME_OK;

	if (load_table(name, path, &library, &backend) != UFM_OK)
		found = OUTCOME_REFUSED;
	else if (check_devices(backend, path) != UFM_OK)
		found = OUTCOME_NO_DEVICE;
	if (found == OUTCOME_OK)
		*out = backend;
	else if (library)
		dlclose(library);
	return found;
}

/* The first file of that name; false, with the reason as the last error, when there is none. */
static bool find_file(const char *name, char path[PATH_MAX])
{
	char folder[PATH_MAX], folders[FOLDERS_TEXT_BYTES];
	bool from_path;

	for (uint32_t i = 0; search_folder(i, folder, &from_path); i++) {
		if (search_plugin_path(folder, name, path) && access(path, F_OK) == 0)
			return true;
	}
	status_fail(UFM_EBACKEND, "backend %s: libufm_%s.so not found in %s", name, name,
	            search_describe(folders, sizeof folders));
	return false;
}

/* ------------------------------------------------------------------ choice */

/* A wrong plugin is a warning, a missing device is not. */
static bool try_file(const char *name, const char *path, const ufm_backend **out)
{
	outcome found = load_plugin(name, path, out);

	if (found == OUTCOME_REFUSED)
		log_warn("backend refused: %s", ufm_last_error());
	return found == OUTCOME_OK;
}

/* Other plugins are for those who name their folder. */
static bool try_other_plugins(const ufm_backend **out)
{
	char folder[PATH_MAX], path[PATH_MAX];
	bool from_path;

	for (uint32_t i = 0; search_folder(i, folder, &from_path) && from_path; i++) {
		char name[SEARCH_NAME_MAX] = "";
		while (search_next_plugin(folder, name)) {
			if (strcmp(name, known_plugin) != 0 && search_plugin_path(folder, name, path) &&
			    try_file(name, path, out))
				return true;
		}
	}
	return false;
}

static void find_auto(const ufm_backend **out)
{
	char path[PATH_MAX], why[FOLDERS_TEXT_BYTES + 100];
	bool found = find_file(known_plugin, path) && try_file(known_plugin, path, out);

	if (!found) {
		snprintf(why, sizeof why, "%s", ufm_last_error());
		found = try_other_plugins(out);
	}
	if (!found) {
		*out = &cpu_backend;
		log_info("backend cpu; %s", why);
	}
}

static bool is_name(const char *name)
{
	size_t length = strlen(name);

	for (size_t i = 0; i < length; i++) {
		if (!isalnum((unsigned char)name[i]) && name[i] != '_')
			return false;
	}
	return length > 0 && length < SEARCH_NAME_MAX;
}

ufm_status registry_find(const char *name, const ufm_backend **out)
{
	char path[PATH_MAX];

	if (!name || strcmp(name, "auto") == 0) {
		find_auto(out);
		return UFM_OK;
	}
	if (strcmp(name, cpu_backend.name) == 0) {
		*out = &cpu_backend;
		return UFM_OK;
	}
	if (!is_name(name))
		return status_fail(UFM_EBACKEND,
		                   "backend \"%s\": expected auto, cpu or the name of a plugin (letters, "
		                   "digits and _)",
		                   name);
	/* The first file found must do: to pass over a wrong one would hide that it is wrong. */
	if (!find_file(name, path) || load_plugin(name, path, out) != OUTCOME_OK)
		return UFM_EBACKEND;
	return UFM_OK;
}

/* ------------------------------------------------------------------ listing */

static void list_file(const char *name, const char *path, registry_visit visit, void *ctx)
{
	const ufm_backend *backend;

	const char *verdict = "ok";
	size_t length = strlen(path);

	if (load_plugin(name, path, &backend) != OUTCOME_OK) {
		verdict = ufm_last_error();
		/* The path is told apart. */
		if (strncmp(verdict, path, length) == 0 && strncmp(verdict + length, ": ", 2) == 0)
			verdict += length + 2;
	}
	visit(ctx, name, path, verdict);
}

void registry_list(registry_visit visit, void *ctx)
{
	char folder[PATH_MAX], path[PATH_MAX], folders[FOLDERS_TEXT_BYTES];
	bool from_path, known_seen = false;

	visit(ctx, cpu_backend.name, "built in", "ok");
	for (uint32_t i = 0; search_folder(i, folder, &from_path); i++) {
		char name[SEARCH_NAME_MAX] = "";
		while (search_next_plugin(folder, name)) {
			known_seen |= strcmp(name, known_plugin) == 0;
			if (search_plugin_path(folder, name, path))
				list_file(name, path, visit, ctx);
		}
	}
	if (!known_seen)
		visit(ctx, known_plugin, search_describe(folders, sizeof folders), "not found");
}
