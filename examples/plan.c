/* SPDX-License-Identifier: MIT */
/* What a published model's routed experts give on a 24 GiB card, from its config.json alone:
 *
 *     plan config.json
 */
#include <stdio.h>
#include <ufm/plan.h>

enum { POINTS = 2 };

int main(int argc, char *argv[])
{
	ufm_expert_desc expert = {.struct_size = sizeof expert};
	ufm_plan_model model = {.struct_size = sizeof model, .desc = &expert};
	/* A card on PCIe 4 and a desktop's memory, as they are reached. */
	const ufm_plan_machine machine = {
		.struct_size = sizeof machine, .link_gbps = 27, .hbm_gbps = 930, .dram_gbps = 50};
	const ufm_plan_config config = {.struct_size = sizeof config,
	                                .model = &model,
	                                .machine = &machine,
	                                .headroom_bytes = 1ull << 30};
	/* 24 GiB, and what would hold every expert. */
	ufm_plan_point points[POINTS] = {
		{.struct_size = sizeof points[0], .vram_target_bytes = 24ull << 30},
		{.struct_size = sizeof points[1]}};

	if (argc != 2) {
		fprintf(stderr, "usage: plan CONFIG_OR_CHECKPOINT\n");
		return 2;
	}
	if (ufm_plan_read_model(argv[1], NULL, &model) || ufm_plan(&config, points, POINTS)) {
		fprintf(stderr, "plan: %s\n", ufm_last_error());
		return 1;
	}
	printf("%u layers of %u experts, %u a token. %s\n", model.layers, model.experts, model.top_k,
	       model.notes);
	for (int i = 0; i < POINTS; i++) {
		const ufm_plan_point *p = &points[i];
		if (p->status)
			printf("%.1f GiB: %s\n", (double)p->vram_target_bytes / 0x1p30, p->why);
		else
			printf("%.1f GiB: %u slots, %.0f %% hits, %.0f tok/s in the routed layers\n",
			       (double)p->vram_target_bytes / 0x1p30, p->slots, 100 * p->decode.hit_rate,
			       p->decode.tokens_per_s);
	}
	return 0;
}
