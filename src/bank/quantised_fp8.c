/* SPDX-License-Identifier: MIT */
/* Experts of 8-bit floats: one scale for a matrix, for a row, or for a block of both. */
#include <string.h>

#include "bank/quantised_int.h"
#include "base/status.h"

/* Bytes are exponents: no file has other scales in them. */
#define SCALES (QUANTISED_FLOATS | 1u << CHECKPOINT_F8_E8M0 | 1u << CHECKPOINT_U8)
#define ASIDE (COMPONENT(INPUT_SCALE) | COMPONENT(ACTIVATION_SCALE))
#define USUAL_BLOCK 128u

/* How the scales of a matrix are shared. */
typedef enum sharing { BY_TENSOR, BY_ROW, BY_BLOCK, SHARINGS } sharing;

typedef struct fp8_scales {
	const expert_slot *slot;
	uint64_t rows, cols;             /* of the tensor */
	uint32_t block_rows, block_cols; /* as config.json says, or as usual */
	bool said;
	uint64_t element_bytes;
} fp8_scales;

static ufm_status check_compressed(const quantised *q)
{
	const config_node *weights;

	return quantised_scheme(q->config, "float-quantized naive-quantized", 8, "float", &weights);
}

/* Scales of activations change nothing where only weights are quantised, as here. */
static ufm_status check(const quantised *q)
{
	if (strcmp(q->config->method, "compressed-tensors") == 0)
		return check_compressed(q);
	if (strcmp(q->config->method, "modelopt") == 0)
		return quantised_need_text(q->config->said, "quant_algo",
		                           "FP8 FP8_PER_CHANNEL_PER_TOKEN FP8_PB_WO");
	return UFM_OK;
}

/* ---- what config.json says of blocks */

static const config_node *find_block(const quantised *q, const char **key)
{
	const config_node *weights;

	*key = "weight_block_size";
	if (strcmp(q->config->method, "compressed-tensors") != 0)
		return config_find(q->config->said, *key);
	*key = "block_structure";
	if (quantised_scheme(q->config, "float-quantized naive-quantized", 8, "float", &weights) ||
	    !weights)
		return NULL;
	return config_find(weights, *key);
}

static ufm_status read_block(const quantised *q, fp8_scales *s)
{
	const char *key;
	const config_node *list = find_block(q, &key);
	char words[64];

	s->block_rows = s->block_cols = USUAL_BLOCK;
	s->said = list != NULL;
	if (!list)
		return UFM_OK;
	if (list->kind == CONFIG_LIST && list->count == 2 &&
	    config_whole(config_item(list, 0), 1, 1u << 20, &s->block_rows) &&
	    config_whole(config_item(list, 1), 1, 1u << 20, &s->block_cols))
		return UFM_OK;
	return status_fail(UFM_EFORMAT,
	                   "config.json: quantization_config has %s %s, expected rows and columns", key,
	                   config_words(list, words, sizeof words));
}

/* ---- what the tensor has */

static ufm_status fail_shape(const fp8_scales *s, const char *expected)
{
	char found[96];

	return status_fail(
		UFM_EFORMAT, "tensor \"%.200s\": shape is %s, expected %s", s->slot->first->name,
		checkpoint_shape_text(s->slot->rank, s->slot->shape, found, sizeof found), expected);
}

/* Rows and columns, whatever dimensions of one element are left out. */
static ufm_status read_shape(const quantised *q, fp8_scales *s)
{
	uint32_t at = q->e->fused, rank = s->slot->rank - at;
	const uint64_t *shape = s->slot->shape + at;

	if (s->slot->rank < at || rank > 2 || (at && s->slot->shape[0] != q->e->experts))
		return fail_shape(s, "[experts, rows, columns], or the latter of single experts");
	s->rows = rank ? shape[0] : 1;
	s->cols = rank == 2 ? shape[1] : 1;
	return UFM_OK;
}

/* One for each of gate and up. */
static bool is_halves(const fp8_scales *s, const quantised_matrix *m)
{
	return m->shared && s->rows == 2 && m->file_rows != 2;
}

static bool fits_blocks(const fp8_scales *s, const quantised_matrix *m)
{
	bool halves = is_halves(s, m) && m->file_rows <= s->block_rows;

	return s->cols == quantised_ceil(m->cols, s->block_cols) &&
	       (halves || s->rows == quantised_ceil(m->file_rows, s->block_rows));
}

