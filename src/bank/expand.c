/* SPDX-License-Identifier: MIT */
/* What an expert's bytes are worth. */
#include "bank/bank_int.h"
#include "base/status.h"
#include "format/format.h"

static ufm_status check_asked(const ufm_expert_desc *desc, ufm_role role)
{
	if (role < UFM_ROLE_UP || role >= UFM_ROLE_UP_SCALE)
		return status_fail(UFM_EINVAL, "role is %d, expected a matrix or a bias, 1 … %d", (int)role,
		                   UFM_ROLE_UP_SCALE - 1);
	if (!ufm_expert_part(desc, role))
		return status_fail(UFM_EINVAL, "the expert has no %s", bank_role_name(role));
	return UFM_OK;
}

ufm_status ufm_expert_expand(const ufm_expert_desc *given, const void *block, ufm_role role,
                             float *out)
{
	ufm_expert_desc desc;
	ufm_status status = bank_read_desc(given, &desc);

	if (!status)
		status = status_need(block, "block", "the bytes of an expert");
	if (!status)
		status = status_need(out, "out", "room for the part's elements as f32");
	if (!status)
		status = check_asked(&desc, role);
	if (status)
		return status;
	format_matrix m = format_matrix_of(&desc, block, role);
	for (uint32_t row = 0; row < m.part->rows; row++)
		format_expand(&m, row, 0, m.part->cols, out + (uint64_t)row * m.part->cols);
	return UFM_OK;
}
