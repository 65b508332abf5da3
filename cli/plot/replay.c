/* SPDX-License-Identifier: MIT */
/* Hit rate against capacity. */
#include "cli/plot/replay.h"

#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "cli/json_field.h"
#include "cli/plot/figures.h"
#include "cli/plot/gnuplot.h"
#include "cli/row_fields.h"
#include "cli/row_lines.h"

#define NAME "hit_rate"
#define BYPASS "min-bypass"
#define PANELS_MAX 12
#define CURVES_MAX 12 /* of a panel, bounds among them: as many as there are looks */
#define POINTS_MAX 64
#define CAPACITY_MAX 1e6 /* percent: a capacity may be more than there is */
#define PANEL_PX 610     /* with the space below it */
#define SPACE_PX 190
#define HEADER_PX (FIGURE_HEADER_PX + 65)

typedef struct point {
	double capacity_percent, hit_rate;
} point;

typedef struct curve {
	char name[32];
	bool bound, bypass; /* bypass: a policy that lets experts pass by */
	uint32_t count;
	point points[POINTS_MAX];
} curve;

typedef struct panel {
	char trace[128], scope[16];
	uint64_t batch, steps; /* steps: that were counted; 0: not known */
	uint32_t count;
	curve curves[CURVES_MAX];
} panel;

typedef struct panels {
	uint32_t count;
	panel items[PANELS_MAX];
} panels;

/* ---- rows into panels and curves */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

static panel *panel_of(panels *all, const json_t *row, uint64_t batch)
{
	const char *trace = base_name(field_string(row, "trace")), *scope = field_string(row, "scope");
	for (uint32_t i = 0; i < all->count; i++) {
		panel *p = &all->items[i];
		if (strncmp(p->trace, trace, sizeof p->trace - 1) == 0 && strcmp(p->scope, scope) == 0 &&
		    p->batch == batch)
			return p;
	}
	if (all->count == PANELS_MAX)
		return NULL;
	panel *p = &all->items[all->count++];
	snprintf(p->trace, sizeof p->trace, "%s", trace);
	snprintf(p->scope, sizeof p->scope, "%.15s", scope);
	p->batch = batch;
	return p;
}

static curve *curve_of(panel *p, const char *name, bool bound)
{
	for (uint32_t i = 0; i < p->count; i++)
		if (strcmp(p->curves[i].name, name) == 0)
			return &p->curves[i];
	if (p->count == CURVES_MAX)
		return NULL;
	curve *c = &p->curves[p->count++];
	snprintf(c->name, sizeof c->name, "%.31s", name);
	c->bound = bound;
	return c;
}

/* A capacity once, in ascending order. false: there are too many. */
static bool add_point(curve *c, double capacity_percent, double hit_rate)
{
	uint32_t at = c->count;
	for (uint32_t i = 0; i < c->count; i++)
		if (c->points[i].capacity_percent == capacity_percent)
			return true;
	if (c->count == POINTS_MAX)
		return false;
	for (; at && c->points[at - 1].capacity_percent > capacity_percent; at--)
		c->points[at] = c->points[at - 1];
	c->points[at] = (point){capacity_percent, hit_rate};
	c->count++;
	return true;
}

static bool is_bound(const char *policy)
{
	return strncmp(policy, "min", 3) == 0;
}

typedef struct figures {
	double capacity_percent, hit_rate, bound_hit_rate;
	uint64_t steps;
	uint32_t batch;
} figures;

static ufm_status read_figures(const json_t *row, figures *out)
{
	static const row_field capacity = {"capacity_percent", FIELD_NUMBER, .high = CAPACITY_MAX};
	static const row_field rate = {"hit_rate", FIELD_NUMBER, .high = 1};
	static const row_field bound = {"bound_hit_rate", FIELD_NUMBER, .high = 1};
	static const row_field steps = {"steps_counted", FIELD_WHOLE, .most = INT64_MAX};
	static const row_field batch = {"batch", FIELD_WHOLE, .most = UINT32_MAX};
	ufm_status status = row_number(row, &capacity, &out->capacity_percent);
	if (!status)
		status = row_number(row, &rate, &out->hit_rate);
	if (!status)
		status = row_number(row, &bound, &out->bound_hit_rate);
	if (!status)
		status = row_whole(row, &steps, &out->steps);
	return status ? status : row_u32(row, &batch, &out->batch);
}

/* false: there are too many. */
static bool add_row(panels *all, const json_t *row, const figures *f)
{
	const char *policy = field_string(row, "policy"), *bound = field_string(row, "bound");
	panel *p = panel_of(all, row, f->batch);
	curve *own = p ? curve_of(p, policy, is_bound(policy)) : NULL;
	curve *above = own ? curve_of(p, bound, true) : NULL;
	if (!above)
		return false;
	p->steps = f->steps;
	own->bypass = strcmp(bound, BYPASS) == 0;
	return add_point(own, f->capacity_percent, f->hit_rate) &&
	       add_point(above, f->capacity_percent, f->bound_hit_rate);
}

static bool is_row(const json_t *row)
{
	return field_known(row, "trace") && field_known(row, "policy") && field_known(row, "bound") &&
	       json_is_number(json_object_get(row, "capacity_percent")) &&
	       json_is_number(json_object_get(row, "hit_rate")) &&
	       json_is_number(json_object_get(row, "bound_hit_rate"));
}

