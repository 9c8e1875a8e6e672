"""What may be asked of an upstream, by its dialect: paths, methods and fields. What is not in these tables is refused.

Servers have more than clients are to reach (vLLM: /pause, /update_weights, /tokenize, /metrics; llama.cpp: /slots,
/lora-adapters; Triton: /v2/repository), and fields that reach past the request: other requests' caches and slots, the
host's files, addresses in the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Body = Literal["none", "json", "form"]
Errors = Literal["openai", "anthropic", "kserve"]


def _fields(names: str) -> frozenset[str]:
    return frozenset(names.split())


_SAMPLING: Final = _fields(
    "frequency_penalty logit_bias logprobs max_tokens n presence_penalty seed stop stream stream_options "
    "temperature top_p"
)
_CHAT: Final = _SAMPLING | _fields(
    "model messages top_logprobs max_completion_tokens response_format tools tool_choice parallel_tool_calls "
    "functions function_call reasoning_effort verbosity"
)
_COMPLETION: Final = _SAMPLING | _fields("model prompt best_of echo suffix")
_EMBEDDING: Final = frozenset(["model", "input", "encoding_format", "dimensions"])
_RESPONSES: Final = _fields(
    "model input instructions max_output_tokens parallel_tool_calls reasoning stream temperature text "
    "tool_choice tools top_p top_logprobs truncation"
)
_MESSAGES: Final = _fields(
    "model messages max_tokens system stop_sequences stream temperature top_k top_p tools tool_choice thinking"
)
_TRANSCRIPTION: Final = _fields("model language prompt temperature response_format timestamp_granularities[]")
_VLLM: Final = _fields(
    "top_k min_p repetition_penalty length_penalty stop_token_ids include_stop_str_in_output ignore_eos "
    "min_tokens skip_special_tokens spaces_between_special_tokens truncate_prompt_tokens allowed_token_ids "
    "bad_words add_generation_prompt continue_final_message add_special_tokens structured_outputs "
    "include_reasoning chat_template_kwargs"
)
_LLAMA_CPP: Final = _fields(
    "top_k min_p typical_p top_n_sigma repeat_penalty repeat_last_n mirostat mirostat_tau mirostat_eta grammar "
    "json_schema dry_multiplier dry_base dry_allowed_length dry_penalty_last_n xtc_probability xtc_threshold "
    "dynatemp_range dynatemp_exponent ignore_eos n_probs min_keep n_predict reasoning_format "
    "chat_template_kwargs"
)
_INFERENCE: Final = frozenset(["id", "inputs", "outputs", "parameters"])
_GENERATE: Final = _fields("id text_input parameters stream")
# What clients send for the service they think they speak with. It is taken, and the upstream never sees it.
IGNORED: Final = _fields(
    "user metadata store service_tier safety_identifier prompt_cache_key prompt_cache_retention cache_salt "
    "cache_control"
)
TEMPLATE_ARGUMENTS: Final = frozenset(
    {"enable_thinking", "thinking", "reasoning_effort"}
)  # others replace the template

CHAT, COMPLETIONS, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
RESPONSES, MESSAGES, MODELS = "/v1/responses", "/v1/messages", "/v1/models"
TRANSCRIPTIONS, TRANSLATIONS = "/v1/audio/transcriptions", "/v1/audio/translations"


@dataclass(frozen=True, slots=True)
class Route:
    """One thing that may be asked. `last` is what ends a stream whole: `[DONE]`, or types of events; empty: its end."""

    method: Literal["GET", "POST"]
    path: str  # segments `{id}` are a model's name, the second a version
    body: Body = "none"
    fields: frozenset[str] = frozenset()
    last: frozenset[str] = frozenset()

    @property
    def prompts(self) -> bool:
        """Whether a model reads what is sent, and may remember it."""
        return self.method == "POST" and not self.path.endswith("/count_tokens")


@dataclass(frozen=True, slots=True)
class Dialect:
    """Its routes, the shape of its errors, and how its prompt cache is kept from telling one client of another.

    `salt` is the field for a cache's salt; `fixed` are fields with the one value that every request gets; `heeding` are
    the paths at which servers are known to heed them.
    """

    routes: tuple[Route, ...]
    errors: Errors = "openai"
    salt: str | None = None
    fixed: tuple[tuple[str, object], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    heeding: frozenset[str] = frozenset()

    def shape(self, path: str) -> Errors:
        """Of errors of a path: servers of OpenAI's API may have Anthropic's messages beside it."""
        return "anthropic" if path.startswith(MESSAGES) else self.errors


# Not embeddings: vLLM cuts long ones into pieces that lose the salt (its pull request 47696), its earlier versions take
# none there, and llama.cpp's do not read their field.
_HEEDING: Final = frozenset({CHAT, COMPLETIONS})
_DONE: Final = frozenset({"[DONE]"})
_AUDIO: Final = tuple(Route("POST", path, "form", _TRANSCRIPTION) for path in (TRANSCRIPTIONS, TRANSLATIONS))


def _text(more: frozenset[str] = frozenset()) -> tuple[Route, ...]:
    return (
        Route("POST", CHAT, "json", _CHAT | more, _DONE),
        Route("POST", COMPLETIONS, "json", _COMPLETION | more, _DONE),
        Route("POST", EMBEDDINGS, "json", _EMBEDDING),
    )


def _of_model(
    method: Literal["GET", "POST"], last: str, body: Body = "none", fields: frozenset[str] = frozenset()
) -> tuple[Route, ...]:
    return tuple(Route(method, f"/v2/models/{{id}}{version}{last}", body, fields) for version in ("", "/versions/{id}"))


_OPENAI_RESPONSES: Final = Route(
    "POST",
    RESPONSES,
    "json",
    _RESPONSES,
    frozenset({"response.completed", "response.incomplete", "response.failed"}),
)
_ANTHROPIC_MESSAGES: Final = (
    Route("POST", MESSAGES, "json", _MESSAGES, frozenset({"message_stop"})),
    Route("POST", f"{MESSAGES}/count_tokens", "json", _MESSAGES - {"max_tokens", "stream"}),
)
DIALECTS: Final = {
    "openai": Dialect(
        (
            *_text(),
            _OPENAI_RESPONSES,
            *_AUDIO,
        )
    ),
    "vllm": Dialect(_text(_VLLM), salt="cache_salt", heeding=_HEEDING),  # not its forms of speech: they take no salt
    # Its messages do not heed `cache_prompt`, and of its responses nobody knows: see `upstream_check`.
    "llama.cpp": Dialect(
        (*_text(_LLAMA_CPP), _OPENAI_RESPONSES, *_ANTHROPIC_MESSAGES),
        fixed=(("cache_prompt", False),),
        heeding=_HEEDING,
    ),
    "whisper": Dialect(_AUDIO),
    "anthropic": Dialect(
        _ANTHROPIC_MESSAGES,
        errors="anthropic",
        headers=(("anthropic-version", "2023-06-01"),),
    ),
    "kserve": Dialect(
        (
            Route("GET", "/v2"),
            Route("GET", "/v2/health/live"),
            Route("GET", "/v2/health/ready"),
            *_of_model("GET", ""),
            *_of_model("GET", "/ready"),
            *_of_model("POST", "/infer", "json", _INFERENCE),
            *_of_model("POST", "/generate", "json", _GENERATE),
            *_of_model("POST", "/generate_stream", "json", _GENERATE),
        ),
        errors="kserve",
    ),
}
LISTED: Final = (
    Route("GET", MODELS),
    Route("GET", f"{MODELS}/{{id}}"),
)  # answered here: the names are the definition's


def endpoints(dialect: str, paths: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Method and path of all that a contract may open of an upstream: `paths` of its dialect; none named: all."""
    listed = LISTED if DIALECTS[dialect].errors != "kserve" else ()
    routes = (*DIALECTS[dialect].routes, *listed)
    return tuple((route.method, route.path) for route in routes if not paths or route.path in (*paths, *_names(listed)))


def _names(routes: tuple[Route, ...]) -> tuple[str, ...]:
    return tuple(route.path for route in routes)
