/* SPDX-License-Identifier: MIT */
/* The packed format: one header, then every block at a fixed stride. */
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "bank/bank_int.h"
#include "base/alloc.h"
#include "base/dtype.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/status.h"

#define PACKED_MAGIC "UFMBANK1"
#define PACKED_VERSION 2u

/* Offsets of the fields, as docs/formats.md lists them. */
enum {
	AT_MAGIC = 0,
	AT_VERSION = 8,
	AT_HEADER_BYTES = 12,
	AT_LAYERS = 16,
	AT_EXPERTS = 20,
	AT_D_MODEL = 24,
	AT_D_HIDDEN = 28,
	AT_ACTIVATION = 32,
	AT_PART_COUNT = 36,
	AT_EXPERT_BYTES = 40,
	AT_BLOCK_BYTES = 48,
	AT_PAYLOAD = 56,
	AT_PARTS = 64,
	PARAMETERS_BYTES = 5 * 4,
	AT_CHECKSUM = 4088,
};

/* What the versions of the header differ in. The parameters lie behind the parts. */
typedef struct header_form {
	uint32_t parts_max, part_bytes;
	bool formats; /* parts have a format and groups */
} header_form;

/* By the version; the parts of the first are plain matrices and biases. */
static const header_form forms[] = {
	[1] = {.parts_max = 8, .part_bytes = 24},
	[2] = {.parts_max = UFM_PARTS_MAX, .part_bytes = 40, .formats = true},
};

static size_t part_at(const header_form *form, uint32_t index)
{
	return AT_PARTS + (size_t)index * form->part_bytes;
}

static size_t parameters_at(const header_form *form)
{
	return part_at(form, form->parts_max);
}

static void put_u32(uint8_t *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> (8 * i));
}

static void put_u64(uint8_t *at, uint64_t value)
{
	put_u32(at, (uint32_t)value);
	put_u32(at + 4, (uint32_t)(value >> 32));
}

