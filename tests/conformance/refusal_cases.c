/* SPDX-License-Identifier: MIT */
/* Work whose arguments are wrong is refused by the call that enqueues it, and harms nothing. */
#include "conformance.h"

static void refusal_copies(void **state)
{
	(void)state;
	const ufm_backend *b = the.backend;
	ufm_devptr data = device_alloc(64);

	FAILS(b->copy(the.stream, (ufm_copy_kind)0, data, data, 4), UFM_EINVAL);
	FAILS(b->copy(the.stream, UFM_COPY_D2D, 0, data, 4), UFM_EINVAL);
	FAILS(b->fill(the.stream, 0, 1, 4), UFM_EINVAL);

	const ufm_devptr both[2] = {data, data + 8}, one[2] = {data + 16, 0};
	ufm_copies_args copies = {
		.kind = (ufm_copy_kind)4, .count = 2, .dst = both, .src = both, .size_bytes = 4};
	FAILS(b->copies(the.stream, &copies), UFM_EINVAL);
	copies.kind = UFM_COPY_D2D;
	copies.dst = one;
	FAILS(b->copies(the.stream, &copies), UFM_EINVAL);
}

static void refusal_routers(void **state)
{
	(void)state;
	const ufm_backend *b = the.backend;
	ufm_devptr data = device_alloc(64);
	ufm_router_args route = {.x = data,
	                         .weight = data,
	                         .tokens = 1,
	                         .d_model = 4,
	                         .experts = 2,
	                         .top_k = 3,
	                         .scoring = UFM_SCORE_SOFTMAX,
	                         .ids = data,
	                         .gates = data};
	FAILS(b->route(the.stream, &route), UFM_EINVAL);
	route.top_k = 1;
	route.scoring = (ufm_scoring)3;
	FAILS(b->route(the.stream, &route), UFM_EINVAL);
	route.scoring = UFM_SCORE_SIGMOID;
	route.experts = 1u << 20;
	FAILS(b->route(the.stream, &route), UFM_EINVAL);
	route.experts = 2;
	route.weight = 0;
	FAILS(b->route(the.stream, &route), UFM_EINVAL);
}

static void refusal_kernels(void **state)
{
	(void)state;
	const ufm_backend *b = the.backend;
	ufm_devptr data = device_alloc(64);
	ufm_gather_args gather = {.x = data, .rows = 1, .d_model = 4, .out = data};
	FAILS(b->gather(the.stream, &gather), UFM_EINVAL);
	uint32_t numbers[UFM_FEW_ROWS + 1] = {0};
	gather.x_dtype = UFM_F32;
	gather.rows = UFM_FEW_ROWS + 1;
	gather.few_index = numbers;
	FAILS(b->gather(the.stream, &gather), UFM_EINVAL);
	ufm_combine_args combine = {.y = data, .tokens = 1, .d_model = 4};
	FAILS(b->combine(the.stream, &combine), UFM_EINVAL);
	combine = (ufm_combine_args){.rows = data,
	                             .few_row_of = numbers,
	                             .gates = data,
	                             .tokens = UFM_FEW_ROWS + 1,
	                             .top_k = 1,
	                             .d_model = 4,
	                             .y = data,
	                             .y_dtype = UFM_F32};
	FAILS(b->combine(the.stream, &combine), UFM_EINVAL);
	ufm_experts_args experts = {.entry_count = 1};
	FAILS(b->experts(the.stream, &experts), UFM_EINVAL);
	ufm_expert_rows *entry = host_alloc(sizeof *entry);
	ufm_expert_desc *desc = host_alloc(sizeof *desc);
	UFM_STRUCT_INIT(desc);
	OK(ufm_expert_desc_init(desc, UFM_EXPERT_MLP, 4, 4, UFM_F32));
	*entry = (ufm_expert_rows){.block = device_alloc(desc->block_bytes), .row = 0, .rows = 1};
	desc->activation = (ufm_activation)(UFM_ACT_RELU2 + 1);
	experts = (ufm_experts_args){.desc = desc,
	                             .entries = entry,
	                             .entry_count = 1,
	                             .x = device_alloc(64),
	                             .hidden = device_alloc(64),
	                             .y = device_alloc(64)};
	FAILS(b->experts(the.stream, &experts), UFM_EUNSUPPORTED);
	/* None of it harmed the device. */
	OK(b->fill(the.stream, data, 1, 64));
	OK(b->stream_sync(the.stream));
}

static const struct CMUnitTest cases[] = {
	CASE(refusal_copies),
	CASE(refusal_routers),
	CASE(refusal_kernels),
};
const case_list refusal_cases = CASE_LIST(cases);
