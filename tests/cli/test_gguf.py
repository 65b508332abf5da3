# SPDX-License-Identifier: MIT
"""ufm info and ufm plan on GGUF files: facts, kinds of layers, and files that are malformed in every way."""
import json
import os
import secrets
import struct
import time

import numpy as np
import pytest
from conftest import unwrapped
from support import gguf_files

MACHINE = ["--link-gbps", "50", "--hbm-gbps", "3000", "--dram-gbps", "100", "--gflops", "100000"]
QUICK = ["--vram-target", "50%", "--prompt", "8", "--workload", "uniform"]


def same(name):
    return {"gate": name, "up": name, "down": name}


def make(path, architecture="qwen3moe", types=(same("Q8_0"),) * 3, first=0, sizes=(4, 64, 96), shards=1, tokens=0,
         scheme="stacked", **more):
    random = np.random.default_rng(secrets.randbits(32))
    layers = [gguf_files.Layer(random, first + i, each, *sizes, scheme) for i, each in enumerate(types)]
    return gguf_files.write(path, architecture, gguf_files.keys(layers, **more), layers, tokens, shards)


def facts(ufm, path, *arguments):
    ended = ufm("info", path, "-o", "json", *arguments)
    assert (ended.returncode, ended.stderr) == (0, "")
    return json.loads(ended.stdout)


@pytest.mark.parametrize("scheme, layout", [("stacked", "fused"), ("fused", "fused"), ("single", "single")])
def test_layers_that_are_alike(ufm, tmp_path, scheme, layout):
    path = make(tmp_path / "m.gguf", scheme=scheme)
    found = facts(ufm, path)
    assert (found["format"], found["model_type"], found["prefix"]) == ("gguf", "qwen3moe", "blk")
    assert found["files"] == [{"path": os.fspath(path), "bytes": os.path.getsize(path)}]
    assert (found["layers"], found["layer_numbers"], found["experts"]) == (3, [0, 1, 2], 4)
    assert (found["kind"], found["layout"], found["activation"]) == ("gated", layout, "silu")
    assert (found["d_model"], found["d_hidden"]) == (64, 96)
    assert (found["file_dtype"], found["dtype"]) == ("Q8_0", "Q8_0")
    expert = 3 * 64 * 96 // 32 * 34
    assert found["expert_bytes"] == expert and found["bank_bytes"] == 12 * expert
    assert found["kinds"] == [{"types": "Q8_0", "layers": 3, "layer_numbers": [0, 1, 2], "experts": 4, "d_model": 64,
                               "d_hidden": 96, "expert_bytes": expert, "layer_bytes": 4 * expert,
                               "bank_bytes": 12 * expert}]
    assert found["router"] == {"layers": 3, "top_k": 2, "scoring": "softmax", "norm_topk": True, "obstacle": None}
    assert found["obstacle"] is None and found["left_aside"] == []


def test_layers_of_two_kinds(ufm, tmp_path):
    """Of a header that is longer than what is read at first, in files that a model was split into."""
    q6 = {"gate": "Q4_K", "up": "Q4_K", "down": "Q6_K"}
    make(tmp_path / "m.gguf", types=[q6, same("Q4_K"), same("Q4_K"), q6], first=1, sizes=(2, 256, 256), shards=3,
         tokens=20000)
    assert os.path.getsize(tmp_path / "m-00001-of-00003.gguf") > 500_000
    found = facts(ufm, tmp_path / "m-00002-of-00003.gguf")
    assert len(found["files"]) == 3
    assert [(k["types"], k["layer_numbers"]) for k in found["kinds"]] == [
        ("gate Q4_K, up Q4_K, down Q6_K", [1, 4]), ("Q4_K", [2, 3])]
    assert [k["expert_bytes"] for k in found["kinds"]] == [256 * (144 + 144 + 210), 256 * 3 * 144]
    assert (found["expert_bytes"], found["dtype"], found["file_dtype"], found["experts"]) == (None, None, None, 2)
    assert found["bank_bytes"] == sum(k["bank_bytes"] for k in found["kinds"])
    text = ufm("info", tmp_path).stdout
    assert "| layers             | 2: 1, 4 |\n" in text and "| layers             | 2: 2 … 3 |\n" in text
    assert "gate Q4_K, up Q4_K, down Q6_K, 124.50 KiB an expert, 249.00 KiB a layer" in unwrapped(text.replace("|", ""))


def test_unknown_architectures_are_shown(ufm, tmp_path):
    found = facts(ufm, make(tmp_path / "m.gguf", "starling"))
    assert (found["model_type"], found["layers"], found["activation"]) == ("starling", 3, None)
    assert found["obstacle"] == 'general.architecture is "starling": what its experts compute is not known'
    assert 'general.architecture is "starling"' in found["router"]["obstacle"]
    assert "These experts cannot be run" in ufm("info", tmp_path / "m.gguf").stdout


