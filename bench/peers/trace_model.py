#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes a qwen3_moe model whose routing is a recorded trace, for engines that know nothing of traces.

Token t of the vocabulary is position t of the trace. Its embedding has one value, at place t; attention
writes nothing and the experts almost nothing, so that every layer's router sees place t alone, and column t
of its matrix holds the experts that the trace has there. The head answers token t with t + 1: greedy
decoding from token 0 walks the trace. Needs NumPy alone, and memory for the
routers of a few layers.
"""
import argparse
import concurrent.futures
import json
import os
import shutil
import struct
import sys

import numpy as np

MAGNITUDE = 1000.0     # of an embedding: what the experts add to it is lost beside it
NOT_CHOSEN = -30.0     # the logit of an expert that the trace has not
RANK_STEP = 0.05       # logits of chosen experts fall by this, so that their order is the trace's
EPSILON = 1e-6
ROPE_BASE = 1e6
CONTEXT = 32768
DOWN_SCALE = 2.0**-10  # of the last product: what an expert adds stays far below MAGNITUDE
SPACE_ALIGNMENT = 32   # of tensors in a GGUF file
WRITERS = min(8, os.cpu_count() or 1)


def to_bf16(values):
    """Bits of bfloat16, to nearest even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return (rounded >> np.uint32(16)).astype(np.uint16)


class Model:
    """The tensors of the model, each made when it is asked for."""

    def __init__(self, ids, args):
        self.ids = ids
        self.tokens, self.layers, self.top_k = ids.shape
        self.d_model, self.d_hidden, self.experts = args.d_model, args.d_hidden, args.experts
        self.heads, self.kv_heads, self.head_dim = args.heads, args.kv_heads, args.head_dim
        self._seed = args.seed
        items = self.d_model * self.d_hidden
        # Every matrix of an expert is a window of one random run, so that no two hold the same bytes and
        # making them costs a copy.
        step = 64
        source = np.random.default_rng(self._seed)
        run = items + step * (2 * self.layers * self.experts + 1)
        self._wide = to_bf16(source.standard_normal(run, np.float32) * 0.02)
        run = items + step * self.layers * self.experts
        self._narrow = to_bf16(source.standard_normal(run, np.float32) * DOWN_SCALE)
        self._items, self._step = items, step

    def expert(self, layer, expert, part):
        """Bits of `gate` or `up` [d_hidden, d_model] or `down` [d_model, d_hidden]."""
        at = layer * self.experts + expert
        if part == "down":
            return self._narrow[at * self._step:][:self._items].reshape(self.d_model, self.d_hidden)
        at = 2 * at + (part == "up")
        return self._wide[at * self._step:][:self._items].reshape(self.d_hidden, self.d_model)

    def embedding(self):
        table = np.zeros((self.tokens, self.d_model), np.float32)
        table[np.arange(self.tokens), np.arange(self.tokens)] = MAGNITUDE
        return table

    def head(self):
        table = np.zeros((self.tokens, self.d_model), np.float32)
        table[(np.arange(self.tokens) + 1) % self.tokens, np.arange(self.tokens)] = 1
        return table

    def router(self, layer):
        """[experts, d_model]. What it multiplies is sqrt(d_model) at place t, after the norm."""
        source = np.random.default_rng((self._seed, layer))
        table = NOT_CHOSEN + source.random((self.experts, self.d_model), np.float32)
        ranks = RANK_STEP * np.arange(self.top_k, 0, -1, dtype=np.float32)
        table[self.ids[:, layer], np.arange(self.tokens)[:, None]] = ranks
        return (table / np.sqrt(self.d_model)).astype(np.float32)

    def attention(self, layer, name):
        """Random queries, keys and values; an output of zeros keeps them out of the hidden state."""
        width = self.heads * self.head_dim
        if name == "o":
            return np.zeros((self.d_model, width), np.float32)
        rows = width if name == "q" else self.kv_heads * self.head_dim
        source = np.random.default_rng((self._seed, layer, ord(name)))
        return source.standard_normal((rows, self.d_model), np.float32) * 0.02


# ---- GGUF (version 3): metadata, names and places of all tensors, then their bytes

