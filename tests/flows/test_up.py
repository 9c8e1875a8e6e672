"""`cloister up` as its users have it: real processes, real speech, real ends."""

import json
import os
import signal
import time

import aiohttp
import pytest
import pytest_asyncio
from tests.doubles.installation import Installation, local_system
from tests.speech import SENTENCES, form, spoken, tone, wav, word_error_rate

from cloister.formats.checkpoint import COSIGNATURE_ML_DSA, COSIGNATURE_V1, parse_vkey
from cloister.trust.bundle import BUNDLE_STEPS

pytestmark = pytest.mark.asyncio(loop_scope="module")

SENTENCE = "software TEE: protects nothing from this machine's owner"


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    return Installation(tmp_path_factory.mktemp("installation"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(installation, tmp_path_factory):
    """One system with the speech engine, for all tests that leave it as it was."""
    async with local_system(installation, tmp_path_factory.mktemp("up") / "state") as running:
        yield running


@pytest.fixture(scope="module")
def word(tmp_path_factory):
    """Two short words."""
    return spoken("Good morning.", "slt", tmp_path_factory.mktemp("word"))


async def ask(system, file, **fields):
    """What an OpenAI client gets for `file`."""
    body, content_type = form(file, **{"model": "whisper-1"} | fields)
    headers = system.headers | {"Content-Type": content_type}
    async with (
        aiohttp.ClientSession(base_url=system.record.base_url + "/") as http,
        http.post("audio/transcriptions", data=body, headers=headers) as response,
    ):
        return response.status, response.headers, await response.read()


async def test_it_says_what_it_signed_and_that_the_software_tee_protects_nothing(system):
    for words in (
        "constitution ",
        "contract ",
        "UnsafeAllowSoftwareTee",
        f"{len(BUNDLE_STEPS)} steps passed",
        SENTENCE,
    ):
        assert words in system.said


async def test_speech_comes_back_as_text_and_its_receipt_verifies_offline(system, tmp_path):
    file = tmp_path / "speech.wav"
    file.write_bytes(spoken(SENTENCES[0], "slt", tmp_path))
    status, headers, body = await ask(system, file.read_bytes())
    assert (status, headers["content-type"]) == (200, "application/json")
    assert word_error_rate([SENTENCES[0]], [json.loads(body)["text"]]) <= 0.15
    (tmp_path / "out.json").write_bytes(body)
    options = ("--request", file, "--response", tmp_path / "out.json")
    good = await system.cloister("receipt", "verify", headers["cloister-receipt-file"], *options)
    assert good.code == 0, good.err
    (tmp_path / "out.json").write_bytes(body + b" ")
    bad = await system.cloister("receipt", "verify", headers["cloister-receipt-file"], *options)
    assert (bad.code, "refused by receipt.response" in bad.err) == (3, True)


async def test_transcribe_verify_status_and_env_need_no_options(system, tmp_path):
    file = tmp_path / "speech.wav"
    file.write_bytes(spoken(SENTENCES[1], "rms", tmp_path))
    said = await system.cloister("transcribe", file, "--receipt-dir", tmp_path / "kept")
    assert word_error_rate([SENTENCES[1]], [said.out]) <= 0.15
    verified = await system.cloister("verify", "--json")
    assert json.loads(verified.out)["passed"] is True
    assert (await system.cloister("status")).code == 0
    environment = json.loads((await system.cloister("env", "--json")).out)
    assert environment["OPENAI_BASE_URL"] == system.record.base_url
    assert environment["NO_PROXY"] == "127.0.0.1"
    assert f"Bearer {environment['OPENAI_API_KEY']}" == system.headers["Authorization"]


@pytest.mark.parametrize(
    ("status", "fields", "file"),
    [
        (404, {"model": "another"}, wav(tone(0.1))),
        (400, {}, b"not audio at all"),
        (400, {}, None),
    ],
    ids=["another model", "not audio", "no file"],
)
async def test_an_error_of_the_engine_has_openais_shape_and_a_receipt(system, status, fields, file):
    answered, headers, body = await ask(system, file, **fields)
    assert answered == status
    assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}
    assert "cloister-receipt-file" in headers


async def test_every_response_format_comes_through_and_has_a_receipt(system, word):
    written = {}
    for name in ("json", "text", "srt", "vtt", "verbose_json"):
        status, headers, body = await ask(system, word, response_format=name)
        assert (status, "cloister-receipt-file" in headers) == (200, True)
        written[name] = body.decode()
    assert written["text"] == "good morning\n"
    assert written["srt"].startswith("1\n00:00:00,")
    assert written["vtt"].startswith("WEBVTT\n\n")
    assert json.loads(written["verbose_json"])["segments"][0]["text"] == json.loads(written["json"])["text"]


async def test_a_stream_comes_through_segment_by_segment_while_the_rest_is_recognised(system, word):
    body, content_type = form(wav((word[44:] + bytes(64_000)) * 6), model="whisper-1", stream="true")
    headers = system.headers | {"Content-Type": content_type}
    begun = time.monotonic()
    async with (
        aiohttp.ClientSession(base_url=system.record.base_url + "/") as http,
        http.post("audio/transcriptions", data=body, headers=headers) as response,
    ):
        assert (response.status, response.content_type) == (200, "text/event-stream")
        lines = [(time.monotonic() - begun, line) async for line in response.content]
    came = [(at, json.loads(line.removeprefix(b"data: "))) for at, line in lines if line.startswith(b"data: ")]
    *deltas, (ended, done) = came
    assert [delta["type"] for _, delta in deltas] == ["transcript.text.delta"] * 6
    assert done["text"] == "".join(delta["delta"] for _, delta in deltas)
    assert done["text"].startswith("good morning good ")
    assert deltas[0][0] < ended / 2


async def test_models_are_told_and_what_the_engine_cannot_do_is_said(system):
    async with aiohttp.ClientSession(base_url=system.record.base_url + "/", headers=system.headers) as http:
        async with http.get("models") as response:
            names = [model["id"] for model in (await response.json())["data"]]
        async with http.get(f"models/{names[0]}") as response:
            assert (await response.json())["id"] == names[0] == "whisper-1"
        async with http.get("models/whisper-9") as response:
            assert (response.status, (await response.json())["error"]["code"]) == (404, "model_not_found")
        async with http.post("audio/translations", data=b"") as response:
            assert (response.status, (await response.json())["error"]["code"]) == (400, "unsupported_model")


async def test_what_the_contract_does_not_name_is_refused_inside(system):
    async with (
        aiohttp.ClientSession(base_url=system.record.base_url + "/") as http,
        http.post("chat/completions", json={"model": "x"}, headers=system.headers) as response,
    ):
        assert response.status == 404
        assert "contract" in (await response.json())["error"]["message"]
        assert "cloister-receipt-file" in response.headers


async def test_each_role_tells_how_it_is_and_the_relay_not_where_its_clients_are(system):
    roles = {role.name: role for role in system.record.roles}
    async with aiohttp.ClientSession() as http:
        for role in roles.values():
            async with http.get(f"http://127.0.0.1:{role.health_port}/ready") as response:
                assert (response.status, await response.json()) == (200, {"ready": True, "missing": []})
        async with http.get(f"http://127.0.0.1:{roles['relay'].health_port}/metrics") as response:
            assert "cloister_relay_" in await response.text()
        async with http.get(f"http://127.0.0.1:{roles['relay'].port}/ready") as response:
            assert response.status == 404


async def test_a_second_up_says_that_one_runs(system):
    second = await system.cloister("up")
    assert second.code == 2
    assert f"runs already: cloister status --state {system.state} shows it" in second.err


async def test_the_log_is_copied_and_an_entry_of_it_proven_offline_under_both_of_the_witnesss_keys(system, tmp_path):
    keys = json.loads((await system.cloister("ledger", "keys", "--json")).out)
    first, second = (parse_vkey(text) for text in keys["witnesses"])
    assert (first.kind, second.kind, first.name) == (COSIGNATURE_V1, COSIGNATURE_ML_DSA, second.name)
    copied = await system.cloister("ledger", "export", tmp_path / "copy", "--json")
    assert (copied.code, copied.err) == (0, "")
    assert json.loads(copied.out)["witnesses"] == [first.name]
    made = await system.cloister("ledger", "proof", 0, "--from", tmp_path / "copy", "--out", tmp_path / "genesis")
    assert made.code == 0, made.err
    files = [tmp_path / f"genesis.{kind}" for kind in ("tlog-proof", "entry")]
    assert (await system.cloister("ledger", "verify-proof", *files)).code == 0
    files[0].write_bytes(files[0].read_bytes().replace(b"index 0", b"index 1"))
    assert (await system.cloister("ledger", "verify-proof", *files)).code == 3


@pytest.mark.parametrize("name", ["witness", "ledger", "kms", "gateway", "relay", "proxy"])
async def test_a_role_that_is_killed_is_named_and_started_again(system, name):
    before = system.role(name)
    system_said = len(system.said)
    killed = time.monotonic()
    os.kill(before.process.pid, signal.SIGKILL)
    await system.says(f"{name} is ready again")
    assert f"{name} ended (killed by SIGKILL); starting it again in" in system.said[system_said:]
    assert system.role(name).restarts == before.restarts + 1
    assert time.monotonic() - killed < 60
    status, _, body = await ask(system, wav(tone(0.5)))
    assert status == 200, body


async def test_sigterm_ends_everything_in_five_seconds(installation, tmp_path):
    async with local_system(installation, tmp_path / "state", "--engine", "echo") as system:
        status, _, body = await ask(system, b"x" * 100_000, response_format="text")
        assert (status, body.strip()) == (200, b"100000 bytes")
        assert len(system.processes()) > 7
        seconds, left = await system.stop()
        assert (seconds < 5, left) == (True, [])
        assert system.process.returncode == 0
        assert (await system.cloister("status")).code == 4


async def test_a_supervisor_that_is_killed_leaves_nothing(installation, tmp_path):
    async with local_system(installation, tmp_path / "state", "--engine", "echo") as system:
        _, left = await system.stop(signal.SIGKILL)
        assert left == []


async def test_down_ends_a_system_in_the_background(installation, tmp_path):
    state = tmp_path / "state"
    up = await installation.run("up", "--detach", "--engine", "echo", "--state", state)
    try:
        assert up.code == 0, up.err
        assert "cloister down" in up.out
        assert (await installation.run("status", "--state", state)).code == 0
    finally:
        down = await installation.run("down", "--state", state)
    assert (down.code, down.out) == (0, "ended\n")
    assert (await installation.run("status", "--state", state)).code == 4


async def test_changed_settings_and_changed_code_make_successors_and_the_trust_policy_stays(tmp_path):
    installation, state = Installation(tmp_path), tmp_path / "state"
    async with local_system(installation, state, "--engine", "echo") as system:
        policy = (state / "trust-policy.toml").read_text()
        port = system.role("proxy").port
    (state / "settings.toml").write_text('engine = "echo"\n[kms]\nhead_seconds = 20\n')
    async with local_system(installation, state) as system:
        assert "changed since last time: KMS settings; signed with both keys" in system.said
        assert "constitution 1 (" in system.said
        assert system.role("proxy").port == port
    with installation.module("errors.py").open("a") as file:
        file.write("# one more line\n")
    async with local_system(installation, state) as system:
        changed = next(line for line in system.said.splitlines() if line.startswith("changed"))
        assert "code (source/cloister/errors.py)" in changed
        assert "constitution 2 (" in changed
        assert "contract 2 (" in changed
        steps = {step["id"]: step for step in json.loads((await system.cloister("verify", "--json")).out)["steps"]}
        assert steps["constitution.succession"]["detail"] == "3 in line"
        assert steps["checkpoint.consistency"]["outcome"] == "passed"
    async with local_system(installation, state) as system:
        assert "changed since last time" not in system.said
        assert (state / "trust-policy.toml").read_text() == policy
        # Changed while it runs, the code is not what the terms name: it gets no key, and that is said.
        with installation.module("cli/status.py").open("a") as file:
            file.write("# one more line\n")
        os.kill(system.role("gateway").process.pid, signal.SIGKILL)
        await system.says("gateway is not ready yet: a transport key: evidence.workload: ")
        status = await system.cloister("status")
        assert (status.code, "not ready: gateway" in status.err) == (4, True)
        assert "the code changed since the start (cli/status.py)" in status.out
