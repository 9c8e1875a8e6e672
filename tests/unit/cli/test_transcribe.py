import asyncio
import io
import json
import signal
import subprocess
import sys

import pytest
from rich.console import Console
from tests.doubles.command_line import cloister_command, environment
from tests.doubles.relayed_service import RelayedService
from tests.doubles.served_service import served
from tests.doubles.streaming_service import StreamingService, until
from tests.doubles.terminal import at_a_terminal
from tests.speech import tone, wav

from cloister.cli.transfer_progress import TransferProgress
from cloister.client.receipts import load_receipt
from cloister.formats import binary_http
from cloister.formats.multipart import parse_multipart
from cloister.testing.world import Node


class Transcriber(RelayedService):
    """Answers each file by the marks in its bytes; the fields that each came with are in `fields`."""

    def __init__(self, now):
        super().__init__(now)
        self.fields = []
        self.busy = 0  # so many requests are told to come back at once

    def engine(self, inner):
        parts = {part.name: part for part in parse_multipart(inner.body, dict(inner.headers)["content-type"])}
        self.fields.append({name: part.text() for name, part in parts.items() if name != "file"})
        file = bytes(parts["file"].content)
        self.status, self.text = 200, json.dumps({"text": f"heard {file.decode(errors='replace')}"}).encode()
        if b"noise" in file:
            self.status, self.text = 400, b'{"error": {"message": "that is no audio", "code": null}}'
        elif b"srt" in file:
            self.text = b"1\n00:00:00,000 --> 00:00:01,000\nheard\n\n"
        elif self.busy:
            self.busy -= 1
            self.status, self.text = 503, b'{"error": {"message": "every engine is at work", "code": null}}'
        answer = super().engine(inner)
        return binary_http.Response(answer.status, (*answer.headers, ("retry-after", "0")), answer.body)


@pytest.fixture
def service(now):
    return Transcriber(now)


@pytest.fixture
def files(tmp_path):
    for name in ("one", "two", "noise"):
        (tmp_path / f"{name}.wav").write_bytes(name.encode())
    return tmp_path


async def transcribed(service, home, *arguments):
    async with served(service, home) as options:
        return await cloister_command("transcribe", *options, *arguments, home=home)


async def test_several_files_are_named_in_their_order(service, files):
    ran = await transcribed(service, files, "--jobs", "4", "two.wav", "one.wav")
    assert (ran.code, ran.out) == (0, "two.wav: heard two\none.wav: heard one\n")


async def test_one_bad_file_does_not_stop_the_others_and_the_exit_code_is_that_of_the_worst(service, files):
    ran = await transcribed(service, files, "missing.wav", "one.wav", "noise.wav", "two.wav")
    assert (ran.code, ran.out) == (2, "one.wav: heard one\ntwo.wav: heard two\n")
    assert ran.err.splitlines() == [
        "cloister: missing.wav: it cannot be read: No such file or directory",
        "cloister: noise.wav: the service answered 400: that is no audio",
        "  exit code 2, usage: docs/exit-codes/2-usage.md",
    ]


async def test_as_json_every_file_has_a_line_the_failed_ones_too(service, files):
    ran = await transcribed(service, files, "--json", "one.wav", "noise.wav")
    assert [json.loads(line) for line in ran.out.splitlines()] == [
        {"file": "one.wav", "text": "heard one", "output": None, "receipt": None, "response": None},
        {
            "file": "noise.wav",
            "error": "the service answered 400: that is no audio",
            "exit_code": 2,
            "retry": False,
        },
    ]
    assert ran.code == 2


async def test_what_is_wished_for_travels_as_the_api_names_it_and_nothing_else_does(service, files):
    (files / "names.txt").write_text("Ada, Grace\n")
    options = ("--language", "en", "--prompt", "@names.txt", "--temperature", "0.2", "--model", "whisper-2")
    await transcribed(service, files, *options, "one.wav")
    await transcribed(service, files, "--prompt", "@@home", "one.wav")
    assert service.fields == [
        {
            "model": "whisper-2",
            "response_format": "json",
            "language": "en",
            "prompt": "Ada, Grace",
            "temperature": "0.2",
        },
        {"model": "whisper-1", "response_format": "json", "prompt": "@home"},
    ]
    assert b"one.wav" not in service.opened[0].body


async def test_a_format_that_is_asked_for_comes_as_the_api_gives_it(service, files):
    (files / "srt.mp4").write_bytes(b"srt")
    alone = await transcribed(service, files, "--response-format", "srt", "srt.mp4")
    assert alone.out == "1\n00:00:00,000 --> 00:00:01,000\nheard\n"
    several = await transcribed(service, files, "--response-format", "json", "one.wav", "two.wav")
    assert several.out == '==> one.wav <==\n{"text": "heard one"}\n\n==> two.wav <==\n{"text": "heard two"}\n\n'
    assert [fields["response_format"] for fields in service.fields] == ["srt", "json", "json"]


