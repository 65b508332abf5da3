/* SPDX-License-Identifier: MIT */
/* Speed of decode and prefill and the hit rate against the budget. */
#include "cli/plan/report.h"
#include "cli/plot/figures.h"
#include "cli/plot/gnuplot.h"

#define GIB 1073741824.0
#define NAME "plan"

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

static void terminals(FILE *to)
{
	fputs("# Draws plan.png and plan.svg from plan.dat. Run in this folder: gnuplot plan.gp\n"
	      "set encoding utf8\n"
	      "set linetype 1 lc rgb '#009E73' lw 3 pt 7 ps 1.8\n"
	      "set linetype 2 lc rgb '#56B4E9' lw 3 pt 5 ps 1.8\n"
	      "set linetype 3 lc rgb '#D55E00' lw 3 pt 9 ps 1.8\n"
	      "set linetype 4 lc rgb '#000000' lw 3 dt 2 pt 1 ps 1.8\n"
	      "do for [format in 'png svg'] {\n"
	      "if (format eq 'png') { set terminal pngcairo noenhanced size 1400,1500 font 'DejaVu "
	      "Sans,20' "
	      "background 'white' }\n"
	      "if (format eq 'svg') { set terminal svg noenhanced size 1400,1500 font 'DejaVu Sans,20' "
	      "background "
	      "'white' }\n"
	      "set output '" NAME ".'.format\n",
	      to);
}

/* Lines where something else begins to bind; what does is written in the last panel, which has room. */
static void change_lines(FILE *to, const plan_ladder *l)
{
	for (uint32_t i = 0; i < l->change_count; i++) {
		double at = (double)l->changes[i].target_bytes / GIB;
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

static void write_script(FILE *to, const plan_report *r)
{
	terminals(to);
	fputs("set multiplot layout 3,1 title ", to);
	figure_string(to, "%s, batch %u, prompts of %u tokens: planned", r->shape->name,
	              r->config->batch, r->config->prompt);
	fputs(" font ',24'\n", to);
	fputs("set grid lc rgb '#d0d0d0' lw 1 dt 1\nset border 3 lw 1.5\nset tics nomirror out\n"
	      "set lmargin 13\nset rmargin 4\nset key top left Left reverse\nset logscale y\n",
	      to);
	change_lines(to, r->ladder);
	panel(to, "decode, tokens/s (log)",
	      "'plan.dat' using 1:2 with linespoints lt 1 title 'as the engine decides', '' using 1:3 "
	      "with linespoints "
	      "lt 2 title 'link alone'");
	panel(to, "prefill, tokens/s (log)",
	      "'plan.dat' using 1:4 with linespoints lt 1 title 'as the engine decides', '' using 1:5 "
	      "with linespoints "
	      "lt 2 title 'link alone'");
	fputs("set xlabel 'budget of device memory (GiB)'\nunset logscale y\nset yrange [0:1.02]\n"
	      "set key at graph 0.6,graph 0.2\n",
	      to);
	change_words(to, r->ladder);
	panel(to, "hit rate, decode",
	      "'plan.dat' using 1:6 with linespoints lt 3 title 'planned', '' using 1:7 with lines lt "
	      "4 title 'best "
	      "possible'");
	fputs("unset multiplot\nunset output\n}\n", to);
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
