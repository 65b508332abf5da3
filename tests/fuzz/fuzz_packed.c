/* SPDX-License-Identifier: MIT */
/* Fuzz target: the header of a packed bank. What is accepted is a bank that could have been written
 * so, byte for byte, by the version that it names. */
#include <stdlib.h>
#include <string.h>

#include "../support/packed_first.h"
#include "bank/bank.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

static void check_accepted(const uint8_t *header, uint64_t file_bytes, const bank_shape *info)
{
	uint8_t again[BANK_PACKED_HEADER_BYTES];
	uint64_t keys = (uint64_t)info->layers * info->experts;

	if (header[8] == 1)
		packed_first(info, again);
	else
		bank_packed_header(info, again);
	if (memcmp(again, header, sizeof again) != 0 || bank_check_desc(&info->desc) != UFM_OK)
		abort();
	if (file_bytes != BANK_PACKED_HEADER_BYTES + keys * info->desc.block_bytes ||
	    info->bank_bytes != keys * info->desc.expert_bytes)
		abort();
}

static void parse(const uint8_t *header, size_t header_bytes, uint64_t file_bytes)
{
	bank_shape info;
	ufm_status status = bank_packed_parse(header, header_bytes, file_bytes, &info);

	if (status == UFM_OK)
		check_accepted(header, file_bytes, &info);
	else if (status != UFM_EFORMAT || !*ufm_last_error() || strchr(ufm_last_error(), '\n'))
		abort();
}

static uint64_t read_le(const uint8_t *at, int bytes)
{
	uint64_t value = 0;

	for (int i = bytes; i-- > 0;)
		value = value << 8 | at[i];
	return value;
}

/* Chance finds no checksum, and rarely the right size: with both put right, the fields behind them
 * are reached. */
static void parse_repaired(const uint8_t *data, uint64_t size_bytes)
{
	uint8_t header[BANK_PACKED_HEADER_BYTES];
	uint64_t keys;

	memcpy(header, data, sizeof header);
	packed_sum(header);
	parse(header, sizeof header, size_bytes);
	keys = read_le(header + 16, 4) * read_le(header + 20, 4);
	parse(header, sizeof header, BANK_PACKED_HEADER_BYTES + keys * read_le(header + 48, 8));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	parse(data, size_bytes, size_bytes);
	if (size_bytes >= BANK_PACKED_HEADER_BYTES)
		parse_repaired(data, size_bytes);
	return 0;
}
