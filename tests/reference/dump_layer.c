/* SPDX-License-Identifier: MIT */
/* Runs one routed layer and writes all that a second implementation needs to check it:
 *     dump_layer FOLDER KIND DTYPE EXPERTS TOP_K D_MODEL D_HIDDEN TOKENS SLOTS NORM_TOPK SEED
 * into FOLDER: x, router, norm, ids, gates, y, layout, gating (.npy) and blocks.npy, u8 [experts, expert_bytes].
 * KIND: a ufm_expert_kind, or a name of tests/support/arithmetic.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/npy.h"
#include "support/fixture.h"

static const char *folder;

static ufm_status write_npy(const char *name, npy_type type, uint64_t rows, uint64_t cols,
                            const void *data)
{
	char path[4096];
	snprintf(path, sizeof path, "%s/%s.npy", folder, name);
	return npy_write(path, type, 2, (uint64_t[]){rows, cols}, data);
}

static ufm_status write_blocks(fixture *f)
{
	ufm_bank_info info = {.struct_size = sizeof info};
	ufm_bank_get_info(f->bank, &info);
	uint8_t *all = calloc(info.experts, info.desc->expert_bytes);
	ufm_status status = UFM_OK;
	for (uint32_t i = 0; i < info.experts && status == UFM_OK; i++)
		status = ufm_bank_read(f->bank, 0, i, all + i * info.desc->expert_bytes);
	if (status == UFM_OK)
		status = write_npy("blocks", NPY_U8, info.experts, info.desc->expert_bytes, all);
	free(all);
	return status;
}

static ufm_status write_layout(fixture *f)
{
	ufm_bank_info info = {.struct_size = sizeof info};
	ufm_bank_get_info(f->bank, &info);
	int64_t rows[UFM_PARTS_MAX][5];
	for (uint32_t i = 0; i < info.desc->part_count; i++) {
		const ufm_part *p = &info.desc->parts[i];
		int64_t row[5] = {p->role, p->dtype, p->rows, p->cols, (int64_t)p->offset_bytes};
		memcpy(rows[i], row, sizeof row);
	}
	return write_npy("layout", NPY_I64, info.desc->part_count, 5, rows);
}

/* The activation, and the parameters in the order of ufm_expert_desc. */
static ufm_status write_gating(fixture *f)
{
	ufm_bank_info info = {.struct_size = sizeof info};
	ufm_bank_get_info(f->bank, &info);
	const ufm_expert_desc *d = info.desc;
	float row[6] = {(float)d->activation, d->act_alpha, d->gate_limit,
	                d->activated_limit,   d->up_limit,  d->up_offset};
	return write_npy("gating", NPY_F32, 1, 6, row);
}

static ufm_status run_and_write(fixture *f)
{
	uint32_t tokens = f->c.tokens, k = f->c.top_k, d = f->c.d_model;
	int32_t *ids = calloc((size_t)tokens * k, sizeof *ids);
	float *gates = calloc((size_t)tokens * k, sizeof *gates);
	ufm_moe_call call;
	ufm_ticket ticket;
	UFM_STRUCT_INIT(&call);
	call.tokens = tokens;
	call.x = &f->x_tokens;
	call.y = &f->y_tokens;
	call.ids_out = ids;
	call.gates_out = gates;
	fixture_fill_x(f, f->c.seed);
	ufm_status status = ufm_moe_forward(f->layers[0], &call, &ticket);
	if (status == UFM_OK)
		status = ufm_ticket_wait(f->engine, ticket, UFM_WAIT_FOREVER);
	ufm_status writes[] = {
		status,
		write_npy("x", NPY_F32, tokens, d, f->x),
		write_npy("y", NPY_F32, tokens, d, f->y),
		write_npy("ids", NPY_I32, tokens, k, ids),
		write_npy("gates", NPY_F32, tokens, k, gates),
		write_npy("router", NPY_F32, f->c.experts, d, f->router),
		write_npy("norm", NPY_F32, 1, d, f->norm),
		write_blocks(f),
		write_layout(f),
		write_gating(f),
	};
	free(ids);
	free(gates);
	for (size_t i = 0; i < sizeof writes / sizeof *writes; i++)
		status = status == UFM_OK ? writes[i] : status;
	return status;
}

static uint32_t number(const char *text)
{
	return (uint32_t)strtoul(text, NULL, 10);
}

int main(int argc, char **argv)
{
	if (argc != 12)
		return 2;
	folder = argv[1];
	uint32_t kind = number(argv[2]);
	fixture_config c = {.kind = (ufm_expert_kind)kind,
	                    .arithmetic = kind ? NULL : arithmetic_named(argv[2]),
	                    .dtype = (ufm_dtype)number(argv[3]),
	                    .experts = number(argv[4]),
	                    .top_k = number(argv[5]),
	                    .d_model = number(argv[6]),
	                    .d_hidden = number(argv[7]),
	                    .tokens = number(argv[8]),
	                    .slots_max = number(argv[9]),
	                    .norm_topk = number(argv[10]),
	                    .seed = number(argv[11])};
	fixture f;
	ufm_status status = fixture_open(&f, &c);
	if (status == UFM_OK)
		status = run_and_write(&f);
	if (status != UFM_OK)
		fprintf(stderr, "dump_layer: %s\n", ufm_last_error());
	fixture_close(&f);
	return status == UFM_OK ? 0 : 1;
}
