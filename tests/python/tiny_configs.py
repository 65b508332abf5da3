# SPDX-License-Identifier: MIT
"""A tiny config of every family with routed experts: two to four layers, eight experts, a vocabulary of 128.

`SMALL` holds what every config with such a key gets, `VISION` what its towers for other senses get, and `OWN` what one
family needs beside that: keys that must fit each other, lists by layer, and what its default lacks to have experts."""

import transformers

VOCABULARY = 128
EXPERTS = 8
TOP_K = 2
HIDDEN = 32

SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "intermediate_size": 48,
    "dense_intermediate_size": 48,
    "intermediate_size_mlp": 48,
    "shared_intermediate_size": 24,
    "moe_intermediate_size": 24,
    "expert_ffn_hidden_size": 24,
    "ffn_hidden_size": 48,
    "share_expert_dim": 24,
    "shared_expert_intermediate_size": 24,
    "moe_shared_expert_intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_sliding_attention_heads": 4,
    "num_key_value_heads": 2,
    "swa_num_attention_heads": 4,
    "swa_num_key_value_heads": 2,
    "head_dim": 16,
    "swa_head_dim": 16,
    "max_position_embeddings": 512,
    "sliding_window": 24,
    "sliding_window_size": 24,
    # experts
    "num_experts": EXPERTS,
    "num_local_experts": EXPERTS,
    "n_routed_experts": EXPERTS,
    "moe_num_experts": EXPERTS,
    "num_experts_per_tok": TOP_K,
    "num_experts_per_token": TOP_K,
    "moe_topk": TOP_K,
    "moe_top_k": TOP_K,
    "moe_k": TOP_K,
    "top_k_experts": TOP_K,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "swiglu_limit": 1.0,
    # latent and sparse attention
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 16,
    "o_lora_rank": 8,
    "index_topk": 16,
    "index_head_dim": 16,
    "index_n_heads": 2,
    # linear attention and state spaces
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_head_dim": 8,
    "linear_num_heads": 4,
    "mamba_n_heads": 4,
    "mamba_d_head": 16,
    "mamba_d_state": 8,
    "mamba_chunk_size": 16,
    "mamba_num_heads": 4,
    "mamba_head_dim": 16,
    "ssm_state_size": 8,
    "mamba_dt_rank": 4,
    "chunk_size": 16,
    "block_size": 16,
    # special tokens that nobody generates: they must lie in the vocabulary, or are none
    "pad_token_id": 0,
    "eos_token_id": None,
    "bos_token_id": 1,
    "image_token_id": 120,
    "image_token_index": 120,
    "video_token_id": 121,
    "video_token_index": 121,
    "audio_token_id": 122,
    "vision_start_token_id": 123,
    "image_start_token_id": 123,
    "vision_end_token_id": 124,
    "image_end_token_id": 124,
    "video_start_token_id": 125,
    "video_end_token_id": 126,
    "boi_token_id": 123,
    "eoi_token_id": 124,
    "boa_token_id": 125,
    "eoa_token_index": 126,
    "image_bos_token_id": 123,
    "audio_bos_token_id": 125,
    "audio_start_token_id": 125,
    "boi_token_index": 123,
    "eoi_token_index": 124,
    "user_token_id": 127,
}

# The towers for other senses: they are saved and loaded beside the experts, and not run.
VISION = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "num_heads": 2,
    "depth": 1,
    "n_layers": 1,
    "encoder_layers": 1,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "d_model": 16,
    "output_dim": HIDDEN,
    "downsample_hidden_size": 8,
    "num_mel_bins": 8,
    "image_size": 28,
    "patch_size": 14,
    "out_hidden_size": HIDDEN,
    "text_hidden_size": HIDDEN,
    "num_position_embeddings": 16,
    "deepstack_visual_indexes": [0],
    "vocab_size": 16,
    "max_position_embeddings": 32,
    "projection_intermediate_size": 16,
    "head_dim": 8,
    "output_channels": 8,
    "window_size": 2,
}

LATENT = {"num_key_value_heads": 4, "head_dim": 8}
MIXED = ["sliding_attention", "full_attention", "sliding_attention"]

GEMMA = {
    "enable_moe_block": True,
    "num_experts": EXPERTS,
    "hidden_size_per_layer_input": 8,
    "vocab_size_per_layer_input": VOCABULARY,
    "layer_types": MIXED,
}
HYBRID = {"layer_types": ["linear_attention", "full_attention", "linear_attention"]}
MROPE = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 1.0}
INDEXER = {
    "layer_types": ["linear_attention", "qwen_sparse_attention", "linear_attention"],
    "indexer_n_heads": 2,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 16,
    "indexer_budget": 16,
    "indexer_compress_ratio": 4,
    "hc_lowrank": 8,
    "ple_embed_dim": 16,
    "ngram_vocab_size_base": 64,
    "split_ngram_parts": 2,
}
GLM5 = {
    "num_key_value_heads": 4,
    "qk_rope_head_dim": 0,
    "head_dim": 0,
    "index_kpool": 4,
    "layer_types": ["linear_attention", "deepseek_sparse_attention", "linear_attention"],
    "mlp_layer_types": ["dense", "sparse", "sparse"],
}
SEQUENCES = {"d_model": HIDDEN, "encoder_sparse_step": 2, "decoder_sparse_step": 2}

