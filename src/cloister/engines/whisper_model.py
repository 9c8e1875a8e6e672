"""A Whisper model that was converted for CTranslate2: each request's process loads it, and no other.

CTranslate2 starts threads when it loads a model, and a fork has none of them: a request would wait for ever. And it
takes the files as they are, so that a model may break the process that loads it. So the first process, from which all
are forked, keeps what can be shared, libraries, tokenizer and filters, and each request's process reads the weights,
which lie in memory, for itself.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

# Before the libraries are loaded: nothing is asked of a hub, and no thread is left that a fork would lose.
_SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HOME": "/tmp/none",  # noqa: S108 - nothing is kept there
    "TOKENIZERS_PARALLELISM": "false",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin while others work take much longer, where cores are shared
}
os.environ.update(_SETTINGS)  # noqa: TID251 - how these libraries are told

import ctranslate2  # noqa: E402
from faster_whisper import WhisperModel  # noqa: E402
from faster_whisper.transcribe import tokenizers  # noqa: E402 - the one that it brings

from cloister.engines.transcription_form import Abilities  # noqa: E402
from cloister.engines.whisper_features import Features  # noqa: E402
from cloister.engines.whisper_folder import Described, describe  # noqa: E402
from cloister.engines.whisper_languages import NAMES  # noqa: E402
from cloister.engines.whisper_settings import TOKENIZER, hold_ids_of_tokenizer, hold_marks  # noqa: E402
from cloister.errors import MalformedInput  # noqa: E402

logging.getLogger("faster_whisper").disabled = True  # it writes down what it heard
_MAXIMUM_THREADS = 8  # of one request: more hardly help
_STRIDE = 2  # frames that become one place of what the model hears
_MOST_TOKENS = 448  # of one window
_PRECISION = 0.02  # seconds, of a token that is a time


class Whisper:
    """A model in its folder. `multilingual`: it knows languages beside English, and translates."""

    def __init__(self, folder: Path) -> None:
        """Hold its files, and load the tokenizer.

        Raises:
            MalformedInput: the folder holds no Whisper model of CTranslate2's, or files that do not belong together.
        """
        self._folder = folder
        self._described = describe(folder)
        self.multilingual = self._described.multilingual
        try:
            tokenizer = tokenizers.Tokenizer.from_file(str(folder / TOKENIZER))
        except Exception as error:  # what the library raises, and nothing narrower
            raise MalformedInput(f"{TOKENIZER} cannot be loaded: it is damaged") from error
        places = tokenizer.get_vocab(with_added_tokens=True)
        hold_ids_of_tokenizer(list(places.values()), len(self._described.vocabulary))
        hold_marks(places, self._described.vocabulary, multilingual=self.multilingual)
        tokenizer.encode_special_tokens = True  # marks in a client's prompt are words, not marks
        self.model = _Unloaded(tokenizer, self._described)

    def awaken(self) -> WhisperModel:
        """The model, with its weights loaded: in a process that serves one request, with all its processors.

        Raises:
            MalformedInput: CTranslate2 does not load it.
        """
        if self.model.model is None:
            threads = min(_MAXIMUM_THREADS, len(os.sched_getaffinity(0)))
            try:
                loaded = ctranslate2.models.Whisper(str(self._folder), device="cpu", intra_threads=threads)
            except (RuntimeError, ValueError, LookupError, OSError) as error:
                raise MalformedInput("CTranslate2 cannot load the model: it is damaged, or no Whisper model") from error
            if (loaded.is_multilingual, loaded.n_mels) != (self.multilingual, self._described.sizes.bands):
                raise MalformedInput("CTranslate2 takes the model for another kind than its files say")
            self.model.model = loaded
        return self.model

    def abilities(self) -> Abilities:
        """The languages whose marks the model has, by code and by name."""
        known = [code for code in NAMES if self.model.hf_tokenizer.token_to_id(f"<|{code}|>") is not None]
        codes = known if self.multilingual else ["en"]
        return Abilities({NAMES[code]: code for code in codes} | {code: code for code in codes}, self.multilingual)


class _Unloaded(WhisperModel):  # type: ignore[misc]  # it has no types
    """The library's, but for the weights: its own way to make one loads them."""

    def __init__(self, tokenizer: Any, described: Described) -> None:
        self.logger = logging.getLogger("faster_whisper")
        self.model = None
        self.hf_tokenizer = tokenizer
        self.feat_kwargs = {"feature_size": described.sizes.bands}
        self.feature_extractor = Features(**self.feat_kwargs)
        self.input_stride = _STRIDE
        self.num_samples_per_token = self.feature_extractor.hop_length * _STRIDE
        self.frames_per_second = self.feature_extractor.sampling_rate // self.feature_extractor.hop_length
        self.tokens_per_second = self.feature_extractor.sampling_rate // self.num_samples_per_token
        self.time_precision = _PRECISION
        self.max_length = _MOST_TOKENS
