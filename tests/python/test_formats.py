# SPDX-License-Identifier: MIT
"""What weights are worth in every storage format, bit for bit as the `gguf` package and PyTorch say."""

import gguf
import numpy as np
import pytest
import torch

from ufm import errors
from ufm.core import Activation, Bank, Dtype, ExpertDesc, Format, Part, Role

BLOCKS = ["Q8_0", "Q4_0", "Q5_0", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "MXFP4"]
RNG = np.random.default_rng()


def described(matrix, beside=(), d_model=None):
    """An expert whose up matrix is `matrix`, and the description's bytes in order."""
    d_model = d_model or matrix.cols
    down = Part(Role.DOWN, Dtype.F32, d_model, matrix.rows)
    return ExpertDesc(d_model, matrix.rows, Activation.SILU, (matrix, *beside, down))


def packed(desc, contents):
    """A block with the given parts, and zeros in the others."""
    block = bytearray(desc.expert_bytes)
    for role, data in contents.items():
        index = desc.index(role)
        data = np.ascontiguousarray(data).view(np.uint8).tobytes()
        assert len(data) == desc.parts[index].bytes
        block[desc.offsets[index] : desc.offsets[index] + len(data)] = data
    return block


def expanded(desc, contents, role=Role.UP):
    part = desc.parts[desc.index(role)]
    return np.array(desc.expand(packed(desc, contents), role), np.float32).reshape(part.rows, part.cols)


def assert_same_bits(found, expected):
    nan = np.isnan(expected)
    assert np.array_equal(np.isnan(found), nan)
    assert np.array_equal(found.view(np.uint32)[~nan], np.asarray(expected, np.float32).view(np.uint32)[~nan])


