/* SPDX-License-Identifier: MIT */
/* A bank whose experts the caller's function writes. */
#include "bank/bank_callback_int.h"

#include "base/status.h"

static ufm_status check_read(const ufm_bank_callback_config *config)
{
	if (config->read)
		return UFM_OK;
	return status_fail(UFM_EINVAL, "read: NULL, expected a function that writes an expert's bytes");
}

ufm_status ufm_bank_callback(const ufm_bank_callback_config *given, ufm_bank **out)
{
	ufm_bank_callback_config config;
	ufm_bank *bank;
	ufm_status status;

	UFM_STRUCT_INIT(&config);
	status = bank_need_both(given, "a ufm_bank_callback_config", out);
	if (!status)
		status = status_read_config(&config, sizeof config, given, "ufm_bank_callback_config");
	if (!status)
		status = bank_new(EXTENT_CALLBACK, config.layers, config.experts, config.desc, &bank);
	if (status)
		return status;
	status = check_read(&config);
	if (!status)
		status = bank_copy_numbers(bank, config.layer_numbers);
	if (status) {
		ufm_bank_close(bank);
		return status;
	}
	/* Last, so that a bank that never came to be is not told of. */
	bank->reader = (bank_reader){.read = config.read, .ctx = config.ctx};
	bank->closed = config.closed;
	*out = bank;
	return UFM_OK;
}

void bank_callback_close(const ufm_bank *bank)
{
	if (bank->closed)
		bank->closed(bank->reader.ctx);
}

uint32_t bank_callback_extents(const ufm_bank *bank, bank_extent out[BANK_EXTENTS_MAX])
{
	uint32_t count = bank_gaps(&bank->shape.desc, out);

	out[count++] = (bank_extent){.kind = EXTENT_CALLBACK,
	                             .reader = &bank->reader,
	                             .size_bytes = bank->shape.desc.expert_bytes};
	return count;
}
