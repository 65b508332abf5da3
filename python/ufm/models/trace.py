# SPDX-License-Identifier: MIT
"""record_trace: which experts tokens went to, as files for `ufm replay`, `ufm plan` and `ufm bench`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InvalidArgument

__all__ = ["Trace", "record_trace"]

_ENDINGS = (".npy", ".jsonl")


@dataclass(frozen=True)
class Trace:
    """A file of routing.

    Args:
        path: of the file.
        layers: routed layers, in the model's order.
        tokens: in the file.
        dropped_tokens: older ones, for which there was no room (`routing_bytes`).
        partial_tokens: that did not go through all layers, and are not in the file.
    """

    path: Path
    layers: int
    tokens: int
    dropped_tokens: int
    partial_tokens: int


def record_trace(model: Any, path: str | os.PathLike[str], sequences: int = 1) -> list[Trace]:
    """Writes the routing of what a model has run, which it must have been loaded to record:
    `ufm.from_pretrained(..., routing_bytes="64MiB")` has room for the latest tokens.

    Args:
        model: loaded or attached. Not while it runs.
        path: NAME.npy (ids of the shape [token, layer, rank]) or NAME.jsonl. A model with several geometries of
            experts gets a file for each, NAME-1.npy, NAME-2.npy …, in the order of `ufm.stats(model).geometries`.
        sequences: so many that a batch decodes side by side, one token each a call; 1: the order of the calls.

    Returns:
        What was written.

    Raises:
        InvalidArgument: the model pages nothing, or was not loaded to record; nothing is written.
        FileError: a file cannot be written.
    """
    from .paging import paging_of

    paging = paging_of(model)
    if paging is None:
        raise InvalidArgument("record_trace: nothing is paged: expected a model with routed experts, loaded by ufm")
    if not paging.options.routing_room():
        raise InvalidArgument(
            'record_trace: the model records no routing: load it by ufm.from_pretrained(..., routing_bytes="64MiB")'
        )
    paths = _paths(Path(path), len(paging.groups))
    found = []
    for group, each in zip(paging.groups, paths, strict=True):
        assert group.engine is not None
        info = group.engine.write_routing(each, sequences)
        found.append(Trace(each, len(group.sites), info.tokens, info.dropped_tokens, info.partial_tokens))
    return found


def _paths(path: Path, count: int) -> list[Path]:
    if path.suffix not in _ENDINGS:
        raise InvalidArgument(f"path: {path}: expected a name that ends in {' or '.join(_ENDINGS)}")
    return [path] if count == 1 else [path.with_stem(f"{path.stem}-{i}") for i in range(1, count + 1)]
