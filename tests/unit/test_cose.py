import cbor2
import pytest

from cloister.crypto.cose import open1, sign1
from cloister.crypto.signing import BadSignature, SigningKey, check_signature
from cloister.errors import MalformedInput
from cloister.formats.cose_sign1 import CoseSign1
from cloister.secret import SecretBytes

KEY = SigningKey.from_seed(SecretBytes(bytes(32)))
OTHER = SigningKey.from_seed(SecretBytes(b"\1" * 32))


def changed(**parts):
    """The parts of a signed message, some of them changed."""
    message = cbor2.loads(sign1(KEY, b"hello", content_type="text/plain"))
    names = ("protected", "unprotected", "payload", "signature")
    values = [parts.get(name, value) for name, value in zip(names, message.value, strict=True)]
    return cbor2.dumps(cbor2.CBORTag(parts.get("tag", 18), values), canonical=True)


def header(**fields):
    return cbor2.dumps({1: -8, 3: "text/plain", 4: KEY.public} | fields.get("more", {}), canonical=True)


def test_the_key_of_a_seed_is_that_of_rfc_8032_section_7_1_test_1():
    seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
    key = SigningKey.from_seed(SecretBytes(bytes.fromhex(seed)))
    assert key.public.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert key.seed.reveal().hex() == seed
    assert seed not in repr(key)


def test_what_was_signed_opens():
    assert (
        open1(sign1(KEY, b"hello", content_type="text/plain"), public=KEY.public, content_type="text/plain") == b"hello"
    )


def test_a_detached_payload_is_given_beside_the_message():
    message = sign1(KEY, b"hello", content_type="text/plain", detached=True)
    assert open1(message, public=KEY.public, content_type="text/plain", payload=b"hello") == b"hello"
    with pytest.raises(BadSignature):
        open1(message, public=KEY.public, content_type="text/plain", payload=b"hullo")


@pytest.mark.parametrize("detached", [True, False])
def test_a_payload_is_in_the_message_or_beside_it(detached):
    message = sign1(KEY, b"hello", content_type="text/plain", detached=detached)
    with pytest.raises(MalformedInput):
        open1(message, public=KEY.public, content_type="text/plain", payload=None if detached else b"hello")


def test_another_signer_is_refused():
    with pytest.raises(BadSignature, match="signed by"):
        open1(sign1(OTHER, b"hello", content_type="text/plain"), public=KEY.public, content_type="text/plain")


def test_another_content_type_is_refused():
    with pytest.raises(BadSignature, match="signed as"):
        open1(sign1(KEY, b"hello", content_type="text/html"), public=KEY.public, content_type="text/plain")


def test_a_changed_payload_is_refused():
    with pytest.raises(BadSignature):
        open1(changed(payload=b"hullo"), public=KEY.public, content_type="text/plain")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        cbor2.dumps(18),
        changed(tag=17),
        cbor2.dumps(cbor2.CBORTag(18, [b"", {}, b""])),
        cbor2.dumps(cbor2.CBORTag(18, 7)),
        changed(signature=bytes(63)),
        changed(protected=7),
        changed(unprotected={1: 1}),
        changed(payload="text"),
        changed(protected=cbor2.dumps([])),
        changed(protected=bytes(2000)),
        changed(protected=header(more={1: -7})),
        changed(protected=header(more={1: -8.0})),
        changed(protected=header(more={3: 50})),
        changed(protected=header(more={4: bytes(31)})),
        changed(protected=header(more={2: [4]})),
        changed(protected=header(more={6: b"iv"})),
    ],
)
def test_what_is_not_of_our_profile_is_malformed(message):
    with pytest.raises(MalformedInput):
        CoseSign1.parse(message)


@pytest.mark.parametrize(
    ("public", "signature"), [(bytes(31), bytes(64)), (bytes(32), bytes(63)), (b"\xff" * 32, bytes(64))]
)
def test_keys_and_signatures_of_wrong_sizes_are_refused(public, signature):
    with pytest.raises(BadSignature):
        check_signature(public, signature, b"")
