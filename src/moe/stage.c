/* SPDX-License-Identifier: MIT */
/* Tokens between the caller's memory and the device. */
#include "base/dtype.h"
#include "base/status.h"
#include "moe/moe_int.h"

static uint64_t stride_of(const forward *f, const ufm_tokens *t)
{
	return t->stride ? t->stride : f->layer->desc->d_model;
}

ufm_dtype stage_dtype(const ufm_tokens *t)
{
	return t->dtype ? t->dtype : UFM_F32;
}

/* The last token must end below the end of all addresses. */
static ufm_status check_extent(const ufm_layer *layer, const ufm_tokens *t, uint32_t tokens,
                               const char *name)
{
	uint64_t d_model = layer->desc->d_model, stride = t->stride ? t->stride : d_model, end;
	uint64_t at = t->place == UFM_ON_HOST ? (uint64_t)(uintptr_t)t->host : t->device;
	bool lost = __builtin_mul_overflow(stride, tokens - 1, &end) ||
	            __builtin_add_overflow(end, d_model, &end) ||
	            __builtin_mul_overflow(end, ufm_dtype_bytes(stage_dtype(t)), &end) ||
	            __builtin_add_overflow(end, at, &end);
	if (!lost)
		return UFM_OK;
	return status_fail(
		UFM_EINVAL,
		"%s.stride: %llu elements, expected less: the bytes of %u tokens overflow 64 "
		"bits",
		name, (unsigned long long)stride, tokens);
}

ufm_status stage_check(const ufm_layer *layer, const ufm_tokens *t, uint32_t tokens,
                       const char *name)
{
	if (t->place != UFM_ON_HOST && t->place != UFM_ON_DEVICE)
		return status_fail(UFM_EINVAL, "%s.place: %d, expected UFM_ON_HOST or UFM_ON_DEVICE", name,
		                   (int)t->place);
	if (!dtype_is_token(stage_dtype(t)))
		return status_fail(UFM_EINVAL, "%s.dtype: %d, expected UFM_F32, UFM_BF16 or UFM_F16", name,
		                   (int)t->dtype);
	if (t->place == UFM_ON_HOST ? !t->host : !t->device)
		return status_fail(UFM_EINVAL, "%s: no address for its place", name);
	if (t->stride != 0 && t->stride < layer->desc->d_model)
		return status_fail(UFM_EINVAL, "%s.stride: %llu elements, expected at least d_model (%u)",
		                   name, (unsigned long long)t->stride, layer->desc->d_model);
	return check_extent(layer, t, tokens, name);
}

ufm_status stage_copy(forward *f, ufm_copy_kind kind, ufm_devptr dst, ufm_devptr src,
                      uint64_t size_bytes)
{
	ufm_status status = f->b->copy(f->stream, kind, dst, src, size_bytes);
	if (status == UFM_OK)
		counter_add(f->counters,
		            kind == UFM_COPY_H2D ? COUNTER_h2d_activation_bytes
		                                 : COUNTER_d2h_activation_bytes,
		            size_bytes);
	return status;
}

/* Host tokens are packed on the device: one copy if they are packed, else one a token. */
static ufm_status copy_tokens(forward *f, ufm_copy_kind kind, const ufm_tokens *t)
{
	uint64_t width_bytes = f->layer->desc->d_model * ufm_dtype_bytes(stage_dtype(t));
	uint64_t stride_bytes = stride_of(f, t) * ufm_dtype_bytes(stage_dtype(t));
	bool packed = width_bytes == stride_bytes;
	uint32_t copies = packed ? 1 : f->call->tokens;
	uint64_t each_bytes = packed ? width_bytes * f->call->tokens : width_bytes;
	ufm_status status = UFM_OK;
	for (uint32_t i = 0; i < copies && status == UFM_OK; i++) {
		ufm_devptr host = (ufm_devptr)(uintptr_t)t->host + i * stride_bytes;
		ufm_devptr device = f->ws->tokens + i * width_bytes;
		bool in = kind == UFM_COPY_H2D;
		status = stage_copy(f, kind, in ? device : host, in ? host : device, each_bytes);
	}
	return status;
}

