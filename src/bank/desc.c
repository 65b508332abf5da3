/* SPDX-License-Identifier: MIT */
/* An expert's description, and what makes one computable. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>

#include "bank/bank_int.h"
#include "base/dtype.h"
#include "base/status.h"
#include "format/format.h"

#define ROLE_COUNT (UFM_ROLE_DOWN_FACTOR + 1)

const char *bank_role_name(ufm_role role)
{
	static const char *const names[ROLE_COUNT] = {
		[UFM_ROLE_UP] = "up",
		[UFM_ROLE_UP_BIAS] = "up bias",
		[UFM_ROLE_GATE] = "gate",
		[UFM_ROLE_GATE_BIAS] = "gate bias",
		[UFM_ROLE_DOWN] = "down",
		[UFM_ROLE_DOWN_BIAS] = "down bias",
		[UFM_ROLE_UP_SCALE] = "up scale",
		[UFM_ROLE_GATE_SCALE] = "gate scale",
		[UFM_ROLE_DOWN_SCALE] = "down scale",
		[UFM_ROLE_UP_ZERO] = "up zero",
		[UFM_ROLE_GATE_ZERO] = "gate zero",
		[UFM_ROLE_DOWN_ZERO] = "down zero",
		[UFM_ROLE_UP_FACTOR] = "up factor",
		[UFM_ROLE_GATE_FACTOR] = "gate factor",
		[UFM_ROLE_DOWN_FACTOR] = "down factor",
	};

	return (unsigned)role < ROLE_COUNT && names[role] ? names[role] : "unknown role";
}

typedef enum role_kind { MATRIX, BIAS, SCALE, ZERO, FACTOR } role_kind;

/* What a role is, and the matrix that it is about. */
static role_kind kind_of_role(ufm_role role, ufm_role *matrix)
{
	static const ufm_role matrices[] = {UFM_ROLE_UP, UFM_ROLE_GATE, UFM_ROLE_DOWN};
	unsigned at = (unsigned)role - UFM_ROLE_UP, beside = (unsigned)role - UFM_ROLE_UP_SCALE;

	if (role < UFM_ROLE_UP_SCALE) {
		*matrix = matrices[at / 2];
		return at % 2 ? BIAS : MATRIX;
	}
	*matrix = matrices[beside % 3];
	return (role_kind)(SCALE + (int)(beside / 3));
}

static uint32_t groups_of(uint32_t count, uint32_t group)
{
	return group ? count / group + (count % group != 0) : 0;
}

void bank_role_shape(const ufm_expert_desc *desc, ufm_role role, uint32_t *rows, uint32_t *cols)
{
	ufm_role matrix;
	role_kind kind = kind_of_role(role, &matrix);
	const ufm_part *part = ufm_expert_part(desc, matrix);

	*rows = matrix == UFM_ROLE_DOWN ? desc->d_model : desc->d_hidden;
	*cols = matrix == UFM_ROLE_DOWN ? desc->d_hidden : desc->d_model;
	if (kind == BIAS)
		*cols = 1;
	if (kind == FACTOR)
		*rows = *cols = 1;
	if (kind == SCALE || kind == ZERO) {
		*rows = groups_of(*rows, part ? part->group_rows : 0);
		*cols = groups_of(*cols, part ? part->group_cols : 0);
	}
}

static uint64_t part_end(const ufm_part *part)
{
	return part->offset_bytes + format_part_bytes(part);
}

void bank_append_part(ufm_expert_desc *desc, const ufm_part *like)
{
	ufm_part *part = &desc->parts[desc->part_count++];

	*part = *like;
	bank_role_shape(desc, part->role, &part->rows, &part->cols);
	part->offset_bytes = bank_round_up(desc->expert_bytes, BANK_PART_ALIGN);
	desc->expert_bytes = part_end(part);
	desc->block_bytes = bank_round_up(desc->expert_bytes, BANK_BLOCK_ALIGN);
}

static ufm_status check_dimension(const char *name, uint32_t value)
{
	if (value < 1 || value > BANK_DIMENSION_MAX)
		return status_fail(UFM_EINVAL, "%s is %u, expected 1 … %u", name, value,
		                   BANK_DIMENSION_MAX);
	return UFM_OK;
}

ufm_status bank_check_dimensions(const ufm_expert_desc *desc)
{
	ufm_status status = check_dimension("d_model", desc->d_model);

	return status ? status : check_dimension("d_hidden", desc->d_hidden);
}

const ufm_part *ufm_expert_part(const ufm_expert_desc *desc, ufm_role role)
{
	for (uint32_t i = 0; desc && i < desc->part_count && i < UFM_PARTS_MAX; i++) {
		if (desc->parts[i].role == role)
			return &desc->parts[i];
	}
	return NULL;
}

