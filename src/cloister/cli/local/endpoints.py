"""What clients may ask of each engine: the endpoints that a local contract opens, and that a filled one begins with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from cloister.engines import text_api, upstream_dialects
from cloister.formats.contract import Endpoint
from cloister.sandbox.upstream import read_definition

MODELS: Final = (Endpoint(method="GET", path="/v1/models"), Endpoint(method="GET", path="/v1/models/{id}"))
AUDIO: Final = (
    Endpoint(method="POST", path="/v1/audio/transcriptions"),
    Endpoint(method="POST", path="/v1/audio/translations"),
)
TEXT: Final = tuple(msgspec.convert({"method": one, "path": path}, Endpoint) for one, path in text_api.ENDPOINTS)
ENDPOINTS: Final[Mapping[str, tuple[Endpoint, ...]]] = {
    "speech": (*AUDIO, *MODELS),
    "echo": (*AUDIO, *MODELS),
    "whisper": (*AUDIO, *MODELS),
    "transformers": tuple(dict.fromkeys((*TEXT, *MODELS))),
}


def endpoints_of(engine: str) -> tuple[Endpoint, ...]:
    """What clients may ask of an engine, or of the upstream server whose folder this is; raises as `engine_named`."""
    if engine in ENDPOINTS:
        return ENDPOINTS[engine]
    upstream = read_definition(Path(engine))
    return tuple(
        Endpoint(method="POST" if method == "POST" else "GET", path=path)
        for method, path in upstream_dialects.endpoints(upstream.dialect, upstream.paths)
    )
