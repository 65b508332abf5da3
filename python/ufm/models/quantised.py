# SPDX-License-Identifier: MIT
"""Routed experts that a checkpoint has quantised: banks by libufm's own reader, proven to be the model's.

libufm reads such experts as they lie, by its own rules about names (docs/formats.md). Transformers has rules of its own
for what the same names mean to a model. Both are asked here, and have to say the same: Transformers' weight conversions
run on places (`Placed`) of the tensors as they would be without quantisation, and every matrix of every expert of the
model must come from where libufm takes it. What an expert computes, found by trial, must be what the bank describes.
"""

from __future__ import annotations

import ctypes
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._enums import Dtype, Role
from ..core import Bank, Engine, ExpertDesc, Host
from ..errors import FileError, FormatError, Unsupported
from .checkpoint import Names, locate
from .layout import describe, parts_of, roles_of
from .paging import Group, by_geometry
from .placed import Placed, Source, Strided
from .sites import Geometry, Site

PLAIN = ("F64", "F32", "F16", "BF16")

_SINGLE = re.compile(r"(?P<block>.+)\.experts\.(?P<expert>\d+)\.(?P<matrix>\w+)\.(?P<what>\w+)")
_FUSED = re.compile(r"(?P<block>.+)\.experts\.(?P<matrix>gate_up_proj|down_proj)(?P<what>_\w+)?")
_ROLES = {"gate_proj": "gate", "w1": "gate", "up_proj": "up", "w3": "up", "down_proj": "down", "w2": "down"}
_PARAMETERS = ("act_alpha", "gate_limit", "activated_limit", "up_limit", "up_offset")


def is_routed(name: str) -> bool:
    """Whether a tensor of a checkpoint is a routed expert's; those that all tokens share are called otherwise."""
    return "experts" in name.split(".")


def are_quantised(tensors: Mapping[str, Placed]) -> bool:
    """Whether any routed expert has what are no plain elements."""
    return any(tensor.source.dtype not in PLAIN for name, tensor in tensors.items() if is_routed(name))


def quantisation(directory: Path) -> Mapping[str, Any] | None:
    """The quantization_config of the config.json in a folder, wherever it stands there; None: it has none."""
    try:
        found = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # whoever loads without one has given a config
    return quantisation_of(found)


def quantisation_of(config: Any) -> Mapping[str, Any] | None:
    """The same of what a config.json says."""
    if not isinstance(config, Mapping):
        return None
    for part in (config, *(part for part in config.values() if isinstance(part, Mapping))):
        said = part.get("quantization_config")
        if said:
            return said if isinstance(said, Mapping) else {"quant_method": str(said)}
    return None


def method_of(said: Mapping[str, Any] | None) -> str:
    """Its name, for messages and comparisons."""
    return str((said or {}).get("quant_method") or "by an unnamed method")


# ---- where the experts lie, by libufm's rules


@dataclass
class _Block:
    """A routed layer of the checkpoint.

    Args:
        name: what stands before `.experts` in its tensors' names.
        fused: one tensor for all experts; else one for each.
        alternating: gate in the even rows of a fused tensor, up in the odd ones; else gate's rows first.
        words: the names of its matrices, by role; "first" for gate and up in one.
        biases: there are biases beside fused matrices.
    """

    name: str
    fused: bool
    words: dict[str, str]
    alternating: bool = False
    biases: bool = False

    @property
    def tower(self) -> str:
        return self.name[: self._number().start()].rstrip(".")

    @property
    def number(self) -> int:
        return int(self._number()[0])

    def _number(self) -> re.Match[str]:
        numbers = list(re.finditer(r"(?<![^.])\d+(?![^.])", self.name))
        if not numbers:
            raise Unsupported(f"{self.name}.experts: quantised experts, expected the number of a layer before them")
        return numbers[-1]

    def some_key(self) -> str:
        """The name that its last matrices would have without quantisation."""
        return f"{self.name}.experts.{self.words['down']}" if self.fused else self._key(0, "down")

    def _key(self, expert: int, role: str) -> str:
        return f"{self.name}.experts.{expert}.{self.words[role]}.weight"

    def lying(self, geometry: Geometry, number: int) -> Iterator[tuple[str, Strided]]:
        """Every tensor as it would lie without quantisation; they are numbered from `number` on, by `Source.file`."""
        shapes = {"gate": (geometry.d_hidden, geometry.d_model), "up": (geometry.d_hidden, geometry.d_model)}
        shapes |= {"down": (geometry.d_model, geometry.d_hidden), "first": (2 * geometry.d_hidden, geometry.d_model)}
        if not self.fused:
            for expert in range(geometry.experts):
                for role in self.words:
                    yield self._key(expert, role), _whole(number, shapes[role])
                    number += 1
            return
        for role, word in self.words.items():
            yield f"{self.name}.experts.{word}", _whole(number, (geometry.experts, *shapes[role]))
            if self.biases:
                yield f"{self.name}.experts.{word}_bias", _whole(number + 1, (geometry.experts, shapes[role][0]))
            number += 2

    def part(self, lying: Mapping[str, Strided], geometry: Geometry, expert: int, role: str, bias: bool) -> Placed:
        """Where libufm takes a matrix or a bias of an expert from."""
        if not self.fused:
            return lying[self._key(expert, role)]
        first = role != "down"
        name = f"{self.name}.experts.{self.words['first' if first else 'down']}{'_bias' if bias else ''}"
        whole = lying[name].select(0, expert)
        if not first:
            return whole
        second = role == "up"
        if self.alternating:
            return whole.slice(0, int(second), 2 * geometry.d_hidden, 2)
        return whole.slice(0, second * geometry.d_hidden, (1 + second) * geometry.d_hidden)


