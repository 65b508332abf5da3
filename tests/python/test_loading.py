# SPDX-License-Identifier: MIT
"""from_pretrained and attach on a small checkpoint: what works as always, and what is refused with a line."""

import copy
import gc
import json
import os
import pickle
import shutil
import signal
import sys
import time

import pytest

from conftest import UNDER_A_SANITIZER

torch = pytest.importorskip("torch", reason="not installed: torch")
transformers = pytest.importorskip("transformers", reason="not installed: transformers")

from transformers import AutoModelForCausalLM, Qwen3Config, Qwen3ForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM  # noqa: E402

import ufm  # noqa: E402
from ufm.errors import BudgetError, FileError, FormatError, InvalidArgument, Unsupported  # noqa: E402
from ufm.sizes import parse_share, parse_size, size_text  # noqa: E402

SHAPE = {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 101}
IDS = torch.randint(0, 101, (2, 9), generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def stock():
    torch.manual_seed(0)
    model = Qwen3MoeForCausalLM(
        Qwen3MoeConfig(
            **SHAPE,
            intermediate_size=96,
            moe_intermediate_size=40,
            num_hidden_layers=3,
            num_experts=8,
            num_experts_per_tok=2,
        )
    ).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.requires_grad_(False)


@pytest.fixture(scope="module")
def folder(stock, tmp_path_factory):
    made = tmp_path_factory.mktemp("checkpoint")
    stock.save_pretrained(made, max_shard_size="100KB")
    return made


@pytest.fixture(scope="module")
def paged(folder):
    return ufm.from_pretrained(folder, experts="50%", device="cpu")


@pytest.fixture
def broken(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "broken")


def shards(path):
    return sorted(path.glob("*.safetensors"))


def edit(path, **keys):
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | keys))
    return path


def test_the_two_ways_in_are_the_same(folder, stock, paged):
    other = AutoModelForCausalLM.from_pretrained(folder, quantization_config=ufm.Config(experts="10%", device="cpu"))
    assert torch.equal(other(IDS).logits, paged(IDS).logits)
    assert torch.allclose(paged(IDS).logits, stock(IDS).logits, atol=1e-5)
    assert type(paged) is type(stock) and sum(type(m).__name__ == "PagedExperts" for m in paged.modules()) == 3


def test_generation_as_always(stock, paged):
    def same(**options):
        made = [model.generate(IDS, max_new_tokens=12, do_sample=False, **options) for model in (stock, paged)]
        return torch.equal(*made)

    assert same() and same(num_beams=3) and same(cache_implementation="static")
    one = [
        m.generate(IDS[:1], max_new_tokens=12, do_sample=False, assistant_model=a)
        for m, a in ((stock, paged), (paged, stock))
    ]
    assert torch.equal(*one)


def test_a_compiled_model(paged):
    compiled = torch.compile(paged.model, backend="eager", fullgraph=True)
    assert torch.equal(compiled(IDS).last_hidden_state, paged.model(IDS).last_hidden_state)


def test_attach(folder, stock, paged):
    model = copy.deepcopy(stock)
    assert ufm.attach(model, experts="50%", device="cpu") is model
    assert torch.equal(model(IDS).logits, paged(IDS).logits)
    assert model.num_parameters() == paged.num_parameters() < stock.num_parameters()
    with pytest.raises(Unsupported, match="paged already"):
        ufm.attach(model, device="cpu")
    with pytest.raises(ValueError, match="not serializable"):
        model.save_pretrained(folder)


def test_a_model_without_experts_says_that_nothing_is_paged(tmp_path, caplog):
    Qwen3ForCausalLM(Qwen3Config(**SHAPE, intermediate_size=96, num_hidden_layers=2)).save_pretrained(tmp_path)
    model = ufm.from_pretrained(tmp_path, device="cpu")
    assert "Qwen3ForCausalLM has no routed experts: nothing is paged" in caplog.text
    assert model(IDS).logits.shape == (2, 9, 101) and ufm.paging_of(model) is None


