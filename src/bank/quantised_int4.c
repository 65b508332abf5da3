/* SPDX-License-Identifier: MIT */
/* Experts of 4-bit integers in words of eight: compressed-tensors packs along a row, AWQ and GPTQ keep matrices transposed
 * and pack along the outputs and the inputs. */
#include <string.h>

#include "bank/quantised_int.h"
#include "base/status.h"

#define PER_WORD 8u
/* The nibble of each of eight rows. */
#define IN_ORDER 0x76543210u
#define AWQ_ORDER 0x73625140u
/* GPTQ's zero points are stored with one taken from each word's every nibble, borrows between them included. */
#define GPTQ_ADDEND 0x11111111u

static ufm_status need_words(const quantised *q, const expert_part *part)
{
	const expert_slot *slot = &q->e->form->slots[part->slot];

	if (slot->dtype == CHECKPOINT_I32)
		return UFM_OK;
	return status_fail(UFM_EFORMAT, "tensor \"%.200s\": dtype is %s, expected I32",
	                   slot->first->name, checkpoint_dtype_name(slot->dtype));
}

/* Lets a part be nibbles that are packed along its rows. `by_cols`: words of a column follow each other, else those of
 * eight rows. */
static void set_nibbles(expert_part *part, uint64_t rows, uint64_t cols, bool by_cols,
                        uint32_t order, uint32_t addend)
{
	uint64_t words = quantised_ceil(rows, PER_WORD);

	part->lies.kind = EXTENT_NIBBLES;
	part->lies.rows = (uint32_t)rows;
	part->lies.cols = (uint32_t)cols;
	/* One column is the same either way. */
	by_cols |= cols == 1;
	part->lies.row_stride = by_cols ? 1 : cols;
	part->lies.col_stride = by_cols ? words : 1;
	part->lies.nibble_order = order;
	part->lies.nibble_addend = addend;
	part->lies.nibbles_apart = part->like.format == UFM_FORMAT_U8;
}

/* ---- compressed-tensors */

static ufm_status find_weights(const quantised *q, const config_node **weights)
{
	return quantised_scheme(q->config, "pack-quantized", 4, "int", weights);
}

/* Inputs in another order would need their own index. */
static ufm_status check_int4(const quantised *q)
{
	const config_node *weights;
	ufm_status status = find_weights(q, &weights);

	if (!status)
		status = quantised_need_text(weights, "strategy", "group channel");
	if (!status)
		status = quantised_need_text(weights, "actorder", "static weight");
	return status ? status
	              : quantised_need_bool(weights, "symmetric", !quantised_has(q, EXPERT_ZERO_POINT));
}

/* A zero point's words hold eight rows each. */
static ufm_status add_zero_point(quantised *q, const quantised_matrix *m, uint64_t groups)
{
	expert_part *zero =
		quantised_part(q, m, quantised_role(m, UFM_ROLE_UP_ZERO), EXPERT_ZERO_POINT);
	ufm_status status =
		quantised_need_shape(q, zero, 2, quantised_ceil(m->rows, PER_WORD), groups, 0);

	if (!status)
		status = need_words(q, zero);
	zero->like.format = UFM_FORMAT_U8;
	set_nibbles(zero, m->rows, groups, false, IN_ORDER, 0);
	return status;
}

static ufm_status describe_int4(quantised *q, const quantised_matrix *m)
{
	expert_part *values = quantised_values(q, m, UFM_FORMAT_U4), *scale;
	const expert_slot *slot = quantised_slot(q, m, EXPERT_SCALE);
	uint64_t groups = slot->rank == 2 ? slot->shape[1] : 1;
	const config_node *weights;
	ufm_status status =
		quantised_scales(q, m, EXPERT_SCALE, m->rows, groups, QUANTISED_FLOATS, &scale);

	if (!status)
		status = find_weights(q, &weights);
	if (status)
		return status;
	values->like.group_rows = 1;
	values->like.group_cols = quantised_group(q, scale, m, groups, weights, "group_size", &status);
	if (status || !quantised_has(q, EXPERT_ZERO_POINT))
		return status;
	return add_zero_point(q, m, groups);
}

const quantised_layout quantised_int4 = {.name = "INT4",
                                         .methods = "compressed-tensors",
                                         .has = COMPONENT(PACKED) | COMPONENT(SCALE),
                                         .may = COMPONENT(SHAPE) | COMPONENT(ZERO_POINT),
                                         .values = EXPERT_PACKED,
                                         .dtype = CHECKPOINT_I32,
                                         .rank = 2,
                                         .rows_at = 0,
                                         .rows_times = 1,
                                         .cols_at = 1,
                                         .cols_times = PER_WORD,
                                         .check = check_int4,
                                         .describe = describe_int4};

/* ---- AWQ and GPTQ */

static ufm_status check_awq(const quantised *q)
{
	const config_node *said = q->config->said;
	ufm_status status = quantised_need_number(said, "bits", 4);

	if (!status)
		status = quantised_need_number(said, "w_bit", 4);
	if (!status)
		status = quantised_need_text(said, "version", "gemm");
	if (!status)
		status = quantised_need_text(said, "format", "gemm");
	return status ? status : quantised_need_bool(said, "zero_point", true);
}

