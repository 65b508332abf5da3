/* SPDX-License-Identifier: MIT */
/* A plan as people read it. */
#include "cli/plan/report.h"

#include <math.h>
#include <string.h>

#include "base/size.h"
#include "cli/text_table.h"

static const char *gib(uint64_t bytes, char text[32])
{
	return size_format(bytes, text, 32);
}

/* Of a tiny model budgets differ by less than a hundredth of the headroom. */
static const char *budget_words(const plan_report *r, uint64_t bytes, char text[32])
{
	return size_format_in(bytes, r->budget_shift, text, 32);
}

uint32_t report_budget_shift(const plan_ladder *l)
{
	uint64_t sizes_bytes[LADDER_POINTS_MAX];
	for (uint32_t i = 0; i < l->count; i++)
		sizes_bytes[i] = l->points[i].target_bytes;
	return size_shift_apart(sizes_bytes, l->count);
}

/* ------------------------------------------------------------------ what was assumed */

static void print_model(sheet *to, const plan_report *r)
{
	const bank_shape *bank = &r->shape->bank;
	char each[32], all[32];
	sheet_print(to, "**%s**: %u layers of %u experts, %u a token, %s each: %s of experts.",
	            r->shape->name, bank->layers, bank->experts, r->shape->top_k,
	            gib(bank->desc.expert_bytes, each), gib(bank->bank_bytes, all));
	if (*r->shape->notes)
		sheet_print(to, " %s", r->shape->notes);
	sheet_print(to, "\n");
}

static void print_workload(sheet *to, const plan_report *r)
{
	const plan_config *c = r->config;
	if (c->batch == 1)
		sheet_print(to, "Workload: one sequence, a prompt of %u tokens, then decode;", c->prompt);
	else
		sheet_print(to, "Workload: %u sequences at once, prompts of %u tokens, then decode;",
		            c->batch, c->prompt);
	sheet_print(to, " %s. Policy: %s.\n", r->workload, r->policy);
}

/* The last that runs: of a budget that is refused nothing is known. */
static budget divided(const plan_ladder *l)
{
	budget found = {0};
	for (uint32_t i = 0; i < l->count; i++)
		if (!l->points[i].refused)
			found = l->points[i].budget;
	return found;
}

static void print_memory(sheet *to, const plan_report *r)
{
	char host[32], ram[32], fixed[32], headroom[32];
	const budget b = divided(r->ladder);
	sheet_print(to, "All experts stay in host memory, page-locked: %s", gib(r->host_bytes, host));
	if (r->machine->ram_bytes)
		sheet_print(to, " of %s that there are for it", gib(r->machine->ram_bytes, ram));
	if (r->machine->disk_gbps > 0)
		sheet_print(to, ", read in %.0f s from a disk of %g GB/s",
		            (double)r->shape->bank.bank_bytes / r->machine->disk_gbps / 1e9,
		            r->machine->disk_gbps);
	sheet_print(to,
	            ". A budget is slots for experts, %s for the layers and their workspace, and %s of "
	            "headroom. ",
	            gib(b.workspace_bytes + b.arena_bytes, fixed),
	            gib(r->config->headroom_bytes, headroom));
	sheet_print(to, "Attention, other weights and the KV cache are not counted.\n");
}

static void print_assumptions(sheet *to, const plan_report *r)
{
	print_model(to, r);
	sheet_print(to, "Machine: %s\n", r->machine->words);
	print_workload(to, r);
	print_memory(to, r);
	sheet_print(to, "\n");
}

/* ------------------------------------------------------------------ the table */

