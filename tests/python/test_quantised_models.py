# SPDX-License-Identifier: MIT
"""Whole models whose checkpoints are published quantised: against what Transformers makes of them by dequantising."""

import json
import types

import pytest

torch = pytest.importorskip("torch", reason="not installed: torch")
transformers = pytest.importorskip("transformers", reason="not installed: transformers")

import parity  # noqa: E402
import quantised_models as made  # noqa: E402
import tiny_models  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402
from transformers.core_model_loading import WeightConverter  # noqa: E402
from transformers.integrations.finegrained_fp8 import FP8Linear  # noqa: E402

import ufm  # noqa: E402
from ufm.__main__ import main  # noqa: E402
from ufm.errors import FileError, FormatError, Unsupported  # noqa: E402
from ufm.models import dense, quantised, quantizer  # noqa: E402
from ufm.models.checkpoint import headers  # noqa: E402
from ufm.models.sites import find_sites  # noqa: E402

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

FAMILIES = sorted(made.SIZES)
STORED = {
    "gpt_oss": "E2M1 (1 × 32, E8M0)",
    "qwen3_moe": "E4M3 (16 × 16, F32)",
    "deepseek_v3": "E4M3 (16 × 16, F32)",
}
OPTIONS = {"device": "cpu", "dtype": torch.float32, "cpu_assist": "off"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    top = tmp_path_factory.mktemp("quantised")
    return {family: made.write(family, top / family) for family in FAMILIES}


@pytest.fixture(scope="module")
def references(folders):
    return {family: made.Reference(family, made.dequantised(family, folders[family])) for family in FAMILIES}


@pytest.fixture
def folder(tmp_path):
    """A checkpoint in FP8 to break."""
    return made.write("qwen3_moe", tmp_path / "fp8")


@pytest.fixture
def gpt_oss(tmp_path):
    """One in MXFP4."""
    return made.write("gpt_oss", tmp_path / "mxfp4")


def load(folder, **options):
    model = ufm.from_pretrained(folder, **OPTIONS | {"experts": "50%"} | options)
    tiny_models.quiet_generation(model)
    return model


def change(folder, edit):
    """Has `edit` change the tensors of a checkpoint of one file."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def check(reference, model, sizes=(1, 4)):
    for size in sizes:
        assert parity.experts_error(reference, model, size) <= parity.EXPERTS_TOLERANCE
        assert parity.logits_error(reference, model, size) <= parity.SENSITIVITIES
        assert parity.unexplained(reference, parity.generate(model, reference.batch(size)), size) == []


# ---- what runs


@pytest.mark.parametrize("residency", ["10%", "50%", "100%"])
@pytest.mark.parametrize("family", FAMILIES)
def test_as_transformers_dequantises_it(folders, references, family, residency):
    model = load(folders[family], experts=residency)
    check(references[family], model)
    stats = ufm.stats(model)
    assert stats.storage == STORED[family] and f"experts in {STORED[family]}" in repr(stats)
    assert STORED[family] in repr(model) and (stats.hits < stats.uses or residency == "100%")


def test_experts_stay_as_they_lie(folders):
    """4.25 bits a weight and biases in f32; 8 bits and a scale for 256."""
    for family, weights, beside in (("gpt_oss", 3 * 64 * 32, 3 * 64 * 32 / 32), ("qwen3_moe", 3 * 32 * 32, 4 * 12)):
        (geometry,) = ufm.stats(load(folders[family])).geometries
        size = weights // 2 + beside + 4 * (64 + 64) if family == "gpt_oss" else weights + beside
        assert size <= geometry.expert_bytes < size + 9 * 64


def test_the_two_ways_in_are_the_same(folders):
    ids = torch.arange(12).view(2, 6)
    for folder in folders.values():
        config = ufm.Config(experts="10%", device="cpu")
        for _ in range(2):  # a config is good for more than one model
            other = AutoModelForCausalLM.from_pretrained(folder, quantization_config=config, dtype=torch.float32)
            assert torch.equal(other(ids).logits, load(folder)(ids).logits)
            assert other.config.quantization_config.quant_method == "ufm"


def test_transformers_still_minds_configs_of_its_own(folder):
    with pytest.raises(ValueError, match="Mxfp4Config"):
        AutoModelForCausalLM.from_pretrained(folder, quantization_config=transformers.Mxfp4Config())


@pytest.mark.parametrize("family", ["deepseek_v3", "qwen3_moe"])
def test_shards_and_further_towers(tmp_path, references, family):
    check(references[family], load(made.write(family, tmp_path / "shards", "published")))


def test_blocks_that_end_with_a_matrix(tmp_path):
    model = made.with_cut_blocks(tmp_path / "cut")
    check(made.Reference("qwen3_moe", model), load(tmp_path / "cut"), sizes=(4,))


@pytest.mark.parametrize(
    "name", ["int4", "int4 zero points", "awq", "gptq", "nvfp4 modelopt", "nvfp4 compressed", "fp8 modelopt"]
)
def test_experts_alone_in_other_formats(tmp_path, name):
    model = made.with_experts_as(name, tmp_path / "other")
    check(made.Reference("qwen3_moe", model), load(tmp_path / "other"), sizes=(4,))


@pytest.mark.parametrize("name", ["int4", "int4 zero points", "fp8 compressed", "fp8 compressed blocks"])
def test_all_layers_by_compressed_tensors(tmp_path, name):
    """Whose package dequantises what is no expert."""
    pytest.importorskip("compressed_tensors", reason="not installed: compressed-tensors")
    model = made.with_experts_as(name, tmp_path / "all", attention=True)
    check(made.Reference("qwen3_moe", model), load(tmp_path / "all"), sizes=(4,))
    said = json.loads((tmp_path / "all" / "config.json").read_text())["quantization_config"]
    made.edit(tmp_path / "all", quantization_config=said | {"ignore": [*said["ignore"], "re:.*v_proj$"]})
    assert "v_proj.weight" in refused(tmp_path / "all")


@pytest.mark.parametrize("options", [{"cpu_assist": "on"}, {"cpu_assist": "auto", "deterministic": True}])
@pytest.mark.parametrize("family", FAMILIES)
def test_options_as_always(folders, references, family, options):
    model = load(folders[family], experts="768KiB", **options)
    assert parity.experts_error(references[family], model, 4) <= parity.EXPERTS_TOLERANCE


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(folders, references, family, dtype):
    """Of the dense model; experts are what they are."""
    model, ids = load(folders[family], dtype=dtype), references[family].batch(1).ids
    assert {p.dtype for n, p in model.named_parameters() if "norm" not in n and "bias" not in n} == {dtype}
    logits, exact = model(ids).logits.float(), references[family].model(ids).logits
    assert (logits - exact).square().mean().sqrt() < 0.1 * exact.square().mean().sqrt()


def test_plain_experts_beside_layers_in_fp8(tmp_path):
    folder, model = tmp_path / "dense", made.plain_model("qwen3_moe")
    made.layouts.write(model, folder, "saved")
    tensors = made.in_fp8({name: t for name, t in made.saved(model).items() if ".experts." not in name})
    tensors |= {name: t for name, t in made.saved(model).items() if ".experts." in name}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    made.edit(folder, quantization_config=made.FP8)
    check(made.Reference("qwen3_moe", made.dequantised("qwen3_moe", folder)), load(folder))


def test_layers_that_stay_in_fp8(folder):
    """Where kernels of Transformers can run: linear layers are its own, experts are not."""
    model = made.skeleton("qwen3_moe")
    sites = find_sites(model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dense.DenseInFp8, "_ask_environment", lambda *_: None)
        tensors = headers([str(folder / "model.safetensors")])
        inner, other = (
            dense.DenseInFp8(made.FP8 | {"modules_to_not_convert": names}, tensors, torch.device("cuda", 0))
            for names in (["lm_head"], ["lm_head", "model.layers.1.self_attn"])
        )
    inner.prepare(model, [site.name for site in sites], [])
    kinds = {name: type(module) for name, module in model.named_modules()}
    assert kinds["model.layers.0.self_attn.q_proj"] is FP8Linear and kinds["lm_head"] is torch.nn.Linear
    assert [site.name for site in find_sites(model)] == [site.name for site in sites] and len(sites) == 3
    assert len(inner.update_weight_conversions([])) == 1  # no operation, only the other name of scales
    with pytest.raises(Unsupported, match=r"layers\.1\.self_attn\.\w+\.weight: F8_E4M3: not what quantization_config"):
        other.prepare(made.skeleton("qwen3_moe"), [site.name for site in sites], [])


# ---- what is refused


def refused(folder, kind=Unsupported, **options):
    """The one line that loading ends with, before any weight has been read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transformers.PreTrainedModel, "_load_pretrained_model", lambda *_, **__: pytest.fail("loaded"))
        with pytest.raises(kind) as error:
            load(folder, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_backend_that_does_not_read_the_format(monkeypatch, gpt_oss):
    """What libufm's engine says for one expert ends the load."""
    opened = []

    def engine(host, **options):
        opened.append((host.bank.info.layers, host.bank.info.experts, options["device_index"]))
        raise Unsupported("experts in E2M1: the cuda backend does not read this format")

    monkeypatch.setattr(quantizer, "one_device", lambda _: torch.device("cuda", 1))
    monkeypatch.setattr(quantised, "Host", lambda bank, backend: ufm.core.Host(bank, {"cuda": "cpu"}[backend]))
    monkeypatch.setattr(quantised, "Engine", engine)
    assert refused(gpt_oss) == "experts in E2M1: the cuda backend does not read this format"
    assert opened == [(1, 1, 1)]


@pytest.mark.parametrize(
    "keys, said",
    [
        (
            {"swiglu_alpha": 1.5},
            "model.layers.0.mlp.experts: the checkpoint's experts have act_alpha 1.5, expected 1.702",
        ),
        ({"hidden_act": "gelu"}, "activation"),
    ],
)
def test_another_arithmetic(gpt_oss, keys, said):
    assert said in refused(made.edit(gpt_oss, **keys), (Unsupported, FormatError))


def test_a_bank_of_other_experts(gpt_oss):
    """Whatever a bank says, it is held against what was found out."""
    model = made.plain_model("gpt_oss")
    (geometry,) = {site.geometry for site in find_sites(model)}
    with ufm.core.Bank.checkpoint(gpt_oss) as bank:
        desc = bank.info.desc
    assert list(quantised._differences(geometry, desc)) == []
    plain = [part for part in desc.parts if not part.role.name.endswith("_BIAS")]
    for changed, said in (
        ({"gate_limit": 5.0}, f"gate_limit 5, expected {geometry.arithmetic.gate_limit:g}"),
        ({"up_offset": 0.0}, "up_offset 0, expected 1"),
        ({"activation": ufm.core.Activation.GELU}, "activation GELU, expected SILU"),
        ({"d_hidden": 48}, "d_hidden 48, expected 32"),
        ({"parts": tuple(plain)}, "up, gate, down, expected up, up_bias, gate, gate_bias, down, down_bias"),
    ):
        fields = {name: getattr(desc, name) for name in ("d_model", "d_hidden", "activation", "parts")}
        fields |= {name: getattr(desc, name) for name in quantised._PARAMETERS}
        assert list(quantised._differences(geometry, ufm.core.ExpertDesc(**fields | changed))) == [said]


def test_gate_and_up_that_transformers_takes_the_other_way_round(monkeypatch, folder):
    real = quantised._Model.__init__

    def swapped(self, model, conversions, meta_state):
        real(self, model, [turned(entry) for entry in conversions], meta_state)

    def turned(entry):
        if "mlp.experts.gate_up_proj" not in entry.target_patterns:
            return entry
        return WeightConverter(entry.source_patterns[::-1], entry.target_patterns, operations=entry.operations)

    monkeypatch.setattr(quantised._Model, "__init__", swapped)
    assert "the model's gate matrix of expert 0 is not what libufm reads as such" in refused(folder)


def test_no_biases(gpt_oss):
    change(gpt_oss, lambda t: [t.pop(name) for name in list(t) if name.endswith("_bias") and "experts" in name])
    assert "bias" in refused(gpt_oss, (Unsupported, FormatError))


def test_a_layer_without_experts(folder):
    change(folder, lambda t: [t.pop(name) for name in list(t) if name.startswith("model.layers.1.mlp.experts.")])
    said = refused(folder, (Unsupported, FormatError))
    assert "model.layers.1" in said


def test_a_routed_layer_that_the_model_has_not(folder):
    made.edit(folder, mlp_only_layers=[1])
    assert "1" in refused(folder, (Unsupported, FormatError))


def test_libufm_has_the_last_word(folder):
    """Its own line, in its own class."""
    made.edit(folder, quantization_config=made.FP8 | {"modules_to_not_convert": ["model.layers.2.mlp.experts"]})
    assert "expected no routed experts: all are quantised" in refused(folder, FormatError)
    made.edit(folder, quantization_config={"quant_method": "awq", "bits": 4})
    assert 'quant_method "awq"' in refused(folder, FormatError)


def test_another_number_of_experts(folder):
    assert "experts" in refused(made.edit(folder, num_experts=7), (Unsupported, FormatError))


def test_dense_parts_that_are_not_read(folder):
    """Without being refused they would be taken for plain numbers, or drawn at random."""
    q_proj = "model.layers.1.self_attn.q_proj.weight"
    scale = f"{q_proj}_scale_inv"
    whole = load_file(folder / "model.safetensors")

    def broken(edit):
        save_file(whole, folder / "model.safetensors", metadata={"format": "pt"})
        change(folder, edit)
        return refused(folder)

    assert f"{q_proj}: F8_E4M3: expected {scale} beside it" in broken(lambda t: t.pop(scale))
    assert f"{scale}: [2, 1] F32: expected [2, 2]" in broken(lambda t: t.update({scale: t[scale][:, :1].clone()}))
    assert f"{q_proj}: not in the checkpoint" in broken(lambda t: [t.pop(q_proj), t.pop(scale)])
    packed = q_proj + "_packed"
    said = broken(lambda t: [t.pop(q_proj), t.pop(scale), t.update({packed: torch.zeros(64, 4, dtype=torch.int32)})])
    assert f"{packed}: I32: quantised (fp8)" in said
    said = broken(lambda t: [t.pop(scale), t.update({q_proj: torch.zeros(64, 16, dtype=torch.uint8)})])
    assert f"{q_proj}: U8: quantised (fp8), and no routed expert" in said


def test_compressed_tensors_without_the_package(monkeypatch, tmp_path):
    def absent(*_):
        raise ImportError("compressed-tensors>=0.15.0 is required")

    made.with_experts_as("int4", tmp_path / "all", attention=True)
    monkeypatch.setattr(dense.CompressedTensorsConfig, "from_dict", absent)
    assert "expected the package compressed-tensors: compressed-tensors>=0.15.0" in refused(tmp_path / "all")


def test_fp8_of_another_method(tmp_path):
    """Experts by libufm, but all else has scales that nobody here applies."""
    made.with_experts_as("fp8 modelopt", tmp_path / "m")
    name = "model.layers.0.self_attn.k_proj.weight"
    change(tmp_path / "m", lambda t: t.update({name: t[name].to(torch.float8_e4m3fn)}))
    assert f"{name}: F8_E4M3: quantised (modelopt)" in refused(tmp_path / "m")


def test_an_index_of_other_files(tmp_path, folder):
    shards = made.write("qwen3_moe", tmp_path / "shards", "published")
    index = shards / "model.safetensors.index.json"
    files = [str(path) for path in sorted(shards.glob("*.safetensors"))]
    assert quantised._source(files) == str(shards) and quantised._source(files[:1]) == files[0]
    with pytest.raises(Unsupported, match="names other files"):
        quantised._source(files[:2])
    index.write_text("[]")
    with pytest.raises(FormatError, match="no index of shards"):
        quantised._source(files)
    index.unlink()
    with pytest.raises(FileError, match=r"expected the index of 3 files"):
        quantised._source(files)


def test_what_config_json_says(folder, tmp_path):
    made.edit(folder, quantization_config={"bits": 4})
    assert f"{folder}: quantised (by an unnamed method): expected a quant_method" in refused(folder)
    plain = tmp_path / "plain"
    made.layouts.write(made.plain_model("qwen3_moe"), plain, "saved")
    made.edit(plain, quantization_config=made.FP8)
    assert refused(plain) == f"{plain / 'config.json'}: quantised (fp8), and all tensors beside it are plain"


def test_a_quantised_model_without_routed_experts(tmp_path):
    config = transformers.Qwen3Config(hidden_size=32, num_attention_heads=2, num_hidden_layers=1, vocab_size=64)
    transformers.Qwen3ForCausalLM(config).save_pretrained(tmp_path)
    made.edit(tmp_path, quantization_config=made.FP8)
    assert refused(tmp_path).startswith("Qwen3ForCausalLM: quantised (fp8), and no routed experts to page")


def test_a_quantised_model_in_memory():
    model = made.plain_model("qwen3_moe")
    model.hf_quantizer = types.SimpleNamespace(quantization_config=transformers.FineGrainedFP8Config())
    with pytest.raises(Unsupported, match=r"a quantised model \(fp8\)"):
        ufm.attach(model, device="cpu")


def test_it_is_not_saved(folder, tmp_path):
    with pytest.raises(ValueError, match="not serializable"):
        load(folder).save_pretrained(tmp_path / "again")


def test_layers_in_fp8_on_a_gpu_need_what_transformers_needs(monkeypatch):
    monkeypatch.setattr(made.of_fp8, "is_accelerate_available", lambda: False)
    with pytest.raises(Unsupported, match=r"weights in FP8 on cuda:0: .*accelerate"):
        dense.DenseInFp8(made.FP8, {}, torch.device("cuda", 0))


@pytest.mark.parametrize("block", [[16], [16, 0], "16", [16, True]])
def test_blocks_that_are_none(block):
    with pytest.raises(Unsupported, match="weight_block_size"):
        dense.blocks_of({"weight_block_size": block})


# ---- plan


def test_a_plan_counts_what_lies_there(folders, capsys):
    for family, folder in folders.items():
        command = ["plan", str(folder), "--vram", "2MiB", "--device", "cpu", "--link-gbps", "25", "--hbm-gbps", "900"]
        assert main(command) == 0
        assert f" in {STORED[family]}\n" in capsys.readouterr().out
        assert main([*command, "-o", "json"]) == 0
        found = json.loads(capsys.readouterr().out)
        stats = ufm.stats(load(folder))
        assert found["expert_storage"] == STORED[family]
        assert found["expert_bytes"] == sum(g.experts * g.expert_bytes for g in stats.geometries)


def test_a_plan_without_weights_says_so(folder, capsys):
    (folder / "model.safetensors").unlink()
    command = ["plan", str(folder), "--vram", "2MiB", "--device", "cpu", "--link-gbps", "25", "--hbm-gbps", "900"]
    assert main(command) == 0
    assert "config.json says fp8, and no weights are there: planned in float32" in capsys.readouterr().out
