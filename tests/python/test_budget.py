# SPDX-License-Identifier: MIT
"""`vram`: who gets how much, and that a forward pass asks for its memory. Driver and pools of PyTorch are played here;
tests/python/test_lender_on_gpu.py and tests/gpu/python_vram.py have the real ones."""

import contextlib
import gc
import threading
import types
import weakref

import pytest

torch = pytest.importorskip("torch", reason="not installed: torch")
pytest.importorskip("transformers", reason="not installed: transformers")

from test_lender import OTHERS, TOTAL, Driver  # noqa: E402
from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM  # noqa: E402

import ufm  # noqa: E402
import ufm.lender  # noqa: E402
from ufm.core import Lender  # noqa: E402
from ufm.errors import BudgetError  # noqa: E402
from ufm.models import budget, footprint  # noqa: E402
from ufm.models.options import Options  # noqa: E402

MIB = 1 << 20
IDS = torch.arange(12)[None] % 90
CONFIG = {
    "hidden_size": 64, "intermediate_size": 96, "moe_intermediate_size": 256, "num_hidden_layers": 3, "num_experts": 16,
    "num_experts_per_tok": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 101,
}  # fmt: skip


class Played:
    """What a Keeper needs of a paging, said to be on a GPU."""

    def __init__(self, engines):
        self.device, self.engines = torch.device("cuda", 0), engines


class Pools:
    """torch.cuda's pools as far as they are used: which thread is in which, and how many were made."""

    def __init__(self):
        self.made, self.local, self.idle_bytes, self.emptied = 0, threading.local(), 0, 0

    def pool(self, allocator):
        self.made += 1
        return object()

    @contextlib.contextmanager
    def use(self, pool, device):
        assert not self.inside, "a pool in a pool"
        self.local.pool = pool
        try:
            yield
        finally:
            self.local.pool = None

    @property
    def inside(self):
        return getattr(self.local, "pool", None) is not None


@pytest.fixture
def pools(monkeypatch):
    played = Pools()
    monkeypatch.setattr(torch.cuda, "MemPool", played.pool, raising=False)
    monkeypatch.setattr(torch.cuda, "use_mem_pool", played.use, raising=False)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda *_: played.idle_bytes)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda *_: 0)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: setattr(played, "emptied", played.emptied + 1))
    monkeypatch.setattr(torch._C, "_cuda_customAllocator", lambda *addresses: addresses, raising=False)
    monkeypatch.setattr(budget, "_others", {0: OTHERS})
    monkeypatch.setattr(budget, "_shared", {})
    monkeypatch.setattr(budget, "RESERVE_BYTES", MIB)
    return played


@pytest.fixture
def model(tmp_path_factory):
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("checkpoint")
    Qwen3MoeForCausalLM(Qwen3MoeConfig(**CONFIG)).save_pretrained(folder)
    return ufm.from_pretrained(folder, experts="100%", device="cpu", deterministic=True)


def keep(model, monkeypatch, limit, reserve=MIB):
    """A Keeper over engines of the cpu backend; the driver that counts for it."""
    paging = ufm.paging_of(model)
    driver = Driver(*paging.engines)

    def lender(engines, limit_bytes, others, index):
        return Lender(engines, limit_bytes, others, index, functions=driver.functions)

    monkeypatch.setattr(ufm.lender, "Lender", lender)
    paging.played = played = Played(paging.engines)  # the shared lender has weak references
    return budget.Keeper(model, played, limit, reserve), driver


def test_a_pass_is_in_a_pool_and_changes_nothing(model, pools, monkeypatch):
    wanted = model(IDS).logits
    seen = []
    model.get_input_embeddings().register_forward_hook(lambda *_: seen.append(pools.inside))
    keeper, driver = keep(model, monkeypatch, 64 * MIB)
    assert torch.equal(model(IDS).logits, wanted)
    assert seen == [True] and not pools.inside and pools.made == 1
    assert torch.equal(model.generate(IDS, max_new_tokens=5, do_sample=False)[:, :12], IDS)
    assert len(seen) == 6 and all(seen) and pools.made == 1 and driver.used <= 64 * MIB
    assert keeper.cache_token_bytes == footprint.cache_bytes_per_token(model.config, 4) == 3 * 2 * 2 * 16 * 4


def test_engines_give_way_and_come_back(model, pools, monkeypatch):
    wanted = model(IDS).logits
    engine = ufm.paging_of(model).engines[0]
    full = engine.bounds().now_bytes
    keeper, driver = keep(model, monkeypatch, full + 2 * MIB)
    lender = keeper.shared.current(keeper.device)
    memory = lender.alloc(5 * MIB)
    assert engine.bounds().now_bytes < full and driver.used <= full + 2 * MIB
    assert torch.equal(model(IDS).logits, wanted)
    lender.free(memory)
    model(IDS)
    assert engine.bounds().now_bytes == full and driver.used <= full + 2 * MIB


