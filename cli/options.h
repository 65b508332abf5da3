/* SPDX-License-Identifier: MIT */
/*
 * Options as data. One table for each command drives parsing, --help, and the echo of the effective
 * configuration with the origin of every value. Nothing here allocates, prints or exits, except
 * options_help.
 *
 * A value goes through the same parser wherever it comes from: the command line, the `quick`
 * column or the `fallback` column. `--name value`, `--name=value`, `-x value` and `-xvalue` are
 * understood; `--` ends the options; a repeated option counts once, the last time.
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <ufm/ufm.h>

typedef enum option_type {
	OPTION_FLAG,     /* uint32_t: 1 when given */
	OPTION_U32,      /* uint32_t in min … max */
	OPTION_U64,      /* uint64_t in min … max, decimal or 0x */
	OPTION_SIZE,     /* uint64_t bytes in min … max */
	OPTION_NUMBER,   /* double above 0, at most max */
	OPTION_STRING,   /* const char *, not empty */
	OPTION_CHOICE,   /* uint32_t: index in choices */
	OPTION_CHOICES,  /* option_list of indices, pairwise different */
	OPTION_U32_LIST, /* option_list of numbers in min … max, pairwise different */
} option_type;

#define OPTION_LIST_MAX 64
typedef struct option_list {
	uint32_t count;
	uint32_t items[OPTION_LIST_MAX];
} option_list;

typedef struct option_spec {
	const char *name; /* without dashes */
	char letter;      /* 0: none */
	option_type type;
	size_t offset; /* of the value in the command's struct */
	const char *value_name;
	const char *fallback;  /* the default; NULL: 0, an empty list or NULL */
	const char *quick;     /* under --quick; NULL: the default */
	const char *zero_word; /* a word that stands for 0 ("off", "auto"), or NULL */
	const char *choices;   /* "f32,fp32|bf16": alternatives by '|', first spelling is the name */
	const char *suggest;   /* of a string: words that a shell may offer, separated by spaces */
	uint64_t min, max;     /* max 0: no limit but the type's */
	bool required;         /* must be on the command line; has no default */
	/* Looks at a string; UFM_EINVAL with a line that does not name the option. */
	ufm_status (*check)(const char *text);
	const char *help;
} option_spec;

typedef struct option_table {
	/* operand: "[RESULTS_DIR]" or NULL. Here and in value_name, words in lower case are meant as they
	 * stand, FILE and DIR ask for a path. */
	const char *command, *summary, *operand;
	uint32_t operands_max; /* 0: one where `operand` is named */
	const option_spec *specs;
	uint32_t count; /* at most OPTIONS_MAX */
} option_table;

#define OPTIONS_MAX 64
#define OPERANDS_MAX 64

typedef struct option_state {
	bool help;
	uint32_t operand_count;
	const char *operands[OPERANDS_MAX];
	const char *operand;              /* the first; NULL: none given */
	const char *origins[OPTIONS_MAX]; /* "default", "quick", "command line", or a command's own */
} option_state;

/* Reads arguments 1 … argc-1 into `values` (zeroed by the caller). One line on UFM_EINVAL: the
 * option, what was found, what was expected. Strings point into argv. */
ufm_status options_parse(const option_table *table, int argc, char *const argv[], void *values,
                         option_state *state);
/* Gives every option that was not on the command line its quick or default value. UFM_EINVAL names the
 * first that was required. */
ufm_status options_fill(const option_table *table, bool quick, void *values, option_state *state);

/* Index of an option by name; OPTIONS_MAX if there is none. */
uint32_t options_find(const option_table *table, const char *name);

/* Whether an option of the table stood on the command line. */
bool option_is_by_hand(const option_table *table, const option_state *state, const char *name);

/* One value from text, and back. UFM_EINVAL does not name the option: the caller knows how it was written. The text of
 * an unset string is "". */
ufm_status option_value_parse(const option_spec *spec, const char *text, void *values);
char *option_value_text(const option_spec *spec, const void *values, char *buffer, size_t size);
/* Name of the index-th choice, copied to buffer; "" past the end. */
char *option_choice_name(const char *choices, uint32_t index, char *buffer, size_t size);

/* What an option does, its choices, default and value under --quick, in whole sentences. */
#define OPTION_TEXT_MAX 768
char *option_describe(const option_spec *spec, char *text, size_t size);

void options_help(FILE *stream, const option_table *table);

#endif
