/* SPDX-License-Identifier: MIT */
/* What an engine holds on the device beside its slots. */
#ifndef UFM_BUDGET_WORKSPACE_H
#define UFM_BUDGET_WORKSPACE_H

#include <stdbool.h>
#include <ufm/backend.h>

#define BUDGET_ALIGN 256u
#define BUDGET_TOGETHER 16u /* experts that one copy may bring */

/* Buffers of the layer level, sized when an engine opens. T = max_tokens, K = top_k_max,
 * N = call_tokens_max. */
typedef struct workspace {
	uint32_t piece_rows;   /* rows of x and hidden in f32: T * K, at most 8192 */
	ufm_devptr x;          /* f32 [piece_rows, d_model], or bf16 of twice as many */
	ufm_devptr hidden;     /* backend hidden_bytes(piece_rows) */
	ufm_devptr table;      /* row table, f32 [table_rows, d_model] */
	uint64_t table_rows;   /* T * K */
	ufm_devptr ids, gates; /* i32, f32 [N * K] */
	ufm_devptr row_of;     /* u32 [N * K] */
	ufm_devptr row_token;  /* u32 [N * K] */
	ufm_devptr tokens;     /* f32 [T, d_model] of host x and y */
	uint32_t token_rows;   /* T */
	/* The same of calls that are longer, f32 [N * K, d_model] and [N, d_model], page-locked host memory; 0: N is T. Set by
	 * who has that memory. */
	ufm_devptr long_table, long_tokens;
	uint32_t route_tokens; /* that the router takes at once: at least piece_rows / K, at least 1 */
	ufm_devptr logits; /* f32 [route_tokens, experts]; in hidden, which is idle then, if they fit */
	ufm_devptr blocks; /* u64 [layers, experts]: where the experts of resident layers lie */
	ufm_devptr entries; /* ufm_expert_rows [experts], written by the device */
} workspace;

/* Of the arena: a layer's weights, which need not be there yet. */
uint64_t budget_layer_bytes(uint32_t d_model, uint32_t experts, bool router, bool norm);

/* Layers in a row, all with norms, beside the hidden states of so many tokens between them. */
typedef struct budget_stack {
	uint32_t layers, experts, d_model;
	bool router;
	uint32_t tokens;
} budget_stack;
uint64_t budget_stack_bytes(const budget_stack *stack);

#endif
