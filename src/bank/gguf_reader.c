/* SPDX-License-Identifier: MIT */
/* Takes numbers and strings from a GGUF header's bytes, which are little-endian. */
#include <string.h>

#include "bank/gguf_int.h"
#include "base/status.h"
#include "base/utf8.h"

uint64_t gguf_load(const uint8_t *at, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = bytes; i-- > 0;)
		value = value << 8 | at[i];
	return value;
}

uint64_t gguf_left(const gguf_reader *r)
{
	return r->file_bytes - r->at;
}

ufm_status gguf_check_room(const gguf_reader *r, uint64_t bytes)
{
	if (bytes > gguf_left(r))
		return status_fail(UFM_EFORMAT, "byte %llu: %llu bytes are wanted, the file has %llu more",
		                   (unsigned long long)r->at, (unsigned long long)bytes,
		                   (unsigned long long)gguf_left(r));
	if (r->at > GGUF_HEADER_BYTES_MAX || bytes > GGUF_HEADER_BYTES_MAX - r->at)
		return status_fail(UFM_EFORMAT, "byte %llu: %llu bytes are wanted, a header has at most %u",
		                   (unsigned long long)r->at, (unsigned long long)bytes,
		                   GGUF_HEADER_BYTES_MAX);
	return UFM_OK;
}

ufm_status gguf_take(gguf_reader *r, uint64_t bytes, const uint8_t **out)
{
	ufm_status status = gguf_check_room(r, bytes);

	if (status)
		return status;
	if (bytes > r->got - r->at) {
		r->more = true;
		return status_fail(UFM_EFORMAT, "goes on behind byte %llu", (unsigned long long)r->got);
	}
	*out = r->bytes + r->at;
	r->at += bytes;
	return UFM_OK;
}

ufm_status gguf_take_u32(gguf_reader *r, uint32_t *out)
{
	const uint8_t *at;
	ufm_status status = gguf_take(r, 4, &at);

	if (!status)
		*out = (uint32_t)gguf_load(at, 4);
	return status;
}

ufm_status gguf_take_u64(gguf_reader *r, uint64_t *out)
{
	const uint8_t *at;
	ufm_status status = gguf_take(r, 8, &at);

	if (!status)
		*out = gguf_load(at, 8);
	return status;
}

ufm_status gguf_take_string(gguf_reader *r, uint64_t least, uint64_t most, gguf_slice *out)
{
	uint64_t at = r->at;
	ufm_status status = gguf_take_u64(r, &out->bytes);

	if (status)
		return status;
	if (out->bytes < least || out->bytes > most)
		return status_fail(UFM_EFORMAT, "byte %llu: a string of %llu bytes, expected %llu … %llu",
		                   (unsigned long long)at, (unsigned long long)out->bytes,
		                   (unsigned long long)least, (unsigned long long)most);
	return gguf_take(r, out->bytes, &out->at);
}

static ufm_status check_name(gguf_slice name, const char *what)
{
	if (memchr(name.at, 0, name.bytes))
		return status_fail(UFM_EFORMAT, "a %s holds a NUL, expected text", what);
	if (!utf8_is_valid(name.at, name.bytes))
		return status_fail(UFM_EFORMAT, "a %s is not UTF-8", what);
	return UFM_OK;
}

ufm_status gguf_take_name(gguf_reader *r, uint64_t most, const char *what, gguf_slice *out)
{
	ufm_status status = gguf_take_string(r, 1, most, out);

	return status ? status : check_name(*out, what);
}

uint64_t gguf_string_bytes(const char *in_header)
{
	return gguf_load((const uint8_t *)in_header - 8, 8);
}

const char *gguf_keep_string(const char *in_header, char **text)
{
	uint64_t bytes = gguf_string_bytes(in_header);
	char *kept = *text;

	memcpy(kept, in_header, bytes);
	kept[bytes] = '\0';
	*text += bytes + 1;
	return kept;
}
