/* SPDX-License-Identifier: MIT */
/* The option parser on a small table of its own, and the table of `ufm bench`. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/status.h"
#include "cli/bench/config.h"
#include "cli/exit.h"
#include "cli/nearest.h"

typedef struct values {
	uint32_t flag, number, choice;
	uint64_t seed, size_bytes;
	double rate;
	const char *text;
	option_list list, names;
} values;

static ufm_status only_good(const char *text)
{
	return strcmp(text, "good") == 0 ? UFM_OK
	                                 : status_fail(UFM_EINVAL, "found '%s', expected good", text);
}

#define AT(member) .offset = offsetof(values, member)
static const option_spec specs[] = {
	{.name = "flag", .letter = 'f', .type = OPTION_FLAG, AT(flag), .help = "A flag."},
	{.name = "number",
     .letter = 'n',
     .type = OPTION_U32,
     AT(number),
     .value_name = "N",
     .fallback = "3",
     .quick = "2",
     .zero_word = "auto",
     .min = 1,
     .max = 10,
     .help = "A number."},
	{.name = "choice",
     .type = OPTION_CHOICE,
     AT(choice),
     .value_name = "C",
     .fallback = "two",
     .choices = "one,eins|two|three",
     .help = "A choice."},
	{.name = "seed", .type = OPTION_U64, AT(seed), .value_name = "N", .help = "A seed."},
	{.name = "size",
     .type = OPTION_SIZE,
     AT(size_bytes),
     .value_name = "SIZE",
     .fallback = "1KiB",
     .zero_word = "off",
     .min = 1,
     .help = "A size."},
	{.name = "rate",
     .type = OPTION_NUMBER,
     AT(rate),
     .value_name = "R",
     .zero_word = "off",
     .max = 100,
     .help = "A rate."},
	{.name = "text",
     .type = OPTION_STRING,
     AT(text),
     .value_name = "TEXT",
     .fallback = "good",
     .check = only_good,
     .help = "A text."},
	{.name = "list",
     .type = OPTION_U32_LIST,
     AT(list),
     .value_name = "LIST",
     .fallback = "1,2",
     .min = 1,
     .max = 99,
     .help = "Numbers."},
	{.name = "names",
     .type = OPTION_CHOICES,
     AT(names),
     .value_name = "LIST",
     .choices = "a|b|c",
     .help = "Names."},
};
static const option_table table = {.command = "test",
                                   .summary = "A test.",
                                   .operand = "[FILE]",
                                   .specs = specs,
                                   .count = sizeof specs / sizeof specs[0]};

#define ARGUMENTS_MAX 8
static ufm_status parse(values *v, option_state *state, bool quick, const char *const *arguments)
{
	static char name[] = "test";
	char *argv[ARGUMENTS_MAX + 1] = {name};
	int argc = 1;
	for (; arguments[argc - 1]; argc++)
		argv[argc] = (char *)(uintptr_t)arguments[argc - 1];
	memset(v, 0, sizeof *v);
	ufm_status status = options_parse(&table, argc, argv, v, state);
	return status ? status : options_fill(&table, quick, v, state);
}
#define PARSE(v, state, quick, ...) \
	parse((v), (state), (quick), (const char *[]){__VA_ARGS__, NULL})

static const char *origin(const option_state *state, const char *name)
{
	return state->origins[options_find(&table, name)];
}

static void test_defaults(void **unused)
{
	(void)unused;
	values v;
	option_state state;
	const char *none[] = {NULL};
	assert_int_equal(parse(&v, &state, false, none), UFM_OK);
	assert_int_equal(v.number, 3);
	assert_int_equal(v.choice, 1);
	assert_int_equal(v.size_bytes, 1024);
	assert_int_equal(v.list.count, 2);
	assert_string_equal(v.text, "good");
	assert_string_equal(origin(&state, "number"), "default");
	assert_int_equal(v.flag, 0);
	assert_null(state.operand);
}

static void test_origins(void **unused)
{
	(void)unused;
	values v;
	option_state state;
	assert_int_equal(PARSE(&v, &state, true, "--seed", "7"), UFM_OK);
	assert_int_equal(v.number, 2);
	assert_string_equal(origin(&state, "number"), "quick");
	assert_string_equal(origin(&state, "seed"), "command line");
	assert_string_equal(origin(&state, "choice"), "default");
	assert_int_equal(PARSE(&v, &state, true, "--number=9"), UFM_OK);
	assert_int_equal(v.number, 9);
	assert_string_equal(origin(&state, "number"), "command line");
}

static void test_forms(void **unused)
{
	(void)unused;
	values v;
	option_state state;
	assert_int_equal(PARSE(&v, &state, false, "-f", "-n4", "--size=2MiB", "--rate", "1.5e1"),
	                 UFM_OK);
	assert_int_equal(v.flag, 1);
	assert_int_equal(v.number, 4);
	assert_int_equal(v.size_bytes, 2 << 20);
	assert_true(v.rate > 14.9 && v.rate < 15.1);
	assert_int_equal(PARSE(&v, &state, false, "-n", "5", "--list", "9,8,7", "file"), UFM_OK);
	assert_int_equal(v.number, 5);
	assert_int_equal(v.list.count, 3);
	assert_int_equal(v.list.items[2], 7);
	assert_string_equal(state.operand, "file");
	assert_int_equal(PARSE(&v, &state, false, "--", "--size"), UFM_OK);
	assert_string_equal(state.operand, "--size");
	assert_int_equal(PARSE(&v, &state, false, "--seed", "0x10", "--number", "1", "--number", "6"),
	                 UFM_OK);
	assert_int_equal(v.seed, 16);
	assert_int_equal(v.number, 6);
	assert_int_equal(PARSE(&v, &state, false, "--help"), UFM_OK);
	assert_true(state.help);
}

static void test_words(void **unused)
{
	(void)unused;
	values v;
	option_state state;
	char text[64];
	assert_int_equal(PARSE(&v, &state, false, "--number", "auto", "--size", "off", "--rate", "off"),
	                 UFM_OK);
	assert_int_equal(v.number, 0);
	assert_int_equal(v.size_bytes, 0);
	assert_string_equal(option_value_text(&specs[1], &v, text, sizeof text), "auto");
	assert_int_equal(PARSE(&v, &state, false, "--choice", "eins", "--names", "c,a"), UFM_OK);
	assert_int_equal(v.choice, 0);
	assert_string_equal(option_value_text(&specs[2], &v, text, sizeof text), "one");
	assert_string_equal(option_value_text(&specs[8], &v, text, sizeof text), "c,a");
}

/* The line names the option and what was found. */
static void expect_wrong(const char *option, const char *value)
{
	values v;
	option_state state;
	const char *arguments[] = {option, value, NULL};
	if (parse(&v, &state, false, arguments) != UFM_EINVAL)
		fail_msg("%s '%s' was accepted", option, value ? value : "");
	const char *line = ufm_last_error();
	if (!strstr(line, option) || (value && *value && !strstr(line, value)) || strchr(line, '\n'))
		fail_msg("%s '%s': the line is: %s", option, value ? value : "", line);
}