static sharing find_sharing(const fp8_scales *s, const quantised_matrix *m)
{
	bool one = s->rows == 1 || is_halves(s, m);

	if (s->said)
		return fits_blocks(s, m) ? BY_BLOCK : SHARINGS;
	if (s->cols == 1 && one)
		return BY_TENSOR;
	if (s->cols == 1 && s->rows == m->file_rows)
		return BY_ROW;
	return fits_blocks(s, m) ? BY_BLOCK : SHARINGS;
}

/* What compressed-tensors calls it must be what it is. */
static ufm_status check_strategy(const quantised *q, sharing found)
{
	static const char *const names[] = {"tensor", "channel", "block"};
	const config_node *weights;
	ufm_status status;

	if (strcmp(q->config->method, "compressed-tensors") != 0)
		return UFM_OK;
	status = quantised_scheme(q->config, "float-quantized naive-quantized", 8, "float", &weights);
	return status ? status : quantised_need_text(weights, "strategy", names[found]);
}

/* ---- parts */

static uint32_t capped(uint32_t group, uint32_t count)
{
	return group < count ? group : count;
}

/* Blocks count from the first row of a shared tensor: up's must begin with one of its own. */
static ufm_status set_block(const fp8_scales *s, const quantised_matrix *m, expert_part *values,
                            expert_part *scale)
{
	uint64_t before = s->rows / 2;

	if (m->shared && !is_halves(s, m) && m->rows % s->block_rows)
		return status_fail(UFM_EFORMAT,
		                   "tensor \"%.200s\": gate and up of %u rows share a block of %u rows, "
		                   "which is not understood",
		                   s->slot->first->name, m->rows, s->block_rows);
	values->like.group_rows = capped(s->block_rows, m->rows);
	values->like.group_cols = capped(s->block_cols, m->cols);
	scale->offset_bytes = m->second ? before * s->cols * s->element_bytes : 0;
	return UFM_OK;
}

static ufm_status set_groups(const fp8_scales *s, const quantised_matrix *m, sharing found,
                             expert_part *values, expert_part *scale)
{
	if (found == BY_BLOCK)
		return set_block(s, m, values, scale);
	values->like.group_rows = found == BY_ROW ? 1 : m->rows;
	values->like.group_cols = m->cols;
	if (m->second)
		scale->offset_bytes = s->rows / 2 * s->element_bytes;
	return UFM_OK;
}

static ufm_status describe(quantised *q, const quantised_matrix *m)
{
	expert_component c = quantised_has(q, EXPERT_SCALE) ? EXPERT_SCALE : EXPERT_SCALE_INV;
	expert_part *values = quantised_values(q, m, UFM_FORMAT_E4M3);
	expert_part *scale = quantised_part(q, m, quantised_role(m, UFM_ROLE_UP_SCALE), c);
	fp8_scales s = {.slot = quantised_slot(q, m, c)};
	sharing found;
	ufm_status status = quantised_type(q, scale, SCALES, &s.element_bytes);

	if (!status)
		status = read_block(q, &s);
	if (!status)
		status = read_shape(q, &s);
	if (status)
		return status;
	found = find_sharing(&s, m);
	if (found == SHARINGS)
		return fail_shape(&s, s.said ? "one for each block of quantization_config"
		                             : "one scale, one a row, or one for 128 by 128 weights");
	status = check_strategy(q, found);
	return status ? status : set_groups(&s, m, found, values, scale);
}

#define FP8(name_, methods_, fused_, scale_) \
	const quantised_layout name_ = {.name = "FP8", \
	                                .methods = (methods_), \
	                                .fused = (fused_), \
	                                .has = COMPONENT(WEIGHT) | COMPONENT(scale_), \
	                                .may = ASIDE, \
	                                .values = EXPERT_WEIGHT, \
	                                .dtype = CHECKPOINT_F8_E4M3, \
	                                .rank = 2, \
	                                .rows_at = 0, \
	                                .rows_times = 1, \
	                                .cols_at = 1, \
	                                .cols_times = 1, \
	                                .check = check, \
	                                .describe = describe}

FP8(quantised_fp8, "fp8 compressed-tensors modelopt", false, SCALE);
FP8(quantised_fp8_blocks, "fp8", false, SCALE_INV);
FP8(quantised_fp8_fused, "fp8 compressed-tensors modelopt", true, SCALE);
FP8(quantised_fp8_blocks_fused, "fp8", true, SCALE_INV);
