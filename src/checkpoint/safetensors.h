/* SPDX-License-Identifier: MIT */
/* The header of one .safetensors file. Pure: checks everything that it claims, also against the size of
 * the file that it came from. */
#ifndef UFM_CHECKPOINT_SAFETENSORS_H
#define UFM_CHECKPOINT_SAFETENSORS_H

#include "checkpoint/checkpoint.h"

#define SAFETENSORS_PREFIX_BYTES 8u
#define SAFETENSORS_HEADER_BYTES_MAX 100000000u

typedef struct tensor_list {
	checkpoint_tensor *tensors;
	uint32_t count, room;
} tensor_list;

void tensor_list_free(tensor_list *list);
/* A zeroed place at the end; NULL when there is none. */
checkpoint_tensor *tensor_list_add(tensor_list *list);

/* The header's length out of the file's first bytes (`got` of them). */
ufm_status safetensors_header_bytes(const uint8_t *prefix, uint64_t got, uint64_t file_bytes,
                                    uint64_t *out);

/* Appends a file's tensors, sorted by offset, to `list` as file number `file`. Names are decoded in
 * place and point into `header`. On failure the list keeps what it had. UFM_EFORMAT names the rule. */
ufm_status safetensors_parse(char *header, uint64_t header_bytes, uint64_t file_bytes,
                             uint32_t file, tensor_list *list);

#endif
