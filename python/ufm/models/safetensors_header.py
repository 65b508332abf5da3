# SPDX-License-Identifier: MIT
"""Names, shapes and places of the tensors in a .safetensors file; its payload is not read."""

from __future__ import annotations

import json
import math
import os
import struct
from pathlib import Path
from typing import Any

from ..errors import FileError, FormatError
from .placed import Source, Strided

_HEADER_BYTES_MAX = 100_000_000
_ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip


def read_header(path: str | os.PathLike[str], file: int) -> dict[str, Strided]:
    """Every tensor of a file by name. `FormatError` names what breaks the format's rules, a file that was cut too.

    Args:
        path: the file.
        file: its index, which becomes `Source.file`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileError(f"{path}: no such file: a shard of the checkpoint is missing")
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(8)
        if len(head) < 8:
            raise FormatError(f"{path}: {len(head)} bytes long, expected a safetensors header")
        (length,) = struct.unpack("<Q", head)
        if length > min(_HEADER_BYTES_MAX, size - 8):
            raise FormatError(f"{path}: a header of {length} bytes in a file of {size}: cut, or no safetensors file")
        text = stream.read(length)
    try:
        header: Any = json.loads(text)
    except ValueError as error:
        raise FormatError(f"{path}: its header is no JSON: {error}") from error
    if not isinstance(header, dict):
        raise FormatError(f"{path}: expected a header of names, found {type(header).__name__}")
    data = 8 + length
    return {
        name: _tensor(f"{path}: {name}", entry, file, data, size)
        for name, entry in header.items()
        if name != "__metadata__"
    }


def _tensor(where: str, entry: Any, file: int, data: int, size: int) -> Strided:
    try:
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        numbers = [*shape, begin, end]
        if not all(type(n) is int and n >= 0 for n in numbers):
            raise ValueError(f"shape {shape}, offsets {begin} and {end}")
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{where}: expected dtype, shape and two data_offsets ({error})") from error
    if end > size - data or begin > end:
        raise FormatError(
            f"{where}: bytes {begin} to {end} of {size - data} that the file has: a part of it is missing"
        )
    item = _ITEM_BYTES.get(dtype, 0)
    # What lies in parts of bytes (4-bit types) has no elements of its own; whoever wants it refuses it by its dtype.
    if item and math.prod(shape) * item != end - begin:
        raise FormatError(f"{where}: shape {shape} of {dtype} in {end - begin} bytes")
    return Strided.whole(Source(file, dtype, item), data + begin, shape)