def test_types_that_are_not_read_are_an_obstacle(ufm, tmp_path):
    random = np.random.default_rng(1)
    layer = gguf_files.Layer(random, 0, same("Q8_0"), 2, 256, 256)
    layer.add("ffn_down_exps.weight", np.zeros((2, 256, 84), np.uint8), "Q2_K")
    path = gguf_files.write(tmp_path / "m.gguf", "qwen3moe", gguf_files.keys([layer]), [layer])
    found = facts(ufm, path)
    assert "experts of type Q2_K are not understood" in found["obstacle"]
    assert (found["layers"], found["kinds"]) == (1, None)


def test_layers_past_the_last(ufm, tmp_path):
    path = make(tmp_path / "m.gguf", "glm4moe", nextn_predict_layers=1)
    found = facts(ufm, path)
    assert found["layer_numbers"] == [0, 1]
    assert found["left_aside"] == [{"prefix": "blk.2", "layers": 1, "layer_numbers": [2]}]
    assert facts(ufm, path, "--prefix", "blk.2")["layer_numbers"] == [2]


@pytest.mark.parametrize("f16_as, dtype", [("auto", "f16"), ("f32", "f32"), ("bf16", "bf16")])
def test_halves(ufm, tmp_path, f16_as, dtype):
    found = facts(ufm, make(tmp_path / "m.gguf", types=[same("F16")]), "--f16-as", f16_as)
    assert (found["file_dtype"], found["dtype"]) == ("F16", dtype)


# ---- plans

def test_a_plan(ufm, tmp_path):
    path = make(tmp_path / "m.gguf", sizes=(8, 64, 96))
    ended = ufm("plan", "--model", path, *MACHINE, *QUICK, "-o", "jsonl")
    assert (ended.returncode, ended.stderr) == (0, "")
    row = json.loads(ended.stdout.splitlines()[0])
    assert (row["layers"], row["experts"], row["top_k"]) == (3, 8, 2)
    assert row["expert_bytes"] == 3 * 64 * 96 // 32 * 34


def test_a_plan_of_two_kinds_counts_the_larger(ufm, tmp_path):
    q6 = {"gate": "Q4_K", "up": "Q4_K", "down": "Q6_K"}
    path = make(tmp_path / "m.gguf", types=[same("Q4_K"), q6, same("Q4_K")], sizes=(4, 256, 256))
    ended = ufm("plan", "--model", path, *MACHINE, *QUICK)
    assert ended.returncode == 0
    assert ("Its layers are of 2 kinds; all count as the largest, whose experts are gate Q4_K, up Q4_K, down Q6_K."
            in unwrapped(ended.stdout))


def test_a_plan_of_an_unknown_architecture(ufm, tmp_path):
    ended = ufm("plan", "--model", make(tmp_path / "m.gguf", "starling"), *MACHINE, *QUICK)
    assert ended.returncode == 0
    assert 'Nothing here can run them yet: general.architecture is "starling"' in unwrapped(ended.stdout)


# ---- malformed files: exit 4 and one line, within a second

def text(word):
    return struct.pack("<Q", len(word)) + word


def header(*pairs, tensors=(), version=3):
    return b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs)) + b"".join(pairs) + b"".join(tensors)


def pair(key, kind, value):
    return text(key) + struct.pack("<I", kind) + value


def info(name=b"a", dims=(8,), kind=0, at=0):
    return text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, at)


