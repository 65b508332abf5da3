/* SPDX-License-Identifier: MIT */
/* What layers take of the arena. */
#include "base/size.h"
#include "budget/workspace.h"

uint64_t budget_layer_bytes(uint32_t d_model, uint32_t experts, bool router, bool norm)
{
	uint64_t row_bytes = 4ull * d_model, size_bytes = 0;
	if (router)
		size_bytes += size_round_up(row_bytes * experts, BUDGET_ALIGN);
	if (norm)
		size_bytes += size_round_up(row_bytes, BUDGET_ALIGN);
	return size_bytes;
}

uint64_t budget_stack_bytes(const budget_stack *s)
{
	uint64_t state_bytes = (uint64_t)s->tokens * s->d_model * sizeof(float);
	return s->layers * budget_layer_bytes(s->d_model, s->experts, s->router, true) + state_bytes +
	       BUDGET_ALIGN;
}
