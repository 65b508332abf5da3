/* SPDX-License-Identifier: MIT */
/* Speed of decode and prefill and the hit rate against the budget. */
#include <math.h>

#include "cli/plan/report.h"
#include "cli/plot/figures.h"
#include "cli/plot/gnuplot.h"

#define GIB 1073741824.0
#define NAME "plan"
#define HEIGHT_PX 1500

static void value(FILE *to, bool known, double number)
{
	if (known)
		fprintf(to, " %.9g", number);
	else
		fputs(" NaN", to);
}

static void write_data(FILE *to, const plan_report *r)
{
	fputs("# budget in GiB, decode, decode by the link alone, prefill, prefill by the link alone "
	      "(tokens/s), hit "
	      "rate, best possible\n",
	      to);
	for (uint32_t i = 0; i < r->ladder->count; i++) {
		const plan_point *p = &r->ladder->points[i];
		if (p->refused)
			continue;
		fprintf(to, "%.9g", (double)p->target_bytes / GIB);
		value(to, true, point_decode(p)->tokens_per_s);
		value(to, true, p->decode.tokens_per_s);
		value(to, true, point_prefill(p)->tokens_per_s);
		value(to, true, p->prefill.tokens_per_s);
		value(to, true, point_decode(p)->hit_rate);
		value(to, p->bound_hit_rate >= 0, p->bound_hit_rate);
		fputc('\n', to);
	}
}

static double largest_gib(const plan_ladder *l)
{
	double most = 0;
	for (uint32_t i = 0; i < l->count; i++)
		if (!l->points[i].refused)
			most = fmax(most, (double)l->points[i].target_bytes / GIB);
	return most;
}

/* Lines where something else begins to bind; what does is written in the last panel, which has room. */
static void change_lines(FILE *to, const plan_ladder *l)
{
	for (uint32_t i = 0; i < l->change_count; i++) {
		double at = (double)l->changes[i].target_bytes / GIB;
		if (at > largest_gib(l))
			continue;
		fprintf(
			to,
			"set arrow %u from %.9g, graph 0 to %.9g, graph 1 nohead dt 3 lw 2 lc rgb '#555555'\n",
			i + 1, at, at);
	}
}

static void change_words(FILE *to, const plan_ladder *l)
{
	for (uint32_t i = 0; i < l->change_count; i++) {
		double at = (double)l->changes[i].target_bytes / GIB;
		if (at > largest_gib(l))
			continue;
		fprintf(to, "set label %u ", i + 10);
		figure_string(to, "bound by %s", timing_bound_name(l->changes[i].bound));
		fprintf(to,
		        " at %.9g, graph 0.04 rotate by 90 offset character "
		        "-0.7,0 font ',15' "
		        "noenhanced textcolor rgb '#555555'\n",
		        at);
	}
}

static void panel(FILE *to, const char *label, const char *lines)
{
	fputs("set ylabel ", to);
	figure_string(to, "%s", label);
	fprintf(to, "\nplot %s\n", lines);
}

/* The same for all panels, with room for points at its ends. */
static void budget_range(FILE *to, const plan_ladder *l)
{
	double most = largest_gib(l), least = most;
	for (uint32_t i = 0; i < l->count; i++)
		if (!l->points[i].refused)
			least = fmin(least, (double)l->points[i].target_bytes / GIB);
	double margin = most > least ? 0.04 * (most - least) : 0.5 * most;
	fprintf(to, "set xrange [%.9g:%.9g]\n", least - margin, most + margin);
}

static void speed_panel(FILE *to, const char *label, int column)
{
	char lines[256];
	snprintf(lines, sizeof lines,
	         "'plan.dat' using 1:%d with linespoints lt 3 title 'as the engine decides', "
	         "'' using 1:%d with linespoints lt 6 title 'link alone'",
	         column, column + 1);
	panel(to, label, lines);
}

static void write_script(FILE *to, const plan_report *r)
{
	char title[256];
	snprintf(title, sizeof title, "%.128s, batch %u, prompts of %u tokens: planned", r->shape->name,
	         r->config->batch, r->config->prompt);
	figure_frame(to, NAME, title, r->machine->words, HEIGHT_PX);
	fprintf(to,
	        "set multiplot layout 3,1 margins 0.12,0.66,%.4f,%.4f spacing 0,%.4f\n" FIGURE_SIDE_KEY
	        "set logscale y\n",
	        120.0 / HEIGHT_PX, 1 - (FIGURE_HEADER_PX + 25.0) / HEIGHT_PX, 75.0 / HEIGHT_PX);
	budget_range(to, r->ladder);
	change_lines(to, r->ladder);
	speed_panel(to, "decode, tokens/s (log)", 2);
	fputs("unset label\n", to);
	speed_panel(to, "prefill, tokens/s (log)", 4);
	fputs("set xlabel 'budget of device memory (GiB)'\nunset logscale y\nset yrange [0:1.02]\n",
	      to);
	change_words(to, r->ladder);
	panel(to, "hit rate, decode",
	      "'plan.dat' using 1:6 with linespoints lt 2 title 'planned', '' using 1:7 with "
	      "lines " FIGURE_BOUND_LINE " title 'best possible (bound)'");
	fputs("unset multiplot\n", to);
	figure_end(to);
}

static ufm_status write_part(const plan_report *r, const char *folder, const char *ending,
                             void (*write)(FILE *to, const plan_report *r))
{
	gnuplot_file o;
	ufm_status status = gnuplot_open(&o, folder, NAME, ending);
	if (status)
		return status;
	write(o.file, r);
	return gnuplot_close(&o);
}

ufm_status report_figure(const plan_report *r, const char *folder)
{
	ufm_status status = write_part(r, folder, "dat", write_data);
	if (!status)
		status = write_part(r, folder, "gp", write_script);
	return status ? status : gnuplot_draw(folder, NAME);
}
