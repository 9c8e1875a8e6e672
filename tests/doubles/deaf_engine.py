"""An engine that is well but for its hearing: it does not hear its known sample."""

from __future__ import annotations

from cloister.engines.echo import MODELS, echo
from cloister.engines.known_sample import KnownSample
from cloister.engines.server import inherited_listener, serve
from cloister.engines.transcription_api import by_sample, handler

if __name__ == "__main__":
    serve(inherited_listener(), handler(by_sample(echo, MODELS, KnownSample(b"RIFF", "another text"))))
