# SPDX-License-Identifier: MIT
"""Models from GGUF files, their experts paged as they are stored there: against Transformers' own, all expanded; and
what is refused, by name and before anything large is read."""

import json
import os
import sys

import pytest

torch = pytest.importorskip("torch", reason="not installed: torch")
transformers = pytest.importorskip("transformers", reason="not installed: transformers")

import copy  # noqa: E402

import gguf  # noqa: E402
import gguf_models  # noqa: E402
import parity  # noqa: E402
import tiny_models  # noqa: E402
from transformers import modeling_gguf_pytorch_utils as loader  # noqa: E402

import ufm  # noqa: E402
from ufm.__main__ import main  # noqa: E402
from ufm.commands import outcome  # noqa: E402
from ufm.errors import FileError, FormatError, InvalidArgument, Unsupported  # noqa: E402
from ufm.models import gguf_loading  # noqa: E402

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

FAMILIES = sorted(gguf_models.OWN)
# Transformers 5.17 cannot read the keys of its rope, nor find its sinks: it is compared with the model that the file
# was made of.
NOT_BY_TRANSFORMERS = ("gpt_oss",)
OPTIONS = {"experts": "50%", "cpu_assist": "off", "device": "cpu"}
READER = gguf.GGUFReader
NEW_TOKENS = 32


class Reference(parity.Reference):
    """A model that is there; its experts' outputs are those of their own code in float64. Texts are half as long."""

    def __init__(self, model):
        self.family, self.model, self.results = "", model, {}

    @property
    def makes_text(self):
        return True

    @parity.kept
    def text(self, size):
        return parity.generate(self.model, self.batch(size), NEW_TOKENS)

    @parity.kept
    @torch.no_grad()
    def calls(self, size):
        found = parity.calls(self.model, lambda: parity.forward(self.model, self.sequence(size)))
        for name, made in found.items():
            exact = copy.deepcopy(self.model.get_submodule(name)).double()
            for call in made:
                hidden, ids, weights = call.given
                call.output = exact(hidden.double(), ids, weights.double())
        return found


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def written(family, tmp_path_factory):
    return gguf_models.write(tmp_path_factory.mktemp(family) / "model.gguf", family)


@pytest.fixture(scope="module")
def reference(family, written):
    return Reference(written.model if family in NOT_BY_TRANSFORMERS else stock(written))


@pytest.fixture(scope="module", params=["10%", "50%", "100%"])
def paged(request, written):
    model = ufm.from_pretrained(written.path, **OPTIONS | {"experts": request.param})
    tiny_models.quiet_generation(model)
    return model


@pytest.fixture(autouse=True)
def the_package_is_as_it_was():
    yield
    assert gguf.GGUFReader is READER


