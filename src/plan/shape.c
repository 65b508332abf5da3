/* SPDX-License-Identifier: MIT */
/* Shapes from numbers, and from whatever lies at a path. */
#include "plan/shape.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "bank/bank.h"
#include "base/alloc.h"
#include "base/path.h"
#include "base/status.h"
#include "base/text.h"
#include "checkpoint/checkpoint.h"
#include "plan/shape_int.h"
#include "trace/trace.h"

ufm_status shape_check(const plan_shape *s)
{
	uint64_t all = (uint64_t)s->bank.layers * s->bank.experts;
	if (all == 0)
		return status_fail(UFM_EINVAL, "layers x experts: found 0, expected at least 1");
	if (all > SHAPE_EXPERTS_MAX)
		return status_fail(UFM_EINVAL, "layers x experts: found %llu, expected at most %u",
		                   (unsigned long long)all, SHAPE_EXPERTS_MAX);
	if (s->bank.experts > TRACE_EXPERTS_MAX)
		return status_fail(UFM_EINVAL, "experts: found %u, expected at most %u", s->bank.experts,
		                   TRACE_EXPERTS_MAX);
	if (s->top_k == 0 || s->top_k > s->bank.experts)
		return status_fail(UFM_EINVAL, "top-k: found %u, expected 1 to %u, the number of experts",
		                   s->top_k, s->bank.experts);
	return UFM_OK;
}

ufm_status shape_of_given(const shape_given *g, plan_shape *out)
{
	plan_shape s = {.name = "the given shape",
	                .top_k = g->top_k,
	                .bank = {.layers = g->layers,
	                         .experts = g->experts,
	                         .desc = {.struct_size = sizeof(ufm_expert_desc)}}};
	ufm_status status = shape_check(&s);
	if (!status)
		status = ufm_expert_desc_init(&s.bank.desc, g->kind, g->d_model, g->d_hidden, g->dtype);
	if (status)
		return status;
	s.bank.bank_bytes = (uint64_t)g->layers * g->experts * s.bank.desc.expert_bytes;
	*out = s;
	return UFM_OK;
}

ufm_status shape_describe(plan_shape *s, const ufm_expert_desc *desc)
{
	ufm_expert_desc read;
	ufm_status status = bank_read_desc(desc, &read);
	if (status)
		return status;
	if (read.d_model != s->bank.desc.d_model || read.d_hidden != s->bank.desc.d_hidden)
		return status_fail(UFM_EINVAL, "expert description: %u x %u, expected %u x %u",
		                   read.d_model, read.d_hidden, s->bank.desc.d_model,
		                   s->bank.desc.d_hidden);
	s->bank.desc = read;
	s->bank.bank_bytes = (uint64_t)s->bank.layers * s->bank.experts * read.expert_bytes;
	return UFM_OK;
}

double shape_parameters(const plan_shape *s)
{
	double parameters = 0;
	for (uint32_t i = 0; i < s->bank.desc.part_count; i++) {
		const ufm_part *part = &s->bank.desc.parts[i];
		if (part->role < UFM_ROLE_UP_SCALE)
			parameters += (double)part->rows * part->cols;
	}
	return parameters;
}

void shape_note(plan_shape *s, const char *format, ...)
{
	size_t used = strlen(s->notes);
	va_list args;
	if (used + 1 >= sizeof s->notes || !*format)
		return;
	if (used)
		s->notes[used++] = ' ';
	va_start(args, format);
	vsnprintf(s->notes + used, sizeof s->notes - used, format, args);
	va_end(args);
	if (used && !s->notes[used])
		s->notes[used - 1] = '\0';
}

/* ---- which of them a path is */

#define PATH_BYTES 4200

static bool none_there(void)
{
	return errno == ENOENT || errno == ENOTDIR;
}

/* What cannot be examined is there: whoever reads it says why it cannot be. */
static bool exists(const char *folder, const char *name)
{
	char path[PATH_BYTES];
	struct stat st;
	int length = snprintf(path, sizeof path, "%s/%s", folder, name);
	if (length <= 0 || (size_t)length >= sizeof path)
		return false;
	return stat(path, &st) == 0 || !none_there();
}

/* A folder from which weights are still missing: a config.json, and no checkpoint. */
static bool is_config_only(const char *folder)
{
	return exists(folder, "config.json") && !exists(folder, "model.safetensors") &&
	       !exists(folder, "model.safetensors.index.json") && !checkpoint_holds_single(folder);
}

/* Any .json file but an index is a model's config, whatever its name. */
static ufm_status is_config(const char *path, bool *out)
{
	model_config m;
	ufm_status status = UFM_OK;
	*out = text_ends_with(path, ".json") && !text_ends_with(path, ".index.json");
	if (*out && !text_ends_with(path, "config.json")) {
		status = model_config_read(path, NULL, &m);
		*out = !status && !m.is_index;
	}
	return status;
}

/* Weights that cannot be read, or that are of no use without it, may have a config.json beside them that says
 * everything, but not of a tower that was asked for by the weights' names. */
static ufm_status from_weights(const char *path, const char *folder, const char *prefix,
                               plan_shape *out)
{
	char why[256], config[PATH_BYTES];
	ufm_status status = shape_of_weights(path, prefix, out);
	if (!status || status == UFM_ENOMEM || prefix || !exists(folder, "config.json"))
		return status;
	snprintf(why, sizeof why, "%s", ufm_last_error());
	snprintf(config, sizeof config, "%s/config.json", folder);
	if (shape_of_config(config, NULL, out))
		return status_prefix(status, "%s; nor can it be planned without", why);
	shape_note(out, "The weights beside it were left aside: %s.", why);
	return UFM_OK;
}

static ufm_status from_folder(const char *folder, const char *prefix, plan_shape *out)
{
	char config[PATH_BYTES];
	if (!is_config_only(folder))
		return from_weights(folder, folder, prefix, out);
	snprintf(config, sizeof config, "%s/config.json", folder);
	return shape_of_config(config, prefix, out);
}

static ufm_status from_file(const char *path, const char *prefix, plan_shape *out)
{
	bool from_config;
	ufm_status status = is_config(path, &from_config);
	if (status || from_config)
		return status ? status : shape_of_config(path, prefix, out);
	char *folder = path_folder(path);
	status = folder ? from_weights(path, folder, prefix, out) : UFM_ENOMEM;
	alloc_free(folder);
	return status;
}

ufm_status shape_of_path(const char *path, const char *prefix, plan_shape *out)
{
	struct stat st;
	plan_shape s;
	ufm_status status;
	if (stat(path, &st) != 0)
		return status_fail(UFM_EFILE, "%s: %s", path,
		                   none_there() ? "there is no such file or folder" : strerror(errno));
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		return status_fail(UFM_EFILE, "%s: is not a regular file", path);
	status = S_ISDIR(st.st_mode) ? from_folder(path, prefix, &s) : from_file(path, prefix, &s);
	if (status)
		return status;
	snprintf(s.name, sizeof s.name, "%.150s", path);
	*out = s;
	return UFM_OK;
}
