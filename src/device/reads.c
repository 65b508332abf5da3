/* SPDX-License-Identifier: MIT */
/* Compares a description with what a backend says that it reads. */
#include "device/reads.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"

static const char *const dtype_names[] = {
	[UFM_F32] = "F32", [UFM_BF16] = "BF16", [UFM_F16] = "F16"};

static bool reads(const ufm_backend *backend, const ufm_part *part)
{
	bool known = backend->formats >> part->format & 1u;

	return known && (part->format || (backend->dtypes >> part->dtype & 1u));
}

static void add(char *text, size_t size, const char *name)
{
	size_t used = strnlen(text, size);

	snprintf(text + used, size - used, "%s%s", used ? ", " : "", name);
}

static ufm_status refuse(const ufm_backend *backend, const ufm_part *part)
{
	char readable[256] = "";

	for (unsigned dtype = UFM_F32; dtype <= UFM_F16; dtype++) {
		if (backend->dtypes >> dtype & 1u)
			add(readable, sizeof readable, dtype_names[dtype]);
	}
	for (unsigned format = 1; format < 64; format++) {
		if (backend->formats >> format & 1u)
			add(readable, sizeof readable, ufm_format_name((ufm_format)format));
	}
	return status_fail(
		UFM_EUNSUPPORTED, "experts in %s: the %s backend reads %s; expected another backend",
		part->format ? ufm_format_name((ufm_format)part->format) : dtype_names[part->dtype],
		backend->name, readable);
}

ufm_status device_reads(const ufm_backend *backend, const ufm_expert_desc *desc)
{
	static const ufm_role matrices[] = {UFM_ROLE_GATE, UFM_ROLE_UP, UFM_ROLE_DOWN};

	for (size_t i = 0; i < sizeof matrices / sizeof matrices[0]; i++) {
		const ufm_part *part = ufm_expert_part(desc, matrices[i]);

		if (part && !reads(backend, part))
			return refuse(backend, part);
	}
	return UFM_OK;
}
