# SPDX-License-Identifier: MIT
"""How large a checkpoint's parts are, found without reading any of its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import FileError
from .outcome import DATA, Stop, first_line


@dataclass(frozen=True)
class Weights:
    """A model's parameters and buffers by what they are.

    Args:
        model: on the meta device, its experts still in it.
        config: of the model.
        dtype: of the parameters as loaded.
        dense_bytes: of all that is no routed expert.
        expert_bytes: of all routed experts.
        sites: the routed layers.
        experts: in all of them.
        parts: a geometry each: description of an expert, layers, experts a layer, experts a token.
        said: how a checkpoint without weights says that it is quantised: its method; else "".
    """

    model: Any
    config: Any
    dtype: Any
    dense_bytes: int
    expert_bytes: int
    sites: list[Any]
    experts: int
    parts: list[tuple[Any, int, int, int]]
    said: str = ""


def measure(directory: Path, dtype: str | None = None) -> Weights:
    """Of a checkpoint's configuration. Unsupported: it has experts that UFM cannot page."""
    import torch
    from transformers import AutoConfig

    from ..models.layout import in_format
    from ..models.loading import class_of
    from ..models.sites import find_sites

    try:
        config = AutoConfig.from_pretrained(directory, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise Stop(DATA, f"{directory}: {first_line(error)}") from None
    wanted = torch_dtype(dtype) or config.dtype or torch.float32
    kind = class_of(config)
    with torch.device("meta"):
        model = (getattr(kind, "_from_config", None) or kind.from_config)(config, dtype=wanted)
    sites = find_sites(model)
    of_experts = {name for site in sites for name in site.parameters.values()}
    tensors = [*model.named_parameters(), *model.named_buffers()]
    dense = sum(tensor.numel() * tensor.element_size() for name, tensor in tensors if name not in of_experts)
    parts, said = _parts(directory, model, sites, wanted)
    held = sum(desc.expert_bytes * layers * experts for desc, layers, experts, _ in parts)
    if not any(in_format(desc) for desc, *_ in parts):
        held = sum(tensor.numel() * tensor.element_size() for name, tensor in tensors if name in of_experts)
    return Weights(model, config, wanted, dense, held, sites, sum(site.geometry.experts for site in sites), parts, said)


def _parts(directory: Path, model: Any, sites: list[Any], dtype: Any) -> tuple[list[tuple[Any, int, int, int]], str]:
    """The routed layers, a geometry each, as they are when loaded; and the method of a quantisation whose weights are
    not there.
    """
    from ..models.layout import describe
    from ..models.paging import by_geometry, expert_dtype
    from ..models.quantised import method_of, quantisation

    said = quantisation(directory)
    if said is not None and sites and any(directory.glob("*.safetensors")):
        found = _quantised(directory, model, sites)
        if found:
            return found, ""
    plain = [
        (describe(geometry, expert_dtype(dtype)), len(members), geometry.experts, max(site.top_k for site in members))
        for geometry, members in by_geometry(sites)
    ]
    return plain, method_of(said) if said is not None and not any(directory.glob("*.safetensors")) else ""


def _quantised(directory: Path, model: Any, sites: list[Any]) -> list[tuple[Any, int, int, int]]:
    """Of experts that are quantised, as libufm reads them; nothing where they are plain."""
    from transformers.conversion_mapping import get_model_conversion_mapping

    from ..models import dense, quantised
    from ..models.checkpoint import headers

    paths = [str(path) for path in files(directory)]
    tensors, conversions, names = headers(paths), get_model_conversion_mapping(model), model.state_dict()
    dense.check(tensors, conversions, model, names, quantised.quantisation(directory))
    if not quantised.are_quantised(tensors):
        return []
    groups = quantised.groups_of(sites, paths, tensors, model, conversions, names)
    return [(g.bank.info.desc, g.bank.info.layers, g.bank.info.experts, max(s.top_k for s in g.sites)) for g in groups]


def files(directory: Path) -> list[Path]:
    """The files of a checkpoint's weights."""
    found = sorted(directory.glob("*.safetensors"))
    if not found:
        raise FileError(f"{directory}: no .safetensors file there")
    return found


def torch_dtype(name: str | None) -> Any:
    """torch's dtype of that name; None for None and "auto"."""
    import torch

    if name in (None, "auto"):
        return None
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[str(name)]