OWN = {
    "axk1": LATENT,
    "axk2": LATENT,
    "deepseek_ocr2": {
        "vision_config": {"sam_config": {"downsample_channels": [8, 16]}},
        "text_config": {"mlp_layer_types": ["dense", "sparse", "sparse"]},
    },
    "deepseek_v2": LATENT,
    "deepseek_v3": LATENT,
    "deepseek_v32": LATENT,
    "deepseek_v4": {"mlp_layer_types": ["hash_moe", "moe", "moe"], "index_topk": 4},
    "diffusion_gemma": {
        "text_config": GEMMA,
        "canvas_length": 16,
        "vision_config": VISION | {"model_type": "gemma4_vision"},
    },
    "dots1": {"n_routed_experts": EXPERTS, "n_shared_experts": 1},
    "ernie4_5_vl_moe": {
        "text_config": {
            "moe_intermediate_size": [24, 16],
            "mlp_layer_types": ["dense", "sparse", "sparse"],
            "head_dim": 16,
            "rope_parameters": MROPE | {"mrope_section": [2, 2, 4]},
        }
    },
    "gemma4": {"text_config": GEMMA},
    "gemma4_text": GEMMA,
    "glm4_moe_lite": LATENT,
    "glm4v_moe": {"text_config": {"rope_parameters": MROPE | {"mrope_section": [2, 1, 1]}}},
    "glm5_next": {"text_config": GLM5},
    "glm_moe_dsa": LATENT,
    "granitemoehybrid": HYBRID,
    "inkling_mm_model": {"vision_config": {"n_layers": 6, "num_hidden_layers": 6, "patch_size": 4}},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "num_hidden_layers": 4},
    "kimi_k25": {"text_config": LATENT},
    "kimi_linear": LATENT | HYBRID,
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv"], "num_dense_layers": 1},
    "llama4": {"vision_config": {"vision_output_dim": 16, "projector_input_dim": 16, "projector_output_dim": 16}},
    "longcat_flash": LATENT | {"num_layers": 2, "zero_expert_num": 4},
    "minimax_m3_vl": {"projector_hidden_size": 16, "merged_hidden_size": 64},
    "mistral4": {"num_key_value_heads": 4, "head_dim": 16},
    "nllb-moe": SEQUENCES
    | {
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_ffn_dim": 48,
        "decoder_ffn_dim": 48,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
    },
    "nemotron_h": {"layers_block_type": ["linear_attention", "moe", "full_attention", "moe"], "n_groups": 2},
    "qwen3_5_moe": {"text_config": HYBRID},
    "qwen3_5_moe_text": HYBRID,
    "qwen3_next": HYBRID,
    # Its text's start of an image is looked for at a key that only published configs have.
    "qwen3_omni_moe": {
        "thinker_config": {"vision_start_token_id": 123},
        "talker_config": {
            "spatial_merge_size": 2,
            "accept_hidden_layer": 1,
            "thinker_hidden_size": HIDDEN,
            "text_config": {"shared_expert_intermediate_size": 24},
        },
        "code2wav_config": {
            "upsample_rates": [2],
            "upsampling_ratios": [2],
            "decoder_dim": 16,
            "codebook_size": 16,
            "num_quantizers": 2,
        },
    },
    "qwen3_omni_moe_thinker": {"vision_start_token_id": 123},
    "qwen4_exp": {"text_config": INDEXER},
    "qwen4_exp_text": INDEXER,
    "step3p7": {"text_config": {"mlp_layer_types": ["dense", "sparse", "sparse"]}},
    "switch_transformers": SEQUENCES
    | {
        "d_kv": 8,
        "d_ff": 48,
        "num_layers": 2,
        "num_decoder_layers": 2,
        "num_heads": 4,
        "num_sparse_encoder_layers": 1,
        "num_sparse_decoder_layers": 1,
    },
    "zaya": {"num_experts_per_tok": 1, "router_hidden_size": 16},
}

SENSES = ("vision_config", "audio_config", "sam_config", "encoder_config", "code2wav_config", "code_predictor_config")


# A config that takes its parts as dictionaries alone.
BY_DICTIONARY = ("Qwen3OmniMoeTalkerConfig",)


def part(config_class, key, default, values, own):
    """The tiny config of one part, under `key`, of a config."""
    if default is None:
        return own
    arguments = shrunk(type(default), VISION if key in SENSES or values is VISION else SMALL, own)
    return arguments if config_class.__name__ in BY_DICTIONARY else type(default)(**arguments)


def shrunk(config_class, values, own):
    """The keyword arguments that make the default of `config_class` tiny: `values`, then `own` over them."""
    default = config_class()
    parts = getattr(config_class, "sub_configs", {})
    given = {key: value for key, value in values.items() if key in default.to_dict() and key not in parts}
    for key in parts:
        found = getattr(default, key, None)
        if found is not None or key in own:
            given[key] = part(config_class, key, found, values, own.get(key, {}))
    given.update({key: value for key, value in own.items() if key not in parts})
    return given


def tiny_config(family):
    """The tiny config of `family`, a `model_type` of the installed Transformers."""
    config_class = transformers.CONFIG_MAPPING[family]
    return config_class(**shrunk(config_class, SMALL, OWN.get(family, {})))
