"""IBM Hyper Protect's contracts, with openssl as the judge: what it makes we read, what we make it opens."""

import base64
from dataclasses import replace

import pytest
from tests.doubles import hyper_protect_files as made
from tests.doubles.section_world import sample_section

from cloister.crypto.hyper_protect import (
    check_tokens,
    decrypt_section,
    encrypt_section,
    read_rsa_private,
    read_rsa_public,
)
from cloister.errors import MalformedInput, UsageError
from cloister.formats.hyper_protect import format_encrypted_contract, parse_encrypted_contract, parse_token
from cloister.formats.hyper_protect_section import parse_hyper_protect_section
from cloister.formats.hyper_protect_sections import NotExportable, exported_text, imported_section
from cloister.secret import SecretBytes
from cloister.trust.hyper_protect import (
    HYPER_PROTECT_STEPS,
    ImportRefused,
    examine_hyper_protect,
    export_contract,
    export_workload,
)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """The machine's key, the signer's and a stranger's."""
    folder = tmp_path_factory.mktemp("keys")
    return {name: made.KeyFiles(folder, name) for name in ("machine", "signer", "stranger")}


@pytest.fixture(scope="module")
def written(keys):
    """A contract as openssl made it."""
    return made.contract(keys["machine"], keys["signer"])


def examined(text, keys, signer="signer", machine="machine"):
    parsed = parse_encrypted_contract(text if isinstance(text, bytes) else text.encode())
    return examine_hyper_protect(parsed, signer=keys[signer].key.public_key(), key=keys[machine].key)


def test_what_openssl_made_is_read(written, keys):
    found = examined(written, keys).require()
    assert found.workload.reveal().decode() == made.WORKLOAD
    section = imported_section(found.workload, persona="model owner")
    assert section.variables == {"MODEL_TOKEN": "canary of the workload", "DEPTH": "3"}
    assert (section.kind, section.files) == ("workload", {"hyper-protect.yaml": made.WORKLOAD.encode()})
    assert imported_section(found.env, persona="operator").variables == {"LOG_TOKEN": "canary of the environment"}


def test_openssl_opens_what_was_made_here_and_its_signature_holds_there(keys, tmp_path):
    machine, signer = keys["machine"], keys["signer"]
    workload = sample_section(
        "workload", files={}, variables={"TOKEN": "a \"quoted\" 'value'\nof two lines: # é \U0001f512"}
    )
    token = export_workload(workload, machine.key.public_key())
    environment = sample_section("environment", files={})
    contract = export_contract(environment, token, to=machine.key.public_key(), signer=signer.key)
    text = made.decrypted(contract.workload, machine)
    assert parse_hyper_protect_section(SecretBytes(text.encode())).variables == workload.variables
    assert "signingKey: " in made.decrypted(contract.env, machine)
    (tmp_path / "signature").write_bytes(contract.signature)
    arguments = ("dgst", "-sha256", "-verify", signer.public, "-signature", tmp_path / "signature")
    assert made.openssl(*arguments, data=(contract.workload + contract.env).encode()) == b"Verified OK\n"


def test_what_was_exported_is_imported_again(written, keys):
    to, signer = keys["machine"].key.public_key(), keys["signer"].key
    found = examined(written, keys).require()
    sections = [imported_section(text, persona="anyone") for text in (found.workload, found.env)]
    again = export_contract(sections[1], export_workload(sections[0], to), to=to, signer=signer)
    assert examined(format_encrypted_contract(again), keys).require() == found


def test_a_password_of_raw_bytes_ends_where_openssl_ends_it(keys):
    machine = keys["machine"]
    for password in (b"before\nafter", b"\xff\xfe raw \x01 bytes"):
        token = made.encrypted(made.WORKLOAD, machine, password=password)
        assert decrypt_section(parse_token(token), machine.key).reveal().decode() == made.WORKLOAD


def unsigned(text):
    return "\n".join(line for line in text.splitlines() if not line.startswith("envWorkload"))


def swapped(text):
    lines = text.splitlines()
    return "\n".join((lines[0].replace("workload:", "env:"), lines[1].replace("env:", "workload:"), lines[2]))


