# SPDX-License-Identifier: MIT
"""libufm's objects as Python objects, without torch:

    Bank    what the experts are: geometry and where their bytes come from (read-only)
    Host    every block of a bank in host memory, shared by all engines
    Engine  one device: slots for experts, a ring for streaming, a budget, counters
    Layer   one routed layer on an engine
    Lender  one limit for engines and another library's allocator

Each is a context manager, holds a reference to the one before it, and is closed by `close()`, once, or by the garbage
collector. What is wrong raises one of the exceptions of `ufm.errors`. In a child process after a fork every call on a
host tier, engine or layer of the parent's is InvalidArgument, and closing does nothing.
"""

from __future__ import annotations

from ._enums import (
    NORM_TOPK_ADDEND,
    WAIT_FOREVER,
    Activation,
    CpuAssist,
    Dtype,
    ExpertKind,
    Format,
    LogLevel,
    Math,
    Role,
    Scoring,
    Status,
)
from ._library import PATH, check, version
from .bank import Bank, BankInfo, Extent
from .description import ExpertDesc, Part
from .engine import Engine, divide
from .errors import UfmError
from .figures import CounterDesc, CpuChoice, EngineBounds, EngineInfo, EngineMemory, LenderInfo, RoutingInfo
from .host import Host
from .layer import Layer
from .lease import Lease
from .lender import DriverFunctions, Lender
from .log import set_log

__all__ = [
    "NORM_TOPK_ADDEND",
    "PATH",
    "WAIT_FOREVER",
    "Activation",
    "Bank",
    "BankInfo",
    "CounterDesc",
    "CpuAssist",
    "CpuChoice",
    "DriverFunctions",
    "Dtype",
    "Engine",
    "EngineBounds",
    "EngineInfo",
    "EngineMemory",
    "ExpertDesc",
    "ExpertKind",
    "Extent",
    "Format",
    "Host",
    "Layer",
    "Lease",
    "Lender",
    "LenderInfo",
    "LogLevel",
    "Math",
    "Part",
    "Role",
    "RoutingInfo",
    "Scoring",
    "Status",
    "UfmError",
    "check",
    "divide",
    "set_log",
    "version",
]