static void test_wrong_values(void **unused)
{
	(void)unused;
	static const char *const wrong[][2] = {
		{"--number", "0"},   {"--number", "11"},       {"--number", ""},
		{"--number", "1x"},  {"--number", "-1"},       {"--number", "+1"},
		{"--number", " 1"},  {"--number", "0x1"},      {"--seed", "18446744073709551616"},
		{"--seed", "0x"},    {"--seed", "0xg"},        {"--size", "0"},
		{"--size", "4GB"},   {"--size", "-1"},         {"--size", "1.5"},
		{"--size", ""},      {"--rate", "0"},          {"--rate", "-3"},
		{"--rate", "nan"},   {"--rate", "inf"},        {"--rate", "101"},
		{"--rate", "1e999"}, {"--rate", "1 2"},        {"--choice", "four"},
		{"--choice", ""},    {"--choice", "one,eins"}, {"--text", "bad"},
		{"--text", ""},      {"--list", ""},           {"--list", "1,"},
		{"--list", ",1"},    {"--list", "1,,2"},       {"--list", "1,1"},
		{"--list", "100"},   {"--list", "0"},          {"--names", "a,a"},
		{"--names", "d"},    {"--names", ""},
	};
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		expect_wrong(wrong[i][0], wrong[i][1]);
	expect_wrong("--number", NULL);
}

