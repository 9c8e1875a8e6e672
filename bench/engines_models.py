"""Makes the models of `engines.py`: `engines_models.py tiny|large NAME FOLDER`, with the engines' own libraries.

Tiny ones are those of `scripts/tiny_models.py`. A large one is as large as real small ones are, and its weights are
drawn by chance: its answers mean nothing, and each token takes as long as a real one's.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parents[1] / "scripts" / "tiny_models.py"


def tiny(name: str, folder: Path) -> None:
    """The tiny model of that name."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as made:
        subprocess.run([sys.executable, str(SCRIPT), made, name], check=True)
        Path(made, name).rename(folder)


def large_llama(folder: Path) -> None:
    """A Llama of 114 million parameters in 32 bits, with the tiny one's tokenizer; it never ends by itself."""
    torch: Any = importlib.import_module("torch")
    transformers: Any = importlib.import_module("transformers")
    torch.manual_seed(20261122)
    tokenizer = importlib.import_module("tiny_llama").made_tokenizer()
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=768,
        intermediate_size=2048,
        num_hidden_layers=16,
        num_attention_heads=12,
        num_key_value_heads=12,
        max_position_embeddings=1024,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        model.lm_head.weight[tokenizer.eos_token_id] = 0  # below the likeliest of 500 others
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "names.txt").write_text("llama\n")


def large_whisper(folder: Path) -> None:
    """As large as whisper-small, 242 million parameters in 8 bits, with the tiny one's words; it writes nothing."""
    torch: Any = importlib.import_module("torch")
    tiny_whisper: Any = importlib.import_module("tiny_whisper")
    torch.manual_seed(20261122)
    tokenizer = tiny_whisper.made_tokenizer()
    halves = {"layers": 12, "attention_heads": 12, "ffn_dim": 3072}
    sizes = {f"{half}_{name}": size for half in ("encoder", "decoder") for name, size in halves.items()}
    model = tiny_whisper.untrained(tokenizer, d_model=768, **sizes)
    first, end = (tokenizer.convert_tokens_to_ids(one) for one in ("<|0.00|>", "<|endoftext|>"))
    with torch.no_grad():  # whatever it hears, it writes that it began and that it ended
        vectors = model.proj_out.weight
        vectors[end] = torch.randn_like(vectors[end]) / 50
        model.model.decoder.layer_norm.weight.zero_()
        model.model.decoder.layer_norm.bias.copy_(80 * vectors[end] + 60 * vectors[first])
    tiny_whisper.convert(model, tokenizer, folder)
    (folder / "names.txt").write_text("whisper-1\n")
    case = {"path": "/v1/models", "expect": {"contains": "whisper-1"}}
    (folder / "selftest.json").write_text(json.dumps({"version": 1, "cases": [case]}))


LARGE = {"llama": large_llama, "whisper": large_whisper}

if __name__ == "__main__":
    sys.path.append(str(SCRIPT.parent))
    sys.path += map(str, sorted(Path(sys.prefix, "engines").glob("*")))
    size, name, place = sys.argv[1:]
    tiny(name, Path(place)) if size == "tiny" else LARGE[name](Path(place))
