/* SPDX-License-Identifier: MIT */
/* The standard layouts of experts. */
#include "bank/bank_int.h"
#include "base/status.h"

/* How the matrices of an expert are stored, and its biases. */
typedef struct storage {
	ufm_part matrix; /* dtype, format and groups alone */
	ufm_part scale;  /* dtype and format alone; neither: none */
	ufm_dtype bias;
} storage;

static void append(ufm_expert_desc *desc, ufm_role role, const ufm_part *stored)
{
	ufm_part part = *stored;

	part.role = role;
	bank_append_part(desc, &part);
}

static void append_matrix(ufm_expert_desc *desc, ufm_role role, const storage *s)
{
	append(desc, role, &s->matrix);
	if (s->scale.dtype || s->scale.format)
		append(desc, (ufm_role)(UFM_ROLE_UP_SCALE + (role - UFM_ROLE_UP) / 2), &s->scale);
}

static void append_all(ufm_expert_desc *desc, ufm_expert_kind kind, const storage *s)
{
	const ufm_part bias = {.dtype = s->bias};

	if (kind == UFM_EXPERT_GATED)
		append_matrix(desc, UFM_ROLE_GATE, s);
	append_matrix(desc, UFM_ROLE_UP, s);
	if (kind == UFM_EXPERT_MLP_BIAS)
		append(desc, UFM_ROLE_UP_BIAS, &bias);
	append_matrix(desc, UFM_ROLE_DOWN, s);
	if (kind == UFM_EXPERT_MLP_BIAS)
		append(desc, UFM_ROLE_DOWN_BIAS, &bias);
}

static ufm_status check_asked(ufm_expert_desc *desc, const ufm_expert_desc *made,
                              ufm_expert_kind kind)
{
	ufm_status status = status_need(desc, "desc", "a ufm_expert_desc");

	if (!status)
		status = status_check_info(desc, "ufm_expert_desc");
	if (!status)
		status = bank_check_dimensions(made);
	if (status)
		return status;
	if (kind != UFM_EXPERT_MLP && kind != UFM_EXPERT_MLP_BIAS && kind != UFM_EXPERT_GATED)
		return status_fail(UFM_EINVAL, "expert kind is %d, expected 1 … 3", (int)kind);
	return UFM_OK;
}

static ufm_status make(ufm_expert_desc *desc, ufm_expert_kind kind, uint32_t d_model,
                       uint32_t d_hidden, const storage *s)
{
	ufm_expert_desc made;
	ufm_status status;

	ufm_struct_init(&made, sizeof made);
	made.d_model = d_model;
	made.d_hidden = d_hidden;
	made.activation = kind == UFM_EXPERT_GATED ? UFM_ACT_SILU : UFM_ACT_GELU;
	status = check_asked(desc, &made, kind);
	if (status)
		return status;
	append_all(&made, kind, s);
	status = bank_check_desc(&made);
	return status ? status : status_write_info(desc, &made, sizeof made, "ufm_expert_desc");
}

ufm_status ufm_expert_desc_init(ufm_expert_desc *desc, ufm_expert_kind kind, uint32_t d_model,
                                uint32_t d_hidden, ufm_dtype dtype)
{
	const storage plain = {.matrix.dtype = dtype, .bias = dtype == UFM_F16 ? UFM_F32 : dtype};

	return make(desc, kind, d_model, d_hidden, &plain);
}

ufm_status ufm_expert_desc_init_format(ufm_expert_desc *desc, ufm_expert_kind kind,
                                       uint32_t d_model, uint32_t d_hidden, ufm_format format)
{
	storage s = {.matrix.format = (uint32_t)format, .bias = UFM_F32};

	if (format == UFM_FORMAT_E4M3) {
		s.matrix.group_rows = s.matrix.group_cols = 128;
		s.scale.dtype = UFM_F32;
	} else if (format == UFM_FORMAT_E2M1) {
		s.matrix.group_rows = 1, s.matrix.group_cols = 32;
		s.scale.format = UFM_FORMAT_E8M0;
	} else if (format == UFM_FORMAT_U4) {
		s.matrix.group_rows = 1, s.matrix.group_cols = 128;
		s.scale.dtype = UFM_F16;
	}
	return make(desc, kind, d_model, d_hidden, &s);
}