ufm_status stage_in(forward *f)
{
	const ufm_tokens *x = f->call->x;
	if (x->place == UFM_ON_DEVICE) {
		f->x = x->device;
		f->x_stride = stride_of(f, x);
		return UFM_OK;
	}
	f->x = f->ws->tokens;
	f->x_stride = f->layer->desc->d_model;
	return copy_tokens(f, UFM_COPY_H2D, x);
}

static ufm_gather_args gather_args(const forward *f, uint32_t rows, ufm_devptr out)
{
	return (ufm_gather_args){.x = f->x,
	                         .x_stride = f->x_stride,
	                         .x_dtype = stage_dtype(f->call->x),
	                         .rows = rows,
	                         .d_model = f->layer->desc->d_model,
	                         .norm_weight = f->layer->norm,
	                         .norm_eps = f->layer->config.norm_eps,
	                         .out = out};
}

ufm_status stage_gather_to(forward *f, uint32_t first, uint32_t tokens, ufm_devptr out)
{
	ufm_gather_args args = gather_args(f, tokens, out);
	args.first = first;
	return f->b->gather(f->stream, &args);
}

static ufm_status gather_rows_as(forward *f, uint32_t first, uint32_t rows, ufm_devptr out,
                                 ufm_dtype dtype)
{
	ufm_gather_args args = gather_args(f, rows, out);
	args.out_dtype = dtype;
	args.index = f->row_token.device + 4ull * first;
	args.few_index = f->row_token.few ? f->row_token.few + first : NULL;
	return f->b->gather(f->stream, &args);
}

ufm_status stage_gather_rows_to(forward *f, uint32_t first, uint32_t rows, ufm_devptr out)
{
	return gather_rows_as(f, first, rows, out, UFM_F32);
}

/* Products by UFM_MATH_BF16 round x anyway, and half the bytes are read. A single token's rows serve the router, too. */
ufm_dtype stage_rows_dtype(const forward *f)
{
	bool rounds = engine_math(f->layer->engine) == UFM_MATH_BF16 && f->call->tokens > 1;
	return rounds ? UFM_BF16 : UFM_F32;
}

/* Halves of the size, twice as many. */
uint32_t stage_piece_rows(const forward *f)
{
	return f->ws->piece_rows * (stage_rows_dtype(f) == UFM_BF16 ? 2 : 1);
}

/* A single token is gathered once, for every row that it can have. */
ufm_gather_args stage_tokens(forward *f, uint32_t first, uint32_t tokens)
{
	ufm_gather_args args = gather_args(f, tokens, f->ws->x);
	args.first = first;
	if (f->call->tokens == 1) {
		args.rows = f->layer->config.top_k;
		args.x_stride = 0;
		f->token_gathered = true;
	}
	return args;
}

static ufm_status gather_token(forward *f)
{
	if (f->token_gathered)
		return UFM_OK;
	ufm_gather_args args = stage_tokens(f, 0, 1);
	return f->b->gather(f->stream, &args);
}

ufm_status stage_gather_rows(forward *f, uint32_t first, uint32_t rows)
{
	return f->call->tokens == 1 ? gather_token(f)
	                            : gather_rows_as(f, first, rows, f->ws->x, stage_rows_dtype(f));
}

void stage_out_target(const forward *f, ufm_devptr *y, uint64_t *stride)
{
	const ufm_tokens *t = f->call->y;
	bool device = t->place == UFM_ON_DEVICE;
	*y = device ? t->device : f->ws->tokens;
	*stride = device ? stride_of(f, t) : f->layer->desc->d_model;
}

ufm_status stage_out(forward *f)
{
	const ufm_tokens *y = f->call->y;
	return y->place == UFM_ON_DEVICE ? UFM_OK : copy_tokens(f, UFM_COPY_D2H, y);
}
