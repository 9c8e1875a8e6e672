"""The whisper engine: OpenAI's transcription and translation API over faster-whisper, on the processor."""

from __future__ import annotations

from pathlib import Path

from cloister.engines import ended, given, model_folder, self_test, trial
from cloister.engines.http_exchange import Handler
from cloister.engines.known_sample import spoken_sample
from cloister.engines.server import inherited_listener, serve
from cloister.engines.transcription_api import Engine, handler
from cloister.engines.transcription_form import TranscriptionForm
from cloister.engines.whisper_hearing import WhisperHearing, heard_words, make_ready
from cloister.engines.whisper_model import Whisper
from cloister.errors import MalformedInput

AT_ONCE = 2  # requests: each has the weights in memory and all processors


def engine_of(folder: Path) -> tuple[Engine, Whisper]:
    """The model in `folder`, whose weights are loaded when it is first asked.

    Raises:
        MalformedInput: it is none that this engine loads.
    """
    whisper = Whisper(folder)
    names = model_folder.names(folder, otherwise="whisper-1")
    cases = self_test.read(folder)

    def listen(form: TranscriptionForm) -> WhisperHearing:
        return WhisperHearing(whisper, form)

    def passes(handle: Handler) -> bool:
        if cases:
            return self_test.first_failure(cases, handle, folder, names[0]) is None
        sample = spoken_sample()
        untold = TranscriptionForm(memoryview(sample.file), names[0], "json", frozenset(), 0.0, stream=False)
        return heard_words(listen(untold)) == sample.words

    return Engine(listen, names, passes, given.maximum_file(), whisper.abilities()), whisper


def main() -> None:
    """Serve, once a process of its own has shown that the model hears: this one loads no weights."""
    folder = model_folder.folder()
    if folder is None:
        raise SystemExit("the whisper engine needs a model: the sandbox was given none")
    try:
        engine, whisper = engine_of(folder)
        handle = handler(engine)
        make_ready()
        trial.hold(
            lambda: whisper.awaken() is not None and engine.passes(handle),
            lambda: self_test.failed_status(folder, handle, engine.models[0]),
        )
    except trial.FailsItsTest as failed:
        raise SystemExit(failed.exit_status) from failed
    except MalformedInput as error:
        raise SystemExit(ended.UNSERVABLE) from error
    serve(inherited_listener(), handle, at_once=AT_ONCE)


if __name__ == "__main__":
    main()