static void test_wrong_arguments(void **unused)
{
	(void)unused;
	values v;
	option_state state;
	assert_int_equal(PARSE(&v, &state, false, "--nmber", "1"), UFM_EINVAL);
	assert_non_null(strstr(ufm_last_error(), "did you mean '--number'"));
	assert_int_equal(PARSE(&v, &state, false, "--entirely-different"), UFM_EINVAL);
	assert_null(strstr(ufm_last_error(), "did you mean"));
	assert_int_equal(PARSE(&v, &state, false, "-x"), UFM_EINVAL);
	assert_int_equal(PARSE(&v, &state, false, "--flag=1"), UFM_EINVAL);
	assert_int_equal(PARSE(&v, &state, false, "one", "two"), UFM_EINVAL);
	assert_int_equal(PARSE(&v, &state, false, "--num", "1"), UFM_EINVAL);
}

static void test_required(void **unused)
{
	(void)unused;
	static const option_spec needed[] = {{.name = "seed",
	                                      .type = OPTION_U64,
	                                      AT(seed),
	                                      .value_name = "N",
	                                      .required = true,
	                                      .help = "A seed."}};
	static const option_table one = {.command = "try", .specs = needed, .count = 1};
	static char name[] = "try", option[] = "--seed", zero[] = "0";
	char *arguments[] = {name, option, zero, NULL};
	values v = {.seed = 7};
	option_state state;
	assert_int_equal(options_parse(&one, 1, arguments, &v, &state), UFM_OK);
	assert_int_equal(options_fill(&one, false, &v, &state), UFM_EINVAL);
	assert_string_equal(ufm_last_error(), "--seed: found nothing, expected N");
	assert_int_equal(options_parse(&one, 3, arguments, &v, &state), UFM_OK);
	assert_int_equal(options_fill(&one, false, &v, &state), UFM_OK);
	assert_int_equal(v.seed, 0);
	assert_string_equal(state.origins[0], "command line");
}

static void test_list_limit(void **unused)
{
	(void)unused;
	values v;
	option_state state;
	char text[OPTION_LIST_MAX * 3 + 8] = "";
	for (int i = 1; i <= OPTION_LIST_MAX; i++)
		snprintf(text + strlen(text), sizeof text - strlen(text), "%s%d", i > 1 ? "," : "", i);
	assert_int_equal(PARSE(&v, &state, false, "--list", text), UFM_OK);
	assert_int_equal(v.list.count, OPTION_LIST_MAX);
	strcat(text, ",99");
	assert_int_equal(PARSE(&v, &state, false, "--list", text), UFM_EINVAL);
}

static void test_slips(void **unused)
{
	static const char models[] = "none|mixtral-8x7b|qwen3-30b-a3b|gpt-oss-20b|glm-4.5-air";
	static const char policies[] = "cycle, freq, lru, fifo, lfu, s3fifo, sieve or cost";
	static const struct {
		const char *text, *names, *meant;
	} cases[] = {
		{"Qwen3-30B-A3B", models, "qwen3-30b-a3b"},
		{"Qwen/Qwen3-30B-A3B", models, "qwen3-30b-a3b"},
		{"Qwen3-30B-A3B-Instruct-2507", models, "qwen3-30b-a3b"},
		{"mistralai/Mixtral-8x7B-Instruct-v0.1", models, "mixtral-8x7b"},
		{"GLM-4.5-Air", models, "glm-4.5-air"},
		{"glm4.5air", models, "glm-4.5-air"},
		{"lur", policies, "lru"}, /* neighbours, one slip; lfu would be two */
		{"ful", policies, "lfu"},
		{"LRU", policies, "lru"},
		{"lru,ciycle", policies, "cycle"}, /* the first that is none */
		{"lru", policies, NULL},
		{"xr", policies, NULL},
		{"gpt-oss", models, "gpt-oss-20b"}, /* begins one of them */
		{"", policies, NULL},
		{"llama-2-70b", models, NULL},
	};
	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char expected[NEAREST_HINT_BYTES] = "";
		if (cases[i].meant)
			snprintf(expected, sizeof expected, "; did you mean '%s'?", cases[i].meant);
		assert_string_equal(nearest_name(cases[i].text, cases[i].names).text, expected);
	}
	assert_string_equal(nearest_kind("trase:a,b", "uniform trace:").text,
	                    "; did you mean 'trace:'?");
	assert_string_equal(nearest_kind("trace:", "uniform trace:").text, "");
}