static const text_column columns[] = {
	{"budget", false, TEXT_ALWAYS}, {"slots", false, 4},
	{"of experts", false, 1},       {"hit rate", false, 2},
	{"best possible", false, 5},    {"to device MB/token", false, 6},
	{"by CPU MB/token", false, 6},  {"decode tok/s", false, TEXT_ALWAYS},
	{"decode way", true, 7},        {"link alone", false, 7},
	{"with CPU", false, 7},         {"limit tok/s", false, 5},
	{"of limit", false, 5},         {"prefill tok/s", false, TEXT_ALWAYS},
	{"prefill way", true, 8},       {"prefill link alone", false, 8},
	{"prefill with CPU", false, 8}, {"bound by", true, TEXT_ALWAYS},
};
#define COLUMNS (sizeof columns / sizeof columns[0])
enum { DECODE_COLUMN = 7, LIMIT_COLUMN = 11, PREFILL_COLUMN = 13, BOUND_COLUMN = 17 };

static void speed_cell(text_table *t, uint32_t line, uint32_t column, const point_way *way)
{
	double speed = way->tokens_per_s;
	if (way->known)
		text_cell(t, line, column, "%.*f", speed < 10 ? 2 : speed < 100 ? 1 : 0, speed);
}

static void limit_cells(text_table *t, uint32_t line, const plan_report *r, const plan_point *p)
{
	double speed = point_limit(&r->planner->point, p);
	if (!(speed > 0))
		return;
	speed_cell(t, line, LIMIT_COLUMN, &(point_way){.known = true, .tokens_per_s = speed});
	text_cell(t, line, LIMIT_COLUMN + 1, "%.2f", point_decode(p)->tokens_per_s / speed);
}

/* The quicker way, and beside it both. */
static void way_cells(text_table *t, uint32_t line, uint32_t column, const plan_point *p,
                      const point_way *way, const point_way *link, const point_way *cpu)
{
	speed_cell(t, line, column, way);
	text_cell(t, line, column + 1, "%s", point_way_name(p, way));
	speed_cell(t, line, column + 2, link);
	speed_cell(t, line, column + 3, cpu);
}

static void point_line(text_table *t, uint32_t line, const plan_report *r, const plan_point *p)
{
	char size[32];
	const point_way *decode = point_decode(p);
	double keys = (double)r->shape->bank.layers * r->shape->bank.experts;
	text_cell(t, line, 0, "%s", budget_words(r, p->target_bytes, size));
	if (p->refused) {
		text_cell(t, line, BOUND_COLUMN, "does not run");
		return;
	}
	text_cell(t, line, 1, "%u", p->budget.slots);
	text_cell(t, line, 2, "%.0f %%", 100 * p->budget.slots / keys);
	text_cell(t, line, 3, "%.3f", decode->hit_rate);
	if (p->bound_hit_rate >= 0)
		text_cell(t, line, 4, "%.3f", p->bound_hit_rate);
	text_cell(t, line, 5, "%.0f", decode->link_bytes / 1e6);
	text_cell(t, line, 6, "%.0f", decode->cpu_bytes / 1e6);
	way_cells(t, line, DECODE_COLUMN, p, decode, &p->decode, &p->decode_cpu);
	limit_cells(t, line, r, p);
	way_cells(t, line, PREFILL_COLUMN, p, point_prefill(p), &p->prefill, &p->prefill_cpu);
	text_cell(t, line, BOUND_COLUMN, "%s", timing_bound_name(decode->bound));
}

static void print_table(sheet *to, const plan_report *r)
{
	text_table t;
	if (!text_table_open(&t, columns, COLUMNS, r->ladder->count))
		return;
	for (uint32_t i = 0; i < r->ladder->count; i++)
		point_line(&t, i, r, &r->ladder->points[i]);
	text_table_print(to, &t);
	text_table_close(&t);
	sheet_print(to, "\n");
}

/* ------------------------------------------------------------------ what it means */

static void print_refused(sheet *to, const plan_ladder *l)
{
	for (uint32_t i = 0; i < l->count; i++)
		if (l->points[i].refused)
			sheet_print(to, "- Does not run: %s.\n", l->points[i].why);
}