def test_room_for_context_is_kept_from_the_beginning(model, pools, monkeypatch):
    full = ufm.paging_of(model).engines[0].bounds().now_bytes
    keeper, driver = keep(model, monkeypatch, full + 2 * MIB, reserve=6 * MIB)
    model(IDS)
    assert driver.used <= full + 2 * MIB - 6 * MIB
    lent = keeper.shared.current(keeper.device).alloc(4 * MIB)
    used = driver.used
    model(IDS)  # what is lent was reserved: nobody gives way again
    assert driver.used == used and lent


def test_a_prompt_that_cannot_fit_is_refused_before_it_starts(model, pools, monkeypatch):
    bounds = ufm.paging_of(model).engines[0].bounds()
    keep(model, monkeypatch, bounds.now_bytes)
    long = torch.zeros(1, 40_000, dtype=torch.long)
    with pytest.raises(BudgetError, match=r"a prompt of 40000 tokens \(batch 1\) needs .* at most \d+ tokens fit"):
        model(long)
    assert not pools.inside and model(IDS).logits.isfinite().all()


def test_a_failed_pass_leaves_its_pool(model, pools, monkeypatch):
    keep(model, monkeypatch, 64 * MIB)

    def out_of_memory(*_):
        raise torch.OutOfMemoryError("played")

    hook = model.lm_head.register_forward_pre_hook(out_of_memory)
    with pytest.raises(torch.OutOfMemoryError):
        model(IDS)
    hook.remove()
    assert not pools.inside and model(IDS).logits.isfinite().all()


def test_idle_segments_go_back_before_a_prompt(model, pools, monkeypatch):
    keep(model, monkeypatch, 64 * MIB)
    model(IDS)
    pools.idle_bytes = budget._IDLE_BYTES
    model(IDS[:, :1])
    assert (pools.made, pools.emptied) == (1, 0)
    model(IDS)
    assert (pools.made, pools.emptied) == (2, 1)


def test_each_thread_has_its_pool(model, pools, monkeypatch):
    keep(model, monkeypatch, 64 * MIB)
    wanted, found = model(IDS).logits, []
    threads = [threading.Thread(target=lambda: found.append(model(IDS).logits)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3 and all(torch.equal(each, wanted) for each in found) and pools.made == 4


def test_a_model_that_has_gone_is_no_longer_counted(model, pools, monkeypatch, tmp_path):
    Qwen3MoeForCausalLM(Qwen3MoeConfig(**CONFIG)).save_pretrained(tmp_path)
    other = ufm.from_pretrained(tmp_path, experts="100%", device="cpu")
    keeper, driver = keep(model, monkeypatch, 64 * MIB)
    driver.engines = (*driver.engines, *ufm.paging_of(other).engines)
    other.played = Played(ufm.paging_of(other).engines)
    keeper.shared.add(other.played, 80 * MIB)
    assert len(keeper.shared.lender.engines) == 2
    driver.engines = driver.engines[:1]
    gone = weakref.ref(ufm.paging_of(other).engines[0])
    del other
    gc.collect()
    assert gone() is None
    assert torch.isfinite(model(IDS).logits).all()
    assert len(keeper.shared.lender.engines) == 1 and keeper.shared.limit_bytes == 80 * MIB


@pytest.fixture
def device(monkeypatch):
    """A GPU of TOTAL bytes, of which OTHERS are others' and 300 MiB are the context's and the dense half's."""
    taken = 300 * MIB
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (TOTAL - OTHERS - taken, TOTAL))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda *_: 0)
    monkeypatch.setattr(budget, "_others", {0: OTHERS})
    return torch.device("cuda", 0)


def test_what_vram_leaves_for_experts(model, device):
    skeleton = types.SimpleNamespace(config=model.config, dtype=torch.float32)

    def left(**given):
        return budget.for_experts(skeleton, Options(**given), device, 1 << 40)

    assert left(vram="700MiB") == (700 - 300) * MIB - budget.RESERVE_BYTES
    assert left() == TOTAL - OTHERS - 300 * MIB - budget.RESERVE_BYTES
    assert left(experts="5MiB") == 5 * MIB and left(experts="30%") == 0.3
    token = footprint.cache_bytes_per_token(model.config, 4)
    assert left(vram="700MiB", context=1000) == left(vram="700MiB") - 1000 * token
    with pytest.raises(BudgetError, match=r"vram: 400 MiB: .* need 300 MiB, and 256 MiB stay free"):
        left(vram="400MiB")


def test_what_cannot_fit_is_refused_before_anything_is_loaded(model, device):
    budget.check_before_loading(model, Options(vram="700MiB"), device)
    budget.check_before_loading(model, Options(vram="1MiB"), torch.device("cpu"))
    with pytest.raises(BudgetError, match="expected more than"):
        budget.check_before_loading(model, Options(vram="500MiB"), device)


def test_on_the_cpu(model):
    cpu = torch.device("cpu")
    assert budget.for_experts(model, Options(vram="3MiB"), cpu, 1 << 40) == 3 * MIB
    assert budget.for_experts(model, Options(), cpu, 1) == 1.0
    assert budget.for_experts(model, Options(), cpu, 1 << 60) == 0.05
