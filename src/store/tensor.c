/* SPDX-License-Identifier: MIT */
/* Reads a whole tensor of a checkpoint as f32, for what is no expert: a router's weight. */
#include <unistd.h>

#include "base/file.h"
#include "base/status.h"
#include "store/convert_int.h"
#include "store/store.h"

static ufm_status read_exactly(int fd, void *out, uint64_t size_bytes, uint64_t offset_bytes)
{
	uint64_t got;
	ufm_status status = file_read(fd, out, size_bytes, offset_bytes, &got);

	if (!status && got < size_bytes)
		status = status_fail(UFM_EFILE, "the file ends at byte %llu",
		                     (unsigned long long)(offset_bytes + got));
	return status;
}

static ufm_status read_halves(int fd, const checkpoint_tensor *t, float *out)
{
	convert_fn convert = convert_find(t->dtype == CHECKPOINT_F16 ? UFM_F16 : UFM_BF16, UFM_F32);
	uint16_t piece[CONVERT_PIECE_BYTES / sizeof(uint16_t)];
	uint64_t count = t->size_bytes / sizeof *piece, most = sizeof piece / sizeof *piece;

	for (uint64_t done = 0; done < count; done += most) {
		uint64_t n = count - done < most ? count - done : most;
		ufm_status status =
			read_exactly(fd, piece, n * sizeof *piece, t->file_offset_bytes + done * sizeof *piece);

		if (status)
			return status;
		convert(piece, n, out + done);
	}
	return UFM_OK;
}

static ufm_status read_tensor(const char *path, const checkpoint_tensor *t, float *out)
{
	uint64_t size_bytes;
	int fd;
	ufm_status status;

	if (t->dtype != CHECKPOINT_F32 && t->dtype != CHECKPOINT_BF16 && t->dtype != CHECKPOINT_F16)
		return status_fail(UFM_EFORMAT, "dtype is %s, expected F32, BF16 or F16",
		                   checkpoint_dtype_name(t->dtype));
	status = file_open(path, &fd, &size_bytes);
	if (status)
		return status;
	status = t->dtype == CHECKPOINT_F32 ? read_exactly(fd, out, t->size_bytes, t->file_offset_bytes)
	                                    : read_halves(fd, t, out);
	close(fd);
	return status;
}

ufm_status store_read_tensor(const checkpoint *c, const checkpoint_tensor *tensor, float *out)
{
	const char *path = checkpoint_file_path(c, tensor->file);
	ufm_status status = read_tensor(path, tensor, out);

	return status ? status_prefix(status, "%s: tensor \"%.200s\"", path, tensor->name) : UFM_OK;
}