static const char *advice(timing_bound bound)
{
	static const char *const words[TIMING_BOUNDS] = {
		"faster device memory, or narrower weights",
		"a device with more arithmetic, or shorter prompts at once",
		"more device memory, routing that repeats itself, a faster link, or the CPU path",
		"more device memory, faster host memory or link",
		"holding everything, so that no layer waits for the host, or larger batches"};
	return words[bound];
}

static void print_binding(sheet *to, const plan_report *r)
{
	const plan_ladder *l = r->ladder;
	const plan_point *first = NULL;
	char text[32];
	for (uint32_t i = 0; i < l->count && !first; i++)
		first = l->points[i].refused ? NULL : &l->points[i];
	if (!first)
		return;
	timing_bound bound = point_decode(first)->bound;
	sheet_print(to, "- From %s on decode is bound by %s; what would help: %s.\n",
	            budget_words(r, first->target_bytes, text), timing_bound_name(bound),
	            advice(bound));
	for (uint32_t i = 0; i < l->change_count; i++)
		sheet_print(to, "- From about %s on it is bound by %s; what would help: %s.\n",
		            budget_words(r, l->changes[i].target_bytes, text),
		            timing_bound_name(l->changes[i].bound), advice(l->changes[i].bound));
}

static void print_whole(sheet *to, const plan_report *r)
{
	char text[32];
	uint32_t keys = r->shape->bank.layers * r->shape->bank.experts;
	sheet_print(
		to, "- At %s everything is resident: no expert moves, and more memory brings nothing.\n",
		budget_words(r, division_target(&r->planner->division, keys), text));
}

/* Where a step of the largest budget with misses goes. */
static void print_step(sheet *to, const plan_report *r)
{
	char text[32];
	const plan_point *p = NULL;
	for (uint32_t i = 0; i < r->ladder->count; i++) {
		const plan_point *at = &r->ladder->points[i];
		if (!at->refused && point_decode(at)->link_bytes + point_decode(at)->cpu_bytes > 0)
			p = at;
	}
	if (!p)
		return;
	const point_way *way = point_decode(p);
	sheet_print(to, "- A decode step at %s takes %.2f ms:", budget_words(r, p->target_bytes, text),
	            way->step_ns / 1e6);
	const char *comma = "";
	for (uint32_t i = 0; i < TIMING_BOUNDS; i++) {
		if (way->parts_ns[i] < 0.005 * way->step_ns)
			continue;
		sheet_print(to, "%s %.2f %s", comma, way->parts_ns[i] / 1e6,
		            timing_bound_name((timing_bound)i));
		comma = ",";
	}
	sheet_print(to, "; the link idles %.0f %% of it.\n",
	            100 * fmax(0, 1 - way->link_ns / way->step_ns));
}

/* false: nothing is chosen against the CPU there. */
static bool say_choice(sheet *to, const plan_report *r, const plan_point *p, const char *phase,
                       const point_way *chosen, const point_way *cpu)
{
	char text[32];
	if (p->refused || !cpu->known || chosen == cpu)
		return false;
	int digits = chosen->tokens_per_s < 10 ? 2 : 0;
	sheet_print(
		to, "- At %s the engine would %s over the link alone: %.*f tok/s, and %.*f with the CPU.\n",
		budget_words(r, p->target_bytes, text), phase, digits, chosen->tokens_per_s, digits,
		cpu->tokens_per_s);
	return true;
}

/* The first budget of each phase. */
static void print_choices(sheet *to, const plan_report *r)
{
	bool decode = false, prefill = false;
	for (uint32_t i = 0; i < r->ladder->count; i++) {
		const plan_point *p = &r->ladder->points[i];
		if (!decode)
			decode = say_choice(to, r, p, "decode", point_decode(p), &p->decode_cpu);
		if (!prefill)
			prefill = say_choice(to, r, p, "prefill", point_prefill(p), &p->prefill_cpu);
	}
}