async def test_texts_go_into_a_folder_and_replace_nothing_there_unless_told(service, files):
    (files / "texts").mkdir()
    first = await transcribed(service, files, "--output-dir", "texts", "one.wav", "two.wav")
    assert first.out == "one.wav: texts/one.txt\ntwo.wav: texts/two.txt\n"
    assert (files / "texts/one.txt").read_text() == "heard one\n"
    (files / "texts/one.txt").write_text("mine")
    asked = len(service.seen)
    again = await transcribed(service, files, "--output-dir", "texts", "one.wav")
    assert again.code == 2
    assert "texts/one.txt is there already: --force replaces it" in again.err
    assert ((files / "texts/one.txt").read_text(), len(service.seen)) == ("mine", asked)
    await transcribed(service, files, "--output-dir", "texts", "--force", "one.wav")
    assert (files / "texts/one.txt").read_text() == "heard one\n"


async def test_two_files_that_would_be_written_to_one_are_refused_before_anything_is_sent(service, files):
    (files / "texts").mkdir()
    (files / "one.mp3").write_bytes(b"one")
    ran = await transcribed(service, files, "--output-dir", "texts", "one.wav", "one.mp3")
    assert ran.code == 2
    assert "one.wav, one.mp3 would all be written to texts/one.txt" in ran.err
    assert service.seen == []


async def test_a_receipt_kept_before_is_never_replaced_nor_the_answer_beside_it(service, files):
    kept = files / "kept"
    kept.mkdir()
    (kept / "one.wav.receipt").write_bytes(b"mine")
    (kept / "one.wav-2.response.json").write_bytes(b"mine, too")
    ran = await transcribed(service, files, "--receipt-dir", "kept", "--json", "one.wav")
    assert json.loads(ran.out)["receipt"] == "kept/one.wav-3.receipt"
    assert {path.name: path.read_bytes() for path in kept.iterdir() if "-3" not in path.name} == {
        "one.wav.receipt": b"mine",
        "one.wav-2.response.json": b"mine, too",
    }
    assert (kept / "one.wav-3.response.json").read_bytes() == b'{"text": "heard one"}'
    assert load_receipt(kept / "one.wav-3.receipt").status == 200


async def test_receipts_go_into_the_state_folder_where_no_other_is_named(service, files):
    ran = await transcribed(service, files, "--receipts", "--state", "state", "--json", "one.wav")
    assert json.loads(ran.out)["receipt"] == str(files / "state/receipts/one.wav.receipt")


async def test_that_the_service_refused_is_proved_by_a_receipt_as_well(service, files):
    ran = await transcribed(service, files, "--receipt-dir", "kept", "noise.wav")
    assert ran.code == 2
    assert load_receipt(files / "kept/noise.wav.receipt").status == 400


async def test_a_service_that_has_no_room_is_asked_again_when_it_says(service, files):
    service.busy = 2
    ran = await transcribed(service, files, "one.wav")
    assert (ran.code, ran.out, len(service.opened)) == (0, "heard one\n", 3)


async def test_a_service_that_never_has_room_is_given_up(service, files):
    service.busy = 99
    ran = await transcribed(service, files, "one.wav")
    assert (ran.code, len(service.opened)) == (4, 5)
    assert "one.wav: the service answered 503: every engine is at work" in ran.err


async def test_an_answer_that_is_not_proved_is_not_printed(service, files):
    service.signer = Node().sign
    ran = await transcribed(service, files, "one.wav")
    assert (ran.code, ran.out) == (3, "")
    assert "one.wav: refused by receipt.key" in ran.err


async def test_a_service_that_is_refused_is_so_once_for_all_files(service, files):
    async with served(service, files, unsafe=()) as options:
        ran = await cloister_command("transcribe", *options, "one.wav", "two.wav", home=files)
    assert ran.code == 3
    assert ran.err.count("refused by trust.unsafe") == 1
    assert service.opened == []


async def test_files_that_cannot_be_sent_are_refused_before_anything_is_asked(service, files):
    with (files / "long.wav").open("wb") as file:
        file.truncate(25 * 1024 * 1024 + 1)
    (files / "empty.wav").write_bytes(b"")
    ran = await transcribed(service, files, "long.wav", "missing.wav", "empty.wav", ".")
    assert ran.code == 2
    assert [line.split(": ")[1] for line in ran.err.splitlines()[:-1]] == ["long.wav", "missing.wav", "empty.wav", "."]
    assert "25 MiB" in ran.err
    assert service.seen == []


