# SPDX-License-Identifier: MIT
"""UFM: mixture-of-experts models whose experts are larger than device memory.

Importing it loads libufm, and neither torch nor transformers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .core import Bank, Engine, Host, Layer, divide
from .errors import UfmError
from .models.stats import Stats, stats
from .models.trace import record_trace

__version__ = "0.3.0"

__all__ = [
    "Bank",
    "Config",
    "Engine",
    "Host",
    "Layer",
    "Stats",
    "UfmError",
    "__version__",
    "attach",
    "divide",
    "from_pretrained",
    "paging_of",
    "record_trace",
    "stats",
]

# What needs torch and Transformers is loaded when it is first asked for.
_LAZY = {"Config": "quantizer", "attach": "attached", "from_pretrained": "loading", "paging_of": "paging"}

if TYPE_CHECKING:
    from .models.attached import attach
    from .models.loading import from_pretrained
    from .models.paging import paging_of
    from .models.quantizer import Config


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'ufm' has no attribute {name!r}")
    return getattr(importlib.import_module(f".models.{_LAZY[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
