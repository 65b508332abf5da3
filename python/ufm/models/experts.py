# SPDX-License-Identifier: MIT
"""The module that stands where a model's experts were."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import Unsupported
from .sites import Site


class PagedExperts(nn.Module):  # type: ignore[misc]
    """The experts of one routed layer, paged by libufm. It has no parameters: their bytes lie in the host tier, and
    those that are used often in slots on the device.

    Args:
        site: the routed layer that it stands in.
        module: the one that was here. Code that initialises weights finds empty tensors by its parameters' names.
    """

    def __init__(self, site: Site, module: nn.Module) -> None:
        super().__init__()
        self.site = site
        self.layer: Any = None
        self.paging: Any = None
        self.stored = ""
        self._call: Callable[..., Tensor] | None = None
        self._is_hf_initialized = True
        # What chooses experts needs the module's config and nothing else of it.
        chooser = SimpleNamespace(config=getattr(module, "config", None))
        self._route = partial(type(module).route_tokens_to_experts, chooser) if site.routes else None
        for name in module._parameters:
            object.__setattr__(self, name, torch.empty(0, device="cpu"))

    def open(self, layer: Any, paging: Any, stored: str) -> None:
        """Gives the module its layer (`ufm.core.Layer`) once the experts are loaded, what keeps it (`Paging`), and how
        they are stored, in words (`ExpertDesc.in_format`).
        """
        from ..torch_op import routed

        self.layer, self.paging, self._call, self.stored = layer, paging, routed, stored

    def forward(self, hidden_states: Tensor, *routing: Tensor, **named: Tensor) -> Tensor:
        """As the module that was here: [tokens, d_model] in and out; ids and weights [tokens, top_k], or the router's
        logits where it chose by itself.

        Ids outside the layer's experts contribute nothing. The output has the dtype of the input.
        """
        given = (*routing, *named.values())
        ids, gates = given if self._route is None else self._route(*given)
        if self._call is None:
            raise Unsupported(f"{self.site.name}: its experts are not loaded: the model was not made by ufm")
        return self._call(self.layer, hidden_states, ids, gates)

    def extra_repr(self) -> str:
        geometry = self.site.geometry
        return (
            f"{geometry.experts} experts, {self.site.top_k} a token, {geometry.d_model} → {geometry.d_hidden}, "
            f"{geometry.arithmetic.activation}" + self.stored
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> PagedExperts:
        """What `model.to(…)`, `.half()`, `.cuda()` and their like do to every module."""
        self.refuse_change(fn)
        return self

    def refuse_change(self, fn: Callable[[Tensor], Tensor]) -> None:
        """Unsupported: `fn` would move a tensor of the model to another device or dtype."""
        if self.paging is None:
            return
        before = torch.empty(0, device=self.paging.device, dtype=self.paging.dtype)
        after = fn(before)
        if after.device != before.device or after.dtype != before.dtype:
            raise Unsupported(
                f"the model's experts are paged to {before.device} in {_text(before.dtype)}, and cannot go to "
                f"{after.device} in {_text(after.dtype)}: load the model where it is to run"
            )

    def __deepcopy__(self, memo: Any) -> PagedExperts:
        raise Unsupported("a model whose experts are paged cannot be copied: load it a second time")

    def __reduce__(self) -> Any:
        raise Unsupported("a model whose experts are paged cannot be pickled: load its checkpoint where it is needed")


def _text(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
