"""The transformers engine: OpenAI's text API over a model of Hugging Face's transformers, on the processor.

A model with a language-modelling head chats and completes; any other embeds.
"""

from __future__ import annotations

from pathlib import Path

from cloister.engines import ended, model_folder, self_test
from cloister.engines.http_exchange import Handler, Request, Response
from cloister.engines.server import inherited_listener, serve
from cloister.engines.text_api import ENDPOINTS, Engine, handler
from cloister.engines.text_sanity import embeds_sanely, writes_sanely
from cloister.engines.transformers_embedder import TransformersEmbedder
from cloister.engines.transformers_folder import describe
from cloister.engines.transformers_model import Loaded, awaken
from cloister.engines.transformers_writer import Writer
from cloister.errors import MalformedInput

__all__ = ["ENDPOINTS", "engine_of"]


def engine_of(folder: Path) -> tuple[Engine, Loaded]:
    """Load the model in `folder`.

    Raises:
        MalformedInput: it is none that this engine loads.
    """
    described = describe(folder)
    names = model_folder.names(folder, otherwise=described.model_type)
    cases = self_test.read(folder)
    loaded = Loaded(folder, writes=described.pooling is None)
    writer = Writer(loaded) if described.pooling is None else None
    embedder = TransformersEmbedder(loaded, described) if described.pooling is not None else None

    def passes(handle: Handler) -> bool:
        if cases:
            return self_test.first_failure(cases, handle, folder, names[0]) is None
        return (writer is None or writes_sanely(writer)) and (embedder is None or embeds_sanely(embedder))

    return Engine(names, passes, writes=writer, embeds=embedder), loaded


def main() -> None:
    """Serve, once it was shown that the model answers; each request in a process that has all processors."""
    folder = model_folder.folder()
    if folder is None:
        raise SystemExit("the transformers engine needs a model: the sandbox was given none")
    try:
        engine, loaded = engine_of(folder)
    except MalformedInput as error:
        raise SystemExit(ended.UNSERVABLE) from error
    handle = handler(engine)
    if not engine.passes(handle):
        raise SystemExit(self_test.failed_status(folder, handle, engine.names[0]))

    def awake(request: Request) -> Response:
        awaken(loaded.parameters)
        return handle(request)

    serve(inherited_listener(), awake)


if __name__ == "__main__":
    main()
