# SPDX-License-Identifier: MIT
"""What a user may ask for, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import InvalidArgument
from ..sizes import parse_share, parse_size

_CPU_ASSIST = ("auto", "on", "off")
_MATH = ("auto", "fp32", "tf32", "bf16")


@dataclass(frozen=True)
class Options:
    """The arguments of `ufm.from_pretrained` and `ufm.Config`, which say what they mean.

    Sizes are texts or bytes here, as the user wrote them.
    """

    vram: int | str | None = None
    experts: int | str | None = None
    host: int | str | None = None
    device: str | None = None
    context: int | None = None
    cpu_assist: str = "auto"
    deterministic: bool = False
    math: str = "auto"
    routing_bytes: int | str = 0

    def __post_init__(self) -> None:
        if self.cpu_assist not in _CPU_ASSIST:
            raise InvalidArgument(f"cpu_assist: {self.cpu_assist!r}: expected one of {', '.join(_CPU_ASSIST)}")
        if self.math not in _MATH:
            raise InvalidArgument(f"math: {self.math!r}: expected one of {', '.join(_MATH)}")
        if not isinstance(self.deterministic, bool):
            raise InvalidArgument(f"deterministic: {self.deterministic!r}: expected True or False")
        if self.deterministic and self.cpu_assist == "on":
            raise InvalidArgument('deterministic: expected cpu_assist "auto" or "off": the CPU sums in another order')
        if self.context is not None and (type(self.context) is not int or self.context < 1):
            raise InvalidArgument(f"context: {self.context!r}: expected a number of tokens above 0")
        if self.host is not None:
            raise InvalidArgument("host: a budget of host memory is not there yet: every expert has its place in it")
        self.vram_bytes()
        self.expert_budget()
        self.routing_room()

    def vram_bytes(self) -> int | None:
        """All that the process may hold on the device; None: not said."""
        return None if self.vram is None else parse_size(self.vram, "vram")

    def expert_budget(self) -> int | float | None:
        """Bytes of slots and workspace, or the fraction of the experts that have slots; None: not said."""
        return None if self.experts is None else parse_share(self.experts, "experts")

    def routing_room(self) -> int:
        """Bytes of host memory for the routing of the latest tokens (`ufm.record_trace`); 0: none is recorded."""
        off = type(self.routing_bytes) is int and self.routing_bytes == 0
        return 0 if off else parse_size(self.routing_bytes, "routing_bytes")

    @classmethod
    def of(cls, **given: Any) -> Options:
        """From a caller's arguments; an unknown one is named."""
        unknown = sorted(set(given) - set(cls.__dataclass_fields__))
        if unknown:
            known = ", ".join(cls.__dataclass_fields__)
            raise InvalidArgument(f"{unknown[0]}: no such option: expected one of {known}")
        return cls(**given)
