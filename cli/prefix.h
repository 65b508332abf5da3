/* SPDX-License-Identifier: MIT */
/* The option that chooses among a checkpoint's stacks of layers, for every command that takes one. */
#ifndef CLI_PREFIX_H
#define CLI_PREFIX_H

#include "cli/options.h"

#define PREFIX_OPTION(at) \
	{ \
		.name = "prefix", .type = OPTION_STRING, .offset = (at), .value_name = "NAME", \
		.help = \
			"Of a checkpoint with several stacks of layers (ufm info lists them) the one whose " \
			"names begin so, as mtp.layers or talker; not given: the one of most routed layers." \
	}

#endif
