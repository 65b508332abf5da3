/* SPDX-License-Identifier: MIT */
/*
 * Expert arithmetic on the CPU: one table of functions per instruction set, chosen at run time. Pure:
 * no threads, no memory of their own. Callers split work by ranges.
 *
 * Every element of a result is computed by one fixed sequence of operations that depends on its
 * weight row, its input row and the table, never on the range, the number of tokens or the tile it
 * was computed in. So any split over threads and any grouping of tokens gives the same bits.
 * Products accumulate in f32; bf16 weights are widened exactly, or inputs split exactly into bf16 terms. A matrix in
 * a storage format or in f16 gives the bits that its weights (format.h) give as f32 in the same table.
 */
#ifndef UFM_KERNELS_KERNELS_H
#define UFM_KERNELS_KERNELS_H

#include <stdint.h>
#include <ufm/ufm.h>

typedef struct kernel_table {
	const char *isa; /* "scalar", "avx2", "avx512", "amx" */

	/* hidden[t * d_hidden + u] for t in 0 … tokens-1, u in unit_begin … unit_end-1:
	 * act(up(x[t])) or g * u (ufm_expert_desc); x is [tokens, d_model]. */
	void (*hidden)(const ufm_expert_desc *desc, const void *block, const float *x, uint32_t tokens,
	               float *hidden, uint32_t unit_begin, uint32_t unit_end);
	/* out[t * d_model + u] for u in unit_begin … unit_end-1: down(hidden[t]). */
	void (*output)(const ufm_expert_desc *desc, const void *block, const float *hidden,
	               uint32_t tokens, float *out, uint32_t unit_begin, uint32_t unit_end);
	/* logits[t * experts + e] = weight[e] . x[t] for all t and e. */
	void (*logits)(const float *weight, uint32_t experts, const float *x, uint32_t tokens,
	               uint32_t d_model, float *logits);
	/* y = x / sqrt(mean(x²) + eps) * weight over d elements; weight NULL: copies. */
	void (*rms_norm)(const float *x, const float *weight, float eps, uint32_t d, float *y);
	/* acc[i] = acc[i] + gate * row[i], product and sum each rounded to f32. */
	void (*accumulate)(float *acc, float gate, const float *row, uint32_t d);
	/* out[c] = element (row, c) of the matrix with a role, whatever it is stored in: the bits of format_expand. */
	void (*expand)(const ufm_expert_desc *desc, const void *block, ufm_role role, uint32_t row,
	               float *out);

	/* For callers that cut one expert into many ranges: what hidden (role UFM_ROLE_UP) and output
	 * (UFM_ROLE_DOWN) otherwise derive from their inputs in every call can be made once.
	 * prepared_bytes: the memory it takes, aligned to 64; 0: this table has nothing to prepare, and
	 * `prepared` is NULL below. prepare: the share `part` of `parts` of it, so that threads can do it
	 * together; all parts end before the first use. x as in hidden, or hidden as in output. The
	 * functions with `prepared` give the bits of those without. */
	uint64_t (*prepared_bytes)(const ufm_expert_desc *desc, ufm_role role, uint32_t tokens);
	void (*prepare)(const ufm_expert_desc *desc, ufm_role role, const float *x, uint32_t tokens,
	                void *prepared, uint32_t part, uint32_t parts);
	void (*hidden_prepared)(const ufm_expert_desc *desc, const void *block, const float *x,
	                        const void *prepared, uint32_t tokens, float *hidden,
	                        uint32_t unit_begin, uint32_t unit_end);
	void (*output_prepared)(const ufm_expert_desc *desc, const void *block, const float *hidden,
	                        const void *prepared, uint32_t tokens, float *out, uint32_t unit_begin,
	                        uint32_t unit_end);
} kernel_table;

/* The best table this CPU runs. UFM_KERNELS=scalar|avx2|avx512|amx in the environment overrides it. */
const kernel_table *kernels_best(void);
/* The same for callers whose results may depend on an expert's number of tokens, where that is not above
 * KERNELS_FEW_TOKENS: tiles serve few tokens no better than vectors, and a busy memory makes them slower. */
const kernel_table *kernels_best_few(void);
#define KERNELS_FEW_TOKENS 4u
/* NULL: unknown name, or this CPU (or build) lacks it; *why then says which. why may be NULL. */
const kernel_table *kernels_find(const char *isa, const char **why);
/* index from 0, in rising order of preference; NULL past the end. For tests: may be one that this
 * CPU lacks (kernels_find tells). */
const char *kernels_name(uint32_t index);

/* Runs the loop that makes the most products with `dtype` weights in f32's precision that the table's instructions
 * allow on this core, in registers alone: what no kernel can pass. Returns the operations that it stands for, and names
 * the instructions. */
uint64_t kernels_peak(const kernel_table *table, ufm_dtype dtype, uint32_t rounds,
                      const char **loop);

/* One token's routing by a caller: an id that stands there again becomes -1, and its gate is added to that of the first
 * time, in order. */
void kernels_fold(int32_t *ids, float *gates, uint32_t top_k);

/* Scores (a softmax over all experts with the maximum subtracted, or each logit's sigmoid), then the
 * top_k largest, ties to the lower id, rank 0 the largest; norm_topk divides the chosen by
 * their sum plus UFM_NORM_TOPK_ADDEND. logits is overwritten. A NaN logit is never chosen before a
 * number. */
void kernels_top_k(float *logits, uint32_t experts, ufm_scoring scoring, uint32_t top_k,
                   int norm_topk, int32_t *ids, float *gates);

#endif
