/* SPDX-License-Identifier: MIT */
/* Manual pages: a template's text with what follows from the option tables put in. */
#ifndef CLI_MAN_PAGE_H
#define CLI_MAN_PAGE_H

#include <stdbool.h>
#include <stdio.h>

#include "cli/options.h"

/*
 * Copies the template `from` to `to`, with each @WORD@ replaced:
 *
 *     @VERSION@      0.3.0
 *     @COMMANDS@     every command with its summary, and its page's name
 *     @EXIT_STATUS@  the exit codes of every command
 *     @PAGE@         ufm-bench        (this and the following: pages of a command)
 *     @TITLE@        UFM-BENCH
 *     @SUMMARY@      what the command does
 *     @SYNOPSIS@     how it is called
 *     @OPTIONS@      its options
 *
 * table NULL: a page of no single command. false: a word is unknown or needs a command; it is then
 * copied to word[32].
 */
bool page_write(FILE *to, FILE *from, const option_table *table, char word[32]);

#endif