@pytest.mark.parametrize(
    ("prompt", "says"), [("@missing", "No such file"), ("@bytes", "is not UTF-8"), ("@long", "more than 65536 bytes")]
)
async def test_a_prompt_that_cannot_be_read_is_a_wrong_usage(service, files, prompt, says):
    (files / "bytes").write_bytes(b"\xff")
    (files / "long").write_bytes(b"x" * 65_537)
    ran = await transcribed(service, files, "--prompt", prompt, "one.wav")
    assert ran.code == 2
    assert says in ran.err


async def test_the_bytes_that_have_left_are_shown_at_a_terminal(service, files):
    (files / "large.wav").write_bytes(wav(tone(30)))
    async with served(service, files) as options:
        seen = await at_a_terminal(files, "stderr", "transcribe", *options, "large.wav")
    assert "large.wav" in seen
    assert "sent, waiting for the text" in seen


def test_where_nobody_looks_nothing_is_shown():
    written = io.StringIO()
    progress = TransferProgress(Console(file=written))
    with progress.showing(), progress.of("a.wav", 10) as file:
        file.sent(5, 10)
    assert written.getvalue().strip() == ""


def event(**fields):
    return f"data: {json.dumps(fields)}\n\n".encode()


@pytest.fixture
def streaming(now):
    service = StreamingService(now)
    service.events = [
        event(type="transcript.text.delta", delta="The weather"),
        event(type="transcript.text.delta", delta=" is cold"),
        event(type="transcript.text.done", text="The weather is cold"),
    ]
    return service


async def test_words_are_printed_as_they_come(streaming, files):
    streaming.gate = asyncio.Event()
    async with served(streaming, files) as options:
        arguments = ("transcribe", *options, "--stream", "one.wav")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cloister", *arguments),
            env=environment(files),
            cwd=files,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        async with asyncio.timeout(30):
            assert await process.stdout.readexactly(11) == b"The weather"
            streaming.gate.set()
            assert await process.stdout.read() == b" is cold\n"
            assert await process.wait() == 0
    assert b'name="stream"\r\n\r\ntrue' in streaming.arrived[0].body


async def test_a_stream_that_is_cut_says_that_what_was_printed_is_not_proved(streaming, files):
    streaming.cut_after = 2
    ran = await transcribed(streaming, files, "--stream", "one.wav")
    assert (ran.code, ran.out) == (4, "The weather\n")
    assert "the words above are not proved: do not use them" in ran.err


async def test_a_stream_with_another_gateways_receipt_is_refused_at_its_end(streaming, files):
    streaming.signer = Node().sign
    ran = await transcribed(streaming, files, "--stream", "one.wav")
    assert ran.code == 3
    assert "one.wav: refused by receipt.key" in ran.err
    assert "the words above are not proved" in ran.err


async def test_a_service_that_breaks_off_in_words_is_quoted(streaming, files):
    streaming.events[1:] = [b"event: error\n" + event(error={"message": "the audio ends in the middle"})]
    ran = await transcribed(streaming, files, "--stream", "one.wav")
    assert ran.code == 4
    assert "the service broke off its answer: the audio ends in the middle" in ran.err


async def test_several_streamed_files_are_printed_whole_and_in_order_and_kept(streaming, files):
    ran = await transcribed(streaming, files, "--stream", "--receipt-dir", "kept", "one.wav", "two.wav")
    assert ran.out == "one.wav: The weather is cold\ntwo.wav: The weather is cold\n"
    checked = await cloister_command(
        *("receipt", "verify", "kept/one.wav.receipt", "--request", "one.wav"),
        *("--response", "kept/one.wav.response.events", "--policy", "policy.toml"),
        home=files,
    )
    assert checked.code == 0, checked.err


async def test_a_stream_and_a_format_do_not_go_together(streaming, files):
    ran = await transcribed(streaming, files, "--stream", "--response-format", "srt", "one.wav")
    assert ran.code == 2
    assert "--stream gives the words as they come" in ran.err


def test_the_words_heard_are_counted_where_several_files_are_on_their_way():
    written = io.StringIO()
    progress = TransferProgress(Console(file=written, force_terminal=True, width=100))
    with progress.showing(), progress.of("a.wav", 10) as file:
        file.sent(10, 10)
        file.heard("The weather")
        file.heard(" is cold")
        file.reached(2.1, 4.0)
    assert "a.wav: 4 words heard" in written.getvalue()
    assert "2 of 4 s" in written.getvalue()


async def test_ctrl_c_ends_a_command_with_130_and_without_a_trace(streaming, files):
    streaming.gate = asyncio.Event()
    async with served(streaming, files) as options:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cloister", "transcribe", *options, "--stream", "one.wav"),
            env=environment(files),
            cwd=files,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        async with asyncio.timeout(30):
            await process.stdout.readexactly(11)
            process.send_signal(signal.SIGINT)
            _, err = await process.communicate()
        await until(lambda: streaming.arrived[0].left)
    assert (process.returncode, err.strip()) == (130, b"")
