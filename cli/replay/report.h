/* SPDX-License-Identifier: MIT */
/* Rows of `ufm replay` for people. */
#ifndef CLI_REPLAY_REPORT_H
#define CLI_REPLAY_REPORT_H

#include <jansson.h>

#include "cli/replay/config.h"
#include "cli/sheet.h"

/* A table of rows, one of layers if asked for, and the sentence that says how to read them. */
void replay_markdown(sheet *to, const replay_options *options, const json_t *rows);

#endif