HUGE = 2**64 - 1
MALFORMED = {
    "empty": (b"", "4 bytes are wanted, the file has 0 more"),
    "another magic": (b"GGLA" + bytes(60), "expected \"GGUF\": not a GGUF file"),
    "version 1": (b"GGUF" + struct.pack("<III", 1, 0, 0) + bytes(40), "version is 1, expected 2 or 3"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "a big-endian file"),
    "2^64 tensors": (b"GGUF" + struct.pack("<IQQ", 3, HUGE, 0), "the number of tensors is 18446744073709551615"),
    "2^64 keys": (b"GGUF" + struct.pack("<IQQ", 3, 0, HUGE), "the number of keys is 18446744073709551615"),
    "a key of 2^64 bytes": (header(struct.pack("<Q", HUGE) + bytes(20)), "a string of 18446744073709551615 bytes"),
    "a text of 2^63 bytes": (header(pair(b"k", 8, struct.pack("<Q", 2**63))), 'key "k": byte 45: '),
    "an array of 2^62": (header(pair(b"k", 9, struct.pack("<IQ", 10, 2**62))), "an array of 4611686018427387904"),
    "arrays without an end": (header(pair(b"k", 9, struct.pack("<IQ", 9, 1) * 1000)), "in more than 4 levels"),
    "a key twice": (header(*[pair(b"k", 4, bytes(4))] * 2), 'the key "k" stands twice'),
    "a tensor twice": (header(tensors=[info(), info(at=32)]) + bytes(200), 'tensor "a" stands twice'),
    "no dimension": (header(tensors=[info(dims=())]) + bytes(99), "has 0 dimensions, expected 1 … 4"),
    "five dimensions": (header(tensors=[info(dims=(1,) * 5)]) + bytes(99), "has 5 dimensions, expected 1 … 4"),
    "dimensions that overflow": (header(tensors=[info(dims=(2**32, 2**32))]) + bytes(99), "dimensions overflows"),
    "an unknown type": (header(tensors=[info(kind=99)]) + bytes(99), "its type is 99, which is not known here"),
    "half a block": (header(tensors=[info(dims=(16,), kind=2)]) + bytes(99), "multiple of the 32 of a Q4_0 block"),
    "an offset between": (header(tensors=[info(at=1)]) + bytes(99), "its offset is 1, expected a multiple of 32"),
    "a tensor outside": (header(tensors=[info(dims=(2**20,))]) + bytes(99), "4194304 bytes at byte 0 of a payload"),
    "an overlap": (header(tensors=[info(dims=(16,)), info(b"b", at=32)]) + bytes(200), "overlap"),
    "no UTF-8": (header(tensors=[info(b"\xc3(")]) + bytes(99), "a tensor's name is not UTF-8"),
}


def refused(ufm, path, line=""):
    begin = time.monotonic()
    ended = ufm("info", path)
    assert time.monotonic() - begin < 1
    assert (ended.returncode, ended.stdout) == (4, "")
    assert ended.stderr.count("\n") == 1 and line in ended.stderr
    return ended.stderr


@pytest.mark.parametrize("rule", MALFORMED)
def test_malformed_files(ufm, tmp_path, rule):
    content, line = MALFORMED[rule]
    (tmp_path / "x.gguf").write_bytes(content)
    assert "x.gguf: header: " in refused(ufm, tmp_path / "x.gguf", line)


def test_a_file_that_is_cut(ufm, tmp_path):
    """Wherever it ends it is refused, or has its last tensor whole."""
    path = make(tmp_path / "m.gguf", types=[same("Q4_0")], sizes=(1, 32, 32))
    content = path.read_bytes()
    for end in [*range(0, len(content) - 64, max(1, len(content) // 60)), len(content) - 64]:
        (tmp_path / "cut.gguf").write_bytes(content[:end])
        assert "cut.gguf: header: " in refused(ufm, tmp_path / "cut.gguf")


def test_a_header_without_an_end(ufm, tmp_path):
    """Sparse files whose one text or array is longer than any header may be."""
    with open(tmp_path / "x.gguf", "wb") as file:
        file.write(header(pair(b"k", 8, struct.pack("<Q", 1 << 30))))
        file.truncate(2 << 30)
    refused(ufm, tmp_path / "x.gguf", "1073741824 bytes are wanted, a header has at most 100000000")
    with open(tmp_path / "x.gguf", "wb") as file:
        file.write(header(pair(b"k", 9, struct.pack("<IQ", 8, 1 << 27))))
        file.truncate(2 << 30)
    refused(ufm, tmp_path / "x.gguf", "1073741824 bytes are wanted, a header has at most 100000000")


def test_a_missing_file_of_several(ufm, tmp_path):
    path = make(tmp_path / "m.gguf", shards=3)
    (tmp_path / "m-00003-of-00003.gguf").unlink()
    refused(ufm, path, "m-00003-of-00003.gguf: cannot be opened: No such file or directory")


def test_bytes_that_are_changed(ufm, tmp_path):
    """A flipped byte of a header is refused, or is nothing that a header's rules are about."""
    random = np.random.default_rng(secrets.randbits(32))
    path = make(tmp_path / "m.gguf", types=[same("Q4_0")], sizes=(1, 32, 32))
    content = path.read_bytes()
    for at in random.integers(0, 900, 60):
        changed = bytearray(content)
        changed[at] ^= int(random.integers(1, 256))
        (tmp_path / "x.gguf").write_bytes(changed)
        begin = time.monotonic()
        ended = ufm("info", tmp_path / "x.gguf")
        assert ended.returncode in (0, 4) and ended.stderr.count("\n") <= 1, at
        assert time.monotonic() - begin < 1
