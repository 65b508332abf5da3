# SPDX-License-Identifier: MIT
"""python -m ufm: a checkpoint's models from the command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .commands import bench, generate, outcome, plan
from .commands.options import help_formatter


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m ufm",
        description="Mixture-of-experts models whose experts are larger than device memory.",
        epilog=outcome.EXIT_CODES,
        formatter_class=help_formatter,
        allow_abbrev=False,
    )
    parsers = made.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (generate, plan, bench):
        command.add(parsers)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code. What fails is one line on the standard error."""
    args = parser().parse_args(argv)
    try:
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("ufm: interrupted", file=sys.stderr)
        return outcome.INTERRUPTED
    except Exception as error:
        print(f"ufm: {outcome.describe(error)}", file=sys.stderr)
        return outcome.code_of(error)


if __name__ == "__main__":
    sys.exit(main())