# ---- bad input


def test_files_that_are_not_there(broken):
    shards(broken)[1].unlink()
    with pytest.raises(FileError, match=r"model-00002-of-\d+.safetensors: no such file"):
        ufm.from_pretrained(broken, device="cpu")
    with pytest.raises(FileError, match="/not/there: no such folder"):
        ufm.from_pretrained("/not/there")
    (broken / "config.json").unlink()
    with pytest.raises(FileError, match=r"no config\.json in it"):
        ufm.from_pretrained(broken)


@pytest.mark.parametrize("cut, said", [(-100, "a part of it is missing"), (5, "5 bytes long"), (300, "a header of")])
def test_torn_files(broken, cut, said):
    path = shards(broken)[1]
    os.truncate(path, cut if cut > 0 else path.stat().st_size + cut)
    with pytest.raises(FormatError, match=said) as error:
        ufm.from_pretrained(broken, device="cpu")
    assert path.name in str(error.value)


def test_code_of_a_checkpoints_own(broken):
    with pytest.raises(Unsupported, match="trust_remote_code"):
        ufm.from_pretrained(broken, trust_remote_code=True)
    edit(broken, model_type="unheard_of", auto_map={"AutoConfig": "own.Config"})
    with pytest.raises(Unsupported, match="code of its own"):
        ufm.from_pretrained(broken)


def test_experts_of_another_shape(broken):
    edit(broken, moe_intermediate_size=48)
    with pytest.raises(
        Unsupported, match=r"gate_up_proj: the checkpoint's is \[8, 80, 64\], the config's \[8, 96, 64\]"
    ):
        ufm.from_pretrained(broken, device="cpu")


@pytest.mark.parametrize("method", ["fp8", "unheard_of"])
def test_quantised(broken, method):
    edit(broken, quantization_config={"quant_method": method, "weight_block_size": [128, 128]})
    with pytest.raises(Unsupported, match=rf"quantised \({method}\)"):
        ufm.from_pretrained(broken)
    with pytest.raises((Unsupported, ValueError)):
        AutoModelForCausalLM.from_pretrained(broken, quantization_config=ufm.Config(device="cpu"))


@pytest.mark.parametrize(
    "options, said",
    [
        ({"vram": "8GB"}, "vram: '8GB': do you mean \"8GiB\""),
        ({"vram": 0}, "vram: 0: expected bytes above 0"),
        ({"experts": "0%"}, "experts: '0%': expected a percentage"),
        ({"experts": "x"}, "experts: 'x': expected bytes"),
        ({"cpu_assist": "maybe"}, "cpu_assist: 'maybe': expected one of auto, on, off"),
        ({"host": "4GiB"}, "host: "),
        ({"deterministic": True, "cpu_assist": "on"}, "deterministic: expected cpu_assist"),
        ({"deterministic": 1}, "deterministic: 1: expected True or False"),
        ({"math": "fp8"}, "math: 'fp8'"),
        ({"context": -1}, "context: -1"),
        ({"dtype": "float64"}, "dtype: float64: expected one of float32, bfloat16, float16"),
        ({"device": "mps"}, "device_map: mps: expected cpu or cuda"),
    ],
)
def test_options(folder, options, said):
    with pytest.raises(InvalidArgument) as error:
        ufm.from_pretrained(folder, **{"device": "cpu"} | options)
    assert str(error.value).startswith(said)


def test_an_unknown_option_of_config_is_named():
    with pytest.raises(InvalidArgument, match="vrm: no such option: expected one of vram, experts"):
        ufm.Config(vrm="8GiB")


def test_a_budget_below_the_smallest_working_set(folder):
    with pytest.raises(BudgetError, match=r"experts: 1 KiB .*: expected at least .* \(\d+ bytes\)"):
        ufm.from_pretrained(folder, experts="1KiB", device="cpu")


