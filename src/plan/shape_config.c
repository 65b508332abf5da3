/* SPDX-License-Identifier: MIT */
/* What a config.json says, as the shape of a plan. */
#include "plan/shape_int.h"

#include <string.h>

#include "base/status.h"

static ufm_dtype dtype_of(const model_config *m, plan_shape *s)
{
	bool f32 = strcmp(m->dtype, "float32") == 0;
	if (*m->quantised)
		shape_note(s, "It is published quantised (%.40s); here its experts are %s.", m->quantised,
		           f32 ? "f32" : "bf16");
	else if (strcmp(m->dtype, "float16") == 0)
		shape_note(s, "Its float16 experts count as bf16 (ufm info --f16-as bf16).");
	else if (!*m->dtype)
		shape_note(s, "It does not say its type; bf16 is assumed.");
	else if (!f32 && strcmp(m->dtype, "bfloat16") != 0)
		shape_note(s, "Its type is \"%.40s\"; bf16 is assumed.", m->dtype);
	return f32 ? UFM_F32 : UFM_BF16;
}

/* What was taken for what, after what was assumed. */
static void tell(const model_config *m, plan_shape *s)
{
	shape_note(s, "From its config.json: %u routed layers of %s.", m->routed_layers,
	           m->kind == UFM_EXPERT_GATED ? "gated experts" : "experts of two matrices");
	if (*m->layout_note)
		shape_note(s, "%s", m->layout_note);
	if (*m->left_out)
		shape_note(s, "%s", m->left_out);
	if (*m->others)
		shape_note(s, "The routed experts under %.60s are not counted.", m->others);
}

static ufm_status shape_of_model(const model_config *m, plan_shape *out)
{
	plan_shape noted = {.notes = ""}, s;
	shape_given g = {.layers = m->routed_layers,
	                 .experts = m->experts,
	                 .top_k = m->top_k,
	                 .d_model = m->d_model,
	                 .d_hidden = m->d_hidden,
	                 .kind = m->kind,
	                 .dtype = dtype_of(m, &noted)};
	ufm_status status;
	if (*m->shape_obstacle)
		return status_fail(UFM_EFORMAT, "%s", m->shape_obstacle);
	if (*m->top_k_obstacle)
		return status_fail(UFM_EFORMAT, "%s", m->top_k_obstacle);
	status = shape_of_given(&g, &s);
	if (status)
		return status;
	memcpy(s.notes, noted.notes, sizeof s.notes);
	tell(m, &s);
	*out = s;
	return UFM_OK;
}

ufm_status shape_of_config(const char *path, const char *prefix, plan_shape *out)
{
	model_config m;
	ufm_status status = model_config_read(path, prefix, &m);
	if (status)
		return status;
	if (prefix && !*m.part)
		return status_fail(UFM_EFORMAT,
		                   "%s: has no part for --prefix %.100s, expected one named after it (as "
		                   "talker_config), or the weights",
		                   path, prefix);
	return shape_of_model(&m, out) ? status_prefix(UFM_EFORMAT, "%s", path) : UFM_OK;
}