def flipped(text, part):
    """The first bit of a section's ciphertext changed: that block is garbled, and one bit of the next."""
    token = getattr(parse_encrypted_contract(text.encode()), part)
    section = parse_token(token)
    changed = bytes([section.ciphertext[0] ^ 1]) + section.ciphertext[1:]
    return text.replace(token, replace(section, ciphertext=changed).token())


@pytest.mark.breaks("imported.signed")
def test_a_contract_without_signature_is_refused_and_not_opened(written, keys):
    examination = examined(unsigned(written), keys)
    assert (examination.failed, examination.passed) == (["imported.signed"], [])
    with pytest.raises(ImportRefused, match="has no envWorkloadSignature"):
        examination.require()


@pytest.mark.breaks("imported.signature")
@pytest.mark.parametrize("part", ["workload", "env"])
def test_a_flipped_bit_that_the_encryption_does_not_show_is_refused(written, keys, part):
    changed = flipped(written, part)
    token = parse_token(getattr(parse_encrypted_contract(changed.encode()), part))
    assert decrypt_section(token, keys["machine"].key)  # the encryption alone takes it
    assert examined(changed, keys).failed == ["imported.signature"]


@pytest.mark.breaks("imported.signature")
def test_a_signature_by_another_than_the_named_signer_is_refused(written, keys):
    assert examined(written, keys, signer="stranger").failed == ["imported.signature"]
    assert examined(made.contract(keys["machine"], keys["stranger"]), keys).failed == ["imported.signature"]


def test_sections_of_two_contracts_are_not_joined(written, keys):
    other = made.contract(keys["machine"], keys["signer"]).splitlines()
    joined = "\n".join((written.splitlines()[0], *other[1:]))
    assert examined(joined, keys).failed == ["imported.signature"]


@pytest.mark.breaks("imported.opened")
def test_a_contract_for_another_machine_is_refused_by_that_check_alone(written, keys):
    assert examined(written, keys, machine="stranger").failed == ["imported.opened"]


@pytest.mark.breaks("imported.form")
def test_a_section_in_the_others_place_is_refused_by_that_check_alone(keys):
    env = made.ENV.format(key=made.signing_key(keys["signer"]))
    text = made.contract(keys["machine"], keys["signer"], workload=env, env=made.WORKLOAD)
    assert examined(text, keys).failed == ["imported.form"]
    assert examined(swapped(text), keys).failed == ["imported.signature"]


@pytest.mark.breaks("imported.signing-key")
@pytest.mark.parametrize("env", [made.ENV.format(key=""), "type: env\n", made.ENV.format(key="x.y"), None])
def test_an_environment_that_names_another_signer_is_refused_by_that_check_alone(keys, env):
    named = made.ENV.format(key=made.signing_key(keys["stranger"])) if env is None else env
    text = made.contract(keys["machine"], keys["signer"], env=named)
    assert examined(text, keys).failed == ["imported.signing-key"]


def test_a_signing_key_stands_there_as_pem_in_a_block_or_in_quotes_too(keys):
    pem = keys["signer"].public.read_text()
    block = "type: env\nsigningKey: |\n" + "".join(f"  {line}\n" for line in pem.splitlines()) + "env: {}\n"
    quoted = 'type: env\nsigningKey: "' + pem.replace("\n", "\\n") + '"\n'
    for env in (block, quoted):
        assert examined(made.contract(keys["machine"], keys["signer"], env=env), keys).failed == []


def test_every_step_of_an_import_is_broken_above():
    assert len(HYPER_PROTECT_STEPS) == 5


@pytest.mark.parametrize(
    ("section", "said"),
    [
        (sample_section("secrets", files={}), "has no equal in IBM's contracts"),
        (sample_section("workload"), "IBM's sections have no files"),
        (sample_section("workload", files={"hyper-protect.yaml": b"type: workload\n"}), "say different things"),
        (sample_section("environment", files={"hyper-protect.yaml": made.WORKLOAD.encode()}), "say different things"),
    ],
    ids=["secrets", "files", "variables", "type"],
)
def test_what_has_no_equal_is_not_exported(section, said):
    with pytest.raises(NotExportable, match=said):
        exported_text(section, signing_key="")


