# SPDX-License-Identifier: MIT
"""from_pretrained of GGUF files: the dense half by Transformers' own GGUF loader, the experts paged as they lie there.

The loader gives the dense tensors, which go to Transformers' `from_pretrained` as a state dict. Its `gguf_file=` is no
way in: it takes no quantizer but its own, and it is a quantizer of ours that replaces the experts' modules.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM
from transformers.quantizers import register_quantization_config, register_quantizer

from ..core import Bank
from ..errors import InvalidArgument, Unsupported
from . import budget
from .gguf_banks import close, match, open_kinds, refuse_on_gpu
from .gguf_config import read_config
from .gguf_file import Dense
from .gguf_transformers import tensors_of, version
from .options import Options
from .paging import expert_dtype
from .quantizer import Config, Quantizer, one_device
from .sites import Site, find_sites
from .starting import leave_out, replace, start

METHOD = "ufm_gguf"


@register_quantization_config(METHOD)
class GgufConfig(Config):
    """What `load` hands to Transformers.

    Args:
        path: of the GGUF file or folder.
        given: the arguments of `ufm.Config`.
    """

    def __init__(self, path: str, **given: Any) -> None:
        super().__init__(**given)
        self.quant_method, self.path = METHOD, path

    @property
    def options(self) -> Options:
        kept = ("quant_method", "path")
        return Options.of(**{key: value for key, value in self.__dict__.items() if key not in kept})


@register_quantizer(METHOD)
class GgufQuantizer(Quantizer):
    """As `Quantizer`, its experts where libufm finds them in GGUF files."""

    def _process_model_before_weight_loading(self, model: Any, checkpoint_files: Any = None, **kwargs: Any) -> Any:
        self.sites = find_sites(model)
        replace(model, self.sites)
        budget.check_before_loading(model, self.options, self.device)
        leave_out(model, self.sites)
        return model

    def update_weight_conversions(self, weight_conversions: list[Any]) -> list[Any]:
        """What the loader has made has the model's names already."""
        return []

    def _process_model_after_weight_loading(self, model: Any, **kwargs: Any) -> Any:
        model.requires_grad_(False)
        path = self.quantization_config.path
        banks = open_kinds(path)
        try:
            start(model, match(path, self.sites, banks), self.options, self.device)
        except BaseException:
            close(banks)
            raise
        return model


@dataclass(frozen=True)
class Prepared:
    """A model in GGUF files of which headers alone are read.

    Args:
        path: of the file or folder.
        dense: the files without their experts.
        banks: the experts, one for each kind of layers; open.
        model: on the meta device, its experts still in it.
        sites: its routed layers.
    """

    path: str
    dense: Dense
    banks: Sequence[Bank]
    model: Any
    sites: Sequence[Site]


def prepare(path: str | os.PathLike[str], dtype: Any = None, config: Any = None, model_class: Any = None) -> Prepared:
    """Finds out whether a model in GGUF files can be loaded. The banks are the caller's to close.

    Args:
        path: of the file, any of the files, or their folder.
        dtype: of the model; None or "auto": PyTorch's default, as of Transformers' own GGUF models.
        config: in place of what the files say.
        model_class: in place of the causal language model.

    Raises:
        ImportError: the gguf package is not there.
        UfmError: as `ufm.from_pretrained` says.
    """
    banks = open_kinds(path)
    try:
        dense = Dense(path)
        config = config or read_config(dense, banks)
        wanted = dtype_of(dtype)
        expert_dtype(wanted)
        kind = model_class or AutoModelForCausalLM
        with torch.device("meta"):
            model = (getattr(kind, "_from_config", None) or kind.from_config)(config, dtype=wanted)
        sites = find_sites(model)
        match(path, sites, banks)
    except BaseException:
        close(banks)
        raise
    return Prepared(os.fspath(path), dense, banks, model, sites)


def dtype_of(named: Any) -> torch.dtype:
    if named in (None, "auto"):
        return torch.get_default_dtype()
    found = getattr(torch, named, None) if isinstance(named, str) else named
    if not isinstance(found, torch.dtype):
        raise InvalidArgument(f"dtype: {named!r}: expected one of PyTorch's, or its name")
    return found


def load_gguf(
    path: str | os.PathLike[str], options: Options, dtype: Any = None, model_class: Any = None, **kw: Any
) -> Any:
    """A model from GGUF files, as `ufm.from_pretrained` gives it.

    Args:
        path: of the file, any of the files, or their folder.
        options: what the user asked for.
        dtype, model_class: as in `prepare`.
        **kw: `config`, in place of what the files say; what is left goes to Transformers' `from_pretrained`.
    """
    prepared = prepare(path, dtype, kw.pop("config", None), model_class)
    close(prepared.banks)
    device = one_device(kw.get("device_map", options.device))
    refuse_on_gpu(path, [bank.info.desc for bank in prepared.banks], device)
    model = type(prepared.model).from_pretrained(
        None,
        config=prepared.model.config,
        state_dict=dense_state(prepared),
        dtype=prepared.model.dtype,
        quantization_config=GgufConfig(prepared.path, **asdict(options)),
        **kw,
    )
    model.name_or_path = model.config.name_or_path = prepared.path
    return model


def dense_state(prepared: Prepared) -> dict[str, torch.Tensor]:
    """All parameters but the experts', by Transformers' GGUF loader, expanded to the model's dtype.

    Raises:
        Unsupported: a parameter is not in the files or of another shape there, or a tensor of theirs is none of the
            model's; each is named.
    """
    dense, made = prepared.dense, tensors_of(prepared.dense, prepared.model)
    for name, shape in _dense_parameters(prepared).items():
        if name not in made:
            raise Unsupported(f"{dense.path}: no tensor that Transformers {version()} makes {name} of")
        if made[name].shape != shape:
            raise Unsupported(f"{dense.path}: {name} is {list(made[name].shape)}, expected {list(shape)}")
    return made


def _dense_parameters(prepared: Prepared) -> dict[str, torch.Size]:
    """Shapes of what has to be loaded."""
    experts = {name for site in prepared.sites for name in site.parameters.values()}
    tied = set(getattr(prepared.model, "all_tied_weights_keys", None) or {})
    state = prepared.model.state_dict()
    return {name: tensor.shape for name, tensor in state.items() if name not in experts | tied}
