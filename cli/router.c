/* SPDX-License-Identifier: MIT */
/* Reads a router's tensor. */
#include "cli/router.h"

#include "bank/bank.h"
#include "base/alloc.h"
#include "base/status.h"
#include "store/store.h"

ufm_status router_read(const ufm_bank *bank, uint32_t layer, float **out)
{
	const checkpoint_tensor *tensor;
	float *weight;
	ufm_status status = bank_router(bank, layer, &tensor);
	*out = NULL;
	if (status)
		return status_prefix(status, "layer %u", ufm_bank_layer_number(bank, layer));
	if (!tensor)
		return UFM_OK;
	weight = alloc_zeroed((size_t)(tensor->shape[0] * tensor->shape[1]), sizeof *weight);
	if (!weight)
		return UFM_ENOMEM;
	status = store_read_tensor(bank_checkpoint(bank), tensor, weight);
	if (status) {
		alloc_free(weight);
		return status;
	}
	*out = weight;
	return UFM_OK;
}
