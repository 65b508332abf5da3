# SPDX-License-Identifier: MIT
"""How a command ends: its exit code, and one line of why."""

from __future__ import annotations

import importlib
import json
import os
import re
from pathlib import Path
from typing import Any

from ..models.gguf_file import is_gguf

OK, FAILED, USAGE, ENVIRONMENT, DATA, INTERRUPTED = 0, 1, 2, 3, 4, 130

EXIT_CODES = """exit codes:
  0  done
  1  failed
  2  wrong usage
  3  something is missing here: torch, transformers, a GPU, libufm
  4  the checkpoint cannot be read or used
  130  interrupted"""


class Stop(Exception):
    """Ends the command with a line and an exit code."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


def require(*names: str) -> None:
    """Ends the command where one of these packages cannot be imported."""
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise Stop(ENVIRONMENT, f"{name} cannot be imported ({first_line(error)}): pip install {name}") from None


def checkpoint(directory: str) -> Path:
    """A folder with a config.json that can be read, or GGUF files; the command ends where it is none."""
    path = Path(directory)
    if is_gguf(path):
        return path
    config = path / "config.json"
    try:
        found = json.loads(config.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Stop(DATA, f"{path}: no config.json there: expected the folder of a checkpoint") from None
    except (OSError, ValueError) as error:
        raise Stop(DATA, f"{config}: {first_line(error)}: expected a checkpoint's configuration") from None
    if not isinstance(found, dict):
        raise Stop(DATA, f"{config}: found a {type(found).__name__}, expected an object")
    return path


def device(named: str | None) -> str:
    """ "cpu" or "cuda": as named, or a GPU where there is one. The command ends where one is named and none is here."""
    if named == "cpu":
        # Nobody then finds one, the processes that are started from here neither.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import torch

    if named == "cuda" and not torch.cuda.is_available():
        raise Stop(ENVIRONMENT, "--device cuda: torch finds no GPU here")
    return named or ("cuda" if torch.cuda.is_available() else "cpu")


def first_line(error: BaseException) -> str:
    """An exception's message in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def is_out_of_memory(error: BaseException) -> bool:
    """Whether host or device memory did not suffice, whoever says so."""
    from ..errors import BudgetError, DeviceMemoryError

    names = {type(each).__name__ for each in _causes(error)}
    if isinstance(error, MemoryError | BudgetError | DeviceMemoryError) or "OutOfMemoryError" in names:
        return True
    return isinstance(error, RuntimeError) and bool(re.search(r"can't allocate memory|out of memory", str(error)))


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in found:
        found.append(at)
        at = at.__cause__ or at.__context__
    return found


def safetensors_error() -> type[Exception]:
    """What a broken file of weights raises."""
    from safetensors import SafetensorError

    found: type[Exception] = SafetensorError
    return found


def code_of(error: BaseException) -> int:
    """The exit code that an exception stands for."""
    from ..errors import BackendError, FileError, FormatError, InvalidArgument, Unsupported

    if isinstance(error, Stop):
        return error.code
    if isinstance(error, InvalidArgument):
        return USAGE
    if isinstance(error, BackendError | ImportError):
        return ENVIRONMENT
    if isinstance(error, FileError | FormatError | Unsupported) or type(error).__name__ == "SafetensorError":
        return DATA
    return FAILED


def describe(error: BaseException) -> str:
    """One line for people; a class that says more than its message is named."""
    from ..errors import UfmError

    line = first_line(error)
    if isinstance(error, Stop | UfmError) or line == type(error).__name__:
        return line
    return f"{type(error).__name__}: {line}"


def versions() -> dict[str, Any]:
    """Of everything that takes part."""
    import platform

    from .. import __version__
    from .._library import PATH, version

    found: dict[str, Any] = {
        "ufm": __version__,
        "libufm": version(),
        "library": PATH,
        "python": platform.python_version(),
    }
    for name in ("torch", "transformers", "accelerate"):
        try:
            found[name] = importlib.import_module(name).__version__
        except ImportError:
            found[name] = None
    return found