def stock(written):
    """Transformers' own model, all expanded to float32. It asks for accelerate, and calls none of it on one device."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transformers.modeling_utils.is_accelerate_available", lambda: True)
        folder, name = os.path.split(written.path)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder,
            gguf_file=name,
            config=written.model.config,
            dtype=torch.float32,
            experts_implementation="eager",
        )
    tiny_models.quiet_generation(model)
    return model


def load(path, **more):
    model = ufm.from_pretrained(path, **OPTIONS | more)
    tiny_models.quiet_generation(model)
    return model


@torch.no_grad()
def check_logits(model, expected, tolerance=1e-4):
    ids = parity.Batch.of(4, seed=4).ids
    ours, theirs = model(ids).logits.float(), expected(ids).logits
    assert float((ours - theirs).abs().max()) <= tolerance * float(theirs.abs().max())


# ---------------------------------------------------------------- the same as Transformers'


@pytest.mark.parametrize("size", [1, 4])
def test_layers_logits_and_text_are_the_models(reference, paged, size):
    assert parity.experts_error(reference, paged, size) <= parity.EXPERTS_TOLERANCE
    assert parity.logits_error(reference, paged, size) <= parity.SENSITIVITIES
    text = parity.generate(paged, reference.batch(size), NEW_TOKENS)
    assert torch.equal(text.tokens, reference.text(size).tokens) or not parity.unexplained(reference, text, size)


def test_kinds_of_layers_share_one_budget(written, paged):
    stats = ufm.stats(paged)
    assert len(stats.geometries) == written.kinds == 2
    assert sum(geometry.layers for geometry in stats.geometries) == 3
    assert len({geometry.expert_bytes for geometry in stats.geometries}) == 2
    assert 0 < stats.slots <= stats.experts == 24


def test_experts_matter(reference):
    """Else the comparisons of logits and text would say little of them."""
    model = copy.deepcopy(reference.model)
    with torch.no_grad():
        for _, module in tiny_models.experts_modules(model):
            module.down_proj.zero_()
    moved = (parity.forward(model, reference.sequence(4)) - reference.logits(4)).abs().max()
    assert float(moved) > 100 * reference.sensitivity(4)


def test_the_config_is_that_of_the_model(family, written, paged):
    found, expected = paged.config.to_dict(), written.model.config.to_dict()
    passed_over = {"quantization_config", "_name_or_path", "name_or_path", "dtype", "architectures", "bos_token_id"}
    passed_over |= {"eos_token_id", "pad_token_id", "transformers_version", "output_router_logits"}
    for key in set(expected) - passed_over:
        assert found[key] == pytest.approx(expected[key]) if isinstance(expected[key], float) else True, key
        if not isinstance(expected[key], float | dict):
            assert found[key] == expected[key], key
    assert found["rope_parameters"] == pytest.approx(expected["rope_parameters"])


# ---------------------------------------------------------------- what is not read


class Trap:
    """The data of a tensor that nobody may look at."""

    def __getattr__(self, name):
        raise AssertionError(f"an expert's data: {name}")

    def __array__(self, *_, **__):
        raise AssertionError("an expert's data")


class Trapped(READER):
    """A reader of a file whose experts nobody may look at."""

    def __init__(self, path, *args):
        super().__init__(path, *args)
        self.tensors = [t._replace(data=Trap()) if gguf_models.is_expert(t.name) else t for t in self.tensors]


def test_transformers_reads_no_expert(tmp_path, monkeypatch):
    written = gguf_models.write(tmp_path / "m.gguf", "qwen3_moe", layers=2)
    expanded, dequantize = [], gguf.dequantize
    with monkeypatch.context() as patch:
        patch.setattr(gguf, "GGUFReader", Trapped)
        patch.setattr(gguf, "dequantize", lambda data, kind: expanded.append(data.nbytes) or dequantize(data, kind))
        model = load(written.path)
        assert sum(expanded) == written.dense_bytes
        with pytest.raises(AssertionError, match="an expert's data"):
            loader.load_gguf_checkpoint(str(written.path), return_tensors=True, model_to_load=written.model)
    check_logits(model, written.model)


# ---------------------------------------------------------------- how files may be


@pytest.mark.parametrize("scheme", ["fused", "single"])
def test_other_names_of_experts(tmp_path, scheme):
    written = gguf_models.write(tmp_path / "m.gguf", "qwen3_moe", [("Q8_0", "Q5_K")], 2, scheme=scheme)
    check_logits(load(written.path), written.model)


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "MXFP4", "IQ4_XS"])
def test_other_types_of_experts(tmp_path, kind):
    written = gguf_models.write(tmp_path / "m.gguf", "qwen2_moe", [(kind, kind)], 1)
    check_logits(load(written.path), written.model)


@pytest.mark.parametrize("family", ["qwen3_moe", "gpt_oss"])
def test_split_files(tmp_path, family):
    folder = tmp_path / "model"
    folder.mkdir()
    written = gguf_models.write(folder / "m.gguf", family, layers=2, shards=3)
    for path in (folder, written.path, folder / "m-00003-of-00003.gguf"):
        check_logits(load(path), written.model)


def test_a_file_by_its_first_bytes_and_one_that_is_named_beside_its_folder(tmp_path):
    written = gguf_models.write(tmp_path / "m.gguf", "qwen2_moe", layers=1)
    check_logits(load(tmp_path, gguf_file="m.gguf"), written.model)
    check_logits(load(written.path.rename(tmp_path / "sha256-00")), written.model)


@pytest.mark.parametrize("shards", [1, 4])
def test_tied_embeddings(tmp_path, shards):
    """A file says so by having no other: none of all files of a model."""
    for tied in (True, False):
        written = gguf_models.write(tmp_path / "m.gguf", "qwen3_moe", layers=1, shards=shards, tie_word_embeddings=tied)
        model = load(written.path)
        assert model.config.tie_word_embeddings == tied
        check_logits(model, written.model)


@pytest.mark.parametrize("dtype", [torch.bfloat16, "float16"])
def test_a_dense_half_of_two_bytes(tmp_path, dtype):
    written = gguf_models.write(tmp_path / "m.gguf", "qwen2_moe", layers=2)
    model = load(written.path, dtype=dtype)
    assert {p.dtype for p in model.parameters()} == {gguf_loading.dtype_of(dtype)} and model.dtype.itemsize == 2
    check_logits(model, written.model, tolerance=0.1)
    for wrong, line in (("int", "dtype: int32: expected one of float32"), ("float33", "dtype: 'float33'")):
        with pytest.raises(InvalidArgument, match=line):
            load(written.path, dtype=wrong)


def test_tokens_that_end_a_text(tmp_path):
    said = {"tokenizer.ggml.eos_token_id": 7, "tokenizer.ggml.padding_token_id": 5}
    written = gguf_models.write(tmp_path / "m.gguf", "qwen3_moe", layers=1, said=said)
    model = ufm.from_pretrained(written.path, **OPTIONS)
    generation = model.generation_config
    assert (generation.eos_token_id, generation.pad_token_id, generation.bos_token_id) == (7, 5, None)
    assert model.config.name_or_path == str(written.path)


def test_what_such_a_model_cannot_do(tmp_path):
    written = gguf_models.write(tmp_path / "m.gguf", "qwen3_moe", layers=1)
    model = load(written.path)
    with pytest.raises(Unsupported, match="cannot go to"):
        model.to("meta")
    with pytest.raises(ValueError, match="not supported for quantized"):
        model.half()
    with pytest.raises(ValueError, match="not serializable"):
        model.save_pretrained(tmp_path / "saved")


# ---------------------------------------------------------------- refusals


def refused(path, kind=Unsupported, **more):
    """The line of a refusal, before Transformers has expanded anything."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gguf, "dequantize", lambda *_: pytest.fail("a tensor was read"))
        with pytest.raises(kind) as refusal:
            ufm.from_pretrained(path, **OPTIONS | more)
    line = str(refusal.value)
    assert "\n" not in line
    return line


