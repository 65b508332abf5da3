/* SPDX-License-Identifier: MIT */
/* The CPU path in a row: what it is, what it did, and what it has learned by the end. */
#include "cli/bench/row.h"
#include "cli/json_put.h"
#include "cli/json_text.h"
#include "pager/pager.h"

void row_note_cpu(bench_row *row, ufm_engine *engine)
{
	ufm_engine_info info = {.struct_size = sizeof info};
	uint32_t n = 0;
	ufm_engine_get_info(engine, &info);
	snprintf(row->cpu_assist, sizeof row->cpu_assist, "%s", info.cpu_assist);
	pager_get_admission(engine, &row->admission, &row->admission_changes);
	for (; n < ROW_CPU_CHOICES_MAX; n++) {
		UFM_STRUCT_INIT(&row->cpu_choices[n]);
		if (ufm_engine_get_cpu_choice(engine, n, &row->cpu_choices[n]))
			break; /* no more sizes */
	}
	row->cpu_choice_count = n;
}

/* ------------------------------------------------------------------ fields */

/* Not known before the first look. */
static json_t *us_or_null(double value_ns, uint32_t looks)
{
	return looks ? json_real(value_ns / 1e3) : NULL;
}

static json_t *choice_json(const ufm_cpu_choice *c)
{
	json_t *out = json_object();
	json_put(out, "tokens_from", json_integer(c->tokens_from));
	json_put(out, "takes_cpu", json_boolean(c->takes_cpu));
	json_put(out, "link_looks", json_integer(c->link_looks));
	json_put(out, "cpu_looks", json_integer(c->cpu_looks));
	json_put(out, "link_miss_us", us_or_null(c->link_miss_ns, c->link_looks));
	json_put(out, "cpu_miss_us", us_or_null(c->cpu_miss_ns, c->cpu_looks));
	return out;
}

static void put_choices(row_values *out, const bench_row *row)
{
	json_t *all = json_array();
	uint64_t changes = row->cpu_choice_count ? row->cpu_choices[0].changes : 0;
	for (uint32_t i = 0; i < row->cpu_choice_count; i++)
		json_add(all, choice_json(&row->cpu_choices[i]));
	row_put(out, ROW_cpu_choices, all);
	row_put(out, ROW_cpu_choice_changes, row->opened ? json_whole(changes) : NULL);
}

static json_t *admission_json(const bench_row *row)
{
	const admit *now = &row->admission;
	json_t *out;
	if (!row->opened || row->engine.cpu_threads == 0 || now->terms.copy_ns == 0)
		return NULL;
	out = json_object();
	json_put(out, "copy_us", json_real((double)now->terms.copy_ns / 1e3));
	json_put(out, "cpu_us", json_real((double)now->terms.cpu_ns / 1e3));
	json_put(out, "call_us", json_real((double)now->terms.call_ns / 1e3));
	json_put(out, "changes", json_integer((json_int_t)row->admission_changes));
	return out;
}

void row_put_cpu(row_values *out, const bench_row *row, const bench_config *config)
{
	bool on = row->opened && row->engine.cpu_threads;
	uint32_t share = on ? row->engine.cpu_share_percent : 0;
	row_put(out, ROW_cpu_assist, json_text(row->cpu_assist));
	row_put(out, ROW_cpu_assist_asked, json_string(config->cpu_assist));
	row_put(out, ROW_cpu_threads, row->opened ? json_integer(row->engine.cpu_threads) : NULL);
	row_put(out, ROW_cpu_share_percent, share ? json_integer(share) : NULL);
	put_choices(out, row);
	row_put(out, ROW_admission, admission_json(row));
}
