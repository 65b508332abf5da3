/* SPDX-License-Identifier: MIT */
/* A bank whose parts lie where the caller says, each at two strides in any of several files. */
#include "bank/bank_files_int.h"

#include <stdbool.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/status.h"
#include "format/format.h"

struct bank_files {
	uint32_t path_count;
	char **paths;
	ufm_extent *extents; /* resolved */
};

static ufm_status check_config(const ufm_bank_files_config *config)
{
	if (config->path_count < 1 || config->path_count > CHECKPOINT_FILES_MAX)
		return status_fail(UFM_EINVAL, "path_count is %u, expected 1 … %u", config->path_count,
		                   CHECKPOINT_FILES_MAX);
	if (!config->paths)
		return status_fail(UFM_EINVAL, "paths is NULL, expected %u paths", config->path_count);
	for (uint32_t i = 0; i < config->path_count; i++) {
		if (!config->paths[i] || !*config->paths[i])
			return status_fail(UFM_EINVAL, "paths[%u] is empty, expected a file", i);
	}
	if (!config->extents)
		return status_fail(UFM_EINVAL, "extents is NULL, expected one for each part of each "
		                               "expert");
	if (config->extent_bytes != sizeof(ufm_extent))
		return status_fail(UFM_EINVAL, "extent_bytes is %zu, expected %zu (sizeof(ufm_extent))",
		                   config->extent_bytes, sizeof(ufm_extent));
	return UFM_OK;
}

/* ------------------------------------------------------------------ the copy */

static ufm_status copy_paths(bank_files *files, const ufm_bank_files_config *config)
{
	files->paths = alloc_zeroed(config->path_count, sizeof *files->paths);
	if (!files->paths)
		return UFM_ENOMEM;
	for (; files->path_count < config->path_count; files->path_count++) {
		char *path = alloc_string(config->paths[files->path_count]);

		if (!path)
			return UFM_ENOMEM;
		files->paths[files->path_count] = path;
	}
	return UFM_OK;
}

/* What strides count: elements, or the bytes of a part that has a format. A row is so many of them. */
static uint32_t row_units(const ufm_part *part)
{
	return part->format ? (uint32_t)format_row_bytes(part) : part->cols;
}

static uint64_t unit_bytes(const ufm_extent *extent, const ufm_part *part)
{
	return part->format ? 1 : ufm_dtype_bytes(extent->dtype);
}

/* Rows one after the other where nothing is said, bytes of a row always, and no stride along a single element. */
static void resolve(ufm_extent *extent, const ufm_part *part)
{
	if (extent->row_stride == 0 && extent->col_stride == 0) {
		extent->row_stride = row_units(part);
		extent->col_stride = 1;
	}
	if (part->format && extent->col_stride == 0)
		extent->col_stride = 1;
	if (part->rows == 1)
		extent->row_stride = 0;
	if (row_units(part) == 1)
		extent->col_stride = 0;
}

static ufm_status copy_extents(bank_files *files, const ufm_expert_desc *desc,
                               const ufm_extent *given, uint32_t keys)
{
	uint64_t count = (uint64_t)keys * desc->part_count;

	files->extents = alloc_zeroed(count, sizeof *files->extents);
	if (!files->extents)
		return UFM_ENOMEM;
	for (uint64_t i = 0; i < count; i++) {
		files->extents[i] = given[i];
		resolve(&files->extents[i], &desc->parts[i % desc->part_count]);
	}
	return UFM_OK;
}

static ufm_status copy_config(ufm_bank *bank, const ufm_bank_files_config *config)
{
	bank_files *files = bank->files = alloc_zeroed(1, sizeof *files);
	ufm_status status;

	if (!files)
		return UFM_ENOMEM;
	status = copy_paths(files, config);
	if (!status)
		status = bank_copy_numbers(bank, config->layer_numbers);
	if (!status)
		status = copy_extents(files, &bank->shape.desc, config->extents, bank_key_count(bank));
	return status;
}

