# SPDX-License-Identifier: MIT
"""The families of the installed Transformers that have routed experts, and what this suite does with each.

A family is a `model_type`. None is left out silently: `installed()` counts them by what their configs say, and
`folders_with_experts()` a second time by what their source code says."""

import datetime
import functools
import os
import pathlib
import re

# The defaults of a few configs would ask the network, and wait for it; read when Transformers is first imported.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import transformers
from transformers import CONFIG_MAPPING
from transformers.models.auto import modeling_auto

EXPERT_KEYS = {"num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"}

# A config that has no model of its own to generate with: its text is run within the whole.
PART_OF = {
    "deepseek_ocr2_text": "deepseek_ocr2",
    "diffusion_gemma_text": "diffusion_gemma",
    "ernie4_5_vl_moe_text": "ernie4_5_vl_moe",
    "glm4v_moe_text": "glm4v_moe",
    "glm5_next_text": "glm5_next",
    "qwen3_omni_moe_talker_text": "qwen3_omni_moe",
    "qwen3_omni_moe_text": "qwen3_omni_moe_thinker",
    "qwen3_vl_moe_text": "qwen3_vl_moe",
    "step3p5": "step3p7",
}

# Speaks of experts, and routes nothing to an experts module.
NOT_ROUTED = {
    "doge": "its experts are rows of an embedding",
    "vitpose": "one expert a layer stands for its data set",
    "vitpose_backbone": "one expert a layer stands for its data set",
}

# Its model cannot be made at all by the installed Transformers.
CANNOT_BUILD = {
    "dbrx": "its attention asks for a rope_theta that its config refuses",
}

# Does not make text token by token: what its experts modules and its forward pass give is compared.
NO_TEXT = {
    "diffusion_gemma": "it fills blocks of tokens by diffusion",
    "openai_privacy_filter": "it classifies the tokens that it is given",
}

# Whose experts UFM does not page: the class that the refusal names, and why.
NO_INTERFACE = "lack Transformers' interface for experts"
REFUSED = {
    "jetmoe": ("JetMoeMoA", NO_INTERFACE),
    "llama4": ("Llama4TextExperts", NO_INTERFACE),
    "llama4_text": ("Llama4TextExperts", NO_INTERFACE),
    "longcat_flash": ("LongcatFlashExperts", NO_INTERFACE),
    "nllb-moe": ("NllbMoeExperts", NO_INTERFACE),
    "step3p7": ("Step3p7Experts", NO_INTERFACE),
    "switch_transformers": ("SwitchTransformersExperts", NO_INTERFACE),
}

# What is no model of the library's own choice for text.
CLASSES = {
    "diffusion_gemma": "DiffusionGemmaForBlockDiffusion",
    "nllb-moe": "NllbMoeForConditionalGeneration",
    "openai_privacy_filter": "OpenAIPrivacyFilterForTokenClassification",
    "qwen3_omni_moe": "Qwen3OmniMoeForConditionalGeneration",
    "switch_transformers": "SwitchTransformersForConditionalGeneration",
}


def speaks_of_experts(value):
    if not isinstance(value, dict):
        return False
    return bool(EXPERT_KEYS & set(value)) or any(map(speaks_of_experts, value.values()))


def has_experts(config_class):
    try:
        return speaks_of_experts(config_class().to_dict())
    except Exception:  # a config that has no defaults speaks of nothing
        return False


@functools.cache
def installed():
    """Every family whose config speaks of experts, sorted."""
    return sorted(name for name, config in CONFIG_MAPPING.items() if has_experts(config))


def folders_with_experts():
    """The folders of Transformers' models in whose code a class is named for experts."""
    models = pathlib.Path(transformers.__file__).parent / "models"
    sources = models.glob("*/modeling_*.py")
    named = re.compile(r"^class \w*Experts\b", re.MULTILINE)
    return sorted({path.parent.name for path in sources if named.search(path.read_text())})


def in_turn(names):
    """A third of them, another one every day; all with UFM_TEST_FAMILIES=all."""
    names = list(names)
    return names if os.environ.get("UFM_TEST_FAMILIES") == "all" else names[datetime.date.today().toordinal() % 3 :: 3]


def runnable():
    """The families of which a tiny model is made."""
    return [name for name in installed() if name not in PART_OF | NOT_ROUTED | CANNOT_BUILD]


def model_class(family):
    """The class that runs a checkpoint of `family`: the whole model where that has other senses, too."""
    if family in CLASSES:
        return getattr(transformers, CLASSES[family])
    config = CONFIG_MAPPING[family]
    for mapping in (modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING, modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING):
        if config in mapping:
            return mapping[config]
    raise KeyError(f"{family}: no class of Transformers makes text with it")


def folder_of(family):
    """The folder of Transformers' models where the family's code lies."""
    return CONFIG_MAPPING[family].__module__.split(".")[-2]