def _whole(number: int, shape: tuple[int, ...]) -> Strided:
    return Strided.whole(Source(number, "F32", 4), 0, shape)


def _blocks(tensors: Mapping[str, Placed]) -> dict[str, _Block]:
    """The routed layers of a checkpoint by name. What libufm would not take either is left to it."""
    found: dict[str, _Block] = {}
    for key in tensors:
        single, fused = _SINGLE.fullmatch(key), _FUSED.fullmatch(key)
        match = single or fused
        if match is None:
            continue
        block = found.setdefault(match["block"], _Block(match["block"], single is None, {}))
        if single is not None and single["matrix"] in _ROLES:
            block.words[_ROLES[single["matrix"]]] = single["matrix"]
        elif fused is not None:
            block.words["down" if fused["matrix"] == "down_proj" else "first"] = fused["matrix"]
            block.alternating |= fused["what"] == "_blocks"
            block.biases |= fused["what"] == "_bias"
    return {name: block for name, block in found.items() if "down" in block.words}


# ---- whose they are, by Transformers' rules


class _Model:
    """What Transformers makes of the names in a checkpoint, for one model."""

    def __init__(self, model: Any, conversions: Sequence[Any], meta_state: Mapping[str, Any]) -> None:
        self.model, self.conversions, self.meta_state = model, conversions, meta_state
        self.names = Names(conversions, model.base_model_prefix, meta_state)

    def site_blocks(self, sites: Sequence[Site], blocks: Mapping[str, _Block]) -> dict[str, _Block]:
        """The layer of the checkpoint that the sites have their experts from, by the name of their last matrices."""
        wanted = {site.parameters["down"] for site in sites}
        found: dict[str, _Block] = {}
        for block in blocks.values():
            name = self.names.target(block.some_key())
            if name not in wanted:
                continue  # of a tower that the model has not
            if name in found:
                raise Unsupported(f"{name}: both {found[name].name}.experts and {block.name}.experts lead to it")
            found[name] = block
        for site in sites:
            if site.parameters["down"] not in found:
                raise Unsupported(f"{site.name}: no quantised experts in the checkpoint lead to it")
        return found

    def check_places(self, site: Site, block: _Block) -> None:
        """Unsupported: a matrix of an expert comes from elsewhere than libufm takes it from."""
        lying = dict(block.lying(site.geometry, 0))
        # Transformers has MXFP4 dequantised as [experts, inputs, outputs].
        turned = {k: v.transpose(1, 2) if block.alternating and v.ndim == 3 else v for k, v in lying.items()}
        wanted = {site.parameters[part]: site.shapes[part] for part in site.parameters}
        placed = locate(wanted, turned, self.conversions, self.model, self.meta_state)
        parameters = {part: placed[name] for part, name in site.parameters.items()}
        for expert in range(site.geometry.experts):
            parts = zip(roles_of(site.geometry), parts_of(site.geometry, expert, parameters), strict=True)
            for (role, bias), part in parts:
                if part != block.part(lying, site.geometry, expert, role, bias):
                    raise Unsupported(
                        f"{site.name}: the model's {role} matrix of expert {expert} is not what libufm reads as such "
                        f"from {block.name}.experts"
                    )


# ---- what libufm says of them