/* ------------------------------------------------------------------ extents */

/* Whatever has a format comes as it is, F16 to stay so too: nothing is rounded twice. */
static ufm_status check_dtype(ufm_dtype dtype, const ufm_part *part)
{
	if (part->format && dtype)
		return status_fail(UFM_EINVAL, "dtype is %d, expected 0: the part is %s, byte for byte",
		                   (int)dtype, ufm_format_name((ufm_format)part->format));
	if (!part->format && !ufm_dtype_bytes(dtype))
		return status_fail(UFM_EINVAL, "dtype is %d, expected UFM_F32, UFM_BF16 or UFM_F16",
		                   (int)dtype);
	if (part->dtype == UFM_F16 && dtype != UFM_F16)
		return status_fail(UFM_EINVAL, "dtype is %d, expected UFM_F16 as in the expert",
		                   (int)dtype);
	return UFM_OK;
}

static ufm_status check_strides(const ufm_extent *extent, const ufm_part *part)
{
	if (part->format && extent->col_stride > 1)
		return status_fail(UFM_EINVAL, "col_stride is %llu, expected 0 or 1: a row of %s is whole",
		                   (unsigned long long)extent->col_stride,
		                   ufm_format_name((ufm_format)part->format));
	if (part->rows > 1 && extent->row_stride == 0)
		return status_fail(UFM_EINVAL, "row_stride is 0 and col_stride is not, expected both or "
		                               "none");
	if (part->cols > 1 && extent->col_stride == 0)
		return status_fail(UFM_EINVAL, "col_stride is 0 and row_stride is not, expected both or "
		                               "none");
	return UFM_OK;
}

static ufm_status check_fields(const ufm_extent *extent, const ufm_part *part, uint32_t path_count)
{
	ufm_status status;

	if (extent->file >= path_count)
		return status_fail(UFM_EINVAL, "file is %u, expected below %u", extent->file, path_count);
	status = check_dtype(extent->dtype, part);
	return status ? status : check_strides(extent, part);
}

/* Where the last element ends; false beyond 2^64. */
static bool find_end(const ufm_extent *extent, const ufm_part *part, uint64_t *end)
{
	uint64_t down, right;

	return !__builtin_mul_overflow(part->rows - 1, extent->row_stride, &down) &&
	       !__builtin_mul_overflow(row_units(part) - 1, extent->col_stride, &right) &&
	       !__builtin_add_overflow(down, right, end) && !__builtin_add_overflow(*end, 1, end) &&
	       !__builtin_mul_overflow(*end, unit_bytes(extent, part), end) &&
	       !__builtin_add_overflow(*end, extent->offset_bytes, end);
}

static ufm_status check_end(const ufm_extent *extent, const ufm_part *part, uint64_t file_bytes)
{
	uint64_t end;

	if (!find_end(extent, part, &end))
		return status_fail(UFM_EFORMAT, "ends beyond 2^64 bytes, the file holds %llu",
		                   (unsigned long long)file_bytes);
	if (end > file_bytes)
		return status_fail(UFM_EFORMAT, "ends at byte %llu, the file holds %llu",
		                   (unsigned long long)end, (unsigned long long)file_bytes);
	return UFM_OK;
}

static ufm_status check_extent(const ufm_bank *bank, uint32_t key, uint32_t index,
                               const uint64_t *file_bytes)
{
	const bank_files *files = bank->files;
	const ufm_part *part = &bank->shape.desc.parts[index];
	const ufm_extent *extent = &files->extents[(uint64_t)key * bank->shape.desc.part_count + index];
	uint32_t layer = ufm_bank_layer_number(bank, key / bank->shape.experts);
	uint32_t expert = key % bank->shape.experts;
	ufm_status status;

	status = check_fields(extent, part, files->path_count);
	if (status)
		return status_prefix(status, "extent of layer %u expert %u %s", layer, expert,
		                     bank_role_name(part->role));
	status = check_end(extent, part, file_bytes[extent->file]);
	if (status)
		return status_prefix(status, "%s: layer %u expert %u %s", files->paths[extent->file], layer,
		                     expert, bank_role_name(part->role));
	return UFM_OK;
}

