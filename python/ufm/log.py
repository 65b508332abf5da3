# SPDX-License-Identifier: MIT
"""Where libufm's notes and warnings go."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from typing import Any

from ._enums import LogLevel
from ._fields import words
from ._handle import calling_back
from ._library import lib
from ._structs import LogFn

__all__ = ["set_log"]

# The functions that libufm may still be calling; one more for each that was set.
_kept: list[Any] = []


def set_log(receive: Callable[[LogLevel, str], object] | None) -> None:
    """Gives libufm's lines to a function, process-wide; None: silence. Until it is called warnings go to stderr.

    It may be called from any thread, also in the middle of a call of libufm, and should only take the line. What it
    raises can end nothing and goes to `sys.unraisablehook`.
    """
    if receive is None:
        lib.ufm_set_log(LogFn(), None)
        return

    def received(_: object, level: int, line: bytes) -> None:
        with calling_back():
            receive(LogLevel(level), words(line))

    function = LogFn(received)
    _kept.append(function)
    lib.ufm_set_log(function, None)


# Threads of libufm may outlive the interpreter, which a function of Python's may not.
@atexit.register
def _silence() -> None:
    if _kept:
        lib.ufm_set_log(LogFn(), None)