def _source(files: Sequence[str]) -> str:
    """What libufm opens: the one file, or the folder whose index has all of them."""
    if len(files) == 1:
        return files[0]
    folder = Path(files[0]).parent
    index = folder / "model.safetensors.index.json"
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except OSError as error:
        raise FileError(f"{index}: {error.strerror}: expected the index of {len(files)} files") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"{index}: no index of shards: {error}") from None
    if names != {Path(file).name for file in files}:
        raise Unsupported(f"{index}: names other files than those that Transformers loads: quantised experts need it")
    return str(folder)


def _differences(geometry: Geometry, desc: ExpertDesc) -> Iterator[str]:
    """In what a bank's experts are not those of the model."""
    ours = describe(geometry, Dtype.F32)
    for name in ("d_model", "d_hidden", "activation"):
        found, expected = getattr(desc, name), getattr(ours, name)
        if found != expected:
            yield f"{name} {getattr(found, 'name', found)}, expected {getattr(expected, 'name', expected)}"
    for name in _PARAMETERS:
        found, expected = (ctypes.c_float(getattr(each, name)).value for each in (desc, ours))
        if found != expected:
            yield f"{name} {found:g}, expected {expected:g}"
    matrices = [{part.role for part in each.parts if part.role <= Role.DOWN_BIAS} for each in (desc, ours)]
    if matrices[0] != matrices[1]:
        found, expected = (", ".join(role.name.lower() for role in sorted(roles)) for roles in matrices)
        yield f"{found}, expected {expected}"


def _check_bank(bank: Bank, tower: str, geometry: Geometry, sites: Mapping[int, Site]) -> None:
    """Unsupported: the bank's layers, or what is in them, are not those of the model."""
    numbers = {bank.layer_number(layer) for layer in range(bank.info.layers)}
    first = next(iter(sites.values()))
    for number in sorted(numbers ^ set(sites)):
        if number in sites:
            raise Unsupported(f"{sites[number].name}: libufm finds no routed layer {number} in {tower}")
        raise Unsupported(f"{tower}.{number}: routed experts in the checkpoint, and no routed layer of the model")
    if bank.info.experts != geometry.experts:
        raise Unsupported(f"{first.name}: the checkpoint has {bank.info.experts} experts, the model {geometry.experts}")
    for difference in _differences(geometry, bank.info.desc):
        raise Unsupported(f"{first.name}: the checkpoint's experts have {difference} as the model's code computes")


def groups_of(
    sites: Sequence[Site],
    files: Sequence[str],
    tensors: Mapping[str, Placed],
    model: Any,
    conversions: Sequence[Any],
    meta_state: Mapping[str, Any],
) -> list[Group]:
    """A bank for each geometry and tower, of quantised experts as they lie.

    Args:
        sites: the model's routed layers.
        files: of the checkpoint, by path; config.json stands beside them.
        tensors: what they have (`headers`).
        model: on the meta device; its config and base_model_prefix are read.
        conversions: the model's weight conversions, in the loader's order, none of a quantizer's among them.
        meta_state: the names of all its parameters, those of the experts among them.

    Raises:
        Unsupported: the experts are not the model's, or compute something else.
        UfmError: libufm does not read them; its own line says why.
    """
    known = _Model(model, conversions, meta_state)
    blocks = known.site_blocks(sites, _blocks(tensors))
    groups = []
    for geometry, members in by_geometry(sites):
        towers: dict[str, dict[int, Site]] = {}
        for site in members:
            block = blocks[site.parameters["down"]]
            towers.setdefault(block.tower, {})[block.number] = site
        for tower, numbered in towers.items():
            bank = Bank.checkpoint(_source(files), prefix=tower)
            _check_bank(bank, tower, geometry, numbered)
            for site in numbered.values():
                known.check_places(site, blocks[site.parameters["down"]])
            ordered = [numbered[bank.layer_number(layer)] for layer in range(bank.info.layers)]
            groups.append(Group(geometry, ordered, bank))
    return groups


def check_backend(groups: Sequence[Group], backend: str, device_index: int = 0) -> None:
    """Unsupported, in libufm's words: the backend does not read these formats. Found out before anything is loaded, by
    an engine for one expert of the same description.
    """
    for group in groups:
        with (
            Bank.synthetic(group.bank.info.desc, 1, 1) as bank,
            Host(bank, backend=backend) as host,
            Engine(
                host, device_index=device_index, smallest=True, max_tokens=1, top_k_max=1, cpu_assist="off", math="fp32"
            ),
        ):
            pass
