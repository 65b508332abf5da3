# SPDX-License-Identifier: MIT
"""How Transformers' `from_pretrained` comes to leave a model's experts to libufm.

UFM registers itself as a quantizer, which is Transformers' way of having modules replaced before weights are loaded.
Nothing is quantised. The steps, in the loader's order:

1. the model stands on the meta device: experts modules are replaced by ones without parameters;
2. the model's weight conversions are known: where every expert lies in the files is found out by them;
3. the stock loader has filled all other parameters: the experts are read into the host tier, engines are opened.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers.quantizers import register_quantization_config, register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from ..errors import InvalidArgument, Unsupported
from . import budget
from .checkpoint import headers, locate
from .options import Options
from .paging import banks_of_files, expert_dtype
from .sites import Site, find_sites
from .starting import leave_out, replace, start

log = logging.getLogger("ufm")

METHOD = "ufm"


@register_quantization_config(METHOD)
class Config(QuantizationConfigMixin):  # type: ignore[misc]
    """`quantization_config` for Transformers' `from_pretrained`: page the model's experts by UFM.

    Args: those of `ufm.from_pretrained`, of the same meaning.
    """

    def __init__(self, **given: Any) -> None:
        given.pop("quant_method", None)
        Options.of(**given)
        self.quant_method = METHOD
        self.__dict__.update(given)

    @property
    def options(self) -> Options:
        """The arguments, checked."""
        return Options.of(**{key: value for key, value in self.__dict__.items() if key != "quant_method"})


class WithoutExperts(HfQuantizer):  # type: ignore[misc]
    """Loads a model whose experts are no parameters of it, and says what such a model cannot do."""

    requires_calibration = False

    def is_serializable(self, safe_serialization: Any = None) -> bool:
        """The checkpoint that it came from has the experts."""
        return False

    @property
    def is_trainable(self) -> bool:
        return False


@register_quantizer(METHOD)
class Quantizer(WithoutExperts):
    """What Transformers calls while it loads a model with `Config`."""

    def __init__(self, quantization_config: Config, **kwargs: Any) -> None:
        super().__init__(quantization_config, **kwargs)
        self.options = quantization_config.options
        self.sites: list[Site] = []
        self.placed: dict[str, Any] = {}
        self.files: list[str] = []
        self.device = torch.device("cpu")
        self._meta_state: dict[str, Any] = {}
        self._model: Any = None

    # ---- before anything is loaded

    def update_device_map(self, device_map: Any) -> dict[str, Any]:
        """The model's dense half has one device, which is that of its experts' slots."""
        self.device = one_device(self.options.device if device_map is None else device_map)
        return {"": self.device}

    def _process_model_before_weight_loading(self, model: Any, checkpoint_files: Any = None, **kwargs: Any) -> Any:
        self.sites = find_sites(model)
        if not self.sites:
            log.warning("%s has no routed experts: nothing is paged", type(model).__name__)
            return model
        if not checkpoint_files:
            raise Unsupported(
                "experts are paged from a checkpoint's files: for a model in memory use ufm.attach(model)"
            )
        self.files = [str(path) for path in checkpoint_files]
        _refuse_quantised_files(self.files[0])
        self._meta_state, self._model = model.state_dict(), model
        expert_dtype(model.dtype)
        replace(model, self.sites)
        budget.check_before_loading(model, self.options, self.device)
        leave_out(model, self.sites)
        return model

    def update_weight_conversions(self, weight_conversions: list[Any]) -> list[Any]:
        """Conversions stay as they are; they say where the experts lie."""
        if self.sites:
            wanted = {site.parameters[part]: site.shapes[part] for site in self.sites for part in site.parameters}
            self.placed = locate(wanted, headers(self.files), weight_conversions, self._model, self._meta_state)
            self._meta_state = {}
        return weight_conversions

    # ---- after the dense half is loaded

    def _process_model_after_weight_loading(self, model: Any, **kwargs: Any) -> Any:
        self._model = None
        model.requires_grad_(False)
        if self.sites:
            groups = banks_of_files(self.sites, self.placed, self.files, model.dtype)
            self.placed = {}
            start(model, groups, self.options, self.device)
        return model


def refuse_quantised(where: str, config: Mapping[str, Any]) -> None:
    """Unsupported: a configuration, or a part of it, speaks of a quantisation, whether Transformers knows it or not."""
    for part in (config, *(part for part in config.values() if isinstance(part, Mapping))):
        method = part.get("quantization_config")
        if method:
            name = method.get("quant_method", "by an unnamed method") if isinstance(method, Mapping) else method
            raise Unsupported(f"{where}: quantised ({name}): UFM pages float32, bfloat16 and float16 experts so far")


def _refuse_quantised_files(file: str) -> None:
    """A method that Transformers does not know is none to it, and its weights would be taken for plain ones."""
    config = Path(file).with_name("config.json")
    try:
        found = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # whoever loads without one has given a config
    refuse_quantised(str(config), found)


def one_device(device_map: Any) -> torch.device:
    """The one device that a device_map means; a GPU where there is one and nobody says otherwise."""
    if isinstance(device_map, dict):
        devices = {str(device) for device in device_map.values()}
        if len(devices) != 1:
            raise InvalidArgument(f"device_map: {len(devices)} devices: expected one: UFM pages experts to one GPU")
        (device_map,) = device_map.values()
    if device_map in (None, "auto", "balanced", "balanced_low_0", "sequential"):
        device_map = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device("cuda", device_map) if isinstance(device_map, int) else torch.device(device_map)
    if device.type not in ("cpu", "cuda"):
        raise InvalidArgument(f"device_map: {device}: expected cpu or cuda")
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    return device
