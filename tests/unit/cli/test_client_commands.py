import hashlib
import json

import msgspec
from tests.doubles.command_line import cloister_command
from tests.doubles.plain_models import OWNER, SIGNATURE, STRANGER
from tests.doubles.served_service import served
from tests.speech import tone, wav

from cloister.client.receipts import load_receipt
from cloister.formats import canonical
from cloister.sealing.signature import sign_model
from cloister.testing.world import MANIFEST

SENTENCE = "software TEE: protects nothing from this machine's owner"


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
    (model,) = service.world.contract.assets
    (owner,) = [party for party in service.world.contract.parties if party.name == model.owner]
    assert f"{model.name}, sha256 {model.digest.hex()}" in checked.out
    assert f"of {owner.name}, who signed the contract with the key {owner.keys[0].hex()}" in checked.out
    proved = await cloister_command("receipt", "verify", "kept/speech.wav.receipt", *files, "--json", home=tmp_path)
    assert json.loads(proved.out)["answered_by"] == {
        "engine": service.world.contract.serving.engine.name,
        "models": [
            {
                "name": model.name,
                "sha256": model.digest.hex(),
                "owner": owner.name,
                "owner_keys": [owner.keys[0].hex()],
                "signed_by": [owner.keys[0].hex()],
            }
        ],
        "gateway": service.world.gateway.sign.public.hex(),
    }
    (tmp_path / "speech.wav").write_bytes(wav(tone(0.2)))
    refused = await cloister_command("receipt", "verify", "kept/speech.wav.receipt", *files, "--json", home=tmp_path)
    assert refused.code == 3
    assert [step["id"] for step in json.loads(refused.out)["steps"] if step["outcome"] != "passed"] == [
        "receipt.request"
    ]
    assert json.loads(refused.out)["answered_by"] is None  # nothing is said of a model that is not proved


async def test_a_receipt_is_checked_for_whose_signature_its_model_has(service, tmp_path):
    async with served(service, tmp_path) as options:
        await cloister_command("transcribe", *options, "--receipt-dir", "kept", "speech.wav", home=tmp_path)
    (tmp_path / "signer.pem").write_bytes(OWNER.public.pem())
    files = ("--request", "speech.wav", "--response", "kept/speech.wav.response.json", "--policy", "policy.toml")

    async def verified(signature, *more):
        (tmp_path / "model.sig").write_bytes(signature)
        given = ("--model-signature", "model.sig", "--model-signer", "signer.pem")
        return await cloister_command(
            "receipt", "verify", "kept/speech.wav.receipt", *files, *given, *more, home=tmp_path
        )

    held = await verified(sign_model(MANIFEST, OWNER, ignored=["model.sig"]))
    assert held.code == 0
    assert f" (by {OWNER.public.fingerprint.hex()})" in held.out
    assert "✓ artifact.signature" in held.out
    assert "✓ artifact.signed" in held.out
    for signature, failed in (
        (
            sign_model(MANIFEST, STRANGER, ignored=[]),
            {"artifact.signature": "failed", "artifact.signed": "not reached"},
        ),
        (SIGNATURE, {"artifact.signed": "failed"}),
    ):
        refused = await verified(signature, "--json")
        steps = json.loads(refused.out)["steps"]
        assert (refused.code, json.loads(refused.out)["passed"]) == (3, False)
        assert {step["id"]: step["outcome"] for step in steps if step["outcome"] != "passed"} == failed
        assert [step["number"] for step in steps] == [*range(1, len(steps) + 1)]
    (tmp_path / "speech.wav").write_bytes(wav(tone(0.2)))
    other = await verified(sign_model(MANIFEST, OWNER, ignored=[]), "--json")
    assert {step["id"] for step in json.loads(other.out)["steps"] if step["outcome"] == "not reached"} == {
        "artifact.signature",
        "artifact.signed",
    }
    alone = await cloister_command(
        "receipt", "verify", "kept/speech.wav.receipt", *files, "--model-signer", "signer.pem", home=tmp_path
    )
    assert (alone.code, alone.out) == (2, "")
    assert "--model-signature and --model-signer go together" in alone.err


async def test_a_damaged_memory_is_refused_with_what_to_do(service, tmp_path):
    async with served(service, tmp_path) as options:
        (tmp_path / "client-memory").write_bytes(b"damaged")
        ran = await cloister_command("verify", *options, home=tmp_path)
    assert ran.code == 3
    assert "client-memory is damaged" in ran.err


async def test_a_receipt_shows_what_it_says_and_that_nothing_of_it_was_checked(service, tmp_path):
    async with served(service, tmp_path) as options:
        await cloister_command("transcribe", *options, "--receipt-dir", "kept", "speech.wav", home=tmp_path)
    shown = await cloister_command("receipt", "show", "kept/speech.wav.receipt", home=tmp_path)
    assert shown.out.endswith("Nothing of this was checked: cloister receipt verify does that.\n")
    ran = await cloister_command("receipt", "show", "--json", "kept/speech.wav.receipt", home=tmp_path)
    said = json.loads(ran.out)
    sent = {part["name"]: part["sha256"] for part in said["parts"]}
    assert sent["file"] == hashlib.sha256((tmp_path / "speech.wav").read_bytes()).hexdigest()
    assert (said["method"], said["path"], said["status"]) == ("POST", "/v1/audio/transcriptions", 200)
    assert said["contract"] == service.world.contract.digest().hex()
    assert said["gateway"] == service.world.gateway.sign.public.hex()
    assert said["unsafe"] == ["UnsafeAllowSoftwareTee"]
    assert [model["name"] for model in said["models"]] == [service.world.contract.assets[0].name]
    assert f"  sha256 {service.world.contract.assets[0].digest.hex()}\n" in shown.out


async def test_a_damaged_receipt_is_not_shown_and_its_file_is_named(service, tmp_path):
    async with served(service, tmp_path) as options:
        await cloister_command("transcribe", *options, "--receipt-dir", "kept", "speech.wav", home=tmp_path)
    path = tmp_path / "kept/speech.wav.receipt"
    stored = load_receipt(path)
    for changed in ({"core": b"\xd2"}, {"bundle": b"\xa0"}):
        path.write_bytes(canonical.encode(msgspec.structs.replace(stored, **changed)))
        ran = await cloister_command("receipt", "show", "kept/speech.wav.receipt", home=tmp_path)
        assert (ran.code, ran.out) == (2, "")
        assert "kept/speech.wav.receipt is a damaged receipt" in ran.err