static ufm_status take_row(void *ctx, unsigned line, json_t *row)
{
	(void)line;
	if (!is_row(row))
		return status_fail(UFM_EFORMAT, "expected a row of ufm replay with trace, policy, "
		                                "capacity_percent, hit_rate and bound_hit_rate");
	figures f;
	ufm_status status = read_figures(row, &f);
	if (status)
		return status;
	if (!add_row(ctx, row, &f))
		return status_fail(UFM_EFORMAT,
		                   "expected at most %d traces, scopes and batches of %d policies at %d "
		                   "capacities",
		                   PANELS_MAX, CURVES_MAX, POINTS_MAX);
	return UFM_OK;
}

static ufm_status read_panels(const char *folder, panels *all)
{
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%.3900s/replay.jsonl", folder);
	return row_lines_read(path, "ufm replay", take_row, all);
}

/* ---- data and script */

static void write_data(FILE *to, const panels *all)
{
	for (uint32_t i = 0; i < all->count; i++)
		for (uint32_t j = 0; j < all->items[i].count; j++) {
			const curve *c = &all->items[i].curves[j];
			figure_comment(to, "panel %" PRIu32 ", %s: capacity in percent, hit rate", i + 1,
			               c->name);
			for (uint32_t k = 0; k < c->count; k++)
				fprintf(to, "%.9g %.9g\n", c->points[k].capacity_percent, c->points[k].hit_rate);
			fputs("\n\n", to);
		}
}

/* Whole percents below the lowest point, so that curves that lie high are told apart. */
static double lowest(const panel *p)
{
	double low = 1;
	for (uint32_t j = 0; j < p->count; j++)
		for (uint32_t k = 0; k < p->curves[j].count; k++)
			low = p->curves[j].points[k].hit_rate < low ? p->curves[j].points[k].hit_rate : low;
	return low > 0.05 ? low - 0.05 : 0;
}

static const char *scope_words(const char *scope)
{
	return strcmp(scope, "layer") == 0  ? "a cache for each layer"
	       : strcmp(scope, "pool") == 0 ? "one pool for all layers"
	                                    : "a pool divided among layers";
}

/* A policy that lets experts pass by may lie above the bound of those that admit every miss. */
static void curve_title(FILE *to, const curve *c)
{
	const char *words = c->bypass ? ", may pass by" : "";
	if (c->bound)
		words = strcmp(c->name, "min") == 0    ? " (bound: all admitted)"
		        : strcmp(c->name, BYPASS) == 0 ? " (bound: may pass by)"
		                                       : " (bound)";
	figure_string(to, "%s%s", c->name, words);
}

static void panel_title(FILE *to, const panel *p)
{
	char steps[48] = "";
	if (p->steps)
		snprintf(steps, sizeof steps, ", n = %" PRIu64 " step%s", p->steps,
		         p->steps == 1 ? "" : "s");
	fputs("set title ", to);
	figure_string(to, "%s: %s, %" PRIu64 " sequence%s a step%s", scope_words(p->scope), p->trace,
	              p->batch, p->batch == 1 ? "" : "s", steps);
	fputs(" font ',18'", to);
}

static void write_panel(FILE *to, const panel *p, uint32_t *index)
{
	uint32_t look = 0;
	panel_title(to, p);
	fprintf(to, "\nset yrange [%.2f:1.01]\nplot ", lowest(p));
	for (uint32_t j = 0; j < p->count; j++) {
		const curve *c = &p->curves[j];
		fprintf(to, "%s'" NAME ".dat' index %" PRIu32 " using 1:2 with ", j ? ", \\\n     " : "",
		        (*index)++);
		if (c->bound)
			fprintf(to, "lines dt %d lw 4 lc rgb '#555555' title ",
			        strcmp(c->name, "min") == 0 ? 4 : 2);
		else
			fprintf(to, "linespoints lt %" PRIu32 " title ", ++look);
		curve_title(to, c);
	}
	fputc('\n', to);
}

static void write_script(FILE *to, const panels *all)
{
	unsigned height_px = HEADER_PX + PANEL_PX * all->count;
	uint32_t index = 0;
	figure_frame(
		to, NAME, "Hit rate against capacity",
		"Counts of recorded routing, the same on every machine; a use is one expert of one layer "
		"in "
		"one step. Policies that may pass an expert by have a higher bound than those that admit "
		"every miss.",
		height_px);
	fprintf(to,
	        "set multiplot layout %" PRIu32 ",1 margins 0.09,0.66,%.4f,%.4f spacing 0,%.4f\n"
	        "set ylabel 'hit rate' offset 1,0\nset xlabel 'capacity (%% of the "
	        "experts)'\n" FIGURE_SIDE_KEY "set xrange [0:*]\n",
	        all->count, 110.0 / height_px, 1 - (double)HEADER_PX / height_px,
	        (double)SPACE_PX / height_px);
	for (uint32_t i = 0; i < all->count; i++) {
		write_panel(to, &all->items[i], &index);
		if (i == 0)
			fputs("unset label\n", to);
	}
	fputs("unset multiplot\n", to);
	figure_end(to);
}

ufm_status plot_replay(const char *folder, bool *drawing)
{
	panels *all = alloc_zeroed(1, sizeof *all);
	gnuplot_file o;
	*drawing = false;
	if (!all)
		return UFM_ENOMEM;
	ufm_status status = read_panels(folder, all);
	*drawing = !status;
	if (!status)
		status = gnuplot_open(&o, folder, NAME, "dat");
	if (!status) {
		write_data(o.file, all);
		status = gnuplot_close(&o);
	}
	if (!status)
		status = gnuplot_open(&o, folder, NAME, "gp");
	if (!status) {
		write_script(o.file, all);
		status = gnuplot_close(&o);
	}
	alloc_free(all);
	return status ? status : gnuplot_draw(folder, NAME);
}