static void test_sizes_that_were_meant(void **unused)
{
	static const char *const cases[][2] = {
		{"16GB", "16GiB"},     {"16G", "16GiB"},    {"16 gb", "16GiB"}, {"23.51g", "23.51GiB"},
		{"512Mb", "512MiB"},   {"1t", "1TiB"},      {"64kb", "64KiB"},  {"8GiB,16GB", "16GiB"},
		{"50%,16GB", "16GiB"}, {"16GBs", NULL},     {"16", NULL},       {"16gib", NULL},
		{"GB", NULL},          {"99999999T", NULL}, {"", NULL},         {"16X", NULL},
	};
	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char expected[NEAREST_HINT_BYTES] = "";
		if (cases[i][1])
			snprintf(expected, sizeof expected, "; did you mean '%s'?", cases[i][1]);
		assert_string_equal(nearest_size(cases[i][0]).text, expected);
	}
}

static void test_nearest(void **unused)
{
	(void)unused;
	static const char *const words[] = {"experts", "layers", "plot"};
	assert_string_equal(nearest_word("expert", words, 3), "experts");
	assert_string_equal(nearest_word("plto", words, 3), "plot");
	assert_null(nearest_word("", words, 3));
	assert_null(nearest_word("zzzzzzz", words, 3));
	assert_null(nearest_word("a-very-long-word-that-nobody-can-have-meant", words, 3));
}

/* Every default and quick value of the real table is one that its own parser accepts, and survives
 * a round trip through its text. */
static void test_bench_table(void **unused)
{
	(void)unused;
	for (int quick = 0; quick < 2; quick++) {
		bench_config config;
		option_state state = {.help = false};
		memset(&config, 0, sizeof config);
		if (options_fill(&bench_options, quick, &config, &state) != UFM_OK)
			fail_msg("%s", ufm_last_error());
		assert_int_equal(config.experts.count, 3);
		assert_int_equal(config.experts.items[2], 192);
		assert_int_equal(config.d_model, quick ? 512 : 2048);
		for (uint32_t i = 0; i < bench_options.count; i++) {
			const option_spec *spec = &bench_options.specs[i];
			assert_non_null(spec->help);
			assert_true(spec->type == OPTION_FLAG || spec->value_name);
			assert_int_equal(options_find(&bench_options, spec->name), i);
		}
	}
}

static void test_bench_between(void **unused)
{
	(void)unused;
	bench_config config;
	option_state state = {.help = false};
	memset(&config, 0, sizeof config);
	assert_int_equal(options_fill(&bench_options, true, &config, &state), UFM_OK);
	config.top_k = 97;
	assert_int_equal(bench_config_check(&config), UFM_EINVAL);
	assert_non_null(strstr(ufm_last_error(), "--top-k"));
	config.top_k = 96;
	assert_int_equal(bench_config_check(&config), UFM_OK);
	config.headroom_bytes = config.vram_target_bytes;
	assert_int_equal(bench_config_check(&config), UFM_EINVAL);
	assert_non_null(strstr(ufm_last_error(), "--headroom"));
	config.headroom_bytes = 0;
	config.batch = 65536;
	config.seq = 65536;
	assert_int_equal(bench_config_check(&config), UFM_EINVAL);
	config.batch = 2;
	config.seq = 3;
	assert_int_equal(bench_config_resolve(&config, &state), UFM_OK);
	assert_int_equal(config.max_tokens, 6);
	assert_true(config.threads >= 1);
}

static void test_exit_codes(void **unused)
{
	(void)unused;
	assert_int_equal(exit_of(UFM_OK), 0);
	assert_int_equal(exit_of(UFM_EINVAL), 2);
	assert_int_equal(exit_of(UFM_EBUDGET), 2);
	assert_int_equal(exit_of(UFM_EBACKEND), 3);
	assert_int_equal(exit_of(UFM_ENOMEM), 3);
	assert_int_equal(exit_of(UFM_EFORMAT), 4);
	assert_int_equal(exit_of(UFM_EFILE), 4);
	assert_int_equal(exit_of(UFM_ETIMEDOUT), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),     cmocka_unit_test(test_origins),
		cmocka_unit_test(test_forms),        cmocka_unit_test(test_words),
		cmocka_unit_test(test_wrong_values), cmocka_unit_test(test_wrong_arguments),
		cmocka_unit_test(test_list_limit),   cmocka_unit_test(test_nearest),
		cmocka_unit_test(test_slips),        cmocka_unit_test(test_sizes_that_were_meant),
		cmocka_unit_test(test_bench_table),  cmocka_unit_test(test_bench_between),
		cmocka_unit_test(test_exit_codes),   cmocka_unit_test(test_required),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
