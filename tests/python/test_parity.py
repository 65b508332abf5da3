# SPDX-License-Identifier: MIT
"""The comparisons of the parity suite can fail, and its models are worth comparing."""

import pytest

torch = pytest.importorskip("torch", reason="not installed: torch")
transformers = pytest.importorskip("transformers", reason="not installed: transformers")

import families  # noqa: E402
import parity  # noqa: E402
import tiny_models  # noqa: E402

from ufm.models.interfaces import interface_of  # noqa: E402

transformers.logging.set_verbosity_error()


@pytest.fixture(scope="module")
def reference():
    return parity.Reference("qwen3_moe")


def with_fault(fault):
    """The model again, but for its second routed layer, to whose experts `fault` is done."""
    model = tiny_models.tiny_model("qwen3_moe")
    with torch.no_grad():
        fault(tiny_models.experts_modules(model)[1][1])
    return model


def swap_two_experts(module):
    module.down_proj[[0, 1]] = module.down_proj[[1, 0]]


def leave_out_an_expert(module):
    module.down_proj[2] = 0


def change_one_weight_a_little(module):
    module.gate_up_proj[3, 5, 7] += 1e-2


def swap_gate_and_up(module):
    module.gate_up_proj.copy_(torch.cat(module.gate_up_proj.chunk(2, 1)[::-1], 1))


FAULTS = [swap_two_experts, leave_out_an_expert, change_one_weight_a_little, swap_gate_and_up]


def test_the_same_model_has_no_error(reference):
    model = tiny_models.tiny_model("qwen3_moe")
    for size in parity.LENGTHS:
        assert parity.experts_error(reference, model, size) == 0
        assert parity.logits_error(reference, model, size) == 0
        assert parity.unexplained(reference, parity.generate(model, reference.batch(size)), size) == []


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("size", sorted(parity.LENGTHS))
def test_a_fault_of_one_layer_is_seen(reference, fault, size):
    model = with_fault(fault)
    assert parity.experts_error(reference, model, size) > parity.EXPERTS_TOLERANCE
    assert parity.logits_error(reference, model, size) > parity.SENSITIVITIES


@pytest.mark.parametrize("fault", [swap_two_experts, leave_out_an_expert, swap_gate_and_up])
@pytest.mark.parametrize("size", sorted(parity.LENGTHS))
def test_a_fault_changes_the_text(reference, fault, size):
    assert parity.unexplained(reference, parity.generate(with_fault(fault), reference.batch(size)), size)


def test_rounding_moves_an_element_by_its_last_place_at_most():
    generator = torch.Generator().manual_seed(1)
    output = torch.randn(10_000, generator=generator)
    moved = (parity.rounded(output, generator) - output).abs()
    above = torch.nextafter(output.abs(), torch.tensor(torch.inf)) - output.abs()
    assert bool((moved <= above).all())
    assert 0.3 < float((moved > 0).double().mean()) < 0.7


def test_texts_of_a_batch_are_padded_on_the_left():
    batch = parity.Batch.of(4, seed=4)
    assert batch.mask.sum(1).tolist() == list(parity.LENGTHS[4])
    assert bool(batch.mask[:, -1].all()) and not bool(batch.ids[batch.mask == 0].any())


def test_limits_of_hidden_values_are_reached():
    """Else experts that limit them would be compared on inputs that do not need it."""
    for family in ("gpt_oss", "deepseek_v4", "minimax_m3_vl_text"):
        reference = parity.Reference(family)
        modules = dict(tiny_models.experts_modules(reference.model))
        for name, made in reference.calls(1).items():
            first = modules[name].gate_up_proj[0]
            hidden = made[0].given[0] @ (first if first.shape[0] == made[0].given[0].shape[1] else first.T)
            share = float((hidden.abs() > modules[name].limit).double().mean())
            assert 0.02 < share < 0.9, (family, share)


@pytest.mark.parametrize("family", families.in_turn(n for n in families.runnable() if n not in families.REFUSED))
def test_routing_spreads_over_experts_that_matter(family):
    """A model that sent all tokens to two experts, or to whose logits they were nothing, would test little."""
    reference = parity.Reference(family)
    sequence = parity.Batch.of(4, seed=6).followed_by(torch.arange(3, 67).repeat(4, 1))
    calls = parity.calls(reference.model, lambda: parity.forward(reference.model, sequence))
    for name, module in tiny_models.experts_modules(reference.model):
        if not calls[name]:
            continue  # a tower that text does not pass
        given = torch.cat([call.given[1] for call in calls[name]])
        ids = module.route_tokens_to_experts(given)[0] if interface_of(module).routes else given
        assert len(ids.unique()) >= 4, name
    plain = parity.forward(reference.model, sequence)
    with torch.no_grad():
        for _, module in tiny_models.experts_modules(reference.model):
            interface = interface_of(module)
            for path, parameter in module.named_parameters():
                if path in (interface.down, interface.down_bias):
                    parameter.zero_()
    assert float((parity.forward(reference.model, sequence) - plain).abs().max()) > 0.1 * float(plain.abs().max())