static uint32_t get_u32(const uint8_t *at)
{
	return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint64_t get_u64(const uint8_t *at)
{
	return get_u32(at) | (uint64_t)get_u32(at + 4) << 32;
}

static void put_f32(uint8_t *at, float value)
{
	uint32_t bits;

	memcpy(&bits, &value, sizeof bits);
	put_u32(at, bits);
}

static float get_f32(const uint8_t *at)
{
	uint32_t bits = get_u32(at);
	float value;

	memcpy(&value, &bits, sizeof value);
	return value;
}

/* As the version that is written has it. */
static void put_part(uint8_t *at, const ufm_part *part)
{
	put_u32(at, (uint32_t)part->role);
	put_u32(at + 4, (uint32_t)part->dtype);
	put_u32(at + 8, part->rows);
	put_u32(at + 12, part->cols);
	put_u64(at + 16, part->offset_bytes);
	put_u32(at + 24, part->format);
	put_u32(at + 28, part->group_rows);
	put_u32(at + 32, part->group_cols);
}

static void get_part(const header_form *form, const uint8_t *at, ufm_part *part)
{
	part->role = (ufm_role)get_u32(at);
	part->dtype = (ufm_dtype)get_u32(at + 4);
	part->rows = get_u32(at + 8);
	part->cols = get_u32(at + 12);
	part->offset_bytes = get_u64(at + 16);
	if (!form->formats)
		return;
	part->format = get_u32(at + 24);
	part->group_rows = get_u32(at + 28);
	part->group_cols = get_u32(at + 32);
}

static void put_parameters(uint8_t *at, const ufm_expert_desc *desc)
{
	put_f32(at, desc->act_alpha);
	put_f32(at + 4, desc->gate_limit);
	put_f32(at + 8, desc->activated_limit);
	put_f32(at + 12, desc->up_limit);
	put_f32(at + 16, desc->up_offset);
}

static void get_parameters(const uint8_t *at, ufm_expert_desc *desc)
{
	desc->act_alpha = get_f32(at);
	desc->gate_limit = get_f32(at + 4);
	desc->activated_limit = get_f32(at + 8);
	desc->up_limit = get_f32(at + 12);
	desc->up_offset = get_f32(at + 16);
}

void bank_packed_header(const bank_shape *shape, uint8_t out[BANK_PACKED_HEADER_BYTES])
{
	const ufm_expert_desc *desc = &shape->desc;
	const header_form *form = &forms[PACKED_VERSION];

	memset(out, 0, BANK_PACKED_HEADER_BYTES);
	memcpy(out + AT_MAGIC, PACKED_MAGIC, sizeof PACKED_MAGIC - 1);
	put_u32(out + AT_VERSION, PACKED_VERSION);
	put_u32(out + AT_HEADER_BYTES, BANK_PACKED_HEADER_BYTES);
	put_u32(out + AT_LAYERS, shape->layers);
	put_u32(out + AT_EXPERTS, shape->experts);
	put_u32(out + AT_D_MODEL, desc->d_model);
	put_u32(out + AT_D_HIDDEN, desc->d_hidden);
	put_u32(out + AT_ACTIVATION, (uint32_t)desc->activation);
	put_u32(out + AT_PART_COUNT, desc->part_count);
	put_u64(out + AT_EXPERT_BYTES, desc->expert_bytes);
	put_u64(out + AT_BLOCK_BYTES, desc->block_bytes);
	put_u64(out + AT_PAYLOAD, BANK_PACKED_HEADER_BYTES);
	for (uint32_t i = 0; i < desc->part_count; i++)
		put_part(out + part_at(form, i), &desc->parts[i]);
	put_parameters(out + parameters_at(form), desc);
	put_u64(out + AT_CHECKSUM, hash_bytes(HASH_SEED, out, AT_CHECKSUM));
}

/* Before anything else in the header is believed. */
static ufm_status check_envelope(const uint8_t *header, size_t header_bytes)
{
	uint64_t sum;

	if (header_bytes < BANK_PACKED_HEADER_BYTES)
		return status_fail(UFM_EFORMAT, "holds %zu bytes, expected a header of %u", header_bytes,
		                   BANK_PACKED_HEADER_BYTES);
	if (memcmp(header + AT_MAGIC, PACKED_MAGIC, sizeof PACKED_MAGIC - 1) != 0)
		return status_fail(UFM_EFORMAT, "does not begin with \"%s\": not a packed bank",
		                   PACKED_MAGIC);
	if (get_u32(header + AT_VERSION) < 1 || get_u32(header + AT_VERSION) > PACKED_VERSION)
		return status_fail(UFM_EFORMAT, "version is %u, expected 1 … %u",
		                   get_u32(header + AT_VERSION), PACKED_VERSION);
	sum = hash_bytes(HASH_SEED, header, AT_CHECKSUM);
	if (get_u64(header + AT_CHECKSUM) != sum)
		return status_fail(UFM_EFORMAT, "header checksum is %016llx, expected %016llx",
		                   (unsigned long long)get_u64(header + AT_CHECKSUM),
		                   (unsigned long long)sum);
	if (get_u32(header + AT_HEADER_BYTES) != BANK_PACKED_HEADER_BYTES ||
	    get_u64(header + AT_PAYLOAD) != BANK_PACKED_HEADER_BYTES)
		return status_fail(UFM_EFORMAT, "header and payload offset must both be %u bytes",
		                   BANK_PACKED_HEADER_BYTES);
	return UFM_OK;
}

static ufm_status check_zero(const uint8_t *header, size_t begin, size_t end)
{
	for (size_t i = begin; i < end; i++) {
		if (header[i])
			return status_fail(UFM_EFORMAT, "unused header byte %zu is %u, expected 0", i,
			                   header[i]);
	}
	return UFM_OK;
}

/* Bytes that a version does not use are zero, so that a later one can use them. */
static ufm_status check_unused(const header_form *form, const uint8_t *header, uint32_t part_count)
{
	size_t parameters = parameters_at(form);
	ufm_status status = check_zero(header, part_at(form, part_count), parameters);

	for (uint32_t i = 0; form->formats && i < part_count && !status; i++)
		status = check_zero(header, part_at(form, i) + 36, part_at(form, i + 1));
	return status ? status : check_zero(header, parameters + PARAMETERS_BYTES, AT_CHECKSUM);
}

static void get_shape(const header_form *form, const uint8_t *header, bank_shape *shape)
{
	ufm_expert_desc *desc = &shape->desc;

	memset(shape, 0, sizeof *shape);
	shape->layers = get_u32(header + AT_LAYERS);
	shape->experts = get_u32(header + AT_EXPERTS);
	desc->struct_size = sizeof *desc;
	desc->d_model = get_u32(header + AT_D_MODEL);
	desc->d_hidden = get_u32(header + AT_D_HIDDEN);
	desc->activation = (ufm_activation)get_u32(header + AT_ACTIVATION);
	desc->part_count = get_u32(header + AT_PART_COUNT);
	desc->expert_bytes = get_u64(header + AT_EXPERT_BYTES);
	desc->block_bytes = get_u64(header + AT_BLOCK_BYTES);
	for (uint32_t i = 0; i < desc->part_count && i < form->parts_max; i++)
		get_part(form, header + part_at(form, i), &desc->parts[i]);
	get_parameters(header + parameters_at(form), desc);
}

/* No file of the first version holds F16. */
static ufm_status check_plain_parts(const ufm_expert_desc *desc)
{
	for (uint32_t i = 0; i < desc->part_count; i++) {
		if (!dtype_is_computed(desc->parts[i].dtype))
			return status_fail(UFM_EFORMAT, "part %u: dtype is %u, expected 1 or 2 in version 1", i,
			                   (unsigned)desc->parts[i].dtype);
	}
	return UFM_OK;
}

static ufm_status check_shape(const header_form *form, const bank_shape *shape)
{
	ufm_status status = UFM_OK;

	if (shape->desc.part_count > form->parts_max)
		return status_fail(UFM_EFORMAT, "part_count is %u, expected 1 … %u", shape->desc.part_count,
		                   form->parts_max);
	if (!form->formats)
		status = check_plain_parts(&shape->desc);
	if (!status)
		status = bank_check_desc(&shape->desc);
	if (!status)
		status = bank_check_counts(shape->layers, shape->experts, shape->desc.block_bytes);
	/* a format that is not known here, too, is what the file says */
	return bank_as_format(status == UFM_EUNSUPPORTED ? UFM_EINVAL : status);
}

ufm_status bank_packed_parse(const void *header, size_t header_bytes, uint64_t file_bytes,
                             bank_shape *out)
{
	bank_shape shape;
	uint64_t expected, keys;
	const header_form *form;
	ufm_status status = check_envelope(header, header_bytes);

	if (status)
		return status;
	form = &forms[get_u32((const uint8_t *)header + AT_VERSION)];
	get_shape(form, header, &shape);
	status = check_shape(form, &shape);
	if (!status)
		status = check_unused(form, header, shape.desc.part_count);
	if (status)
		return status;
	keys = (uint64_t)shape.layers * shape.experts;
	expected = BANK_PACKED_HEADER_BYTES + keys * shape.desc.block_bytes;
	if (file_bytes != expected)
		return status_fail(UFM_EFORMAT, "file holds %llu bytes, expected %llu for %llu experts",
		                   (unsigned long long)file_bytes, (unsigned long long)expected,
		                   (unsigned long long)keys);
	shape.bank_bytes = keys * shape.desc.expert_bytes;
	*out = shape;
	return UFM_OK;
}

static ufm_status read_shape(const char *path, bank_shape *shape)
{
	uint8_t header[BANK_PACKED_HEADER_BYTES];
	uint64_t got, size_bytes;
	int fd;
	ufm_status status = file_open(path, &fd, &size_bytes);

	if (status)
		return status;
	status = file_read(fd, header, sizeof header, 0, &got);
	if (!status)
		status = bank_packed_parse(header, got, size_bytes, shape);
	close(fd);
	return status;
}

ufm_status bank_packed_open(const char *path, ufm_bank **out)
{
	bank_shape shape;
	ufm_bank *bank = NULL;
	ufm_status status = read_shape(path, &shape);

	if (status)
		return status_prefix(status, "%s", path);
	status = bank_new(EXTENT_FILE, shape.layers, shape.experts, &shape.desc, &bank);
	if (status)
		return status;
	bank->path = alloc_string(path);
	if (!bank->path) {
		ufm_bank_close(bank);
		return UFM_ENOMEM;
	}
	*out = bank;
	return UFM_OK;
}
