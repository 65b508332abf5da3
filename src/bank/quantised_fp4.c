/* SPDX-License-Identifier: MIT */
/* Experts of 4-bit floats: MXFP4 as gpt-oss has it, and NVFP4 in the two ways that it is published. */
#include <string.h>

#include "bank/quantised_int.h"
#include "base/status.h"

#define MXFP4_GROUP 32u
#define NVFP4_GROUP 16u

/* ---- MXFP4 */

/* Which rows are the gate's no tensor says. */
static ufm_status check_mxfp4(const quantised *q)
{
	if (strcmp(q->model->model_type, "gpt_oss") == 0)
		return UFM_OK;
	return status_fail(
		UFM_EFORMAT,
		"config.json: model_type is \"%.60s\", expected gpt_oss: of others it is not "
		"known which rows of MXFP4 blocks are the gate's",
		q->model->model_type);
}

/* Of a tensor that gate and up share, gate has the even rows and up the odd ones. */
static void alternate(const quantised_matrix *m, expert_part *part, uint64_t row_elements,
                      uint64_t element_bytes)
{
	if (!m->shared)
		return;
	quantised_stride(part, m->rows, row_elements, 2 * row_elements, 1);
	part->offset_bytes = m->second ? row_elements * element_bytes : 0;
}

static ufm_status add_bias(quantised *q, const quantised_matrix *m)
{
	expert_part *bias = quantised_part(q, m, (ufm_role)(m->role + 1), EXPERT_BIAS);
	uint64_t element_bytes;
	ufm_status status = quantised_need_shape(q, bias, 1, m->file_rows, 0, 0);

	if (!status)
		status = quantised_type(q, bias, QUANTISED_FLOATS, &element_bytes);
	if (status)
		return status;
	alternate(m, bias, 1, element_bytes);
	/* Biases have no elements of 16 bits but BF16. */
	if (bias->like.dtype == UFM_F16)
		bias->like.dtype = UFM_F32;
	q->e->biased = true;
	return UFM_OK;
}

static ufm_status describe_mxfp4(quantised *q, const quantised_matrix *m)
{
	uint64_t groups = m->cols / MXFP4_GROUP;
	expert_part *values = quantised_values(q, m, UFM_FORMAT_E2M1), *scale;
	ufm_status status = quantised_need_shape(q, values, 3, m->file_rows, groups, MXFP4_GROUP / 2);

	if (status)
		return status;
	values->like.group_rows = 1;
	values->like.group_cols = MXFP4_GROUP;
	alternate(m, values, m->cols / 2, 1);
	status =
		quantised_scales(q, m, EXPERT_SCALES, m->file_rows, groups, 1u << CHECKPOINT_U8, &scale);
	if (status)
		return status;
	alternate(m, scale, groups, 1);
	return quantised_has(q, EXPERT_BIAS) ? add_bias(q, m) : UFM_OK;
}

const quantised_layout quantised_mxfp4 = {.name = "MXFP4",
                                          .methods = "mxfp4",
                                          .fused = true,
                                          .has = COMPONENT(BLOCKS) | COMPONENT(SCALES),
                                          .may = COMPONENT(BIAS),
                                          .values = EXPERT_BLOCKS,
                                          .dtype = CHECKPOINT_U8,
                                          .rank = 3,
                                          .rows_at = 0,
                                          .rows_times = 1,
                                          .cols_at = 1,
                                          .cols_times = MXFP4_GROUP,
                                          .check = check_mxfp4,
                                          .describe = describe_mxfp4};

/* ---- NVFP4 */

static ufm_status check_nvfp4(const quantised *q)
{
	return quantised_need_text(q->config->said, "quant_algo", "NVFP4");
}

static ufm_status check_packed(const quantised *q)
{
	const config_node *weights;
	ufm_status status = quantised_scheme(q->config, "nvfp4-pack-quantized", 4, "float", &weights);

	return status ? status : quantised_need_number(weights, "group_size", NVFP4_GROUP);
}

static ufm_status describe_nvfp4(quantised *q, const quantised_matrix *m)
{
	bool packed = quantised_has(q, EXPERT_GLOBAL_SCALE);
	expert_part *values = quantised_values(q, m, UFM_FORMAT_E2M1), *scale;
	ufm_status status;

	values->like.group_rows = 1;
	values->like.group_cols = NVFP4_GROUP;
	status = quantised_scales(q, m, EXPERT_SCALE, m->rows, quantised_ceil(m->cols, NVFP4_GROUP),
	                          1u << CHECKPOINT_F8_E4M3, &scale);
	if (status)
		return status;
	return quantised_factor(q, m, packed ? EXPERT_GLOBAL_SCALE : EXPERT_SCALE_2, packed);
}

/* modelopt multiplies by its second scale … */
const quantised_layout quantised_nvfp4 = {.name = "NVFP4",
                                          .methods = "modelopt",
                                          .has = COMPONENT(WEIGHT) | COMPONENT(SCALE) |
                                                 COMPONENT(SCALE_2),
                                          .may = COMPONENT(INPUT_SCALE),
                                          .values = EXPERT_WEIGHT,
                                          .dtype = CHECKPOINT_U8,
                                          .rank = 2,
                                          .rows_at = 0,
                                          .rows_times = 1,
                                          .cols_at = 1,
                                          .cols_times = 2,
                                          .check = check_nvfp4,
                                          .describe = describe_nvfp4};

/* … and compressed-tensors divides by its global one. */
const quantised_layout quantised_nvfp4_packed = {
	.name = "NVFP4",
	.methods = "compressed-tensors",
	.has = COMPONENT(PACKED) | COMPONENT(SCALE) | COMPONENT(GLOBAL_SCALE),
	.may = COMPONENT(INPUT_GLOBAL_SCALE) | COMPONENT(SHAPE),
	.values = EXPERT_PACKED,
	.dtype = CHECKPOINT_U8,
	.rank = 2,
	.rows_at = 0,
	.rows_times = 1,
	.cols_at = 1,
	.cols_times = 2,
	.check = check_packed,
	.describe = describe_nvfp4};