double report_prefetch_ns(const point_way *way, uint32_t layers, double miss_ns, double recall,
                          double guesses)
{
	double idle_ns = fmax(0, way->step_ns - way->link_ns);
	double loads_ns = layers * guesses * miss_ns, useful_ns = recall * way->link_ns;
	double fits = loads_ns > 0 ? fmin(1, idle_ns / loads_ns) : 0;
	return fits * fmin(useful_ns, loads_ns);
}

/* Where it saves most; on a link that is busy all the time bytes are the limit, and it saves nothing. */
static void print_prefetch(sheet *to, const plan_report *r)
{
	const plan_config *c = r->config;
	const plan_point *best = NULL;
	double copy_ns = (double)r->shape->bank.desc.expert_bytes / r->machine->plan.rates.link_gbps;
	double best_share = 0, best_ns = 0;
	char text[32];
	for (uint32_t i = 0; i < r->ladder->count && c->prefetch_recall > 0; i++) {
		const plan_point *p = &r->ladder->points[i];
		if (p->refused)
			continue;
		double ns = report_prefetch_ns(&p->decode, r->shape->bank.layers, copy_ns,
		                               c->prefetch_recall, c->prefetch_guesses);
		if (best && ns <= best_share * p->decode.step_ns)
			continue;
		best = p;
		best_ns = ns;
		best_share = ns / p->decode.step_ns;
	}
	if (!best)
		return;
	sheet_print(
		to,
		"- A prefetcher that guesses %.0f %% of a layer's misses with %g loads would save at "
		"most %.2f of %.2f ms "
		"of a decode step over the link alone (%.1f %%) at %s%s. It can hide no more than the "
		"time in which the "
		"link idles.\n",
		100 * c->prefetch_recall, c->prefetch_guesses, best_ns / 1e6, best->decode.step_ns / 1e6,
		100 * best_share, budget_words(r, best->target_bytes, text),
		r->ladder->count > 1 ? ", and less at the other budgets" : "");
}

/* ------------------------------------------------------------------ the line to paste */

/* What a card gives; else the largest budget that is not everything. */
static const plan_point *headline_point(const plan_report *r)
{
	const plan_ladder *l = r->ladder;
	uint32_t keys = r->shape->bank.layers * r->shape->bank.experts;
	const plan_point *found = NULL;
	for (uint32_t i = 0; i < l->count; i++) {
		const plan_point *p = &l->points[i];
		if (!p->refused && (!found || r->config->card || p->budget.slots < keys))
			found = p;
	}
	return found;
}

static void print_gib(sheet *to, const plan_report *r, uint64_t bytes)
{
	char text[32];
	if (bytes % (1ull << 30) == 0)
		sheet_print(to, "%llu GiB", (unsigned long long)(bytes >> 30));
	else
		sheet_text(to, budget_words(r, bytes, text));
}

static void print_headline(sheet *to, const plan_report *r)
{
	static const char *const by[TIMING_BOUNDS] = {"device memory", "arithmetic", "the link",
	                                              "link and CPU together", "the host"};
	const plan_point *p = headline_point(r);
	double keys = (double)r->shape->bank.layers * r->shape->bank.experts;
	if (!p)
		return;
	const point_way *way = point_decode(p);
	print_gib(to, r, p->target_bytes);
	sheet_print(to, ": about %.*f tok/s in the routed layers, %.0f %% resident, bound by %s.\n\n",
	            way->tokens_per_s < 10 ? 1 : 0, way->tokens_per_s, 100 * p->budget.slots / keys,
	            by[way->bound]);
}

void report_plan(sheet *to, const plan_report *r)
{
	print_headline(to, r);
	print_assumptions(to, r);
	print_table(to, r);
	print_refused(to, r->ladder);
	print_binding(to, r);
	print_whole(to, r);
	print_step(to, r);
	print_choices(to, r);
	print_prefetch(to, r);
}
