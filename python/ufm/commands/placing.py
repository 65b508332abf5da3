# SPDX-License-Identifier: MIT
"""How a loader is told where a model goes."""

from __future__ import annotations

import importlib.util
from typing import Any


def device_map(device: str) -> dict[str, Any]:
    """The argument for Transformers' `from_pretrained`, which takes one only where accelerate is installed: with it a
    model goes to a GPU without a copy of the whole in host memory.
    """
    return {"device_map": device} if device == "cuda" and has_accelerate() else {}


def has_accelerate() -> bool:
    return importlib.util.find_spec("accelerate") is not None
