/* SPDX-License-Identifier: MIT */
/* Fuzz target: a config.json, a NUL, and the header of a .safetensors file beside it. What is accepted as a bank can be described and
 * read; what is not is refused in one line. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bank/bank.h"
#include "base/status.h"
#include "require.h"

enum { PAYLOAD_BYTES_MAX = 1 << 20, BLOCK_BYTES_MAX = 1 << 22 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

static char folder[] = "/tmp/ufm_fuzz_quantised_XXXXXX";
static char config_path[64], weights_path[64];

static void remove_folder(void)
{
	unlink(config_path);
	unlink(weights_path);
	rmdir(folder);
}

static void make_folder(void)
{
	static bool made;

	if (made)
		return;
	require(mkdtemp(folder));
	snprintf(config_path, sizeof config_path, "%s/config.json", folder);
	snprintf(weights_path, sizeof weights_path, "%s/model.safetensors", folder);
	require(atexit(remove_folder) == 0);
	made = true;
}

/* The header, and as much payload as a header with a tensor at its end may ask for: its last number. */
static uint64_t payload_bytes(const uint8_t *header, size_t header_bytes)
{
	uint64_t best = 0, value = 0;

	for (size_t i = 0; i < header_bytes; i++) {
		bool digit = header[i] >= '0' && header[i] <= '9';

		value = digit ? value * 10 + (uint64_t)(header[i] - '0') : 0;
		if (value <= PAYLOAD_BYTES_MAX && value > best && i + 1 < header_bytes &&
		    header[i + 1] == ']')
			best = value;
	}
	return best;
}

static void write_files(const uint8_t *config, size_t config_bytes, const uint8_t *header,
                        size_t header_bytes)
{
	uint64_t length = header_bytes;
	FILE *file = fopen(config_path, "wb");

	require(file && fwrite(config, 1, config_bytes, file) == config_bytes && fclose(file) == 0);
	file = fopen(weights_path, "wb");
	require(file && fwrite(&length, sizeof length, 1, file) == 1);
	require(fwrite(header, 1, header_bytes, file) == header_bytes && fflush(file) == 0);
	require(ftruncate(fileno(file), (off_t)(sizeof length + header_bytes +
	                                        payload_bytes(header, header_bytes))) == 0);
	require(fclose(file) == 0);
}

static void check_matrices(const ufm_expert_desc *desc, const void *block)
{
	for (uint32_t i = 0; i < desc->part_count; i++) {
		const ufm_part *part = &desc->parts[i];
		float *out;

		if (part->role > UFM_ROLE_DOWN_BIAS)
			continue;
		out = malloc((size_t)part->rows * part->cols * sizeof *out);
		require(out && ufm_expert_expand(desc, block, part->role, out) == UFM_OK);
		free(out);
	}
}

static void check_bank(const ufm_bank *bank)
{
	ufm_bank_info info = {.struct_size = sizeof info};
	void *block;

	require(ufm_bank_get_info(bank, &info) == UFM_OK);
	require(bank_check_desc(info.desc) == UFM_OK);
	if (info.desc->block_bytes > BLOCK_BYTES_MAX)
		return;
	block = aligned_alloc(64, info.desc->block_bytes);
	require(block);
	require(ufm_bank_read(bank, 0, 0, block) == UFM_OK);
	check_matrices(info.desc, block);
	require(ufm_bank_read(bank, info.layers - 1, info.experts - 1, block) == UFM_OK);
	free(block);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	const uint8_t *end = size_bytes ? memchr(data, 0, size_bytes) : NULL;
	ufm_bank *bank;
	ufm_status status;

	if (!end)
		return 0;
	make_folder();
	write_files(data, (size_t)(end - data), end + 1, size_bytes - (size_t)(end - data) - 1);
	status = ufm_bank_open(folder, &bank);
	if (status) {
		require(status == UFM_EFORMAT || status == UFM_EINVAL || status == UFM_EFILE);
		require(*ufm_last_error() && !strchr(ufm_last_error(), '\n'));
		return 0;
	}
	check_bank(bank);
	ufm_bank_close(bank);
	return 0;
}
