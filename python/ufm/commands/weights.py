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
    """

    model: Any
    config: Any
    dtype: Any
    dense_bytes: int
    expert_bytes: int
    sites: list[Any]
    experts: int


def measure(directory: Path, dtype: str | None = None) -> Weights:
    """Of a checkpoint's configuration. Unsupported: it has experts that UFM cannot page."""
    import torch
    from transformers import AutoConfig

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
    dense, experts = 0, 0
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        size = tensor.numel() * tensor.element_size()
        if name in of_experts:
            experts += size
        else:
            dense += size
    return Weights(model, config, wanted, dense, experts, sites, sum(site.geometry.experts for site in sites))


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
