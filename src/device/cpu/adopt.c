/* SPDX-License-Identifier: MIT */
/* A caller's routing, as the other operations want it. */
#include "base/bf16.h"
#include "base/dtype.h"
#include "base/f16.h"
#include "base/status.h"
#include "device/cpu/cpu_int.h"

static int32_t id_at(const ufm_adopt_args *a, uint64_t index)
{
	int64_t id = a->id_bytes == 8 ? ((const int64_t *)cpu_host(a->ids))[index]
	                              : ((const int32_t *)cpu_host(a->ids))[index];

	return id >= a->first_id && id - a->first_id < a->experts ? (int32_t)(id - a->first_id) : -1;
}

static float gate_at(const ufm_adopt_args *a, uint64_t index)
{
	if (a->gate_dtype == UFM_F32)
		return ((const float *)cpu_host(a->gates))[index];
	uint16_t bits = ((const uint16_t *)cpu_host(a->gates))[index];
	return a->gate_dtype == UFM_F16 ? f16_to_f32(bits) : bf16_to_f32(bits);
}

static void adopt_token(const ufm_adopt_args *a, uint64_t begin)
{
	int32_t *ids = (int32_t *)cpu_host(a->ids_out) + begin;
	float *gates = (float *)cpu_host(a->gates_out) + begin;

	for (uint32_t j = 0; j < a->top_k; j++) {
		ids[j] = id_at(a, begin + j);
		gates[j] = gate_at(a, begin + j);
	}
	kernels_fold(ids, gates, a->top_k);
}

void cpu_run_adopt(const ufm_adopt_args *args)
{
	for (uint32_t t = 0; t < args->tokens; t++)
		adopt_token(args, (uint64_t)t * args->top_k);
}

ufm_status cpu_adopt(ufm_stream *stream, const ufm_adopt_args *args)
{
	cpu_command command = {.op = CPU_OP_ADOPT, .adopt = *args};
	uint64_t assignments = (uint64_t)args->tokens * args->top_k;

	if (args->id_bytes != 4 && args->id_bytes != 8)
		return status_fail(UFM_EINVAL, "adopt: ids of %u bytes, expected 4 or 8", args->id_bytes);
	if (!dtype_is_token(args->gate_dtype))
		return status_fail(UFM_EINVAL,
		                   "adopt: gates of dtype %d, expected UFM_F32, UFM_BF16 or UFM_F16",
		                   (int)args->gate_dtype);
	if (assignments > UFM_GROUP_MAX)
		return status_fail(UFM_EINVAL,
		                   "adopt: %u tokens, top_k %u, expected a product of at most 2^30",
		                   args->tokens, args->top_k);
	if (assignments == 0)
		return UFM_OK;
	if (!args->ids || !args->gates || !args->ids_out || !args->gates_out)
		return status_fail(UFM_EINVAL, "adopt of %u tokens: an address is 0", args->tokens);
	cpu_enqueue(stream, &command);
	return UFM_OK;
}
