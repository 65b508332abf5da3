# SPDX-License-Identifier: MIT
"""Tiny random models with weights so strong that every layer moves the logits and tokens spread over the experts."""

import families
import tiny_configs
import torch

# How much larger than what keeps a vector's size; routers and experts are to matter.
ROUTER_GAIN = 2.0
EXPERTS_GAIN = 2.0


def fan_in(module, parameter):
    if isinstance(module, torch.nn.modules.conv._ConvNd):
        return parameter[0].numel()
    return parameter.shape[-2] if getattr(module, "is_transposed", False) else parameter.shape[-1]


def gain(module, name, parameter):
    """`name` is the parameter's in the model."""
    if parameter.dim() == 3 and not isinstance(module, torch.nn.modules.conv._ConvNd):
        # Experts that limit their hidden values reach the limit now and then.
        return EXPERTS_GAIN * (max(1.0, getattr(module, "limit", 0) / 2) if "gate_up" in name else 1.0)
    is_router = parameter.dim() == 2 and (parameter.shape[0] == tiny_configs.EXPERTS or ".router_mlp." in name)
    return ROUTER_GAIN if is_router else 1.0


def strengthen_parameter(module, name, parameter, generator):
    noise = torch.randn(parameter.shape, generator=generator)
    if parameter.dim() < 2:  # norms, biases, decays: near what the family begins with
        parameter.add_(0.1 * noise)
    elif isinstance(module, torch.nn.Embedding):
        parameter.copy_(noise)
    else:
        parameter.copy_(noise * gain(module, name, parameter) / fan_in(module, parameter) ** 0.5)


def strengthen_buffer(name, buffer, generator):
    """Corrections of routers, and the table of a router that routes by token."""
    if buffer.shape[0] == tiny_configs.EXPERTS and buffer.is_floating_point():
        buffer.add_(0.1 * torch.randn(buffer.shape, generator=generator))
    elif name.endswith("tid2eid"):
        scores = torch.rand(len(buffer), tiny_configs.EXPERTS, generator=generator)
        buffer.copy_(scores.topk(buffer.shape[1]).indices)


@torch.no_grad()
def strengthen(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            strengthen_parameter(module, f"{path}.{name}", parameter, generator)
    saved = model.state_dict().keys()
    for name, buffer in model.named_buffers():
        if buffer.dim() > 0 and name in saved:
            strengthen_buffer(name, buffer, generator)


def quiet_generation(model):
    """Nothing that ends a text early, whatever the family's own defaults are."""
    for part in model.modules():
        config = getattr(part, "generation_config", None)
        if config is not None:
            config.eos_token_id, config.pad_token_id = None, 0


def tiny_model(family, seed=3, dtype=torch.float32):
    """The eager model of `family`, in `dtype`: the same for the same seed."""
    config = tiny_configs.tiny_config(family)
    torch.manual_seed(seed)
    options = {"dtype": torch.float32, "experts_implementation": "eager"}
    model = families.model_class(family)._from_config(config, **options).eval()
    strengthen(model, seed)
    model.tie_weights()
    quiet_generation(model)
    return model if dtype == torch.float32 else model.to(dtype)


def experts_modules(model):
    """(name, module) of each module that computes routed experts."""
    return [
        (name, module)
        for name, module in model.named_modules()
        if name.rpartition(".")[2] == "experts" and "shared" not in name
    ]
