# SPDX-License-Identifier: MIT
"""Descriptions and banks: what they give, refuse and keep alive."""

import gc
import json
import weakref

import numpy as np
import pytest

import reference
from conftest import BACKEND
from ufm import errors
from ufm.core import Activation, Bank, Dtype, ExpertDesc, ExpertKind, Extent, Format, Host, Part, Role

GATED = ExpertDesc.standard(ExpertKind.GATED, 24, 10, Dtype.F32)


def synthetic(desc=GATED, layers=2, experts=3, seed=1):
    return Bank.synthetic(desc, layers, experts, seed)


# ---------------------------------------------------------------- descriptions


@pytest.mark.parametrize("dtype", [Dtype.F32, Dtype.BF16])
@pytest.mark.parametrize("kind", list(ExpertKind))
def test_a_description_lies_as_libufm_lays_it(kind, dtype):
    standard = ExpertDesc.standard(kind, 33, 7, dtype)
    made = ExpertDesc(standard.d_model, standard.d_hidden, standard.activation, standard.parts)
    assert made == standard
    assert (made.offsets, made.expert_bytes, made.block_bytes) == (
        standard.offsets,
        standard.expert_bytes,
        standard.block_bytes,
    )
    assert bytes(made.struct()) == bytes(standard.struct())
    assert Bank.synthetic(made, 1, 1).info.desc == standard
    assert all(offset % 64 == 0 for offset in made.offsets) and made.block_bytes % 4096 == 0


def test_a_description_says_where_a_part_is():
    assert [GATED.index(role) for role in (Role.GATE, Role.UP, Role.DOWN, Role.UP_BIAS)] == [0, 1, 2, None]
    assert GATED.parts[2] == Part(Role.DOWN, Dtype.F32, 24, 10) and GATED.parts[2].bytes == 960


def test_parameters_reach_libufm():
    parameters = {"act_alpha": 1.5, "gate_limit": 7.0, "activated_limit": 6.0, "up_limit": 5.0, "up_offset": 1.0}
    desc = ExpertDesc(24, 10, Activation.SILU, GATED.parts, **parameters)
    found = synthetic(desc).info.desc
    assert {name: getattr(found, name) for name in parameters} == parameters


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"activation": 9}, "activation is 9"),
        ({"parts": GATED.parts * 6}, "parts: there are 18, expected at most 16"),
        ({"d_model": -1}, "d_model is -1"),
        ({"d_model": 25}, "shape is"),
        ({"parts": ()}, "part_count is 0"),
        ({"parts": GATED.parts[:2]}, "an up and a down"),
        ({"parts": (Part(16, Dtype.F32, 1, 1),)}, "role is 16"),
        ({"parts": (Part(Role.UP, Dtype.F32, 10, 24, format=10),)}, "format is 10"),
        ({"up_limit": float("nan")}, "up_limit"),
        ({"act_alpha": "x"}, "could not convert"),
    ],
)
def test_what_is_no_expert_is_refused(change, told):
    fields = {"d_model": 24, "d_hidden": 10, "activation": Activation.SILU, "parts": GATED.parts, **change}
    with pytest.raises(ValueError, match=told):
        synthetic(ExpertDesc(**fields))


@pytest.mark.parametrize(("d_model", "told"), [(0, "d_model is 0"), (1 << 21, "d_model is"), (1.5, "d_model is 1.5")])
def test_a_wrong_dimension_is_named(d_model, told):
    with pytest.raises(errors.InvalidArgument, match=told):
        ExpertDesc.standard(ExpertKind.MLP, d_model, 4, Dtype.F32)


# ---------------------------------------------------------------- banks


def test_a_synthetic_bank():
    bank = synthetic()
    assert bank.info == (2, 3, GATED, 6 * GATED.expert_bytes, 1)
    assert bank.read(1, 2) == synthetic().read(1, 2) != synthetic(seed=2).read(1, 2)
    assert [bank.layer_number(i) for i in range(2)] == [0, 1]


