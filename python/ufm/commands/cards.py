# SPDX-License-Identifier: MIT
"""Cards by the vendor's data sheets, as `ufm plan --card` knows them; a test holds both tables together."""

from __future__ import annotations

from ..planning import Machine

_PCIE_4, _PCIE_4_X8, _PCIE_5 = 31.5, 15.8, 63.0

# GiB, GB/s of its memory, GB/s of the link each way.
CARDS: dict[str, tuple[int, float, float]] = {
    "rtx-3060": (12, 360, _PCIE_4),
    "rtx-3090": (24, 936, _PCIE_4),
    "rtx-4060-ti-16gb": (16, 288, _PCIE_4_X8),
    "rtx-4070": (12, 504, _PCIE_4),
    "rtx-4080": (16, 717, _PCIE_4),
    "rtx-4090": (24, 1008, _PCIE_4),
    "rtx-5070": (12, 672, _PCIE_5),
    "rtx-5070-ti": (16, 896, _PCIE_5),
    "rtx-5080": (16, 960, _PCIE_5),
    "rtx-5090": (32, 1792, _PCIE_5),
    "rtx-a6000": (48, 768, _PCIE_4),
    "rtx-6000-ada": (48, 960, _PCIE_4),
    "l4": (24, 300, _PCIE_4),
    "l40s": (48, 864, _PCIE_4),
    "a100-40gb": (40, 1555, _PCIE_4),
    "a100-80gb": (80, 2039, _PCIE_4),
    "h100": (80, 3350, _PCIE_5),
    "h200": (141, 4800, _PCIE_5),
}

# What one H200 reaches of its data sheet.
MEMORY_PART, LINK_PART = 0.93, 0.87


def machine_of(name: str) -> Machine:
    """A card's rates as they are reached; host memory and arithmetic are not in a data sheet."""
    _, memory, link = CARDS[name]
    return Machine(link_gbps=LINK_PART * link, hbm_gbps=MEMORY_PART * memory)
