# SPDX-License-Identifier: MIT
"""How Transformers' `from_pretrained` comes to leave a model's experts to libufm.

UFM registers itself as a quantizer, which is Transformers' way of having modules replaced before weights are loaded.
Nothing is quantised here. The steps, in the loader's order:

1. the model stands on the meta device: experts modules are replaced by ones without parameters;
2. the model's weight conversions are known: where every expert lies in the files is found out by them, or, where the
   checkpoint has quantised them, by libufm's own reader (`quantised`); what else is quantised is looked at (`dense`);
3. the stock loader has filled all other parameters: the experts are read into the host tier, engines are opened.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers.quantizers import AutoHfQuantizer, register_quantization_config, register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from ..errors import InvalidArgument, Unsupported
from . import budget, dense, quantised
from .checkpoint import headers, locate
from .options import Options
from .paging import Group, banks_of_files, expert_dtype
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


_merge = AutoHfQuantizer.merge_quantization_configs


def _merged(of_checkpoint: Any, given: Any) -> Any:
    """Of a checkpoint's own config and one that a caller gives: ours has the say, and looks at the other by itself."""
    return given if isinstance(given, Config) else _merge(of_checkpoint, given)


# Transformers refuses a config of another kind than the checkpoint's; whoever gives ours means both.
AutoHfQuantizer.merge_quantization_configs = staticmethod(_merged)


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
        self.groups: list[Group] = []
        self.files: list[str] = []
        self.said: Mapping[str, Any] | None = None
        self.dense: dense.DenseInFp8 | dense.DenseCompressed | None = None
        self.device = torch.device("cpu")
        self._tensors: dict[str, Any] = {}
        self._meta_state: dict[str, Any] = {}
        self._dtypes: dict[str, torch.dtype] = {}
        self._model: Any = None

    # ---- before anything is loaded

    def update_device_map(self, device_map: Any) -> dict[str, Any]:
        """The model's dense half has one device, which is that of its experts' slots."""
        self.device = one_device(self.options.device if device_map is None else device_map)
        return {"": self.device}

    def _process_model_before_weight_loading(self, model: Any, checkpoint_files: Any = None, **kwargs: Any) -> Any:
        self.sites = find_sites(model)
        self.said = quantised.quantisation(Path(checkpoint_files[0]).parent) if checkpoint_files else None
        if not self.sites:
            _refuse_nothing_paged(self.said, type(model).__name__)
            log.warning("%s has no routed experts: nothing is paged", type(model).__name__)
            return model
        if not checkpoint_files:
            raise Unsupported(
                "experts are paged from a checkpoint's files: for a model in memory use ufm.attach(model)"
            )
        self.files = [str(path) for path in checkpoint_files]
        self._tensors = headers(self.files)
        _refuse_plain(self._tensors, self.said, self.files[0])
        self._meta_state, self._model = model.state_dict(), model
        expert_dtype(model.dtype)
        replace(model, self.sites)
        self._dtypes = {name: parameter.dtype for name, parameter in model.named_parameters()}
        budget.check_before_loading(model, self.options, self.device)
        leave_out(model, self.sites)
        return model

    def update_weight_conversions(self, weight_conversions: list[Any]) -> list[Any]:
        """Conversions say where the experts lie. They stay as they are, but for what else is quantised."""
        if not self.sites:
            return weight_conversions
        self._find_groups(weight_conversions)
        kind = dense.check(self._tensors, weight_conversions, self._model, self._meta_state, self.said)
        tensors, self._tensors, self._meta_state = self._tensors, {}, {}
        if not kind or self.said is None:
            return weight_conversions
        # From here on the loader keeps what it renames, scales above all, in the type that the file has it in.
        self.pre_quantized = True
        self.dense = dense.quantizer_of(kind, self.said, tensors, self.device)
        self.dense.prepare(self._model, [site.name for site in self.sites], weight_conversions)
        return self.dense.update_weight_conversions(weight_conversions)

    def _find_groups(self, conversions: list[Any]) -> None:
        """Banks of all experts, of which nothing but headers has been read."""
        tensors, model = self._tensors, self._model
        if quantised.are_quantised(tensors):
            self.groups = quantised.groups_of(self.sites, self.files, tensors, model, conversions, self._meta_state)
            if self.device.type != "cpu":
                quantised.check_backend(self.groups, self.device.type, self.device.index or 0)
            model._keys_to_ignore_on_load_unexpected |= {r"(^|\.)experts\."}
            return
        wanted = {site.parameters[part]: site.shapes[part] for site in self.sites for part in site.parameters}
        placed = locate(wanted, tensors, conversions, model, self._meta_state)
        self.groups = banks_of_files(self.sites, placed, self.files, model.dtype)

    # ---- after the dense half is loaded

    def _process_model_after_weight_loading(self, model: Any, **kwargs: Any) -> Any:
        self._model = None
        if self.dense is not None:
            self._finish_dense(model)
        model.requires_grad_(False)
        if self.sites:
            groups, self.groups = self.groups, []
            start(model, groups, self.options, self.device)
        return model

    def _finish_dense(self, model: Any) -> None:
        """The loader leaves plain tensors that it renames in the type of the file; halves become the model's."""
        assert self.dense is not None
        self.dense.finish(model)
        for name, parameter in model.named_parameters():
            wanted = self._dtypes.get(name, parameter.dtype)
            if parameter.dtype in (torch.float16, torch.bfloat16) and wanted != parameter.dtype:
                parameter.data = parameter.data.to(wanted)
        self.dense, self._dtypes = None, {}


def _refuse_nothing_paged(said: Mapping[str, Any] | None, kind: str) -> None:
    if said is not None:
        method = quantised.method_of(said)
        raise Unsupported(f"{kind}: quantised ({method}), and no routed experts to page: load it by Transformers alone")


def _refuse_plain(tensors: Mapping[str, Any], said: Mapping[str, Any] | None, file: str) -> None:
    """Unsupported: config.json and tensors disagree about whether anything is quantised at all."""
    if said is not None and all(tensor.source.dtype in quantised.PLAIN for tensor in tensors.values()):
        config = Path(file).with_name("config.json")
        raise Unsupported(f"{config}: quantised ({quantised.method_of(said)}), and all tensors beside it are plain")


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