GGUF_TYPES = {"u32": 4, "f32": 6, "text": 8}
GGML_F32, GGML_BF16 = 0, 30


def gguf_text(text):
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def gguf_value(kind, value):
    body = gguf_text(value) if kind == "text" else struct.pack({"u32": "<I", "f32": "<f"}[kind], value)
    return struct.pack("<I", GGUF_TYPES[kind]) + body


def gguf_metadata(m):
    arch = "qwen3moe"
    return [
        ("general.architecture", "text", arch), ("general.name", "text", "trace"),
        (f"{arch}.context_length", "u32", CONTEXT), (f"{arch}.embedding_length", "u32", m.d_model),
        (f"{arch}.block_count", "u32", m.layers), (f"{arch}.feed_forward_length", "u32", m.d_hidden * m.top_k),
        (f"{arch}.expert_feed_forward_length", "u32", m.d_hidden), (f"{arch}.expert_count", "u32", m.experts),
        (f"{arch}.expert_used_count", "u32", m.top_k), (f"{arch}.attention.head_count", "u32", m.heads),
        (f"{arch}.attention.head_count_kv", "u32", m.kv_heads), (f"{arch}.attention.key_length", "u32", m.head_dim),
        (f"{arch}.attention.value_length", "u32", m.head_dim),
        (f"{arch}.attention.layer_norm_rms_epsilon", "f32", EPSILON), (f"{arch}.rope.freq_base", "f32", ROPE_BASE),
        (f"{arch}.vocab_size", "u32", m.tokens), ("tokenizer.ggml.model", "text", "no_vocab"),
        ("general.alignment", "u32", SPACE_ALIGNMENT),
    ]


def gguf_tensors(m):
    """(name, shape as in NumPy, type, pieces): pieces are arrays that follow one another."""
    def bf16(name, shape, make):
        return name, shape, GGML_BF16, lambda: (to_bf16(make()),)

    def f32(name, shape, make):
        return name, shape, GGML_F32, lambda: (np.ascontiguousarray(make(), np.float32),)

    def ones(name, count):
        return f32(name, (count,), lambda: np.ones(count))

    yield bf16("token_embd.weight", (m.tokens, m.d_model), m.embedding)
    yield bf16("output.weight", (m.tokens, m.d_model), m.head)
    yield ones("output_norm.weight", m.d_model)
    width, kv_width = m.heads * m.head_dim, m.kv_heads * m.head_dim
    for layer in range(m.layers):
        def own(name, layer=layer):
            return f"blk.{layer}.{name}.weight"

        def parts(part, layer=layer):
            return lambda: (m.expert(layer, e, part) for e in range(m.experts))

        yield ones(own("attn_norm"), m.d_model)
        yield ones(own("ffn_norm"), m.d_model)
        for name, rows in (("q", width), ("k", kv_width), ("v", kv_width)):
            yield bf16(own(f"attn_{name}"), (rows, m.d_model), lambda l=layer, n=name: m.attention(l, n))
        yield bf16(own("attn_output"), (m.d_model, width), lambda l=layer: m.attention(l, "o"))
        yield ones(own("attn_q_norm"), m.head_dim)
        yield ones(own("attn_k_norm"), m.head_dim)
        yield f32(own("ffn_gate_inp"), (m.experts, m.d_model), lambda l=layer: m.router(l))
        for part in ("gate", "up", "down"):
            shape = (m.d_model, m.d_hidden) if part == "down" else (m.d_hidden, m.d_model)
            yield own(f"ffn_{part}_exps"), (m.experts, *shape), GGML_BF16, parts(part)


def tensor_bytes(shape, kind):
    return int(np.prod(shape)) * (4 if kind == GGML_F32 else 2)


def padding(size):
    return -size % SPACE_ALIGNMENT