def random_bytes(*shape):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def blocks_of(name, rows, blocks):
    """Random blocks; half of them with a scale of a usual size, the others with any bits at all."""
    elements, size = gguf.GGML_QUANT_SIZES[getattr(gguf.GGMLQuantizationType, name)]
    data = random_bytes(rows, blocks, size)
    usual = RNG.normal(0, 0.01, (rows, blocks)).astype(np.float16).view(np.uint8).reshape(rows, blocks, 2)
    at = {"Q6_K": 208}.get(name, 0)
    if name == "MXFP4":
        data[: rows // 2, :, 0] = RNG.integers(110, 130, (rows // 2, blocks))
    else:
        data[: rows // 2, :, at : at + 2] = usual[: rows // 2]
    if name in ("Q4_K", "Q5_K"):
        data[: rows // 2, :, 2:4] = usual[: rows // 2, ::-1]
    return data.reshape(rows, blocks * size), blocks * elements


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_are_worth_what_the_gguf_package_says(name):
    data, cols = blocks_of(name, 64, 3)
    desc = described(Part(Role.UP, None, 64, cols, Format[name]))
    with np.errstate(all="ignore"):
        expected = gguf.quants.dequantize(data, getattr(gguf.GGMLQuantizationType, name))
    assert_same_bits(expanded(desc, {Role.UP: data}), expected)


@pytest.mark.parametrize("name", BLOCKS)
def test_rows_are_whole_blocks(name):
    elements = gguf.GGML_QUANT_SIZES[getattr(gguf.GGMLQuantizationType, name)][0]
    desc = described(Part(Role.UP, None, 8, elements + 8, Format[name]))
    with pytest.raises(errors.InvalidArgument, match=f"{elements + 8} columns, expected a multiple of the {elements}"):
        Bank.synthetic(desc, 1, 1)


def scales_of(kind, rows, cols):
    """A part's dtype and format, its bytes, and what they are worth."""
    if kind == "E8M0":
        bits = RNG.integers(100, 140, (rows, cols), dtype=np.uint8)
        bits[0, 0] = RNG.choice([0, 254, 255])
        return (None, Format.E8M0), bits, torch.from_numpy(bits).view(torch.float8_e8m0fnu).float().numpy()
    if kind == "E4M3":
        bits = random_bytes(rows, cols)
        return (None, Format.E4M3), bits, torch.from_numpy(bits).view(torch.float8_e4m3fn).float().numpy()
    values = torch.from_numpy(RNG.normal(0, 0.02, (rows, cols)).astype(np.float32))
    dtype = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}[kind]
    stored = values.to(dtype)
    return (Dtype[kind], Format.PLAIN), stored.view(torch.uint8).numpy(), stored.float().numpy()


def values_of(name, rows, cols):
    if name == "E4M3":
        data = random_bytes(rows, cols)
        return data, torch.from_numpy(data).view(torch.float8_e4m3fn).float().numpy()
    data = random_bytes(rows, cols // 2)
    nibbles = np.stack([data & 15, data >> 4], -1).reshape(rows, cols)
    table = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)
    return data, table[nibbles] if name == "E2M1" else nibbles.astype(np.float32)


GROUPS = {
    "blocks of 128 x 128": (128, 128),
    "a row's 32": (1, 32),
    "a row's 16": (1, 16),
    "a row": (1, 1 << 20),
    "a tensor": (1 << 20, 1 << 20),
}


@pytest.mark.parametrize("scale", ["F32", "BF16", "F16", "E8M0", "E4M3"])
@pytest.mark.parametrize("groups", list(GROUPS))
@pytest.mark.parametrize("name", ["E4M3", "E2M1", "U4"])
@pytest.mark.parametrize("beside", ["", "zeros and a factor"])
def test_values_times_scales(name, groups, scale, beside):
    rows, cols = 130, 336
    by_row, by_col = GROUPS[groups]
    shape = (-(-rows // by_row), -(-cols // by_col))
    data, values = values_of(name, rows, cols)
    (dtype, form), scale_data, scales = scales_of(scale, *shape)
    parts = [Part(Role.UP_SCALE, dtype, *shape, format=form)]
    contents = {Role.UP: data, Role.UP_SCALE: scale_data}
    zeros = np.full(shape, 8 if name == "U4" else 0, np.float32)
    if beside:
        factor = RNG.normal(1, 0.2, (1, 1)).astype(np.float32)
        parts.append(Part(Role.UP_FACTOR, Dtype.F32, 1, 1))
        contents[Role.UP_FACTOR] = factor
        scales = scales * factor
    if beside and name == "U4":
        bytes_ = RNG.integers(0, 16, shape, dtype=np.uint8)
        parts.append(Part(Role.UP_ZERO, None, *shape, format=Format.U8))
        contents[Role.UP_ZERO] = bytes_
        zeros = bytes_.astype(np.float32)
    desc = described(Part(Role.UP, None, rows, cols, Format[name], (by_row, by_col)), parts)

    def spread(grid):
        return np.repeat(np.repeat(grid, min(by_row, rows), 0)[:rows], min(by_col, cols), 1)[:, :cols]

    with np.errstate(all="ignore"):
        expected = (values - spread(zeros)) * spread(scales)
    assert_same_bits(expanded(desc, contents), expected)


@pytest.mark.parametrize("dtype", list(Dtype))
def test_plain_elements(dtype):
    kind = {Dtype.F32: torch.float32, Dtype.BF16: torch.bfloat16, Dtype.F16: torch.float16}[dtype]
    stored = torch.from_numpy(RNG.normal(0, 1, (5, 7)).astype(np.float32)).to(kind)
    matrix = Part(Role.UP, dtype, 5, 7)
    desc = ExpertDesc(7, 5, Activation.SILU, (matrix, Part(Role.DOWN, dtype, 7, 5)))
    assert_same_bits(expanded(desc, {Role.UP: stored.view(torch.uint8).numpy()}), stored.float().numpy())


UP = Part(Role.UP, None, 32, 64, Format.E4M3, (1, 32))
UP_SCALE = Part(Role.UP_SCALE, None, 32, 2, Format.E8M0)
REFUSED = {
    "no scales": ((UP,), "up.*no scales"),
    "scales of another shape": (
        (UP, Part(Role.UP_SCALE, None, 32, 1, Format.E8M0)),
        r"shape is \[32, 1\], expected \[32, 2\]",
    ),
    "groups of none": ((Part(Role.UP, None, 32, 64, Format.E4M3), UP_SCALE), "groups of 0 x 0"),
    "groups of 24": ((Part(Role.UP, None, 32, 64, Format.E4M3, (1, 24)), UP_SCALE), "columns a multiple of 16 or all"),
    "groups that nothing scales": ((Part(Role.UP, Dtype.F32, 32, 64, group=(1, 32)),), "groups of 1 x 32, expected 0"),
    "scales of what has its own": ((Part(Role.UP, None, 32, 64, Format.Q8_0), UP_SCALE), "the matrix needs none"),
    "scales of plain elements": ((Part(Role.UP, Dtype.F32, 32, 64), UP_SCALE), "the matrix needs none"),
    "zero points of what has none": ((UP, UP_SCALE, Part(Role.UP_ZERO, None, 32, 2, Format.U8)), "no zero points"),
    "a dtype beside a format": (
        (Part(Role.UP, Dtype.F32, 32, 64, Format.Q8_0),),
        "dtype is 1, expected 0 beside a format",
    ),
    "a matrix of scales": (
        (Part(Role.UP, None, 32, 64, Format.E8M0),),
        "format is E8M0, expected one that such a part may have",
    ),
    "scales of blocks": ((UP, Part(Role.UP_SCALE, None, 32, 2, Format.E2M1)), "format is E2M1, expected one"),
    "a coded bias": ((UP, UP_SCALE, Part(Role.UP_BIAS, None, 32, 1, Format.E4M3)), "format is E4M3, expected one"),
    "a bias of F16": ((UP, UP_SCALE, Part(Role.UP_BIAS, Dtype.F16, 32, 1)), "dtype is 3, expected UFM_F32 or UFM_BF16"),
    "a factor of BF16": ((UP, UP_SCALE, Part(Role.UP_FACTOR, Dtype.BF16, 1, 1)), "dtype is 2, expected UFM_F32"),
    "two dtypes": ((Part(Role.UP, Dtype.BF16, 32, 64),), "part 1: dtype is 1, expected 2 as in part 0"),
}


@pytest.mark.parametrize("which", list(REFUSED))
def test_descriptions_that_are_refused(which):
    parts, told = REFUSED[which]
    desc = ExpertDesc(64, 32, Activation.SILU, (*parts, Part(Role.DOWN, Dtype.F32, 64, 32)))
    with pytest.raises(errors.InvalidArgument, match=told):
        desc.expand(bytes(desc.expert_bytes), Role.UP)


@pytest.mark.parametrize(("role", "told"), [(Role.UP_SCALE, "role is 7"), (Role.GATE, "the expert has no gate")])
def test_what_cannot_be_expanded(role, told):
    desc = ExpertDesc(64, 32, Activation.SILU, (UP, UP_SCALE, Part(Role.DOWN, Dtype.F32, 64, 32)))
    with pytest.raises(errors.InvalidArgument, match=told):
        desc.expand(bytes(desc.expert_bytes), role)
    with pytest.raises(errors.InvalidArgument, match="expected"):
        desc.expand(bytes(7), Role.UP)
