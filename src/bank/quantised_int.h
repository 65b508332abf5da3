/* SPDX-License-Identifier: MIT */
/*
 * The parts of quantised_describe: the table of layouts (quantised), what they have in common (quantised_parts), what
 * config.json says (quantised_config), and the layouts by the kind of their values: 8-bit floats (quantised_fp8), 4-bit floats (quantised_fp4) and
 * 4-bit integers (quantised_int4).
 */
#ifndef UFM_BANK_QUANTISED_INT_H
#define UFM_BANK_QUANTISED_INT_H

#include "bank/config_tree.h"
#include "bank/quantised.h"

/* ---- what config.json says */

typedef struct quantised_config {
	char *text;              /* that the tree points into */
	config_node *root;       /* NULL: there is no config.json */
	const config_node *said; /* its quantization_config; NULL: there is none */
	const char *method;      /* "": not said */
} quantised_config;

/* UFM_EFILE, UFM_EFORMAT for a file that cannot be read, as model_config_read. */
ufm_status quantised_config_read(const checkpoint *c, const towers *t, quantised_config *out);
void quantised_config_free(quantised_config *q);

/* The value of `key` in an object of it, which may be NULL, must be the number or the text (one of several, separated
 * by spaces, in any case) or not be said at all. UFM_EFORMAT: "config.json: quantization_config has bits 8, expected 4". */
ufm_status quantised_need_number(const config_node *object, const char *key, int32_t expected);
ufm_status quantised_need_text(const config_node *object, const char *key, const char *expected);
ufm_status quantised_need_bool(const config_node *object, const char *key, bool expected);
/* Not said, null, false, or nothing in it. */
ufm_status quantised_need_none(const config_node *object, const char *key);
/* Whether one of the names, separated by spaces, is that one, by strncmp or strncasecmp. */
bool quantised_lists(const char *names, const char *name,
                     int (*compare)(const char *, const char *, size_t));
/* Whether it is said and one of the texts, in any case. */
bool quantised_says(const config_node *object, const char *key, const char *text);
/* A whole number, -1 included; false: not said, or no such number. */
bool quantised_number(const config_node *object, const char *key, int32_t *out);
/* UFM_EFORMAT where a list of what is not quantised names experts of those. */
ufm_status quantised_check_exempt(const quantised_config *q, const expert_tensors *all);
/* What compressed-tensors says of weights: the one scheme that there must be. UFM_EFORMAT: another number of
 * them, another format or number of bits, another type. */
ufm_status quantised_scheme(const quantised_config *q, const char *format, int32_t bits,
                            const char *type, const config_node **weights);

/* ---- a layout that is described */

typedef struct quantised_layout quantised_layout;

typedef struct quantised {
	const quantised_layout *layout;
	const quantised_config *config;
	const model_config *model;
	expert_set *e;
	uint32_t has; /* bits of the components that the first expert has */
} quantised;

/* One of an expert's matrices, of those that share a tensor each by itself. */
typedef struct quantised_matrix {
	ufm_role role;
	uint32_t rows, cols;
	bool shared;        /* gate and up: of a tensor of twice the rows */
	bool second;        /* of those, up */
	uint64_t file_rows; /* of the tensor */
} quantised_matrix;

struct quantised_layout {
	const char *name;    /* "MXFP4" */
	const char *methods; /* values of quant_method, separated by spaces */
	bool fused;
	uint32_t has, may; /* components: that an expert has, that it may have besides */
	expert_component values;
	/* The values' tensor (without its dimension of experts): rows_times of the rows lie in one element of dimension rows_at, … */
	checkpoint_dtype dtype;
	uint32_t rank, rows_at, rows_times, cols_at, cols_times;
	ufm_status (*check)(const quantised *q); /* against config.json */
	/* Appends the matrix and what belongs to it. The values' shape is known to be right. */
	ufm_status (*describe)(quantised *q, const quantised_matrix *m);
};

extern const quantised_layout quantised_mxfp4, quantised_nvfp4, quantised_nvfp4_packed;
extern const quantised_layout quantised_fp8, quantised_fp8_blocks, quantised_fp8_fused,
	quantised_fp8_blocks_fused;
extern const quantised_layout quantised_int4, quantised_awq, quantised_gptq;

#define COMPONENT(name) (1u << EXPERT_##name)

static inline bool quantised_has(const quantised *q, expert_component c)
{
	return q->has >> c & 1;
}

/* The slot of a role's component, or NULL; `shared`: of the tensor that gate and up share. */
expert_slot *quantised_find_slot(const expert_set *e, ufm_role role, bool shared,
                                 expert_component c);
/* The slot of a matrix's component, which the first expert has. */
expert_slot *quantised_slot(const quantised *q, const quantised_matrix *m, expert_component c);
/* Appends a part of that component; elements lie as bytes, one behind the other, until it is told otherwise. */
expert_part *quantised_part(quantised *q, const quantised_matrix *m, ufm_role role,
                            expert_component c);
/* The matrix's scale, zero point or factor, by UFM_ROLE_UP_SCALE, …. */
static inline ufm_role quantised_role(const quantised_matrix *m, ufm_role first)
{
	return (ufm_role)((int)first + ((int)m->role - UFM_ROLE_UP) / 2);
}
/* Appends the values as they lie: rows of `format`, of which a shared tensor has the gate's and then up's. */
expert_part *quantised_values(quantised *q, const quantised_matrix *m, ufm_format format);
/* Gives a part the type of its tensor, which must be among `dtypes` (1 << checkpoint_dtype each); the bytes of an element. */
ufm_status quantised_type(const quantised *q, expert_part *part, uint32_t dtypes,
                          uint64_t *element_bytes);
/* UFM_EFORMAT unless the part's tensor has that shape behind its dimension of experts. */
ufm_status quantised_need_shape(const quantised *q, const expert_part *part, uint32_t rank,
                                uint64_t a, uint64_t b, uint64_t c);
/* Appends the matrix's scales, of the shape [a, b] and a type among `dtypes`. UFM_EFORMAT. */
ufm_status quantised_scales(quantised *q, const quantised_matrix *m, expert_component c, uint64_t a,
                            uint64_t b, uint32_t dtypes, expert_part **out);
/* Appends a factor of one F32; `inverse`: the file has one divided by it. */
ufm_status quantised_factor(quantised *q, const quantised_matrix *m, expert_component c,
                            bool inverse);
/* Lets elements of a part lie at two strides. */
void quantised_stride(expert_part *part, uint64_t rows, uint64_t cols, uint64_t row_stride,
                      uint64_t col_stride);
/* Columns that share a scale where there are `groups` of them in a row, which must be what config.json says as `key` of
 * `object`: 128, or -1 for all. 0: UFM_EFORMAT, in *status. */
uint32_t quantised_group(const quantised *q, const expert_part *scale, const quantised_matrix *m,
                         uint64_t groups, const config_node *object, const char *key,
                         ufm_status *status);

static inline uint64_t quantised_ceil(uint64_t count, uint64_t by)
{
	return count / by + (count % by != 0);
}

/* Types that scales may have. */
#define QUANTISED_FLOATS (1u << CHECKPOINT_F32 | 1u << CHECKPOINT_BF16 | 1u << CHECKPOINT_F16)

#endif