def write_gguf(m, path):
    metadata, tensors = gguf_metadata(m), list(gguf_tensors(m))
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(gguf_text(name) + gguf_value(kind, value) for name, kind, value in metadata)
    at, offsets = 0, []
    for name, shape, kind, _ in tensors:
        head += gguf_text(name) + struct.pack("<I", len(shape))
        head += b"".join(struct.pack("<Q", extent) for extent in reversed(shape))
        head += struct.pack("<IQ", kind, at)
        size = tensor_bytes(shape, kind)
        offsets.append(at)
        at += size + padding(size)
    with open(path, "wb", buffering=0) as file:
        begin = write_at(file, 0, head + bytes(padding(len(head))))
        file.truncate(begin + at)

        def put(tensor, offset):
            for piece in tensor[3]():
                offset = write_at(file, offset, piece)

        with concurrent.futures.ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(put, tensors, [begin + offset for offset in offsets]))


def write_at(file, offset, data):
    """Where the data end. A write may take less than it was given; others write elsewhere meanwhile."""
    rest = memoryview(np.ascontiguousarray(data) if isinstance(data, np.ndarray) else data).cast("B")
    while len(rest):
        taken = os.pwrite(file.fileno(), rest, offset)
        rest, offset = rest[taken:], offset + taken
    return offset


# ---- a Hugging Face folder: a safetensors file a layer, their index, the configuration

def hf_config(m):
    return {
        "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": m.d_model,
        "intermediate_size": m.d_hidden * m.top_k, "moe_intermediate_size": m.d_hidden,
        "num_experts": m.experts, "num_experts_per_tok": m.top_k, "norm_topk_prob": True,
        "num_hidden_layers": m.layers, "num_attention_heads": m.heads, "num_key_value_heads": m.kv_heads,
        "head_dim": m.head_dim, "vocab_size": m.tokens, "rms_norm_eps": EPSILON, "hidden_act": "silu",
        "max_position_embeddings": CONTEXT, "rope_theta": ROPE_BASE, "tie_word_embeddings": False,
        "decoder_sparse_step": 1, "mlp_only_layers": [], "attention_bias": False, "torch_dtype": "bfloat16",
        "bos_token_id": 0, "eos_token_id": None,
    }


def hf_tokenizer(m):
    """Words t0, t1, …: engines insist on a tokenizer."""
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": {f"t{t}": t for t in range(m.tokens)}, "unk_token": "t0"},
    }


def hf_layer(m, layer):
    """(name, shape, bits) of one layer."""
    begin = f"model.layers.{layer}."
    for name, count in (("input_layernorm", m.d_model), ("post_attention_layernorm", m.d_model),
                        ("self_attn.q_norm", m.head_dim), ("self_attn.k_norm", m.head_dim)):
        yield f"{begin}{name}.weight", lambda count=count: to_bf16(np.ones(count)), (count,)
    width, kv_width = m.heads * m.head_dim, m.kv_heads * m.head_dim
    for name, shape in (("q", (width, m.d_model)), ("k", (kv_width, m.d_model)), ("v", (kv_width, m.d_model)),
                        ("o", (m.d_model, width))):
        yield f"{begin}self_attn.{name}_proj.weight", lambda name=name: to_bf16(m.attention(layer, name)), shape
    yield f"{begin}mlp.gate.weight", lambda: to_bf16(m.router(layer)), (m.experts, m.d_model)
    for e in range(m.experts):
        for part in ("gate", "up", "down"):
            shape = (m.d_model, m.d_hidden) if part == "down" else (m.d_hidden, m.d_model)
            yield (f"{begin}mlp.experts.{e}.{part}_proj.weight",
                   lambda e=e, part=part: m.expert(layer, e, part), shape)


def hf_ends(m):
    yield "model.embed_tokens.weight", lambda: to_bf16(m.embedding()), (m.tokens, m.d_model)
    yield "lm_head.weight", lambda: to_bf16(m.head()), (m.tokens, m.d_model)
    yield "model.norm.weight", lambda: to_bf16(np.ones(m.d_model)), (m.d_model,)


def write_safetensors(tensors, path):
    tensors, header, at = list(tensors), {"__metadata__": {"format": "pt"}}, 0
    for name, _, shape in tensors:
        end = at + 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb", buffering=0) as file:
        offset = write_at(file, 0, struct.pack("<Q", len(text)) + text)
        for _, make, _ in tensors:
            offset = write_at(file, offset, make())
    return [name for name, _, _ in tensors]


