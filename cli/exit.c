/* SPDX-License-Identifier: MIT */
/* Maps what was hurt to who can mend it: the command line, the machine, or a file. */
#include "cli/exit.h"

const char exit_help[] =
	"Exit codes:\n"
	"  0    success (in ufm bench a baseline out of memory is a result, too)\n"
	"  1    failure: a run failed, or an output cannot be written\n"
	"  2    usage: an option is wrong, or a target is too small for a working set\n"
	"  3    environment: memory, device, backend or program missing\n"
	"  4    data: an input file is unreadable or malformed\n"
	"  130  interrupted (SIGINT, SIGTERM); standard error says what is kept where\n";

int exit_of(ufm_status status)
{
	switch (status) {
	case UFM_OK:
		return CLI_OK;
	case UFM_EINVAL:
	case UFM_EBUDGET:
		return CLI_USAGE;
	case UFM_ENOMEM:
	case UFM_EUNSUPPORTED:
	case UFM_EDEVMEM:
	case UFM_EDEVICE:
	case UFM_EBACKEND:
		return CLI_ENVIRONMENT;
	case UFM_EFILE:
	case UFM_EEXPERT_IO:
	case UFM_EFORMAT:
		return CLI_DATA;
	case UFM_ECANCELED:
		return CLI_INTERRUPTED;
	case UFM_EBUSY:
	case UFM_ETIMEDOUT:
		break;
	}
	return CLI_FAILED;
}
