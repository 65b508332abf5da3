/* SPDX-License-Identifier: MIT */
/* Fuzz target: npy_parse on any bytes; what it accepts must lie inside the file. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

/* Keeps the reading of the payload from being optimised away. */
static volatile uint64_t seen;

static void check(const uint8_t *file, size_t size_bytes, const npy_array *a)
{
	uint64_t product = 1, payload_bytes = a->count * npy_type_bytes(a->type);
	const uint8_t *payload = a->data;

	for (uint32_t i = 0; i < a->dims; i++)
		product *= a->shape[i];
	if (a->dims > NPY_DIMS_MAX || product != a->count || payload < file ||
	    payload + payload_bytes != file + size_bytes)
		abort();
	/* Every byte is read, for the address sanitizer. */
	seen = hash_bytes(HASH_SEED, payload, payload_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	npy_array a;
	ufm_status status = npy_parse(data, size_bytes, &a);

	if (status == UFM_OK)
		check(data, size_bytes, &a);
	else if (status != UFM_EFORMAT || !*ufm_last_error() || strchr(ufm_last_error(), '\n'))
		abort();
	return 0;
}