def write_folder(m, path):
    os.makedirs(path, exist_ok=True)
    files = [("model-00000.safetensors", hf_ends(m))]
    files += [(f"model-{layer + 1:05d}.safetensors", hf_layer(m, layer)) for layer in range(m.layers)]
    where = {}
    with concurrent.futures.ThreadPoolExecutor(WRITERS) as pool:
        written = pool.map(lambda one: write_safetensors(one[1], os.path.join(path, one[0])), files)
        for (name, _), names in zip(files, written):
            where |= dict.fromkeys(names, name)
    for name, content in (
            ("config.json", hf_config(m)), ("generation_config.json", {"do_sample": False}),
            ("model.safetensors.index.json", {"metadata": {}, "weight_map": where}),
            ("tokenizer.json", hf_tokenizer(m)),
            ("tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})):
        with open(os.path.join(path, name), "w", encoding="utf-8") as file:
            json.dump(content, file)


# ---- the command

def refuse(why):
    sys.exit(f"bench/peers/trace_model.py: {why}")


def read_trace(args):
    """The ids of the first tokens of the trace, checked against the geometry."""
    try:
        ids = np.load(args.trace)
    except (OSError, ValueError) as error:
        refuse(f"{args.trace}: {error}")
    if ids.ndim != 3 or ids.dtype.kind not in "iu" or 0 in ids.shape:
        refuse(f"{args.trace}: found {ids.dtype} of shape {ids.shape}, expected integers [token, layer, rank]")
    if args.layers:
        if args.layers > ids.shape[1]:
            refuse(f"--layers: found {args.layers}, expected at most the trace's {ids.shape[1]}")
        ids = ids[:, :args.layers]
    ids = ids[:args.tokens].astype(np.int64)
    if len(ids) > args.d_model:
        refuse(f"--tokens: found {len(ids)}, expected at most --d-model {args.d_model}, as each has a place of it")
    if ids.min() < 0 or ids.max() >= args.experts:
        refuse(f"{args.trace}: found expert {ids.max() if ids.min() >= 0 else ids.min()}, "
               f"expected 0 to {args.experts - 1}")
    ordered = np.sort(ids, axis=2)
    if (ordered[:, :, 1:] == ordered[:, :, :-1]).any():
        refuse(f"{args.trace}: found an expert twice for one token of a layer, expected different ones")
    return ids


def arguments():
    parser = argparse.ArgumentParser(prog="bench/peers/trace_model.py", description=__doc__)
    parser.add_argument("--trace", required=True, help=".npy of expert ids [token, layer, rank]")
    parser.add_argument("--gguf", metavar="FILE", help="writes this GGUF file (bf16)")
    parser.add_argument("--folder", metavar="DIR", help="writes this Hugging Face folder (bf16)")
    parser.add_argument("--tokens", type=int, default=2048, help="of the trace, from its beginning")
    parser.add_argument("--layers", type=int, default=0, help="of the trace (default: all)")
    for name, value in (("experts", 128), ("d-model", 2048), ("d-hidden", 768), ("heads", 32), ("kv-heads", 4),
                        ("head-dim", 128)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    for name in ("tokens", "experts", "d_model", "d_hidden", "heads", "kv_heads", "head_dim"):
        if getattr(args, name) < 1:
            parser.error(f"--{name.replace('_', '-')}: found {getattr(args, name)}, expected at least 1")
    if not args.gguf and not args.folder:
        parser.error("found neither --gguf nor --folder, expected one of them")
    return args


def room(path, need):
    """Ends the command where the file system cannot hold the model."""
    free = shutil.disk_usage(os.path.dirname(os.path.abspath(path))).free
    if free < need:
        refuse(f"{path}: found {free / 2**30:.1f} GiB free, expected {need / 2**30:.1f} GiB")


def main():
    args = arguments()
    model = Model(read_trace(args), args)
    need = sum(tensor_bytes(shape, kind) for _, shape, kind, _ in gguf_tensors(model))
    for path, write in ((args.gguf, write_gguf), (args.folder, write_folder)):
        if path:
            room(path, need)
            write(model, path)
            print(f"{path}: {model.tokens} tokens, {model.layers} layers, {need / 2**30:.2f} GiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