@pytest.mark.parametrize("at", [(2, 0), (0, 3), (-1, 0), (0, 1 << 40), ("a", 0)])
def test_an_expert_that_is_not_there(at):
    with pytest.raises(errors.InvalidArgument):
        synthetic().read(*at)
    with pytest.raises(errors.InvalidArgument, match="expected 0 … 1"):
        synthetic().layer_number(2)


def test_a_saved_bank_is_the_bank(tmp_path):
    synthetic().save(tmp_path / "bank.ufm")
    opened = Bank.open(tmp_path / "bank.ufm")
    assert opened.info == synthetic().info and opened.read(1, 1) == synthetic().read(1, 1)
    with pytest.raises(errors.FileError, match="absent") as caught:
        Bank.open(tmp_path / "absent.ufm")
    assert isinstance(caught.value, OSError) and caught.value.status == -7
    (tmp_path / "torn.ufm").write_bytes((tmp_path / "bank.ufm").read_bytes()[:100])
    with pytest.raises(errors.FormatError, match="torn"):
        Bank.open(tmp_path / "torn.ufm")


@pytest.mark.parametrize("path", ["a\0b", 7, None])
def test_what_is_no_path(path):
    with pytest.raises(errors.InvalidArgument):
        Bank.open(path)


def test_a_bank_in_memory(rng):
    blocks = rng.standard_normal((6, GATED.expert_bytes // 4)).astype(np.float32)
    alive = weakref.ref(blocks)
    bank = Bank.memory(GATED, [block.ctypes.data for block in blocks], 2, 3, keep=blocks)
    wanted = blocks[5].tobytes()
    del blocks
    gc.collect()
    assert bank.read(1, 2) == wanted
    host = Host(bank, BACKEND)
    bank.close()
    del bank
    gc.collect()
    assert alive() is not None  # the host tier's bank still points there
    host.close()
    del host
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize(
    ("blocks", "told"), [([1], "there are 1, expected 6"), ([0] * 6, "block"), ([-1] * 6, "blocks is -1")]
)
def test_blocks_that_are_wrong(blocks, told):
    with pytest.raises(errors.InvalidArgument, match=told):
        Bank.memory(GATED, blocks, 2, 3)


# ---------------------------------------------------------------- banks of files


def lay_out(folder, rng, file_dtype=np.float32):
    """A fused gate and up [3, 20, 24] with rows in turns, and a transposed down [3, 10, 24], in two files."""
    gate_up = rng.standard_normal((3, 20, 24)).astype(file_dtype)
    down = rng.standard_normal((3, 10, 24)).astype(file_dtype)
    (folder / "one.bin").write_bytes(b"head" + gate_up.tobytes())
    (folder / "two.bin").write_bytes(down.tobytes())
    size, dtype = gate_up.itemsize, Dtype.F32 if file_dtype == np.float32 else Dtype.F16
    extents = []
    for e in range(3):
        first = 4 + e * 20 * 24 * size
        extents.append(Extent(0, dtype, first, 48, 1))
        extents.append(Extent(0, dtype, first + 24 * size, 48, 1))
        extents.append(Extent(1, dtype, e * 240 * size, 1, 24))
    return gate_up, down, [folder / "one.bin", folder / "two.bin"], extents


@pytest.mark.parametrize("file_dtype", [np.float32, np.float16])
def test_a_bank_of_files(tmp_path, rng, file_dtype):
    gate_up, down, paths, extents = lay_out(tmp_path, rng, file_dtype)
    bank = Bank.files(GATED, paths, extents, 1, 3, layer_numbers=[17])
    assert bank.layer_number(0) == 17
    for e in range(3):
        found = reference.parts(GATED, bank.read(0, e))
        assert np.array_equal(found[Role.GATE], gate_up[e, 0::2].astype(np.float64))
        assert np.array_equal(found[Role.UP], gate_up[e, 1::2].astype(np.float64))
        assert np.array_equal(found[Role.DOWN], down[e].T.astype(np.float64))


def quantised():
    """Up and down in E2M1 with a scale in E8M0 for 32 columns, and biases."""
    parts = []
    for role, rows, cols in ((Role.UP, 40, 64), (Role.DOWN, 64, 40)):
        parts.append(Part(role, None, rows, cols, Format.E2M1, (1, 32)))
        parts.append(Part(Role.UP_SCALE if role == Role.UP else Role.DOWN_SCALE, None, rows, 2, Format.E8M0))
    parts.append(Part(Role.UP_BIAS, Dtype.F32, 40))
    return ExpertDesc(64, 40, Activation.SILU, tuple(parts))


def lay_out_quantised(folder, rng):
    """Two experts: rows of up in turns with others, all else one after the other; the bias in bf16."""
    desc = quantised()
    data = rng.integers(0, 256, (2, 40, 2, 32), dtype=np.uint8)
    rest = rng.integers(100, 120, (2, 80 + 64 * 20 + 128), dtype=np.uint8)
    bias = (rng.standard_normal((2, 40)).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    (folder / "data.bin").write_bytes(data.tobytes() + rest.tobytes() + bias.tobytes())
    extents = []
    for e in range(2):
        at = data.nbytes + e * rest.shape[1]
        extents.append(Extent(0, None, e * data[0].nbytes + 32, 64))
        extents.append(Extent(0, None, at))
        extents.append(Extent(0, None, at + 80, 20, 1))
        extents.append(Extent(0, None, at + 80 + 64 * 20))
        extents.append(Extent(0, Dtype.BF16, data.nbytes + rest.nbytes + e * 80))
    return desc, data, rest, bias, extents


def test_a_bank_of_files_in_formats(tmp_path, rng):
    desc, data, rest, bias, extents = lay_out_quantised(tmp_path, rng)
    bank = Bank.files(desc, [tmp_path / "data.bin"], extents, 1, 2)
    saved = tmp_path / "saved.ufm"
    bank.save(saved)
    assert Bank.open(saved).info.desc == desc
    for opened in (bank, Bank.open(saved)):
        for e in range(2):
            block = opened.read(0, e)
            found = [bytes(block[at : at + p.bytes]) for p, at in zip(desc.parts, desc.offsets, strict=True)]
            assert found[0] == data[e, :, 1].tobytes()
            assert b"".join(found[1:4]) == rest[e].tobytes()
            assert found[4] == (bias[e].astype(np.uint32) << 16).tobytes()


def test_extents_of_formats_that_are_wrong(tmp_path, rng):
    desc, *_, extents = lay_out_quantised(tmp_path, rng)
    for index, told, change in (
        (0, "expert 0 up: dtype is 1, expected 0: the part is E2M1", {"dtype": Dtype.F32}),
        (5, "expert 1 up: col_stride is 2, expected 0 or 1", {"col_stride": 2}),
        (4, "expert 0 up bias: dtype is 0, expected UFM_F32", {"dtype": None}),
        (6, r"extents\[6\] is .*-1", {"offset_bytes": -1}),
    ):
        bad = [*extents[:index], extents[index]._replace(**change), *extents[index + 1 :]]
        with pytest.raises(errors.InvalidArgument, match=told):
            Bank.files(desc, [tmp_path / "data.bin"], bad, 1, 2)
    with pytest.raises(errors.InvalidArgument, match=r"extents\[0\]"):
        Bank.files(desc, [tmp_path / "data.bin"], [(0,), *extents[1:]], 1, 2)


def test_files_that_are_wrong(tmp_path, rng):
    _, _, paths, extents = lay_out(tmp_path, rng)
    cases = (
        (errors.InvalidArgument, "there are 8, expected 9", {"extents": extents[:8]}),
        (errors.InvalidArgument, r"extents\[8\] is .*-1", {"extents": [*extents[:8], extents[8]._replace(file=-1)]}),
        (errors.InvalidArgument, r"extents\[0\]", {"extents": [("x", 1, 0, 0, 0), *extents[1:]]}),
        (errors.InvalidArgument, r"extents\[0\]", {"extents": [(0, 1), *extents[1:]]}),
        (errors.InvalidArgument, "file", {"extents": [*extents[:8], extents[8]._replace(file=2)]}),
        (errors.FormatError, "two.bin.*expert 2", {"extents": [*extents[:8], extents[8]._replace(offset_bytes=2000)]}),
        (errors.FileError, "absent", {"paths": [paths[0], tmp_path / "absent"]}),
        (errors.FileError, "regular file", {"paths": [paths[0], tmp_path]}),
        (errors.InvalidArgument, "NUL", {"paths": [paths[0], "a\0b"]}),
        (errors.InvalidArgument, "path", {"paths": []}),
        (errors.InvalidArgument, "there are 2, expected 1, one a layer", {"layer_numbers": [1, 2]}),
        (errors.InvalidArgument, "layer_numbers is -1", {"layer_numbers": [-1]}),
        (errors.InvalidArgument, "experts", {"extents": [], "experts": 0}),
    )
    for error, told, change in cases:
        given = {"paths": paths, "extents": extents, "layers": 1, "experts": 3, **change}
        with pytest.raises(error, match=told):
            Bank.files(GATED, **given)


def test_extents_by_the_ten_thousand(tmp_path):
    """50,000 extents, every one where it was said."""
    experts = 128 * 130
    desc = ExpertDesc.standard(ExpertKind.GATED, 1, 1, Dtype.F32)
    values = np.arange(3 * experts, dtype=np.float32)
    (tmp_path / "all.bin").write_bytes(values.tobytes())
    extents = [Extent(0, Dtype.F32, 4 * i) for i in range(3 * experts)]
    bank = Bank.files(desc, [tmp_path / "all.bin"], extents, 130, 128)
    for layer, expert in ((0, 0), (129, 127), (64, 3)):
        parts = reference.parts(desc, bank.read(layer, expert))
        first = 3 * (layer * 128 + expert)
        assert [parts[role][0, 0] for role in (Role.GATE, Role.UP, Role.DOWN)] == [first, first + 1, first + 2]


def write_checkpoint(folder, rng):
    """One routed layer of two experts as Mixtral saves it, in bf16."""
    weights, header, data = {}, {}, b""
    for e in range(2):
        for name, shape in (("w1", (10, 24)), ("w3", (10, 24)), ("w2", (24, 10))):
            bits = reference.bf16(rng.standard_normal(shape))
            key = f"model.layers.5.block_sparse_moe.experts.{e}.{name}.weight"
            header[key] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [len(data), len(data) + bits.nbytes]}
            data += bits.tobytes()
            weights[e, name] = bits
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
    return weights


def test_a_checkpoint(tmp_path, rng):
    weights = write_checkpoint(tmp_path, rng)
    with pytest.raises(errors.InvalidArgument, match="activation"):
        Bank.checkpoint(tmp_path)
    bank = Bank.checkpoint(tmp_path, activation=Activation.SILU, prefix="model.layers")
    assert (bank.info.layers, bank.info.experts, bank.layer_number(0)) == (1, 2, 5)
    found = reference.parts(bank.info.desc, bank.read(0, 1))
    wanted = reference.numbers(weights[1, "w2"].tobytes(), Dtype.BF16).reshape(24, 10)
    assert np.array_equal(found[Role.DOWN], wanted)
    with pytest.raises(errors.UfmError):
        Bank.checkpoint(tmp_path, activation=Activation.SILU, prefix="mtp.layers")
    with pytest.raises(errors.InvalidArgument, match="f16_as"):
        Bank.checkpoint(tmp_path, f16_as=99)