/* What a part of a kind may be stored as. */
static uint32_t uses_of_kind(role_kind kind)
{
	switch (kind) {
	case MATRIX:
		return FORMAT_WEIGHTS | FORMAT_SCALED_WEIGHTS;
	case SCALE:
		return FORMAT_SCALES;
	case ZERO:
		return FORMAT_ZEROS;
	case BIAS:
	case FACTOR:
		break;
	}
	return 0;
}

static ufm_status fail_part(const ufm_expert_desc *desc, uint32_t index, const char *found,
                            const char *expected)
{
	return status_fail(UFM_EINVAL, "part %u (%s): %s, expected %s", index,
	                   bank_role_name(desc->parts[index].role), found, expected);
}

static ufm_status check_plain(const ufm_expert_desc *desc, uint32_t index, role_kind kind)
{
	const ufm_part *part = &desc->parts[index];
	char found[32];

	snprintf(found, sizeof found, "dtype is %u", (unsigned)part->dtype);
	if (kind == ZERO)
		return fail_part(desc, index, "format is plain", "UFM_FORMAT_U8");
	if (kind == FACTOR && part->dtype != UFM_F32)
		return fail_part(desc, index, found, "UFM_F32");
	if (kind == BIAS && !dtype_is_computed(part->dtype))
		return fail_part(desc, index, found, "UFM_F32 or UFM_BF16");
	if (!dtype_is_token(part->dtype))
		return fail_part(desc, index, found, "UFM_F32, UFM_BF16 or UFM_F16");
	return UFM_OK;
}

static ufm_status check_coded(const ufm_expert_desc *desc, uint32_t index, role_kind kind)
{
	const ufm_part *part = &desc->parts[index];
	const format_info *info = format_find(part->format);
	char found[64];

	if (!info)
		return status_fail(UFM_EUNSUPPORTED, "part %u (%s): format is %u, which is not known here",
		                   index, bank_role_name(part->role), part->format);
	snprintf(found, sizeof found, "format is %s", info->name);
	if (!(info->uses & uses_of_kind(kind)))
		return fail_part(desc, index, found, "one that such a part may have");
	snprintf(found, sizeof found, "dtype is %u", (unsigned)part->dtype);
	if (part->dtype)
		return fail_part(desc, index, found, "0 beside a format");
	if (!format_row_bytes(part))
		return status_fail(
			UFM_EINVAL, "part %u (%s): %u columns, expected a multiple of the %u of a %s block",
			index, bank_role_name(part->role), part->cols, info->elements, info->name);
	return UFM_OK;
}

/* Groups say where scales are, and both are there or neither is. */
static ufm_status check_groups(const ufm_expert_desc *desc, uint32_t index, role_kind kind,
                               ufm_role matrix)
{
	const ufm_part *part = &desc->parts[index], *of = ufm_expert_part(desc, matrix);
	bool scaled = of && format_is_scaled(of);
	char found[64];

	snprintf(found, sizeof found, "groups of %u x %u", part->group_rows, part->group_cols);
	if (kind != MATRIX || !scaled) {
		if (part->group_rows || part->group_cols)
			return fail_part(desc, index, found, "0 for a part that nothing scales");
	} else if (!part->group_rows || !part->group_cols ||
	           (part->group_cols % 16 && part->group_cols < part->cols)) {
		return fail_part(desc, index, found, "both above 0, columns a multiple of 16 or all");
	} else if (!ufm_expert_part(desc, (ufm_role)(UFM_ROLE_UP_SCALE + (matrix - UFM_ROLE_UP) / 2))) {
		return fail_part(desc, index, "no scales", "a part with them");
	}
	if (kind >= SCALE && !scaled)
		return fail_part(desc, index, "the matrix needs none",
		                 "a format without scales of its own");
	if (kind == ZERO && of->format != UFM_FORMAT_U4)
		return fail_part(desc, index, "the matrix has no zero points", "UFM_FORMAT_U4");
	return UFM_OK;
}

/* Where all is plain, and none is F16, one dtype. */
static ufm_status check_one_dtype(const ufm_expert_desc *desc)
{
	const ufm_part *first = &desc->parts[0];

	for (uint32_t i = 0; i < desc->part_count; i++) {
		if (desc->parts[i].format || desc->parts[i].dtype == UFM_F16)
			return UFM_OK;
	}
	for (uint32_t i = 1; i < desc->part_count; i++) {
		if (desc->parts[i].dtype != first->dtype)
			return status_fail(UFM_EINVAL, "part %u: dtype is %u, expected %u as in part 0", i,
			                   (unsigned)desc->parts[i].dtype, (unsigned)first->dtype);
	}
	return UFM_OK;
}

