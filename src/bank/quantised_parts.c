/* SPDX-License-Identifier: MIT */
/* What the descriptions of quantised layouts are made with: slots, parts, and checks of a tensor's shape and type. */
#include <stdio.h>
#include <string.h>

#include "bank/quantised_int.h"
#include "base/status.h"
#include "format/format.h"

expert_slot *quantised_find_slot(const expert_set *e, ufm_role role, bool shared,
                                 expert_component c)
{
	for (uint32_t i = 0; i < e->form->slot_count; i++) {
		expert_slot *slot = &e->form->slots[i];

		if (slot->name.component == c && slot->name.gate_up == shared &&
		    (shared || slot->name.role == role))
			return slot;
	}
	return NULL;
}

expert_slot *quantised_slot(const quantised *q, const quantised_matrix *m, expert_component c)
{
	return quantised_find_slot(q->e, m->role, m->shared, c);
}

expert_part *quantised_part(quantised *q, const quantised_matrix *m, ufm_role role,
                            expert_component c)
{
	expert_form *f = q->e->form;
	expert_part *part = &f->parts[f->part_count++];
	const expert_slot *slot = quantised_slot(q, m, c);

	*part = (expert_part){
		.like.role = role, .slot = (uint32_t)(slot - f->slots), .lies.kind = EXTENT_FILE};
	/* Checked against the dimension of experts where the shape is. */
	if (q->e->fused)
		part->stride_bytes = slot->first->size_bytes / q->e->experts;
	return part;
}

expert_part *quantised_values(quantised *q, const quantised_matrix *m, ufm_format format)
{
	expert_part *part = quantised_part(q, m, m->role, q->layout->values);

	part->like.format = (uint32_t)format;
	part->offset_bytes = m->second ? ufm_format_bytes(format, m->cols) * m->rows : 0;
	return part;
}

ufm_status quantised_type(const quantised *q, expert_part *part, uint32_t dtypes,
                          uint64_t *element_bytes)
{
	const expert_slot *slot = &q->e->form->slots[part->slot];
	char expected[64] = "";
	size_t used = 0;

	*element_bytes = checkpoint_dtype_bits(slot->dtype) / 8;
	for (checkpoint_dtype d = CHECKPOINT_BOOL; d < CHECKPOINT_DTYPE_END; d++) {
		if ((dtypes >> d & 1) && used < sizeof expected)
			used += (size_t)snprintf(expected + used, sizeof expected - used, "%s%s",
			                         used ? ", " : "", checkpoint_dtype_name(d));
	}
	if (!(dtypes >> slot->dtype & 1))
		return status_fail(UFM_EFORMAT, "tensor \"%.200s\": dtype is %s, expected %s",
		                   slot->first->name, checkpoint_dtype_name(slot->dtype), expected);
	if (slot->dtype == CHECKPOINT_F8_E4M3)
		part->like.format = UFM_FORMAT_E4M3;
	else if (slot->dtype == CHECKPOINT_F8_E8M0 || slot->dtype == CHECKPOINT_U8)
		part->like.format = UFM_FORMAT_E8M0;
	else
		part->like.dtype = checkpoint_plain_dtype(slot->dtype);
	part->lies.from = part->like.dtype;
	return UFM_OK;
}

ufm_status quantised_need_shape(const quantised *q, const expert_part *part, uint32_t rank,
                                uint64_t a, uint64_t b, uint64_t c)
{
	const expert_slot *slot = &q->e->form->slots[part->slot];
	uint64_t shape[4] = {a, b, c};

	if (q->e->fused) {
		memmove(shape + 1, shape, 3 * sizeof *shape);
		shape[0] = q->e->experts;
		rank++;
	}
	if (slot->rank != rank || memcmp(slot->shape, shape, rank * sizeof *shape) != 0)
		return experts_fail_shape(slot->first, rank, shape);
	return UFM_OK;
}

ufm_status quantised_scales(quantised *q, const quantised_matrix *m, expert_component c, uint64_t a,
                            uint64_t b, uint32_t dtypes, expert_part **out)
{
	uint64_t element_bytes;
	ufm_status status;

	*out = quantised_part(q, m, quantised_role(m, UFM_ROLE_UP_SCALE), c);
	status = quantised_need_shape(q, *out, 2, a, b, 0);
	return status ? status : quantised_type(q, *out, dtypes, &element_bytes);
}

ufm_status quantised_factor(quantised *q, const quantised_matrix *m, expert_component c,
                            bool inverse)
{
	expert_part *part = quantised_part(q, m, quantised_role(m, UFM_ROLE_UP_FACTOR), c);
	uint64_t element_bytes;

	part->lies.kind = inverse ? EXTENT_RECIPROCAL : EXTENT_FILE;
	/* A number of no dimension, or of one. */
	if (q->e->form->slots[part->slot].rank) {
		ufm_status status = quantised_need_shape(q, part, 1, 1, 0, 0);

		if (status)
			return status;
	}
	return quantised_type(q, part, 1u << CHECKPOINT_F32, &element_bytes);
}

void quantised_stride(expert_part *part, uint64_t rows, uint64_t cols, uint64_t row_stride,
                      uint64_t col_stride)
{
	part->lies.kind = EXTENT_STRIDED;
	part->lies.rows = (uint32_t)rows;
	part->lies.cols = (uint32_t)cols;
	part->lies.row_stride = rows > 1 ? row_stride : 0;
	part->lies.col_stride = cols > 1 ? col_stride : 0;
}

uint32_t quantised_group(const quantised *q, const expert_part *scale, const quantised_matrix *m,
                         uint64_t groups, const config_node *object, const char *key,
                         ufm_status *status)
{
	const expert_slot *slot = &q->e->form->slots[scale->slot];
	int32_t said;
	uint64_t group;

	*status = UFM_OK;
	if (!quantised_number(object, key, &said))
		said = groups && m->cols % groups == 0 ? (int32_t)(m->cols / groups) : 0;
	group = said == -1 ? m->cols : said > 0 ? (uint64_t)said : 0;
	if (group && groups == quantised_ceil(m->cols, group))
		return (uint32_t)group;
	*status =
		status_fail(UFM_EFORMAT,
	                "tensor \"%.200s\": has %llu groups in %u columns, config.json says a %s of %d",
	                slot->first->name, (unsigned long long)groups, m->cols, key, (int)said);
	return 0;
}
