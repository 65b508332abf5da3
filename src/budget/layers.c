/* SPDX-License-Identifier: MIT */
/* What layers take of the arena. */
#include "base/size.h"
#include "budget/workspace.h"

uint64_t budget_layer_bytes(const ufm_bank_info *bank, bool router, bool norm)
{
	uint64_t row_bytes = 4ull * bank->desc.d_model, size_bytes = 0;
	if (router)
		size_bytes += size_round_up(row_bytes * bank->experts, BUDGET_ALIGN);
	if (norm)
		size_bytes += size_round_up(row_bytes, BUDGET_ALIGN);
	return size_bytes;
}

uint64_t budget_stack_bytes(const ufm_bank_info *bank, bool router, uint32_t tokens)
{
	uint64_t state_bytes = (uint64_t)tokens * bank->desc.d_model * sizeof(float);
	return bank->layers * budget_layer_bytes(bank, router, true) + state_bytes + BUDGET_ALIGN;
}
