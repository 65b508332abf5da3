# SPDX-License-Identifier: MIT
"""The ways to run one checkpoint that `bench` compares: by UFM, all resident, by accelerate's offload, and without
experts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig
from transformers.quantizers import register_quantization_config, register_quantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from ..models.loading import class_of, from_pretrained
from ..models.quantizer import WithoutExperts
from ..models.sites import find_sites
from ..models.starting import leave_out, replace
from ..sizes import parse_share
from .placing import device_map
from .weights import Weights, measure, torch_dtype


def load(job: dict[str, Any]) -> Any:
    """The model of a job (`bench.jobs`), ready to run."""
    model = {"ufm": _ufm, "resident": _resident, "accelerate": _accelerate, "stub": _stub}[job["mode"]](job)
    return model.eval()


def _ufm(job: dict[str, Any]) -> Any:
    return from_pretrained(
        job["directory"],
        experts=job["experts"],
        dtype=torch_dtype(job["dtype"]),
        cpu_assist=job["cpu_assist"],
        deterministic=job["deterministic"],
        device=job["device"],
    )


def _resident(job: dict[str, Any]) -> Any:
    return _on_device(job, experts_implementation=job["implementation"])


def _accelerate(job: dict[str, Any]) -> Any:
    """Modules in order on the GPU until their bytes are those of the dense half and the budget; the rest is brought
    from host memory when it is called."""
    limit = accelerate_bytes(job, measure(Path(job["directory"]), job["dtype"]))
    memory = {torch.cuda.current_device(): limit, "cpu": 1 << 60}
    return _stock(job, experts_implementation=job["implementation"], device_map="auto", max_memory=memory)


def accelerate_bytes(job: dict[str, Any], weights: Weights) -> int:
    """What accelerate is given for weights: those of the dense half, and for experts what UFM has for them."""
    share = parse_share(job["experts"], "--experts")
    budget = int(share * weights.expert_bytes) if isinstance(share, float) else share
    return weights.dense_bytes + budget


def _stub(job: dict[str, Any]) -> Any:
    return _on_device(job, quantization_config=StubConfig())


def _on_device(job: dict[str, Any], **given: Any) -> Any:
    """Loaded to the device at once where Transformers can, else through host memory."""
    placed = device_map(job["device"])
    model = _stock(job, **given, **placed)
    return model if placed else model.to(job["device"])


def _stock(job: dict[str, Any], **given: Any) -> Any:
    config = AutoConfig.from_pretrained(job["directory"], trust_remote_code=False)
    return class_of(config).from_pretrained(
        job["directory"], config=config, dtype=torch_dtype(job["dtype"]) or "auto", **given
    )


# ---------------------------------------------------------------- the model without its experts


class StubExperts(nn.Module):  # type: ignore[misc,unused-ignore]
    """In the place of a routed layer's experts: answers zeros, and reads no weights."""

    def forward(self, hidden_states: Tensor, *routing: Tensor, **named: Tensor) -> Tensor:
        return torch.zeros_like(hidden_states)


@register_quantization_config("ufm_stub")
class StubConfig(QuantizationConfigMixin):  # type: ignore[misc]
    """`quantization_config` for a model without its experts."""

    def __init__(self, **_: Any) -> None:
        self.quant_method = "ufm_stub"


@register_quantizer("ufm_stub")
class StubQuantizer(WithoutExperts):
    """Replaces experts while the model has no memory yet."""

    def _process_model_before_weight_loading(self, model: Any, **_: Any) -> Any:
        sites = find_sites(model)
        replace(model, sites, lambda *_: StubExperts())
        leave_out(model, sites)
        return model