def test_each_kind_is_exported_in_its_own_place_only(keys):
    to, signer = keys["machine"].key.public_key(), keys["signer"].key
    with pytest.raises(NotExportable, match="of kind environment"):
        export_workload(sample_section("environment", files={}), to)
    with pytest.raises(NotExportable, match="of kind workload"):
        export_contract(sample_section("workload", files={}), "x", to=to, signer=signer)
    with pytest.raises(UsageError):
        export_contract(sample_section("environment", files={}), "x", to=to, signer=signer)


def test_an_imported_environment_is_not_signed_by_another(written, keys):
    section = imported_section(examined(written, keys).require().env, persona="operator")
    token = parse_encrypted_contract(written.encode()).workload
    with pytest.raises(MalformedInput, match="another key than the signer's"):
        export_contract(section, token, to=keys["machine"].key.public_key(), signer=keys["stranger"].key)


@pytest.mark.parametrize(
    "text",
    [
        "workload: {token}\nenv: {token}\nenv: {token}\n",
        "workload: {token}\n",
        "workload:\n  type: workload\nenv: {token}\n",
        "workload: {token}\nenv: {token}\nextra: x\n",
        "workload: {token}\nenv: {token}x\n",
        "workload: {token}\nenv: hyper-protect-basic.AAAA.AAAA\n",
        "workload: {token}\nenv: other-basic.AAAA.AAAA\n",
        "workload: {token}\nenv: {token}\nenvWorkloadSignature: A\n",
        "workload: &a {token}\nenv: *a\n",
    ],
)
def test_what_is_no_encrypted_contract_does_not_parse(written, text):
    token = parse_encrypted_contract(written.encode()).workload
    with pytest.raises(MalformedInput):
        parse_encrypted_contract(text.replace("{token}", token).encode())


@pytest.mark.parametrize(
    "text",
    [
        "env:\n  A: b\n",
        "type: other\n",
        "type: workload\ntype: workload\n",
        "type: workload\nsigningKey: x\n",
        "type: workload\nenv:\n  A: canary\n  A: canary\n",
        "type: workload\nenv:\n  A: &x canary\n",
        "type: workload\nenv:\n  A: *canary\n",
        "type: workload\nenv:\n  A: !canary x\n",
        "type: workload\nenv:\n  A: {canary: x}\n",
        "type: workload\nenv:\n  A: |\n    canary\n",
        'type: workload\nenv:\n  A: "canary\\x41"\n',
        "type: workload\nenv:\n  A: canary\n   B: canary\n",
        "type: workload\nenv:\n\tA: canary\n",
        "type: workload\nenv: canary\n",
        "type: workload\nenv:\n  A: canary # a comment\n",
        "- canary\n",
    ],
)
def test_yaml_that_could_be_read_in_two_ways_is_refused_and_not_repeated(text):
    with pytest.raises(MalformedInput) as refused:
        parse_hyper_protect_section(SecretBytes(text.encode()))
    assert "canary" not in str(refused.value)


def test_only_rsa_keys_of_2048_bits_and_more_are_taken(keys):
    assert read_rsa_public(keys["signer"].public.read_bytes()) == keys["signer"].key.public_key()
    small = made.openssl("genrsa", "1024")
    curve = made.openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout")
    for pem in (small, curve, b"", b"-----BEGIN PRIVATE KEY-----\n"):
        with pytest.raises(MalformedInput):
            read_rsa_private(SecretBytes(pem))
    for pem in (made.openssl("pkey", "-pubout", data=curve), b"", base64.b64encode(b"x")):
        with pytest.raises(MalformedInput):
            read_rsa_public(pem)


def test_the_same_section_is_never_encrypted_to_the_same_bytes(keys):
    key = keys["machine"].key
    one, other = (encrypt_section(SecretBytes(b"text"), key.public_key()) for _ in range(2))
    assert not {one.salt, one.ciphertext, one.password} & {other.salt, other.ciphertext, other.password}


def test_signatures_cover_the_workload_first(written, keys):
    parsed = parse_encrypted_contract(written.encode())
    check_tokens(parsed.workload, parsed.env, parsed.signature, keys["signer"].key.public_key())
