"""How many words are wrong when everyday speech passes the whole system: proxy, relay, gateway, sandboxed engine."""

import asyncio
import contextlib

import pytest
from tests.doubles.proxies import call
from tests.doubles.sandboxes import staged
from tests.doubles.whole_system import proxied, speech_engine
from tests.speech import SENTENCES, VOICES, form, spoken, word_error_rate

from cloister.sandbox.closure import SPEECH
from cloister.testing.local_system import LocalSystem

ALLOWED = 0.15
ENGINES = 2


@pytest.fixture(scope="module")
def speech():
    with staged(SPEECH) as ready:
        yield ready


async def transcript(proxy, file, turn):
    """The text as a caller of the Whisper API gets it, who asks as `turn` comes."""
    body, content_type = form(file, model="whisper-1", response_format="text")
    async with turn:  # more at once than there are engines wait, and on a slow machine longer than a wait may last
        status, _, answer = await call(proxy, body, content_type)
    assert status == 200, answer
    return answer.decode()


async def test_at_most_fifteen_words_in_a_hundred_of_each_voice_are_wrong_through_the_whole_system(
    speech, tmp_path, record_property, capsys
):
    files = {(voice, sentence): spoken(sentence, voice, tmp_path) for voice in VOICES for sentence in SENTENCES}
    async with contextlib.AsyncExitStack() as stack:
        engine, runs = await stack.enter_async_context(speech_engine(speech, workers=ENGINES))
        system = await stack.enter_async_context(LocalSystem(tmp_path, runs=runs).running(engine))
        proxy = await stack.enter_async_context(proxied(system, tmp_path))
        turn = asyncio.Semaphore(ENGINES)
        heard = await asyncio.gather(*(transcript(proxy, file, turn) for file in files.values()))
    spoke = [sentence for _, sentence in files]
    rates = {"overall": word_error_rate(spoke, heard)}
    for number, voice in enumerate(VOICES):
        part = slice(number * len(SENTENCES), (number + 1) * len(SENTENCES))
        rates[voice] = word_error_rate(spoke[part], heard[part])
    said = ", ".join(f"{name} {rate:.1%}" for name, rate in rates.items())
    record_property("word error rate", said)
    with capsys.disabled():
        print(f"\nword error rate over {len(heard)} sentences: {said}")  # noqa: T201 - the figure is wanted
    assert max(rates.values()) <= ALLOWED, said
