# SPDX-License-Identifier: MIT
"""Python values into the fields of structs, and back: what ctypes would cut off or take for another is refused."""

from __future__ import annotations

import enum
import operator
import os
from collections.abc import Mapping
from ctypes import Structure, c_char_p, c_size_t, c_uint32, c_uint64
from typing import Any, TypeVar

from .errors import InvalidArgument

_WHOLE_BITS: dict[Any, int] = {c_uint32: 32, c_uint64: 64, c_size_t: 64}

_E = TypeVar("_E", bound=enum.IntEnum)


def whole(name: str, value: Any, bits: int = 32) -> int:
    """`value` as a whole number of so many bits; ctypes would cut off what does not fit."""
    try:
        number = operator.index(value)
    except TypeError:
        raise InvalidArgument(f"{name} is {value!r}, expected a whole number") from None
    if not 0 <= number < 1 << bits:
        raise InvalidArgument(f"{name} is {number}, expected 0 … {(1 << bits) - 1}")
    return number


def text(name: str, value: Any) -> bytes | None:
    """A string or path as C reads it; None stays NULL. Refuses a NUL within, where C would end it."""
    if value is None:
        return None
    try:
        data = os.fsencode(value)
    except TypeError:
        raise InvalidArgument(f"{name} is {value!r}, expected a string or a path") from None
    if b"\0" in data:
        raise InvalidArgument(f"{name} is {value!r}, expected no NUL character within")
    return data


def choice(name: str, value: Any, choices: Mapping[str, _E]) -> _E:
    """The member that a word stands for; a member stands for itself."""
    found = next((each for each in choices.values() if each is value), None)
    if isinstance(value, str):
        found = choices.get(value)
    if found is None:
        words = ", ".join(f'"{word}"' for word in choices)
        raise InvalidArgument(f"{name} is {value!r}, expected one of {words}")
    return found


def member(name: str, value: Any, kind: type[_E]) -> _E:
    """`value` as a member of an enum."""
    try:
        return kind(value)
    except ValueError:
        names = ", ".join(each.name for each in kind)
        raise InvalidArgument(f"{name} is {value!r}, expected {kind.__name__}: {names}") from None


def fill(struct: Structure, **values: Any) -> None:
    """Sets fields of a struct. InvalidArgument names the one whose value does not fit."""
    types: dict[str, Any] = {field[0]: field[1] for field in struct._fields_}
    for name, value in values.items():
        kind = types[name]
        if kind in _WHOLE_BITS:
            value = whole(name, value, _WHOLE_BITS[kind])
        elif kind is c_char_p:
            value = text(name, value)
        try:
            setattr(struct, name, value)
        except TypeError as error:
            raise InvalidArgument(f"{name} is {value!r}: {error}") from None


def words(data: bytes | None) -> str:
    """A string of libufm's, which is never lost for a character that is not UTF-8; NULL is empty."""
    return (data or b"").decode("utf-8", "replace")
