# SPDX-License-Identifier: MIT
"""A model on its way to paged experts: other modules in the place of its own, experts loaded, the model guarded."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ..errors import Unsupported
from . import budget
from .checkpoint import expert_keys
from .experts import PagedExperts
from .options import Options
from .paging import Group, Paging
from .sites import Site


def replace(model: nn.Module, sites: list[Site], make: Callable[[Site, nn.Module], nn.Module] = PagedExperts) -> None:
    """Puts another module in the place of every experts module.

    Args:
        make: given the site and the module that stands there.
    """
    tied = getattr(model, "all_tied_weights_keys", None) or {}
    for site in sites:
        parent, _, child = site.name.rpartition(".")
        module = model.get_submodule(site.name)
        setattr(model.get_submodule(parent), child, make(site, module))
        for name, _ in module.named_parameters():
            tied.pop(f"{site.name}.{name}", None)


def leave_out(model: Any, sites: list[Site]) -> None:
    """Tells the stock loader that nobody misses the experts' parameters: it reads none of them."""
    names = {name for site in sites for name in site.parameters.values()}
    model._keys_to_ignore_on_load_unexpected = set(model._keys_to_ignore_on_load_unexpected or ()) | expert_keys(names)


def start(model: Any, groups: list[Group], options: Options, device: torch.device) -> Paging:
    """Loads the experts, opens engines within the budget, and gives the model's modules their layers."""
    total = sum(group.block_bytes for group in groups)
    with progress_bar(total) as progress:
        paging = Paging(
            groups, options, device, model.dtype, budget.for_experts(model, options, device, total), progress
        )
    modules = {name: m for name, m in model.named_modules() if isinstance(m, PagedExperts)}
    paging.attach(modules)
    budget.keep(model, paging, options)
    _guard(model, list(modules.values()))
    return paging


def _guard(model: nn.Module, modules: list[PagedExperts]) -> None:
    """Has `model.to(…)` and its like refused before they have changed half of the model."""
    whole = type(model)._apply
    alive = weakref.ref(model)

    def checked(fn: Callable[..., Any], recurse: bool = True) -> Any:
        for module in modules:
            module.refuse_change(fn)
        return whole(alive(), fn, recurse)

    object.__setattr__(model, "_apply", checked)
    model.register_forward_pre_hook(_Process())


class _Process:
    """The process that a model was loaded in. In a child PyTorch itself may wait for ever for threads that a fork has
    not copied, before a layer of libufm can refuse: this says so first."""

    def __init__(self) -> None:
        self.number = os.getpid()

    def __call__(self, *_: Any) -> None:
        if os.getpid() != self.number:
            raise Unsupported("after a fork the model's experts are those of the parent: load the model in the child")


@contextmanager
def progress_bar(total_bytes: int) -> Iterator[Callable[[int, int], None]]:
    """Transformers' own progress bar, in bytes; it is hidden where the user has those hidden."""
    from transformers.utils.logging import tqdm

    with tqdm(total=total_bytes, desc="Loading experts", unit="B", unit_scale=True, unit_divisor=1024) as bar:
        shown = 0

        def show(done: int, _: int) -> None:
            nonlocal shown
            bar.update(done - shown)
            shown = done

        yield show
