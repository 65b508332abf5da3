/* SPDX-License-Identifier: MIT */
/* What the parts of a checkpoint share: its struct, and where its path leads. */
#ifndef UFM_CHECKPOINT_CHECKPOINT_INT_H
#define UFM_CHECKPOINT_CHECKPOINT_INT_H

#include "checkpoint/gguf.h"
#include "checkpoint/safetensors.h"

/* Of all files together: an index is held to the same as one header. */
#define CHECKPOINT_HEADERS_BYTES_MAX (256u << 20)

typedef struct checkpoint_file {
	char *path;
	char *header; /* names of tensors point into it */
	uint64_t size_bytes;
} checkpoint_file;

struct checkpoint {
	char *path;        /* as it was opened */
	char *config_path; /* NULL: none */
	checkpoint_file *files;
	uint32_t file_count;
	uint64_t header_bytes; /* of all files */
	tensor_list list;      /* sorted by name */
	const struct checkpoint_format *format;
	gguf_values values; /* GGUF: the first file's; their text is the file's header */
};

/* Whose file it is. `match` asks for no more than the path, what stands there and how it begins; `open` fills an empty
 * checkpoint, whose tensors are not sorted yet. UFM_EFILE, UFM_EFORMAT: one line with the file and the rule. */
typedef struct checkpoint_format {
	const char *name;
	bool (*match)(const char *path);
	ufm_status (*open)(checkpoint *c, const char *path);
} checkpoint_format;

/* NULL: none of them, as a packed bank is. */
const checkpoint_format *checkpoint_format_of(const char *path);

bool gguf_match(const char *path);
ufm_status gguf_open(checkpoint *c, const char *path);
ufm_status gguf_open_folder(checkpoint *c, const char *folder);
/* Whether a folder has models in GGUF files and no weights of another format. */
ufm_status gguf_is_folder(const char *folder, bool *out);
bool safetensors_match(const char *path);
ufm_status safetensors_open(checkpoint *c, const char *path);
/* Whether a folder has model.safetensors or its index: nobody needs to list it then. */
ufm_status safetensors_is_folder(const char *folder, bool *out);

/* The weight map of an index: which tensor lies in which file. */
typedef struct checkpoint_index {
	const struct checkpoint_entry {
		const char *tensor, *file;
	} * entries; /* sorted by tensor */
	uint32_t count;
	const char **files; /* sorted, each once */
	uint32_t file_count;
} checkpoint_index;

/* Parses an index; everything points into `text`, which is changed. UFM_EFORMAT names the rule. */
ufm_status checkpoint_index_parse(char *text, uint64_t size, checkpoint_index *out);
void checkpoint_index_free(checkpoint_index *index);

/* Where the weights are: a file, or an index and the folder of its shards. */
typedef struct checkpoint_place {
	char *path;   /* of the file or index */
	char *folder; /* in which it lies */
	bool is_index;
	checkpoint_index index; /* then; points into text */
	char *text;
} checkpoint_place;

/* Resolves a file, an index or a folder, and reads an index, which may have to say what a folder means. UFM_EFILE,
 * UFM_EFORMAT. */
ufm_status checkpoint_locate(const char *path, checkpoint_place *out);
void checkpoint_place_free(checkpoint_place *place);

#endif
