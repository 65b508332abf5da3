# SPDX-License-Identifier: MIT
"""Stats as a small figure for a notebook: SVG within HTML, which needs no package."""

from __future__ import annotations

from html import escape
from typing import Any

from ..sizes import size_text

# Of the three paths, told apart also by people who do not see all colours; text takes the notebook's own.
RESIDENT, LINK, CPU, EMPTY = "#0072b2", "#e69f00", "#009e73", "#88888833"
_WIDTH, _BAR, _LEFT, _ROW, _TOP = 640, 18, 150, 46, 8


def figure(stats: Any) -> str:
    """Two bars for each geometry: bytes by path, and the part of the experts that has slots; the text below."""
    text = "".join(f"<div>{escape(line)}</div>" for line in stats.lines())
    rows: list[str] = []
    for geometry in stats.geometries:
        name = f"{geometry.layers} layers" if len(stats.geometries) == 1 else f"{geometry.layers} × {geometry.d_hidden}"
        rows.append(_paths(geometry, f"bytes used, {name}", len(rows)))
        rows.append(_residency(geometry, f"slots, {name}", len(rows)))
    if not rows:
        return text
    height = _TOP + _ROW * len(rows)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="12" fill="currentColor">'
        f"{''.join(rows)}</svg>{text}"
    )


def _paths(geometry: Any, name: str, row: int) -> str:
    parts = [
        (geometry.resident_bytes, RESIDENT, "resident"),
        (geometry.link_bytes, LINK, "over the link"),
        (geometry.cpu_bytes, CPU, "by the CPU"),
    ]
    total = sum(size for size, _, _ in parts)
    told = " · ".join(f"{size_text(size)} {text}" for size, _, text in parts)
    return _bar(name, row, [(size / total if total else 0.0, colour, text) for size, colour, text in parts], told)


def _residency(geometry: Any, name: str, row: int) -> str:
    told = f"{geometry.slots} slots for {geometry.experts} experts ({geometry.resident_share:.0%})"
    return _bar(name, row, [(geometry.resident_share, RESIDENT, "in slots")], told)


def _bar(name: str, row: int, parts: list[tuple[float, str, str]], told: str) -> str:
    """A bar of parts (of 1, colour, what), its name to the left and its numbers in small print below."""
    y, room = _TOP + row * _ROW, _WIDTH - _LEFT - 10
    drawn = [_rect(_LEFT, y, room, EMPTY, told)]
    at = float(_LEFT)
    for share, colour, what in parts:
        if share > 0:
            drawn.append(_rect(at, y, share * room, colour, what))
            at += share * room
    drawn.append(f'<text x="{_LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>')
    keys, x = [], float(_LEFT)
    for piece, (_, colour, _what) in zip(told.split(" · "), parts):
        keys.append(f'<rect x="{x:.1f}" y="{y + _BAR + 6}" width="8" height="8" fill="{colour}"/>')
        keys.append(f'<text x="{x + 12:.1f}" y="{y + _BAR + 14}" font-size="11">{escape(piece)}</text>')
        x += 28 + 6.2 * len(piece)
    return "".join(drawn + keys)


def _rect(x: float, y: float, width: float, colour: str, title: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="{colour}">'
        f"<title>{escape(title)}</title></rect>"
    )
