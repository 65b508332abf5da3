# SPDX-License-Identifier: MIT
"""Rows of `bench` as one table of markdown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..sizes import size_text

_Row = dict[str, Any]

_TOLD = ("libufm", "torch", "transformers", "accelerate")
_NOTE = "Hit rate and bytes a token: of the timed decode. Host peak: with mapped files. Device: the driver's count."


def table(rows: list[_Row]) -> str:
    """What was run, and a line for each way."""
    lines = [head(rows), ""] if rows else []
    names = [name for name, _ in COLUMNS]
    cells = [[_cell(read, row) for _, read in COLUMNS] for row in rows]
    widths = [max([len(name), *(len(row[i]) for row in cells)]) for i, name in enumerate(names)]
    lines.append(_line(names, widths))
    lines.append("|" + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|")
    lines += [_line(row, widths) for row in cells]
    return "\n".join([*lines, "", _NOTE]) + "\n"


def head(rows: list[_Row]) -> str:
    """Checkpoint, machine and versions, as the first row that knows them has them."""
    first = next((row for row in rows if "versions" in row), rows[0])
    machine, versions = first.get("machine", {}), first.get("versions", {})
    told = ", ".join(f"{name} {versions[name]}" for name in _TOLD if versions.get(name))
    parts = [
        f"`{first['directory']}`",
        str(machine.get("device", first["device"])),
        str(machine.get("processor", "")),
        told,
    ]
    return " · ".join(part for part in parts if part)


def _line(cells: list[str], widths: list[int]) -> str:
    padded = [cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(cells, widths))]
    return "| " + " | ".join(padded) + " |"


def _cell(read: Callable[[_Row], str], row: _Row) -> str:
    try:
        return read(row)
    except (KeyError, TypeError):
        return ""


def _way(row: _Row) -> str:
    return " ".join(str(row[key]) for key in ("mode", "experts", "implementation") if row[key])


def _speed(phase: str) -> Callable[[_Row], str]:
    """Of a phase, or why there is none."""

    def read(row: _Row) -> str:
        if row["status"] != "ok":
            return str(row["status"]) if phase == "generate" else ""
        found = row[phase]
        return _number(found["tok_s"]) if "tok_s" in found else str(found["status"])

    return read


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def _per_token(key: str) -> Callable[[_Row], str]:
    return lambda row: _number(row["generate"][key] / 1e6)


def _device_bytes(row: _Row) -> str:
    return size_text(row["device_used_bytes"] - row["device_used_before_bytes"])


COLUMNS: list[tuple[str, Callable[[_Row], str]]] = [
    ("way", _way),
    ("decode tok/s", _speed("generate")),
    ("prefill tok/s", _speed("prefill")),
    ("hit rate", lambda row: f"{row['generate']['hit_rate']:.3f}"),
    ("link MB/token", _per_token("link_bytes_per_token")),
    ("CPU MB/token", _per_token("cpu_bytes_per_token")),
    ("load s", lambda row: _number(row["load_s"])),
    ("load GB/s", lambda row: _number(row["load_gbps"])),
    ("host peak", lambda row: size_text(row["host_peak_bytes"])),
    ("device", _device_bytes),
]
