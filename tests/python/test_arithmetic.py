# SPDX-License-Identifier: MIT
"""What an experts module computes is found out, or it is refused."""

import pytest

torch = pytest.importorskip("torch", reason="not installed: torch")
pytest.importorskip("transformers", reason="not installed: transformers")

from torch import nn  # noqa: E402
from transformers import GptOssConfig  # noqa: E402
from transformers.integrations.moe import use_experts_implementation  # noqa: E402
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssExperts  # noqa: E402

from ufm.errors import Unsupported  # noqa: E402
from ufm.models.arithmetic import Arithmetic  # noqa: E402
from ufm.models.arithmetic import understand as understand_by  # noqa: E402
from ufm.models.interfaces import interface_of  # noqa: E402


def understand(module):
    return understand_by(module, interface_of(module))


class Experts(nn.Module):
    """Written as Transformers writes its own."""

    def __init__(self, config, experts=3, d_model=8, d_hidden=5, gated=True):
        super().__init__()
        self.num_experts = experts
        self.act_fn = nn.SiLU()
        first = "gate_up_proj" if gated else "up_proj"
        setattr(self, first, nn.Parameter(torch.empty(experts, d_hidden * (1 + gated), d_model)))
        self.down_proj = nn.Parameter(torch.empty(experts, d_model, d_hidden))

    def forward(self, hidden_states, top_k_index, top_k_weights):
        made = torch.zeros_like(hidden_states)
        for expert in range(self.num_experts):
            token, rank = torch.where(top_k_index == expert)
            product = nn.functional.linear(hidden_states[token], self.gate_up_proj[expert])
            out = nn.functional.linear(self._apply_gate(product), self.down_proj[expert])
            made.index_add_(0, token, self.weigh(out, top_k_weights[token, rank, None]))
        return made

    def weigh(self, out, weights):
        return out * weights


def make(**members):
    """A class of experts with other members, on the meta device."""
    members.setdefault("_made", True)
    made = use_experts_implementation(type("SomeExperts", (Experts,), dict(Experts.__dict__, **members)))
    with torch.device("meta"):
        return made(None)


def test_the_default():
    assert understand(make()) == Arithmetic()


@pytest.mark.parametrize(
    "name, function",
    [
        ("gelu", nn.GELU()),
        ("gelu_tanh", nn.GELU(approximate="tanh")),
        ("silu", nn.SiLU()),
    ],
)
def test_activations(name, function):
    module = make()
    module.act_fn = function
    assert understand(module) == Arithmetic(activation=name)


def test_gates_that_alternate_with_limits():
    with torch.device("meta"):
        module = GptOssExperts(GptOssConfig(num_local_experts=4, hidden_size=32, intermediate_size=16))
    assert interface_of(module)
    assert understand(module) == Arithmetic(
        biased=True, transposed=True, alternating=True, act_alpha=1.702, gate_limit=7.0, up_limit=7.0, up_offset=1.0
    )


def swapped(self, product):
    up, gate = product.chunk(2, dim=-1)
    return self.act_fn(gate) * up


def test_up_before_gate():
    assert understand(make(_apply_gate=swapped)) == Arithmetic(up_first=True)


@pytest.mark.parametrize(
    "gate",
    [
        lambda self, product: self.act_fn(product.chunk(2, dim=-1)[0]) * product.chunk(2, dim=-1)[1] * 1.001,
        lambda self, product: torch.tanh(product.chunk(2, dim=-1)[0]) * product.chunk(2, dim=-1)[1],
        lambda self, product: self.act_fn(product.chunk(2, dim=-1)[0].clamp(max=3)) * product.chunk(2, dim=-1)[1],
    ],
)
def test_another_gate_is_refused(gate):
    with pytest.raises(Unsupported, match="SomeExperts: its experts compute what UFM has no arithmetic for"):
        understand(make(_apply_gate=gate))


def test_weights_before_the_last_product_are_refused():
    """With a limit on the output the order is seen; here the weight is squared, as no UFM does."""
    with pytest.raises(Unsupported, match="SomeExperts"):
        understand(make(weigh=lambda self, out, weights: out * weights**2))


def test_a_limit_that_the_module_names_but_does_not_use():
    module = make()
    module.limit = 2.0
    assert understand(module) == Arithmetic()


def test_an_unknown_parameter_is_named():
    module = make()
    module.norm = nn.Parameter(torch.empty(3, 8, device="meta"))
    with pytest.raises(Unsupported, match="SomeExperts: parameters that UFM does not know: norm"):
        understand(module)


def test_a_forward_that_needs_more_is_refused():
    def forward(self, hidden_states, top_k_index, top_k_weights):
        return self.not_there(hidden_states)

    with pytest.raises(Unsupported, match="SomeExperts: cannot be tried on a small copy"):
        understand(make(forward=forward))


def test_the_module_is_left_as_it_was():
    module = make()
    before = {name: (p.shape, p.device.type) for name, p in module.named_parameters()}
    understand(module)
    assert {name: (p.shape, p.device.type) for name, p in module.named_parameters()} == before
    assert module.num_experts == 3
