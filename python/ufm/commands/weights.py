# SPDX-License-Identifier: MIT
"""How large a checkpoint's parts are, found without reading any of its weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import FileError
from ..models.gguf_file import files_of, is_gguf
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
        stored: of quantised checkpoints whose weights are there what an expert is and the layers of its kind, for each
            kind; else empty.
        said: how a checkpoint without weights says that it is quantised: its method; else "".
    """

    model: Any
    config: Any
    dtype: Any
    dense_bytes: int
    expert_bytes: int
    sites: list[Any]
    experts: int
    stored: list[tuple[Any, list[Any]]] = field(default_factory=list)
    said: str = ""


def measure(directory: Path, dtype: str | None = None) -> Weights:
    """Of a checkpoint's configuration. Unsupported: it has experts that UFM cannot page."""
    import torch
    from transformers import AutoConfig

    from ..models.loading import class_of
    from ..models.quantised import method_of, quantisation
    from ..models.sites import find_sites

    if is_gguf(directory):
        return _measure_gguf(directory, torch_dtype(dtype))
    try:
        config = AutoConfig.from_pretrained(directory, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise Stop(DATA, f"{directory}: {first_line(error)}") from None
    wanted = torch_dtype(dtype) or config.dtype or torch.float32
    kind = class_of(config)
    with torch.device("meta"):
        model = (getattr(kind, "_from_config", None) or kind.from_config)(config, dtype=wanted)
    sites = find_sites(model)
    dense, experts = _bytes(model, sites)
    said, there = quantisation(directory), any(directory.glob("*.safetensors"))
    stored = _quantised(directory, model, sites) if said is not None and sites and there else []
    count = sum(site.geometry.experts for site in sites)
    if stored:
        experts = sum(desc.expert_bytes * site.geometry.experts for desc, members in stored for site in members)
    unread = method_of(said) if said is not None and not there else ""
    return Weights(model, config, wanted, dense, experts, sites, count, stored, unread)


def _bytes(model: Any, sites: list[Any]) -> tuple[int, int]:
    """Of all that is no routed expert, and of all routed experts."""
    of_experts = {name for site in sites for name in site.parameters.values()}
    dense, experts = 0, 0
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        size = tensor.numel() * tensor.element_size()
        if name in of_experts:
            experts += size
        else:
            dense += size
    return dense, experts


def _quantised(directory: Path, model: Any, sites: list[Any]) -> list[tuple[Any, list[Any]]]:
    """Of experts that are quantised, what libufm reads; nothing where they are plain."""
    from transformers.conversion_mapping import get_model_conversion_mapping

    from ..models import dense, quantised
    from ..models.checkpoint import headers

    paths = [str(path) for path in files(directory)]
    tensors, conversions, names = headers(paths), get_model_conversion_mapping(model), model.state_dict()
    dense.check(tensors, conversions, model, names, quantised.quantisation(directory))
    if not quantised.are_quantised(tensors):
        return []
    groups = quantised.groups_of(sites, paths, tensors, model, conversions, names)
    return [(group.bank.info.desc, group.sites) for group in groups]


def _measure_gguf(path: Path, dtype: Any) -> Weights:
    """Of GGUF files: their experts as they are stored, all else in the model's dtype."""
    from ..models.gguf_banks import close, match
    from ..models.gguf_loading import prepare

    prepared = prepare(path, dtype)
    try:
        stored = [(group.bank.info.desc, group.sites) for group in match(path, prepared.sites, prepared.banks)]
    finally:
        close(prepared.banks)
    dense, _ = _bytes(prepared.model, list(prepared.sites))
    counts = [(desc, sum(site.geometry.experts for site in sites)) for desc, sites in stored]
    return Weights(
        prepared.model,
        prepared.model.config,
        prepared.model.dtype,
        dense,
        sum(desc.expert_bytes * count for desc, count in counts),
        list(prepared.sites),
        sum(count for _, count in counts),
        stored,
    )


def files(directory: Path) -> list[Path]:
    """The files of a checkpoint's weights."""
    if is_gguf(directory):
        return [Path(name) for name in files_of(directory)]
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
