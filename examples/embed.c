/* SPDX-License-Identifier: MIT */
/* A routed layer of 64 experts under a device budget that holds half of them. */
#include <stdio.h>
#include <stdlib.h>
#include <ufm/ufm.h>

enum { EXPERTS = 64, D_MODEL = 256, D_HIDDEN = 1024, TOKENS = 32, TOP_K = 2, COUNTERS = 64 };
static float x[TOKENS * D_MODEL], y[TOKENS * D_MODEL], router[EXPERTS * D_MODEL];

static void must(ufm_status status)
{
	if (status == UFM_OK)
		return;
	fprintf(stderr, "embed: %s\n", ufm_last_error());
	exit(1);
}

/* Stands in for a model's own weights and tokens. */
static void fill(float *values, size_t count)
{
	for (size_t i = 0; i < count; i++)
		values[i] = (float)rand() / (float)RAND_MAX - 0.5f;
}

int main(void)
{
	fill(x, TOKENS * D_MODEL);
	fill(router, EXPERTS * D_MODEL);

	/* What the experts are, and all of them in host memory. */
	ufm_bank *bank;
	ufm_host *host;
	ufm_bank_info info = {.struct_size = sizeof info};
	ufm_expert_desc expert = {.struct_size = sizeof expert};
	ufm_bank_synthetic_config experts = {
		.struct_size = sizeof experts, .experts = EXPERTS, .desc = &expert};
	must(ufm_expert_desc_init(&expert, UFM_EXPERT_MLP_BIAS, D_MODEL, D_HIDDEN, UFM_F32));
	must(ufm_bank_synthetic(&experts, &bank));
	must(ufm_host_open(bank, NULL, &host));
	must(ufm_bank_get_info(bank, &info));

	/* A device with room for half of them, and the layer on it: y = x + moe(x). */
	ufm_engine *engine;
	ufm_layer *layer;
	ufm_layer_config config = {
		.struct_size = sizeof config, .top_k = TOP_K, .residual = 1, .router_weight = router};
	ufm_engine_config device = {.struct_size = sizeof device,
	                            .vram_target_bytes = info.bank_bytes / 2,
	                            .max_tokens = TOKENS,
	                            .top_k_max = TOP_K,
	                            .arena_bytes = ufm_layer_bytes(&info, &config)};
	must(ufm_engine_open(host, &device, &engine));
	must(ufm_layer_open(engine, &config, &layer));

	/* One call. */
	ufm_ticket ticket;
	ufm_tokens in = {.struct_size = sizeof in, .host = x};
	ufm_tokens out = {.struct_size = sizeof out, .host = y};
	ufm_moe_call call = {.struct_size = sizeof call, .tokens = TOKENS, .x = &in, .y = &out};
	must(ufm_moe_forward(layer, &call, &ticket));
	must(ufm_ticket_wait(engine, ticket, UFM_WAIT_FOREVER));

	/* What it took. */
	uint64_t counters[COUNTERS] = {0};
	ufm_engine_get_counters(engine, counters, COUNTERS);
	for (uint32_t i = 0; i < ufm_counter_count() && i < COUNTERS; i++)
		printf("%-22s %llu %s\n", ufm_counter_describe(i)->name, (unsigned long long)counters[i],
		       ufm_counter_describe(i)->unit);
	ufm_layer_close(layer);
	ufm_engine_close(engine);
	ufm_host_close(host);
	ufm_bank_close(bank);
	return 0;
}
