/* SPDX-License-Identifier: MIT */
/* Finds device backends: `cpu`, built in, and plugins (libufm_NAME.so) searched in
 * $UFM_BACKEND_PATH (a list separated by ':'), beside this library, and in the library folder. */
#ifndef UFM_DEVICE_REGISTRY_H
#define UFM_DEVICE_REGISTRY_H

#include <ufm/backend.h>

/* "auto" or NULL: the first plugin that has a device, else cpu (one info line says why). A name that
 * cannot be had is UFM_EBACKEND, with what was tried. Plugins stay loaded. */
ufm_status registry_find(const char *name, const ufm_backend **out);

/* Calls visit once for every backend known and every file tried: verdict "ok", or why not. */
typedef void (*registry_visit)(void *ctx, const char *name, const char *path, const char *verdict);
void registry_list(registry_visit visit, void *ctx);

/* The checks a plugin's table must pass; UFM_EBACKEND says which failed. `path` for the message. */
ufm_status registry_check(const ufm_backend *backend, const char *name, const char *path);

/* backend->peak, which a backend may lack: then UFM_EUNSUPPORTED. */
ufm_status registry_peak(const ufm_backend *backend, ufm_stream *stream, ufm_dtype dtype,
                         ufm_math math, ufm_peak *out);

/* backend->stream_inline, where the backend has it. */
void registry_inline(const ufm_backend *backend, ufm_stream *stream, int on);

/* backend->route_tokens; where the backend has none, the calls that it stands for. */
ufm_status registry_route_tokens(const ufm_backend *backend, ufm_stream *stream,
                                 const ufm_gather_args *gather, const ufm_router_args *route,
                                 const ufm_group_args *group);

extern const ufm_backend cpu_backend;

#endif