/* Its shape is known to be right. */
static ufm_status check_storage(const ufm_part *part, uint32_t index)
{
	uint64_t bytes = format_part_bytes(part);

	if (part->size_bytes && part->size_bytes != bytes)
		return status_fail(UFM_EINVAL, "part %u (%s): size_bytes is %llu, expected 0 or %llu",
		                   index, bank_role_name(part->role), (unsigned long long)part->size_bytes,
		                   (unsigned long long)bytes);
	for (size_t i = 0; i < sizeof part->reserved / sizeof part->reserved[0]; i++) {
		if (part->reserved[i])
			return status_fail(UFM_EINVAL, "part %u (%s): reserved[%zu] is %u, expected 0", index,
			                   bank_role_name(part->role), i, part->reserved[i]);
	}
	return UFM_OK;
}

/* Every comparison is against a bound that is already known to be sane, so nothing can overflow:
 * a part has at most 2^40 elements of 4 bytes and an offset below expert_bytes. */
static ufm_status check_part(const ufm_expert_desc *desc, uint32_t index)
{
	const ufm_part *part = &desc->parts[index];
	uint32_t rows, cols;
	ufm_role matrix;
	ufm_status status;

	if ((unsigned)part->role < UFM_ROLE_UP || (unsigned)part->role >= ROLE_COUNT)
		return status_fail(UFM_EINVAL, "part %u: role is %u, expected 1 … %d", index,
		                   (unsigned)part->role, ROLE_COUNT - 1);
	if (ufm_expert_part(desc, part->role) != part)
		return status_fail(UFM_EINVAL, "part %u: a second %s part", index,
		                   bank_role_name(part->role));
	role_kind kind = kind_of_role(part->role, &matrix);
	status = check_groups(desc, index, kind, matrix);
	if (status)
		return status;
	bank_role_shape(desc, part->role, &rows, &cols);
	if (part->rows != rows || part->cols != cols)
		return status_fail(UFM_EINVAL, "part %u (%s): shape is [%u, %u], expected [%u, %u]", index,
		                   bank_role_name(part->role), part->rows, part->cols, rows, cols);
	status = part->format ? check_coded(desc, index, kind) : check_plain(desc, index, kind);
	if (status)
		return status;
	if (part->offset_bytes % BANK_PART_ALIGN)
		return status_fail(UFM_EINVAL, "part %u (%s): offset is %llu, expected a multiple of %u",
		                   index, bank_role_name(part->role),
		                   (unsigned long long)part->offset_bytes, BANK_PART_ALIGN);
	if (part->offset_bytes >= desc->expert_bytes || part_end(part) > desc->expert_bytes)
		return status_fail(UFM_EINVAL, "part %u (%s) leaves the payload of %llu bytes", index,
		                   bank_role_name(part->role), (unsigned long long)desc->expert_bytes);
	return check_storage(part, index);
}

static ufm_status check_overlap(const ufm_expert_desc *desc)
{
	for (uint32_t i = 0; i < desc->part_count; i++) {
		for (uint32_t j = i + 1; j < desc->part_count; j++) {
			const ufm_part *a = &desc->parts[i], *b = &desc->parts[j];

			if (a->offset_bytes < part_end(b) && b->offset_bytes < part_end(a))
				return status_fail(UFM_EINVAL, "parts %s and %s overlap", bank_role_name(a->role),
				                   bank_role_name(b->role));
		}
	}
	return UFM_OK;
}

static ufm_status check_roles(const ufm_expert_desc *desc)
{
	if (!ufm_expert_part(desc, UFM_ROLE_UP) || !ufm_expert_part(desc, UFM_ROLE_DOWN))
		return status_fail(UFM_EINVAL, "an expert needs an up and a down matrix");
	if (ufm_expert_part(desc, UFM_ROLE_GATE_BIAS) && !ufm_expert_part(desc, UFM_ROLE_GATE))
		return status_fail(UFM_EINVAL, "a gate bias needs a gate matrix");
	return UFM_OK;
}

/* Where what lies before a part ends, whatever the order of the parts. */
static uint64_t end_before(const ufm_expert_desc *desc, const ufm_part *part)
{
	uint64_t end = 0;

	for (uint32_t i = 0; i < desc->part_count; i++) {
		const ufm_part *other = &desc->parts[i];

		if (other->offset_bytes < part->offset_bytes && part_end(other) > end)
			end = part_end(other);
	}
	return end;
}

uint32_t bank_gaps(const ufm_expert_desc *desc, bank_extent *out)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < desc->part_count; i++) {
		const ufm_part *part = &desc->parts[i];
		uint64_t end = end_before(desc, part);

		if (part->offset_bytes > end)
			out[count++] = bank_zeros(end, part->offset_bytes);
	}
	return count;
}