A = "qwen3moe."
KEYS = [
    ({A + "expert_gating_func": 2}, "expert_gating_func is 2, expected 0 or 1 of this architecture"),
    ({A + "expert_weights_norm": False}, "expert_weights_norm is False, expected True of this architecture"),
    ({A + "expert_weights_scale": 2.5}, "expert_weights_scale is 2.5, expected 0.0 or 1.0"),
    ({A + "rope.scaling.type": "linear"}, "rope.scaling.type is linear, expected none"),
    ({A + "rope.dimension_count": 16}, "rope.dimension_count is 16, expected 32, as wide as a head"),
    ({A + "attention.value_length": 64}, "attention.value_length is 64, expected 32, as its keys have it"),
    ({A + "attention.sliding_window": 9}, "attention.sliding_window is 9, expected none of this architecture"),
    ({A + "feed_forward_length": [96, 64]}, "feed_forward_length is [96, 64], expected one value for all layers"),
    ({A + "logit_scale": 2.0}, "logit_scale is 2.0, expected no such key"),
    ({A + "rope.freq_base": None}, "qwen3moe.rope.freq_base is not there"),
    ({A + "block_count": 3}, "no experts of model.layers.2.mlp.experts"),
]


@pytest.mark.parametrize(("said", "line"), KEYS, ids=lambda value: next(iter(value)) if isinstance(value, dict) else "")
def test_keys_that_would_be_left_out(tmp_path, said, line):
    written = gguf_models.write(tmp_path / "m.gguf", "qwen3_moe", layers=2, said=said)
    found = refused(written.path)
    assert line in found and str(written.path) in found