static ufm_status read_sizes(const bank_files *files, uint64_t *file_bytes)
{
	for (uint32_t i = 0; i < files->path_count; i++) {
		int fd;
		ufm_status status = file_open(files->paths[i], &fd, &file_bytes[i]);

		if (status)
			return status_prefix(status, "%s", files->paths[i]);
		close(fd);
	}
	return UFM_OK;
}

static ufm_status check_extents(const ufm_bank *bank)
{
	uint64_t *file_bytes = alloc_zeroed(bank->files->path_count, sizeof *file_bytes);
	ufm_status status;

	if (!file_bytes)
		return UFM_ENOMEM;
	status = read_sizes(bank->files, file_bytes);
	for (uint32_t key = 0; key < bank_key_count(bank) && !status; key++) {
		for (uint32_t i = 0; i < bank->shape.desc.part_count && !status; i++)
			status = check_extent(bank, key, i, file_bytes);
	}
	alloc_free(file_bytes);
	return status;
}

ufm_status ufm_bank_files(const ufm_bank_files_config *given, ufm_bank **out)
{
	ufm_bank_files_config config;
	ufm_bank *bank;
	ufm_status status;

	UFM_STRUCT_INIT(&config);
	status = bank_need_both(given, "a ufm_bank_files_config", out);
	if (!status)
		status = status_read_config(&config, sizeof config, given, "ufm_bank_files_config");
	/* Before the extents: description and counts say how many there must be. */
	if (!status)
		status = bank_new(EXTENT_FILE, config.layers, config.experts, config.desc, &bank);
	if (status)
		return status;
	status = check_config(&config);
	if (!status)
		status = copy_config(bank, &config);
	if (!status)
		status = check_extents(bank);
	if (status) {
		ufm_bank_close(bank);
		return status;
	}
	*out = bank;
	return UFM_OK;
}

void bank_files_free(bank_files *files)
{
	if (!files)
		return;
	for (uint32_t i = 0; i < files->path_count; i++)
		alloc_free(files->paths[i]);
	alloc_free(files->paths);
	alloc_free(files->extents);
	alloc_free(files);
}

/* ------------------------------------------------------------------ as a bank */

uint32_t bank_files_count(const bank_files *files)
{
	return files->path_count;
}

const char *bank_files_path(const bank_files *files, uint32_t file)
{
	return files->paths[file];
}

static bool is_contiguous(const ufm_extent *extent, const ufm_part *part)
{
	return (row_units(part) == 1 || extent->col_stride == 1) &&
	       (part->rows == 1 || extent->row_stride == row_units(part));
}

static bank_extent part_extent(const ufm_extent *extent, const ufm_part *part)
{
	return (bank_extent){.kind = is_contiguous(extent, part) ? EXTENT_FILE : EXTENT_STRIDED,
	                     .file = extent->file,
	                     .file_offset_bytes = extent->offset_bytes,
	                     .from = extent->dtype,
	                     .to = part->dtype,
	                     .rows = part->rows,
	                     .cols = row_units(part),
	                     .row_stride = extent->row_stride,
	                     .col_stride = extent->col_stride,
	                     .block_offset_bytes = part->offset_bytes,
	                     .size_bytes = format_part_bytes(part)};
}

uint32_t bank_files_extents(const ufm_bank *bank, uint32_t key, bank_extent out[BANK_EXTENTS_MAX])
{
	const ufm_expert_desc *desc = &bank->shape.desc;
	const ufm_extent *extents = &bank->files->extents[(uint64_t)key * desc->part_count];
	uint32_t count = bank_gaps(desc, out);

	for (uint32_t i = 0; i < desc->part_count; i++)
		out[count++] = part_extent(&extents[i], &desc->parts[i]);
	return count;
}