/* In activation order each input has its group by g_idx, which is payload: only desc_act tells of it. */
static ufm_status check_order(const config_node *said)
{
	if (!config_find(said, "desc_act"))
		return status_fail(UFM_EFORMAT, "config.json: quantization_config does not say desc_act, "
		                                "expected false: inputs in the order of their groups");
	return quantised_need_bool(said, "desc_act", false);
}

/* `dynamic` gives single modules other settings. */
static ufm_status check_gptq(const quantised *q)
{
	const config_node *said = q->config->said;
	ufm_status status = quantised_need_number(said, "bits", 4);

	if (!status)
		status = check_order(said);
	if (!status)
		status = quantised_need_text(said, "checkpoint_format", "gptq gptq_v2");
	if (!status)
		status = quantised_need_text(said, "format", "gptq gptq_v2");
	if (!status)
		status = quantised_need_text(said, "pack_dtype", "int32");
	return status ? status : quantised_need_none(said, "dynamic");
}

/* Transformers writes checkpoint_format, GPTQModel both. */
static uint32_t gptq_addend(const quantised *q)
{
	const config_node *said = q->config->said;
	const char *key = config_find(said, "checkpoint_format") ? "checkpoint_format" : "format";

	return quantised_says(said, key, "gptq_v2") ? 0 : GPTQ_ADDEND;
}

/* Scales [groups, outputs], and zero points [groups, outputs / 8]: their order in a word and what is added to it. */
static ufm_status add_transposed(quantised *q, const quantised_matrix *m, expert_part *values,
                                 const char *group_key, uint32_t order, uint32_t addend)
{
	expert_part *scale, *zero;
	const expert_slot *slot = quantised_slot(q, m, EXPERT_SCALES);
	uint64_t groups = slot->rank ? slot->shape[0] : 0;
	ufm_status status =
		quantised_scales(q, m, EXPERT_SCALES, groups, m->rows, QUANTISED_FLOATS, &scale);

	if (status)
		return status;
	zero = quantised_part(q, m, quantised_role(m, UFM_ROLE_UP_ZERO), EXPERT_QZEROS);
	status = quantised_need_shape(q, zero, 2, groups, quantised_ceil(m->rows, PER_WORD), 0);
	if (!status)
		status = need_words(q, zero);
	if (status)
		return status;
	values->like.group_rows = 1;
	values->like.group_cols =
		quantised_group(q, scale, m, groups, q->config->said, group_key, &status);
	if (status)
		return status;
	quantised_stride(scale, m->rows, groups, 1, m->rows);
	zero->like.format = UFM_FORMAT_U8;
	set_nibbles(zero, m->rows, groups, true, order, addend);
	return UFM_OK;
}

static ufm_status describe_awq(quantised *q, const quantised_matrix *m)
{
	expert_part *values = quantised_values(q, m, UFM_FORMAT_U4);
	const char *key = config_find(q->config->said, "q_group_size") ? "q_group_size" : "group_size";

	if (m->cols % 2)
		return status_fail(UFM_EFORMAT, "tensor \"%.200s\": has %u inputs, expected an even number",
		                   quantised_slot(q, m, EXPERT_QWEIGHT)->first->name, m->cols);
	set_nibbles(values, m->rows, m->cols, true, AWQ_ORDER, 0);
	return add_transposed(q, m, values, key, AWQ_ORDER, 0);
}

/* A word has eight inputs of one output in order, as its bytes are wanted: only the words lie transposed. */
static ufm_status describe_gptq(quantised *q, const quantised_matrix *m)
{
	expert_part *values = quantised_values(q, m, UFM_FORMAT_U4);

	quantised_stride(values, m->rows, m->cols / PER_WORD, 1, m->rows);
	values->lies.from = UFM_F32; /* four bytes, whatever they are: nothing converts them */
	return add_transposed(q, m, values, "group_size", IN_ORDER, gptq_addend(q));
}

const quantised_layout quantised_awq = {.name = "AWQ",
                                        .methods = "awq",
                                        .has = COMPONENT(QWEIGHT) | COMPONENT(QZEROS) |
                                               COMPONENT(SCALES),
                                        .values = EXPERT_QWEIGHT,
                                        .dtype = CHECKPOINT_I32,
                                        .rank = 2,
                                        .rows_at = 1,
                                        .rows_times = PER_WORD,
                                        .cols_at = 0,
                                        .cols_times = 1,
                                        .check = check_awq,
                                        .describe = describe_awq};

const quantised_layout quantised_gptq = {.name = "GPTQ",
                                         .methods = "gptq",
                                         .has = COMPONENT(QWEIGHT) | COMPONENT(QZEROS) |
                                                COMPONENT(SCALES),
                                         .may = COMPONENT(G_IDX),
                                         .values = EXPERT_QWEIGHT,
                                         .dtype = CHECKPOINT_I32,
                                         .rank = 2,
                                         .rows_at = 1,
                                         .rows_times = 1,
                                         .cols_at = 0,
                                         .cols_times = PER_WORD,
                                         .check = check_gptq,
                                         .describe = describe_gptq};
