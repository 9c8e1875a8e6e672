import contextlib
import json
import time

import pytest
from tests.doubles.command_line import cloister_command
from tests.doubles.http_peers import serving
from tests.doubles.relayed_service import RelayedService
from tests.speech import tone, wav

from cloister.cli.transcribe import _unused
from cloister.formats.trust_policy import format_trust_policy
from cloister.testing import world as worlds
from cloister.testing.world import Node

SENTENCE = "software TEE: protects nothing from this machine's owner"


@pytest.fixture
def service(monkeypatch):
    """A service whose world is valid now, since commands read the clock of this machine."""
    now = int(time.time())
    monkeypatch.setattr(worlds, "NOON", now)
    service = RelayedService()
    service.now = now
    return service


@contextlib.asynccontextmanager
async def served(service, home, **policy):
    """The options that name `service`, whose trust policy is in `home`; beside it lies a speech file."""
    (home / "policy.toml").write_text(format_trust_policy(service.world.policy(**policy), comment="tests"))
    (home / "speech.wav").write_bytes(wav(tone(0.1)))
    async with serving(service.answer) as relay:
        yield ("--policy", "policy.toml", "--relay", str(relay))


async def test_verify_prints_every_step_with_number_id_and_words(service, tmp_path):
    async with served(service, tmp_path) as options:
        ran = await cloister_command("verify", *options, home=tmp_path)
    assert ran.code == 0
    steps = [line for line in ran.out.splitlines() if "✓" in line]
    assert steps[0].split()[:3] == ["1", "✓", "constitution.genesis"]
    assert "the KMS is the one that the trust policy pins" in steps[0]
    assert f"All {len(steps)} steps passed." in ran.out
    assert SENTENCE in ran.out


async def test_verify_as_json_says_the_same_to_a_program(service, tmp_path):
    async with served(service, tmp_path) as options:
        ran = await cloister_command("verify", "--json", *options, home=tmp_path)
    report = json.loads(ran.out)
    assert report["passed"] is True
    assert report["software_tee"] == SENTENCE
    assert [step["number"] for step in report["steps"]] == [*range(1, len(report["steps"]) + 1)]
    assert {step["outcome"] for step in report["steps"]} == {"passed"}
    assert all(step["says"] for step in report["steps"])


async def test_a_refused_service_exits_with_3_and_says_what_should_have_held(service, tmp_path):
    async with served(service, tmp_path, unsafe=()) as options:
        ran = await cloister_command("verify", *options, home=tmp_path)
    assert ran.code == 3
    assert "✗ trust.unsafe" in ran.out
    first, *rest = ran.err.splitlines()
    assert first.startswith("cloister: refused by trust.unsafe: UnsafeAllowSoftwareTee stands in")
    assert [line.partition(":")[0].strip() for line in rest] == [
        "what should hold",
        "it stands against",
        "exit code 3, refused",
    ]


async def test_a_transcript_is_printed_and_its_receipt_verifies_offline(service, tmp_path):
    async with served(service, tmp_path) as options:
        ran = await cloister_command("transcribe", *options, "--receipt-dir", "kept", "speech.wav", home=tmp_path)
    assert (ran.code, ran.out) == (0, "a spoken sentence\n")
    files = ("--request", "speech.wav", "--response", "kept/speech.wav.response.json", "--policy", "policy.toml")
    checked = await cloister_command("receipt", "verify", "kept/speech.wav.receipt", *files, home=tmp_path)
    assert checked.code == 0
    assert "✓ receipt.response" in checked.out
    assert "This answer was given to this request" in checked.out
    (tmp_path / "speech.wav").write_bytes(wav(tone(0.2)))
    refused = await cloister_command("receipt", "verify", "kept/speech.wav.receipt", *files, "--json", home=tmp_path)
    assert refused.code == 3
    assert [step["id"] for step in json.loads(refused.out)["steps"] if step["outcome"] != "passed"] == [
        "receipt.request"
    ]


async def test_the_name_of_the_file_does_not_travel(service, tmp_path):
    async with served(service, tmp_path) as options:
        (tmp_path / "canary.wav").write_bytes(wav(tone(0.1)))
        await cloister_command("transcribe", *options, "canary.wav", home=tmp_path)
    assert b"canary" not in service.opened[0].body


async def test_several_files_are_named_and_json_has_one_line_each(service, tmp_path):
    async with served(service, tmp_path) as options:
        plain = await cloister_command("transcribe", *options, "speech.wav", "speech.wav", home=tmp_path)
        lines = await cloister_command("transcribe", *options, "--json", "speech.wav", home=tmp_path)
    assert plain.out == "speech.wav: a spoken sentence\n" * 2
    assert json.loads(lines.out) == {"file": "speech.wav", "text": "a spoken sentence", "receipt": None}


async def test_an_answer_that_is_not_proved_is_not_printed(service, tmp_path):
    service.signer = Node().sign
    async with served(service, tmp_path) as options:
        ran = await cloister_command("transcribe", *options, "speech.wav", home=tmp_path)
    assert (ran.code, ran.out) == (3, "")
    assert "refused by receipt.key" in ran.err


async def test_an_error_of_the_engine_is_said_in_its_words(service, tmp_path):
    service.status, service.text = 400, b'{"error": {"message": "that is no audio", "code": null}}'
    async with served(service, tmp_path) as options:
        ran = await cloister_command("transcribe", *options, "speech.wav", home=tmp_path)
    assert (ran.code, ran.err) == (
        2,
        "cloister: the service answered 400: that is no audio\n  exit code 2, usage: docs/exit-codes/2-usage.md\n",
    )


async def test_a_file_over_the_cap_or_missing_is_refused_before_anything_is_asked(service, tmp_path):
    async with served(service, tmp_path) as options:
        with (tmp_path / "long.wav").open("wb") as file:
            file.truncate(25 * 1024 * 1024 + 1)
        long = await cloister_command("transcribe", *options, "long.wav", home=tmp_path)
        missing = await cloister_command("transcribe", *options, "missing.wav", home=tmp_path)
    assert (long.code, missing.code) == (2, 2)
    assert "25 MiB" in long.err
    assert service.seen == []


async def test_a_damaged_memory_is_refused_with_what_to_do(service, tmp_path):
    async with served(service, tmp_path) as options:
        (tmp_path / "client-memory").write_bytes(b"damaged")
        ran = await cloister_command("verify", *options, home=tmp_path)
    assert ran.code == 3
    assert "client-memory is damaged" in ran.err


def test_a_receipt_kept_before_is_never_replaced(tmp_path):
    folder = tmp_path / "receipts"
    folder.mkdir()
    (folder / "a.wav.receipt").write_bytes(b"kept")
    assert _unused(folder, "a.wav") == "a.wav-2"
    assert _unused(folder, "b.wav") == "b.wav"
