# SPDX-License-Identifier: MIT
"""Sizes as people write them."""

from __future__ import annotations

import re

from .errors import InvalidArgument

_UNITS = {"": 1, "B": 1, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40}
_NEAR = {"K": "KiB", "KB": "KiB", "M": "MiB", "MB": "MiB", "G": "GiB", "GB": "GiB", "T": "TiB", "TB": "TiB"}


def parse_size(value: int | str, option: str) -> int:
    """Bytes: a number, or text such as "8GiB" or "300 MiB". `InvalidArgument` names the option."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise InvalidArgument(f'{option}: {value!r}: expected bytes, or text such as "8GiB"')
    if isinstance(value, int):
        if value <= 0:
            raise InvalidArgument(f"{option}: {value}: expected bytes above 0")
        return value
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", value)
    unit = found[2].upper() if found else ""
    if found and unit in _NEAR:
        raise InvalidArgument(f'{option}: {value!r}: do you mean "{found[1]}{_NEAR[unit]}"?')
    if not found or unit not in _UNITS or float(found[1]) == 0:
        raise InvalidArgument(f'{option}: {value!r}: expected bytes, or text such as "8GiB"')
    return int(float(found[1]) * _UNITS[unit])


def parse_share(value: int | str, option: str) -> int | float:
    """As `parse_size`, or a percentage of the experts ("30%") as a fraction in (0, 1]."""
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            percent = float(value.strip()[:-1])
        except ValueError:
            percent = 0.0
        if not 0 < percent <= 100:
            raise InvalidArgument(f'{option}: {value!r}: expected a percentage from above 0% to 100%, such as "30%"')
        return percent / 100
    return parse_size(value, option)


def size_text(size_bytes: float) -> str:
    """For people: "8 GiB", "312.5 MiB"."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if abs(size_bytes) < 1024 or unit == "GiB":
            return f"{size_bytes:.1f}".removesuffix(".0") + f" {unit}"
        size_bytes /= 1024
    raise AssertionError("the last unit takes all")