/* Readers size their buffers by expert_bytes and stride by block_bytes. */
static ufm_status check_sizes(const ufm_expert_desc *desc)
{
	uint64_t end = 0;

	for (uint32_t i = 0; i < desc->part_count; i++) {
		if (part_end(&desc->parts[i]) > end)
			end = part_end(&desc->parts[i]);
	}
	if (desc->expert_bytes != end)
		return status_fail(UFM_EINVAL, "expert_bytes is %llu, expected %llu, the last part's end",
		                   (unsigned long long)desc->expert_bytes, (unsigned long long)end);
	if (desc->block_bytes != bank_round_up(end, BANK_BLOCK_ALIGN))
		return status_fail(UFM_EINVAL, "block_bytes is %llu, expected %llu",
		                   (unsigned long long)desc->block_bytes,
		                   (unsigned long long)bank_round_up(end, BANK_BLOCK_ALIGN));
	return UFM_OK;
}

static ufm_status check_head(const ufm_expert_desc *desc)
{
	ufm_status status;

	if (desc->struct_size != sizeof *desc)
		return status_fail(UFM_EINVAL, "struct_size is %zu, expected %zu (ufm_expert_desc_init)",
		                   desc->struct_size, sizeof *desc);
	status = bank_check_dimensions(desc);
	if (status)
		return status;
	if ((unsigned)desc->activation < UFM_ACT_GELU || (unsigned)desc->activation > UFM_ACT_RELU2)
		return status_fail(UFM_EINVAL, "activation is %u, expected %d … %d",
		                   (unsigned)desc->activation, UFM_ACT_GELU, UFM_ACT_RELU2);
	if (desc->part_count < 1 || desc->part_count > UFM_PARTS_MAX)
		return status_fail(UFM_EINVAL, "part_count is %u, expected 1 … %d", desc->part_count,
		                   UFM_PARTS_MAX);
	if (desc->expert_bytes > INT64_MAX)
		return status_fail(UFM_EINVAL, "expert_bytes is %llu, expected less than 2^63",
		                   (unsigned long long)desc->expert_bytes);
	return UFM_OK;
}

/* The parameters of a gated expert; 0 changes nothing. */
static ufm_status check_parameters(const ufm_expert_desc *desc)
{
	bool gated = ufm_expert_part(desc, UFM_ROLE_GATE) != NULL;
	const struct {
		const char *name;
		float value;
		bool is_signed;
	} parameters[] = {
		{"act_alpha", desc->act_alpha, false},
		{"gate_limit", desc->gate_limit, false},
		{"activated_limit", desc->activated_limit, false},
		{"up_limit", desc->up_limit, false},
		{"up_offset", desc->up_offset, true},
	};

	for (size_t i = 0; i < sizeof parameters / sizeof parameters[0]; i++) {
		const char *name = parameters[i].name;
		double value = (double)parameters[i].value;
		if (!isfinite(value) || (value < 0.0 && !parameters[i].is_signed))
			return status_fail(UFM_EINVAL, "%s is %g, expected a finite number%s", name, value,
			                   parameters[i].is_signed ? "" : ", 0 or above");
		if (value != 0.0 && !gated)
			return status_fail(UFM_EINVAL, "%s is %g, expected 0 without a gate", name, value);
	}
	if (desc->act_alpha > 0.0f && desc->activation != UFM_ACT_SILU)
		return status_fail(UFM_EINVAL, "act_alpha is %g, expected 0: activation %u is not SiLU",
		                   (double)desc->act_alpha, (unsigned)desc->activation);
	return UFM_OK;
}

static ufm_status check_desc(const ufm_expert_desc *desc)
{
	ufm_status status = check_head(desc);

	for (uint32_t i = 0; !status && i < desc->part_count; i++)
		status = check_part(desc, i);
	if (!status)
		status = check_one_dtype(desc);
	if (!status)
		status = check_overlap(desc);
	if (!status)
		status = check_roles(desc);
	if (!status)
		status = check_parameters(desc);
	if (!status)
		status = check_sizes(desc);
	return status;
}

ufm_status bank_check_desc(const ufm_expert_desc *desc)
{
	ufm_status status = check_desc(desc);

	return status ? status_prefix(status, "expert description") : UFM_OK;
}

ufm_status bank_read_desc(const ufm_expert_desc *given, ufm_expert_desc *out)
{
	ufm_status status = status_need(given, "desc", "a ufm_expert_desc");

	if (status)
		return status;
	ufm_struct_init(out, sizeof *out);
	status = status_read_config(out, sizeof *out, given, "ufm_expert_desc");
	return status ? status : bank_check_desc(out);
}
