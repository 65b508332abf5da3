# SPDX-License-Identifier: MIT
"""Paged experts on a GPU: layers, whole models and the budget. Skipped where there is none."""

import gc

import pytest

torch = pytest.importorskip("torch", reason="not installed: torch")
transformers = pytest.importorskip("transformers", reason="not installed: transformers")

from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM  # noqa: E402

import ufm  # noqa: E402

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")

CONFIG = {
    "hidden_size": 512,
    "intermediate_size": 512,
    "moe_intermediate_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 64,
    "num_experts": 32,
    "num_experts_per_tok": 4,
    "vocab_size": 1000,
    "decoder_sparse_step": 1,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(3)
    model = Qwen3MoeForCausalLM(Qwen3MoeConfig(**CONFIG))
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=1.5 / parameter.shape[-1] ** 0.5)
    made = tmp_path_factory.mktemp("checkpoint")
    model.to(torch.bfloat16).save_pretrained(made, max_shard_size="20MB")
    return made


def stock(folder, dtype, implementation="grouped_mm"):
    return Qwen3MoeForCausalLM.from_pretrained(folder, dtype=dtype, experts_implementation=implementation).cuda().eval()


def experts_of(model):
    return [module for name, module in model.named_modules() if name.endswith("mlp.experts")]


def rms(x):
    return x.double().square().mean().sqrt().item()


@pytest.mark.parametrize("budget", ["100%", "40%", "15%"])
@pytest.mark.parametrize("tokens", [1, 7, 300])
def test_bf16_layers_are_no_further_from_f32_than_grouped_mm(folder, budget, tokens):
    paged, exact, grouped = (
        ufm.from_pretrained(folder, experts=budget),
        stock(folder, torch.float32, "eager"),
        stock(folder, torch.bfloat16),
    )
    torch.manual_seed(tokens)
    for ours, reference, theirs in zip(experts_of(paged), experts_of(exact), experts_of(grouped), strict=True):
        x = torch.randn(tokens, 512, device="cuda").bfloat16()
        ids = torch.stack([torch.randperm(32, device="cuda")[:4] for _ in range(tokens)])
        gates = torch.rand(tokens, 4, device="cuda").softmax(-1).bfloat16()
        with torch.no_grad():
            wanted = reference(x.float(), ids, gates.float())
            assert rms(ours(x, ids, gates).float() - wanted) <= rms(theirs(x, ids, gates).float() - wanted) * 1.001


@pytest.mark.parametrize("cpu_assist", ["off", "on", "auto"])
def test_f32_tokens_are_those_of_eager(folder, cpu_assist):
    ids = torch.randint(0, 1000, (3, 11), generator=torch.Generator().manual_seed(1)).cuda()
    mask = torch.ones_like(ids)
    mask[1, :4] = 0
    wanted = stock(folder, torch.float32, "eager").generate(
        ids, attention_mask=mask, max_new_tokens=48, do_sample=False
    )
    paged = ufm.from_pretrained(folder, experts="30%", dtype=torch.float32, cpu_assist=cpu_assist)
    assert torch.equal(paged.generate(ids, attention_mask=mask, max_new_tokens=48, do_sample=False), wanted)


def test_deterministic_is_the_same_from_run_to_run(folder):
    ids = torch.randint(0, 1000, (1, 40), generator=torch.Generator().manual_seed(2)).cuda()
    found = [
        ufm.from_pretrained(folder, experts=budget, deterministic=True)(ids).logits for budget in ("20%", "20%", "70%")
    ]
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_another_stream(folder):
    paged = ufm.from_pretrained(folder, experts="30%", deterministic=True)
    ids = torch.arange(50, device="cuda")[None]
    wanted = paged(ids).logits
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        found = paged(ids).logits
    side.synchronize()
    assert torch.equal(found, wanted)


def test_attach(folder):
    ids = torch.randint(0, 1000, (2, 9), generator=torch.Generator().manual_seed(4)).cuda()
    wanted = ufm.from_pretrained(folder, experts="50%", deterministic=True)(ids).logits
    model = Qwen3MoeForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    assert torch.equal(ufm.attach(model, experts="50%", deterministic=True)(ids).logits, wanted)


def test_a_model_that_goes_gives_its_memory_back(folder):
    def taken():
        gc.collect()
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        free, total = torch.cuda.mem_get_info()
        return total - free

    ufm.from_pretrained(folder, experts="50%")(torch.arange(9, device="cuda")[None])
    before = taken()
    for _ in range(4):
        ufm.from_pretrained(folder, experts="50%")(torch.arange(9, device="cuda")[None])
    assert taken() - before <= 4 << 20


def test_a_tensor_elsewhere_is_refused(folder):
    paged = ufm.from_pretrained(folder, experts="50%")
    with pytest.raises(ValueError, match="on cpu, expected cuda:0"):
        experts_of(paged)[0](torch.zeros(1, 512).bfloat16(), torch.zeros(1, 4, dtype=torch.int64), torch.zeros(1, 4))
    with pytest.raises(ufm.UfmError, match="cannot go to cpu"):
        paged.cpu()
    assert paged(torch.arange(3, device="cuda")[None]).logits.isfinite().all()
