# SPDX-License-Identifier: MIT
"""What the commands' options have in common: their kinds of values, and the shape of their help."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import InvalidArgument
from ..sizes import parse_share, parse_size
from .outcome import EXIT_CODES

_WIDTH = 79


class _Help(argparse.RawDescriptionHelpFormatter):
    """Never wider than 80 columns, whatever the terminal."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_WIDTH, max_help_position=30)


def add_parser(
    parsers: Any, name: str, run: Callable[[argparse.Namespace], int], sentence: str, text: str
) -> argparse.ArgumentParser:
    """A command's parser; `run` is what its arguments go to."""
    about = textwrap.fill(" ".join(text.split()), _WIDTH)
    parser: argparse.ArgumentParser = parsers.add_parser(
        name, help=sentence, description=about, epilog=EXIT_CODES, formatter_class=_Help, allow_abbrev=False
    )
    parser.set_defaults(run=run)
    return parser


def help_formatter(prog: str) -> argparse.HelpFormatter:
    return _Help(prog)


def add_dtype(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16", "float16"),
        default="auto",
        metavar="NAME",
        help="float32, bfloat16, float16 (default: the checkpoint's)",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: a GPU where there is one")


def fraction(given: str) -> float:
    """A number above 0."""
    try:
        value = float(given)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"found {given!r}, expected a number above 0")
    return value


def positive(given: str) -> int:
    """A whole number above 0."""
    try:
        value = int(given)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"found {given!r}, expected a whole number above 0")
    return value


def size(given: str) -> str:
    """Bytes, or a text such as 8GiB."""
    return _checked(given, lambda value: parse_size(value, "size"))


def share(given: str) -> str:
    """As `size`, or a percentage."""
    return _checked(given, lambda value: parse_share(value, "size"))


def _checked(given: str, parse: Callable[[str], Any]) -> str:
    try:
        parse(given)
    except InvalidArgument as error:
        raise argparse.ArgumentTypeError(str(error).partition(": ")[2]) from None
    return given


def texts(known: Sequence[str]) -> Callable[[str], list[str]]:
    """Several of these, with commas between them."""

    def read(given: str) -> list[str]:
        found = list(dict.fromkeys(given.split(",")))
        unknown = [one for one in found if one not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"found {unknown[0]!r}, expected of {', '.join(known)}")
        return found

    return read
