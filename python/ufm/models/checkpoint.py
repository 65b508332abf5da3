# SPDX-License-Identifier: MIT
"""Where the experts' parameters of a model lie in its checkpoint, by Transformers' own rules.

The way of its loader (`core_model_loading.convert_and_load_state_dict_in_model`) is gone with `Placed` in place of
tensors: every key is renamed by the model's weight conversions, every conversion runs. So a layout is known when
Transformers knows it: experts fused or each on its own, transposed, gate and up apart or alternating.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from ..errors import Unsupported
from .placed import NotPlaced, Placed
from .safetensors_header import read_header


def headers(files: Sequence[str]) -> dict[str, Placed]:
    """The tensors of all files of a checkpoint by name; the later file has the say, as in Transformers."""
    found: dict[str, Placed] = {}
    for number, path in enumerate(files):
        if not str(path).endswith(".safetensors"):
            raise Unsupported(f"{path}: expected a .safetensors file: experts are paged from no other")
        found.update(read_header(path, number))
    return found


def locate(
    wanted: Mapping[str, tuple[int, ...]],
    tensors: Mapping[str, Placed],
    conversions: Sequence[Any],
    model: Any,
    meta_state: Mapping[str, Any],
) -> dict[str, Placed]:
    """Where each wanted parameter lies.

    Args:
        wanted: name in the model and shape of each parameter.
        tensors: what the checkpoint has (`headers`).
        conversions: the model's weight conversions, in the loader's order.
        model: its config and base_model_prefix are read.
        meta_state: the names of all its parameters, those of the experts among them.

    Raises:
        Unsupported: a parameter is not in the checkpoint, not of this shape, or made by more than moving elements.
    """
    collected = _collect(wanted, tensors, conversions, model.base_model_prefix, meta_state)
    skeleton = _Skeleton(model, wanted)
    found: dict[str, Placed] = {}
    for target, mapping in collected.items():
        found.update(_convert(target, mapping, skeleton))
    for name, shape in wanted.items():
        if name not in found:
            raise Unsupported(f"{name}: not in the checkpoint: a shard is missing, or its experts have other names")
        if tuple(found[name].shape) != tuple(shape):
            raise Unsupported(f"{name}: the checkpoint's is {list(found[name].shape)}, the config's {list(shape)}")
    return {name: found[name] for name in wanted}


class Names:
    """What a model calls the tensors of a checkpoint.

    Args:
        conversions: the model's weight conversions, in the loader's order.
        base_model_prefix: the model's.
        meta_state: the names of all its parameters.
    """

    def __init__(self, conversions: Sequence[Any], base_model_prefix: str, meta_state: Mapping[str, Any]) -> None:
        from transformers.core_model_loading import WeightConverter, WeightRenaming

        self.converters = [entry for entry in conversions if isinstance(entry, WeightConverter)]
        self._renamings = [entry for entry in conversions if isinstance(entry, WeightRenaming)]
        self._prefix, self._meta_state = base_model_prefix, meta_state

    def rename(self, key: str) -> tuple[str, str | None]:
        """The parameter that a tensor leads to, and the pattern of the conversion on the way, if there is one."""
        from transformers.core_model_loading import rename_source_key

        renamed, pattern = rename_source_key(key, self._renamings, self.converters, self._prefix, self._meta_state)
        if renamed not in self._meta_state and key in self._meta_state:
            renamed, pattern = rename_source_key(key, [], [], self._prefix, self._meta_state)
        return renamed, pattern

    def target(self, key: str) -> str:
        """The parameter that a tensor leads to."""
        return self.rename(key)[0]


def _collect(
    wanted: Mapping[str, Any],
    tensors: Mapping[str, Placed],
    conversions: Sequence[Any],
    base_model_prefix: str,
    meta_state: Mapping[str, Any],
) -> dict[str, Any]:
    """A conversion for every wanted parameter that some key leads to, with the tensors it is made of."""
    from transformers.core_model_loading import WeightRenaming, dot_natural_key

    names = Names(conversions, base_model_prefix, meta_state)
    converters = names.converters
    by_pattern = {pattern: converter for converter in converters for pattern in converter.source_patterns}
    # A conversion leads to all of its targets, and the keys of all are collected under the first.
    firsts = _first_targets(wanted, converters)
    collected: dict[str, Any] = {}
    for key in sorted(tensors, key=dot_natural_key):
        renamed, pattern = names.rename(key)
        if renamed not in wanted and renamed not in firsts:
            continue
        if pattern is None:
            mapping = collected.setdefault(renamed, WeightRenaming(key, renamed))
            pattern = key
        else:
            mapping = collected.setdefault(renamed, copy.deepcopy(by_pattern[pattern]))
        mapping.add_tensor(renamed, key, pattern, _given(tensors[key]))
    return collected


class _Skeleton:
    """The model as conversions may look at it: the wanted parameters, gone from it already, have their shapes still."""

    def __init__(self, model: Any, wanted: Mapping[str, tuple[int, ...]]) -> None:
        self._model, self._wanted = model, wanted

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def get_parameter(self, name: str) -> Any:
        shape = self._wanted.get(name)
        return self._model.get_parameter(name) if shape is None else torch.empty(shape, device="meta")


def _given(tensor: Placed) -> Any:
    return lambda: tensor


def _first_targets(wanted: Iterable[str], converters: Sequence[Any]) -> set[str]:
    """The names under which conversions collect whose other targets are wanted."""
    names = set()
    for converter in converters:
        first, *others = converter.target_patterns
        for other in others:
            names |= {name.replace(other, first, 1) for name in wanted if other in name}
    return names


def _convert(target: str, mapping: Any, model: Any) -> dict[str, Placed]:
    sources = sorted({key for keys in mapping.layer_targets.values() for key in keys})
    try:
        made = mapping.convert(target, model=model, config=model.config)
    except NotPlaced as error:
        raise Unsupported(
            f"{target}: Transformers makes it of {sources[0]} by {error}, which moves no elements"
        ) from error
    except (ValueError, IndexError, KeyError, RuntimeError) as error:
        raise Unsupported(f"{target}: cannot be made of {sources[0]} and {len(sources) - 1} more: {error}") from error
    return {name: value[0] if isinstance(value, list) else value for name, value in made.items()}


def expert_keys(names: Iterable[str]) -> set[str]:
    """Patterns for `_keys_to_ignore_on_load_unexpected`: what is paged is not missed."""
    return {f"^{re.escape(name)}$" for name in names}
