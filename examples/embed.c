/* SPDX-License-Identifier: MIT */
/* A routed layer of 64 experts in a device budget that holds some of them, in twenty lines. */
#include <stdio.h>
#include <stdlib.h>
#include <ufm/ufm.h>

static void must(ufm_status status)
{
	if (status == UFM_OK)
		return;
	fprintf(stderr, "embed: %s\n", ufm_last_error());
	exit(1);
}

enum { EXPERTS = 64, D_MODEL = 256, D_HIDDEN = 1024, TOKENS = 32, TOP_K = 2 };
static float x[TOKENS * D_MODEL], y[TOKENS * D_MODEL];
static float router[EXPERTS * D_MODEL], norm[D_MODEL];

/* A stand-in for a model's own weights and tokens. */
static void fill(float *values, size_t count)
{
	for (size_t i = 0; i < count; i++)
		values[i] = (float)rand() / (float)RAND_MAX - 0.5f;
}

int main(void)
{
	ufm_bank_synthetic_config experts;
	ufm_engine_config device;
	ufm_layer_config config;
	ufm_moe_call call;
	ufm_bank *bank;
	ufm_host *host;
	ufm_engine *engine;
	ufm_layer *layer;
	ufm_bank_info info;
	ufm_ticket ticket;
	fill(x, TOKENS * D_MODEL);
	fill(router, EXPERTS * D_MODEL);
	fill(norm, D_MODEL);

	UFM_STRUCT_INIT(&experts); /* what the experts are; a model would use ufm_bank_memory */
	experts.experts = EXPERTS;
	must(ufm_expert_desc_init(&experts.desc, UFM_EXPERT_MLP_BIAS, D_MODEL, D_HIDDEN, UFM_F32));
	must(ufm_bank_synthetic(&experts, &bank));
	must(ufm_host_open(bank, NULL, &host)); /* all of them in host memory */

	UFM_STRUCT_INIT(&config); /* one layer: y = x + moe(norm(x)) */
	config.top_k = TOP_K;
	config.residual = 1;
	config.router_weight = router;
	config.norm_weight = norm;
	ufm_bank_get_info(bank, &info);

	UFM_STRUCT_INIT(&device); /* a budget for half of them */
	device.vram_target_bytes = info.bank_bytes / 2;
	device.max_tokens = TOKENS;
	device.top_k_max = TOP_K;
	device.arena_bytes = ufm_layer_bytes(&info, &config);
	must(ufm_engine_open(host, &device, &engine));
	must(ufm_layer_open(engine, &config, &layer));

	UFM_STRUCT_INIT(&call);
	call.tokens = TOKENS;
	call.x.host = x;
	call.y.host = y;
	must(ufm_moe_forward(layer, &call, &ticket));
	must(ufm_ticket_wait(engine, ticket, UFM_WAIT_FOREVER));

	uint64_t counters[64] = {0};
	ufm_engine_get_counters(engine, counters, 64);
	for (uint32_t i = 0; i < ufm_counter_count() && i < 64; i++)
		printf("%-22s %llu %s\n", ufm_counter_describe(i)->name, (unsigned long long)counters[i],
		       ufm_counter_describe(i)->unit);
	ufm_layer_close(layer);
	ufm_engine_close(engine);
	ufm_host_close(host);
	ufm_bank_close(bank);
	return 0;
}
