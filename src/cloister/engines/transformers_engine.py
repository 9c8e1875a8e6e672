"""The transformers engine: OpenAI's text API over a model of Hugging Face's transformers, on the processor.

A model with a language-modelling head chats and completes; any other embeds. The process from which requests are forked
loads it, and runs nothing of it: its template, its tokenizer and its self-test run in processes that end.
"""

from __future__ import annotations

from pathlib import Path

from cloister.engines import ended, model_folder, self_test, trial
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
    """Serve, once a process of its own has shown that the model answers; each request in one with all processors."""
    folder = model_folder.folder()
    if folder is None:
        raise SystemExit("the transformers engine needs a model: the sandbox was given none")
    try:
        engine, loaded = engine_of(folder)
        handle = handler(engine)

        def passes() -> bool:
            awaken(loaded.parameters)
            return engine.passes(handle)

        trial.hold(passes, lambda: self_test.failed_status(folder, handle, engine.names[0]))
    except trial.FailsItsTest as failed:
        raise SystemExit(failed.exit_status) from failed
    except MalformedInput as error:
        raise SystemExit(ended.UNSERVABLE) from error

    def awake(request: Request) -> Response:
        awaken(loaded.parameters)
        return handle(request)

    serve(inherited_listener(), awake)


if __name__ == "__main__":
    main()
