"""Write the tiny Llama as llama.cpp reads it: `tiny_gguf.py FOLDER FILE`. It wants `gguf`, `safetensors` and `numpy`.

Blocks that change nothing are added to it, so that it writes as slowly as a model of some size, and no better.

Source: the GGUF specification; llama.cpp's names of Llama's tensors, and its order of rotary pairs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors.numpy import load_file

WITHIN = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
AROUND = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
ADDING = ("attn_output", "ffn_down")  # zeros here, and a block adds nothing
IDLE_BLOCKS = 256


def main(source: Path, written: str) -> None:
    """Write the model in `source` to the file `written`."""
    settings = json.loads((source / "config.json").read_text())
    writer = gguf.GGUFWriter(written, "llama")
    _describe(writer, settings)
    _tokens(writer, json.loads((source / "tokenizer.json").read_text()), settings)
    writer.add_chat_template((source / "chat_template.jinja").read_text())
    for name, tensor in _tensors(load_file(source / "model.safetensors"), settings):
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: gguf.GGUFWriter, settings: dict[str, Any]) -> None:
    writer.add_context_length(settings["max_position_embeddings"])
    writer.add_embedding_length(settings["hidden_size"])
    writer.add_block_count(settings["num_hidden_layers"] + IDLE_BLOCKS)
    writer.add_feed_forward_length(settings["intermediate_size"])
    writer.add_head_count(settings["num_attention_heads"])
    writer.add_head_count_kv(settings["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(settings["rms_norm_eps"])
    writer.add_rope_freq_base(settings["rope_parameters"]["rope_theta"])
    writer.add_rope_dimension_count(settings["head_dim"])
    writer.add_vocab_size(settings["vocab_size"])


def _tokens(writer: gguf.GGUFWriter, tokenizer: dict[str, Any], settings: dict[str, Any]) -> None:
    model = tokenizer["model"]
    words = sorted(model["vocab"], key=model["vocab"].get)
    special = {token["id"] for token in tokenizer["added_tokens"]}
    kinds = [gguf.TokenType.CONTROL if at in special else gguf.TokenType.NORMAL for at in range(len(words))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(words)
    writer.add_token_types(kinds)
    writer.add_token_merges([pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]])
    writer.add_eos_token_id(settings["eos_token_id"])
    writer.add_pad_token_id(settings["pad_token_id"])
    writer.add_add_bos_token(False)


def _tensors(found: dict[str, Any], settings: dict[str, Any]) -> list[tuple[str, Any]]:
    heads = {"attn_q": settings["num_attention_heads"], "attn_k": settings["num_key_value_heads"]}
    blocks = settings["num_hidden_layers"]
    named = [(AROUND[name], tensor) for name, tensor in found.items() if name in AROUND]
    for name, tensor in found.items():
        if name not in AROUND:
            _model, _layers, at, *rest, _weight = name.split(".")
            within = WITHIN[".".join(rest)]
            named.append((f"blk.{at}.{within}.weight", _paired(tensor, heads[within]) if within in heads else tensor))
    first = {name.removeprefix("blk.0."): tensor for name, tensor in named if name.startswith("blk.0.")}
    for number in range(blocks, blocks + IDLE_BLOCKS):
        for name, tensor in first.items():
            named.append((f"blk.{number}.{name}", tensor * 0 if name.startswith(ADDING) else tensor))
    return [(name, np.ascontiguousarray(tensor, dtype=np.float32)) for name, tensor in named]


def _paired(tensor: Any, heads: int) -> Any:
    """In llama.cpp's order: of a head's rows, the two that turn together lie beside each other."""
    rows = tensor.shape[0]
    return tensor.reshape(heads, 2, rows // heads // 2, -1).swapaxes(1, 2).reshape(tensor.shape)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