def test_gradients(folder, paged):
    assert not paged(IDS).logits.requires_grad
    embedded = paged.get_input_embeddings()(IDS).requires_grad_(True)
    with pytest.raises(Unsupported, match="no backward pass"):
        paged.train()(inputs_embeds=embedded)
    paged.eval()


@pytest.mark.parametrize(
    "change", ["bfloat16", "half", "float", "double", lambda m: m.to("meta"), lambda m: m.to(torch.float16)]
)
def test_a_model_stays_where_and_what_it_is(paged, change):
    before = paged(IDS).logits
    if change == "float":  # Transformers refuses it for quantised models, whatever they are in
        with pytest.raises(ValueError, match="float"):
            paged.float()
    else:
        with pytest.raises(ValueError if change == "half" else Unsupported):
            getattr(paged, change)() if isinstance(change, str) else change(paged)
    assert torch.equal(paged(IDS).logits, before)


def test_it_is_neither_copied_nor_pickled_nor_saved(paged, tmp_path):
    with pytest.raises(Unsupported, match="cannot be copied"):
        copy.deepcopy(paged)
    with pytest.raises(Unsupported, match="cannot be pickled"):
        pickle.dumps(paged)
    with pytest.raises(ValueError, match="not serializable"):
        paged.save_pretrained(tmp_path)


def test_a_child_is_told(paged):
    paged(IDS)
    pid = os.fork()
    if pid == 0:
        try:
            paged(IDS)
        except Unsupported as error:
            os._exit(0 if "load the model in the child" in str(error) else 1)
        os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0
    assert paged(IDS).logits.isfinite().all()


def test_workers_of_a_data_loader(paged):
    loader = torch.utils.data.DataLoader(IDS, batch_size=1, num_workers=2)
    assert [tuple(paged(batch).logits.shape) for batch in loader] == [(1, 9, 101)] * 2


def resident_bytes():
    with open("/proc/self/statm", encoding="ascii") as line:
        return int(line.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(UNDER_A_SANITIZER, reason="not under a sanitizer: it keeps what is freed")
def test_memory_comes_back(folder):
    for _ in range(3):
        ufm.from_pretrained(folder, device="cpu")(IDS)
    gc.collect()
    before = resident_bytes()
    for _ in range(10):
        ufm.from_pretrained(folder, device="cpu")(IDS)
    gc.collect()
    assert resident_bytes() - before < 4 << 20  # each has half a MiB of experts in host memory, and slots


INTERRUPTED = """
import sys, torch, ufm
model = ufm.from_pretrained(sys.argv[1], device="cpu")
ids = torch.zeros(1, 1, dtype=torch.long)
print("ready", flush=True)
try:
    model.generate(ids, max_new_tokens=1000000, do_sample=False)
except KeyboardInterrupt:
    print(model.generate(ids, max_new_tokens=4, do_sample=False).shape[1], flush=True)
"""


def test_ctrl_c_in_a_generation(folder, start):
    env = os.environ | {"PYTHONPATH": os.path.dirname(os.path.dirname(ufm.__file__))}
    process = start([sys.executable, "-c", INTERRUPTED, folder], env=env)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[0] == "5\n" and process.returncode == 0


def test_sizes():
    assert [parse_size(text, "x") for text in (7, "7", "2 KiB", "1.5GiB")] == [7, 7, 2048, 3 << 29]
    assert parse_share("12.5%", "x") == 0.125 and parse_share("1MiB", "x") == 1 << 20
    assert [size_text(n) for n in (0, 1023, 1 << 20, 3 << 29, 1 << 41)] == [
        "0 bytes",
        "1023 bytes",
        "1 MiB",
        "1.5 GiB",
        "2048 GiB",
    ]
    for wrong in (True, 1.5, -1, "", "GiB", "1 XB", "5K", None):
        with pytest.raises(InvalidArgument, match="x: "):
            parse_size(wrong, "x")