@pytest.mark.parametrize("architecture", ["llama", "olmoe", "glm4moe"])
def test_architectures_that_transformers_has_no_experts_of(tmp_path, architecture):
    said = {"general.architecture": architecture}
    said |= {
        f"{architecture}.{key}": value
        for key, value in gguf_models.keys(gguf_models.eager("qwen3_moe", 1).config).items()
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(gguf_models.ARCHITECTURES, "qwen3_moe", architecture)
        patch.setattr(gguf_models, "dense_tensors", lambda *_: {})
        written = gguf_models.write(tmp_path / "m.gguf", "qwen3_moe", layers=1)
    line = refused(written.path)
    assert f'general.architecture is "{architecture}"' in line
    assert line.endswith("expected one of gpt_oss, minimax_m2, qwen2_moe, qwen3_moe")


def drop(name):
    return lambda tensors: tensors.pop(name)


def add(name):
    return lambda tensors: tensors.update({name: (gguf_models.np.ones(32, "f4"), "F32")})


TENSORS = [
    (drop("blk.1.attn_k.weight"), "no tensor that Transformers"),
    (add("rope_freqs.weight"), 'tensor "rope_freqs.weight": Transformers'),
    (add("blk.0.attn_q.bias"), 'tensor "blk.0.attn_q.bias": Transformers'),
    (
        lambda tensors: tensors.update({"output_norm.weight": (gguf_models.np.ones(32, "f4"), "F32")}),
        "model.norm.weight is [32], expected [256]",
    ),
]


@pytest.mark.parametrize(("edit", "line"), TENSORS, ids=range(len(TENSORS)))
def test_dense_tensors_that_do_not_fit_the_model(tmp_path, edit, line):
    written = gguf_models.write(tmp_path / "m.gguf", "qwen3_moe", layers=2, edit=edit)
    with pytest.raises(Unsupported) as refusal:
        ufm.from_pretrained(written.path, **OPTIONS)
    assert line in str(refusal.value) and str(written.path) in str(refusal.value)


def test_experts_in_a_layer_that_the_config_has_dense(tmp_path):
    written = gguf_models.write(tmp_path / "m.gguf", "qwen3_moe", layers=2)
    config = copy.deepcopy(written.model.config)
    config.mlp_only_layers = [1]
    assert "experts of layer 1, which is no routed layer of the model" in refused(written.path, config=config)
    config.mlp_only_layers, config.moe_intermediate_size = [], 128
    assert "experts of layer 0: d_hidden is 256, expected 128 of model.layers.0.mlp.experts" in refused(
        written.path, config=config
    )
    config.moe_intermediate_size, config.hidden_act = 256, "gelu"
    assert "activation is silu, expected gelu" in refused(written.path, config=config)
    config.hidden_act, config.num_hidden_layers = "silu", 3
    assert "no experts of model.layers.2.mlp.experts" in refused(written.path, config=config)


def test_a_torn_file_and_a_missing_one(tmp_path):
    written = gguf_models.write(tmp_path / "m.gguf", "qwen3_moe", layers=1)
    size = os.path.getsize(written.path)
    for left in (size - 1, size // 2, 100, 4):
        os.truncate(written.path, left)
        assert str(written.path) in refused(written.path, FormatError)
    os.truncate(written.path, 0)
    assert str(written.path) in refused(written.path, FormatError)
    split = gguf_models.write(tmp_path / "s.gguf", "qwen3_moe", layers=1, shards=3)
    (tmp_path / "s-00002-of-00003.gguf").unlink()
    assert "s-00002-of-00003.gguf" in refused(split.path, FileError)
    assert "none.gguf" in refused(tmp_path / "none.gguf", FileError)


def test_a_folder_of_several_models(tmp_path):
    for name in ("a", "b"):
        gguf_models.write(tmp_path / f"{name}.gguf", "qwen3_moe", layers=1)
    assert "holds 2 models" in refused(tmp_path, FileError)


def test_a_gpu_that_reads_no_blocks(tmp_path, monkeypatch):
    written = gguf_models.write(tmp_path / "m.gguf", "qwen3_moe", layers=2)
    monkeypatch.setattr(gguf_loading, "one_device", lambda _: torch.device("cuda", 0))
    line = refused(written.path)
    assert "experts in Q4_K, Q6_K, Q8_0: the cuda backend reads F32 and BF16" in line
    plain = gguf_models.write(tmp_path / "p.gguf", "qwen3_moe", [("BF16", "BF16")], layers=1)
    monkeypatch.setattr(gguf_loading, "tensors_of", lambda *_: pytest.fail("as far as this"))
    with pytest.raises(pytest.fail.Exception, match="as far as this"):
        ufm.from_pretrained(plain.path, **OPTIONS)


def test_code_of_a_checkpoints_own(tmp_path):
    written = gguf_models.write(tmp_path / "m.gguf", "qwen3_moe", layers=1)
    assert "trust_remote_code" in refused(written.path, trust_remote_code=True)


def test_packages_that_are_not_there_or_others(tmp_path, monkeypatch):
    written = gguf_models.write(tmp_path / "m.gguf", "qwen3_moe", layers=1)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "gguf", None)
        with pytest.raises(ImportError, match=r"GGUF files are read with the gguf package .*pip install gguf"):
            ufm.from_pretrained(written.path, **OPTIONS)
    with monkeypatch.context() as patch:
        patch.delattr(loader, "TENSOR_PROCESSORS")
        with pytest.raises(Unsupported, match=r"Transformers 5.* has no TENSOR_PROCESSORS .*expected 5\.17"):
            ufm.from_pretrained(written.path, **OPTIONS)
    with monkeypatch.context() as patch:
        patch.setattr(loader, "load_gguf_checkpoint", lambda *_, **__: {"config": {}})
        with pytest.raises(Unsupported, match="reads GGUF files in a way that is not known"):
            ufm.from_pretrained(written.path, **OPTIONS)


# ---------------------------------------------------------------- from the command line


@pytest.fixture
def run(capsys, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def command(*argv):
        code = main([str(one) for one in argv])
        told = capsys.readouterr()
        return code, told.out, [line for line in told.err.splitlines() if line.startswith("ufm: ")]

    return command


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """A model that reads and writes text, byte by byte."""
    words = ["<|endoftext|>", "Ġ", "th", "the", *map(chr, range(33, 127))]
    words += [f"<|unused_{i}|>" for i in range(gguf_models.VOCABULARY - len(words))]
    said = {"tokenizer.ggml.eos_token_id": 0, "tokenizer.ggml.pre": "qwen2"}
    path = tmp_path_factory.mktemp("spoken") / "model.gguf"
    return gguf_models.write(path, "qwen3_moe", layers=2, words=words, said=said)


def test_generate(run, spoken):
    given = ["--prompt", "the sea", "--max-new-tokens", 5, "--experts", "50%", "-o", "json"]
    code, out, _ = run("generate", spoken.path, *given)
    found = json.loads(out)
    assert code == outcome.OK
    assert found["prompt_tokens"] == 5  # the, space, s, e, a
    assert found["load_bytes"] == os.path.getsize(spoken.path)
    ids = torch.tensor([[3, 1, *(4 + ord(letter) - 33 for letter in "sea")]])
    expected = spoken.model.generate(ids, max_new_tokens=5, do_sample=False, eos_token_id=0, pad_token_id=0)
    assert found["tokens"] == expected.shape[1] - 5


def test_plan(run, spoken):
    rates = ["--link-gbps", 25, "--hbm-gbps", 900, "-o", "json"]
    code, out, _ = run("plan", spoken.path, "--vram", "3MiB", *rates)
    found = json.loads(out)
    assert code == outcome.OK
    assert [each["experts"] for each in found["geometries"]] == [8, 8]
    per_expert = [3 * 256 * 256 * 34 // 32, 2 * 256 * 144 + 256 * 210]
    assert found["expert_bytes"] == 8 * sum(per_expert)
    assert 0 < found["slots"] < 16
    code, _, lines = run("plan", spoken.path, "--vram", "24GiB", "--card", "rtx-4090", "--dram-gbps", 50)
    assert code == outcome.DATA and len(lines) == 1 and "the cuda backend reads F32 and BF16" in lines[0]


def test_what_commands_refuse(run, spoken, tmp_path):
    code, _, lines = run("bench", spoken.path)
    assert code == outcome.DATA and len(lines) == 1 and "GGUF" in lines[0]
    torn = tmp_path / "torn.gguf"
    torn.write_bytes(spoken.path.read_bytes()[:-100])
    for command in (["generate", torn, "--prompt", "a"], ["plan", torn, "--vram", "1GiB"]):
        code, out, lines = run(*command)
        assert (code, out, len(lines)) == (outcome.DATA, "", 1) and str(torn) in lines[0]
    wordless = gguf_models.write(tmp_path / "m.gguf", "gpt_oss", layers=1)
    code, _, lines = run("generate", wordless.path, "--prompt", "a")
    assert code == outcome.DATA and len(lines) == 1 and str(wordless.path) in lines[0]
