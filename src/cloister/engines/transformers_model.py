"""Loads tokenizer and model by transformers' own classes: local files, safetensors, no code but the library's.

What is loaded whole is loaded; a parameter that no file has would be made up, and is refused.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cloister.engines.api_error import ApiError
from cloister.engines.chat_messages import too_long
from cloister.engines.json_request import bad
from cloister.errors import MalformedInput

# Before either library is loaded: nothing is asked of a hub, and no thread is left that a fork would lose.
_SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DEACTIVATE_ASYNC_LOAD": "1",
    "HF_HOME": "/tmp/none",  # noqa: S108 - nothing is kept there
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin while others work took ten times as long, where cores are shared
}
os.environ.update(_SETTINGS)  # noqa: TID251 - how these libraries are told

import torch  # noqa: E402
from safetensors import SafetensorError  # noqa: E402
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer  # noqa: E402
from transformers.utils import logging  # noqa: E402

logging.set_verbosity(40)  # errors: its own names for it have no types
torch.set_num_threads(1)  # a pool of threads would not outlive a fork; each request has its own, see `awaken`
_ABSENT_IS_FINE = ("pooler.", "lm_head.weight")  # not used, and tied to the embeddings
_WORTH_THREADS = 100_000_000  # parameters
_UNLIMITED = 10**9  # how tokenizers write that they say no length


class Loaded:
    """A model with its tokenizer."""

    def __init__(self, folder: Path, *, writes: bool) -> None:
        """Read both from `folder`.

        Raises:
            MalformedInput: a file is missing, damaged, or does not belong to the others.
        """
        local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            config = AutoConfig.from_pretrained(folder, **local)
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, **local)
            self.model: Any = _model(folder, writes=writes, **local)
        except (OSError, ValueError, KeyError, RuntimeError, ImportError, AttributeError, SafetensorError) as error:
            raise MalformedInput(f"transformers cannot load the model: {type(error).__name__}") from error
        positions = getattr(config, "max_position_embeddings", None) or _UNLIMITED
        self.context = min(int(positions), int(self.tokenizer.model_max_length))
        if self.context >= _UNLIMITED:
            raise MalformedInput("neither config.json nor tokenizer_config.json says how long a text may be")
        self.parameters = sum(one.numel() for one in self.model.parameters())
        self._longest = max(map(len, self.tokenizer.get_vocab()), default=1)

    def tokens(self, text: str, param: str, *, special: bool) -> list[int]:
        """`text` in tokens; `special`: with what the model wants around it.

        Raises:
            ApiError: more than the context, by its length alone: no token has more characters than the longest.
        """
        least = len(text) // self._longest
        if least > self.context:
            raise too_long(self.context, least, param)
        found: list[int] = self.tokenizer.encode(text, add_special_tokens=special)
        return found

    def checked(self, tokens: Sequence[int], param: str) -> list[int]:
        """Tokens that a client gave.

        Raises:
            ApiError: the model has no such token.
        """
        if any(not 0 <= token < self.model.config.get_text_config().vocab_size for token in tokens):
            raise bad(param, "A token is not in this model's vocabulary.")
        return list(tokens)


def awaken(parameters: int) -> None:
    """In a process that serves one request: as many threads as there are processors, if there is work for them."""
    if parameters >= _WORTH_THREADS:
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0))))


def no_numbers() -> ApiError:
    """The model computed something that is no number."""
    return ApiError(
        500, "The model's answer is not finite: its weights or its precision are wrong.", code="engine_fault"
    )


def _model(folder: Path, *, writes: bool, **local: Any) -> Any:
    kind: Any = AutoModelForCausalLM if writes else AutoModel
    model, found = kind.from_pretrained(
        folder, use_safetensors=True, dtype="auto", output_loading_info=True, weights_only=True, **local
    )
    absent = [name for name in found["missing_keys"] if not name.startswith(_ABSENT_IS_FINE)]
    if absent or found["mismatched_keys"]:
        raise MalformedInput("the weights lack parameters that config.json asks for, or have them in other shapes")
    return model.eval()
