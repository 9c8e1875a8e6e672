"""One of each record of identities, in order, with the parser that reads it; and a certificate of each kind."""

from cloister.contract.identity_certificate import (
    AuthorityCertificate,
    Window,
    make_authority,
    make_identity,
    read_authority,
)
from cloister.crypto.p256 import P256Key
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput
from cloister.formats.evidence import NodeKeys
from cloister.formats.identity import (
    Authority,
    Identity,
    IdentityKey,
    IdentityReply,
    IdentityRequest,
    parse_authority,
    parse_identity,
    parse_identity_key,
    parse_identity_reply,
    parse_identity_request,
)
from cloister.formats.spiffe import SpiffeName

LINE, DIGEST = b"l" * 32, b"d" * 32
NAME = SpiffeName(LINE, 0, "gateway", DIGEST)
KEY = P256Key.from_seed(bytes(range(40)))
WINDOW = Window(1_800_000_000, 1_800_003_600)

IDENTITY_SAMPLES = {
    parse_authority: Authority(contract=LINE, generation=1, root=DIGEST, certificate=b"certificate", at=1),
    parse_identity: Identity(
        contract=LINE,
        role="gateway",
        node=NodeKeys(sign=DIGEST, wrap=b"k" * 1216),
        name=str(NAME),
        key=b"signed",
        proof=b"a proof!",
        serial=bytes(16),
        not_before=0,
        not_after=1,
        authorities=(DIGEST,),
        evidence=DIGEST,
        checks=("identity.key",),
        at=1,
    ),
    parse_identity_key: IdentityKey(contract=LINE, challenge=DIGEST, key=KEY.public),
    parse_identity_request: IdentityRequest(contract=LINE, evidence=b"evidence", key=b"signed", proof=b"a proof!"),
    parse_identity_reply: IdentityReply(
        entry=b"identity", index=0, path=(DIGEST,), checkpoint=b"note", certificate=b"leaf", authorities=(b"entry",)
    ),
}


def sample_authority() -> bytes:
    return make_authority(KEY, line=LINE, generation=1, window=WINDOW, serial=b"\x40" + bytes(15))


def sample_identity() -> bytes:
    issuer = read_authority(sample_authority(), line=LINE, generation=1)
    return make_identity(KEY, issuer, NAME, KEY.public, window=WINDOW, serial=b"\x41" + bytes(15))


def read_any_authority(data: bytes) -> AuthorityCertificate:
    """As `read_authority`; a signature that does not hold is what a parser would call malformed."""
    try:
        return read_authority(data, line=LINE, generation=1)
    except BadSignature as error:
        raise MalformedInput(str(error)) from error
