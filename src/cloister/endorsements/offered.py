"""Between the endorsements that travel with evidence and those that a store keeps; nothing here is trusted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding

from cloister.attest.certificates import parse_certificates, serial_number_of
from cloister.attest.ocsp import parse_answer
from cloister.attest.revocation import parse_list
from cloister.endorsements.wanted import Wanted, WantedAnswer, WantedManifest
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.endorsement_bundle import (
    AmdKey,
    AmdRevocations,
    IntelPckRevocations,
    IntelQeIdentity,
    IntelRootRevocations,
    IntelTcbInfo,
    Kept,
    NvidiaManifest,
    OcspAnswer,
    kind_of,
)
from cloister.formats.endorsements import Endorsement, EndorsementKind
from cloister.formats.intel_collateral import IntelCollateral, parse_collateral


def offered(wanted: Wanted, brought: Sequence[Endorsement]) -> list[Kept]:
    """What may be `wanted` among what evidence brought along: to be examined; what does not parse is passed over."""
    try:
        return [one for one in _offered(wanted, brought) if kind_of(one) == wanted.kind]
    except (MalformedInput, TooLarge):
        return []


def _offered(wanted: Wanted, brought: Sequence[Endorsement]) -> Iterator[Kept]:
    if isinstance(wanted, WantedManifest):
        version = wanted.id.rpartition("_")[2].upper().replace(".", "").encode()
        for data in _of("nvidia-manifest", brought):
            if version in data.upper().replace(b".", b""):  # XML and its signature are costly: only what may be it
                yield NvidiaManifest(id=wanted.id, data=data)
    elif isinstance(wanted, WantedAnswer):
        number = serial_number_of(wanted.pair[0])
        for data in _of("ocsp-answer", brought):
            if any(one.serial_number == number for one in parse_answer(data).singles):
                yield OcspAnswer(data=data, chain=wanted.chain)
    elif wanted.kind in ("amd-key", "amd-revocations"):
        yield from _offered_by_amd(brought)
    else:
        for data in _of("intel-collateral", brought):
            yield from parts_of_collateral(parse_collateral(data))


def offered_keys(brought: Sequence[Endorsement]) -> list[Kept]:
    """Endorsement keys of AMD's, of a chip or a cloud, among them; to be examined."""
    try:
        return [one for one in _offered_by_amd(brought) if isinstance(one, AmdKey)]
    except (MalformedInput, TooLarge):
        return []


def _offered_by_amd(brought: Sequence[Endorsement]) -> Iterator[Kept]:
    """An endorsement key's chain of three, and lists with the root of it."""
    chain = [one for data in _of("amd-certificates", brought) for one in parse_certificates(data)]
    if len(chain) == 3:
        first, second, root = (one.public_bytes(Encoding.DER) for one in chain)
        yield AmdKey(chain=(first, second, root))
        for data in _of("amd-revocations", brought):
            yield AmdRevocations(data=parse_list(data).public_bytes(Encoding.DER), issuer=root)


def parts_of_collateral(told: IntelCollateral) -> Iterator[Kept]:
    """Its four parts.

    Raises:
        MalformedInput, TooLarge: a chain is none.
    """
    root = parse_certificates(told.pck_crl_issuer_chain.encode())[-1].public_bytes(Encoding.DER)
    yield IntelTcbInfo(body=told.tcb_info, signature=told.tcb_info_signature, issuer_chain=told.tcb_info_issuer_chain)
    yield IntelQeIdentity(
        body=told.qe_identity, signature=told.qe_identity_signature, issuer_chain=told.qe_identity_issuer_chain
    )
    yield IntelPckRevocations(data=bytes.fromhex(told.pck_crl), issuer_chain=told.pck_crl_issuer_chain)
    yield IntelRootRevocations(data=bytes.fromhex(told.root_ca_crl), issuer=root)


def endorsements_of(kept: Sequence[Kept]) -> Iterator[Endorsement]:
    """As they travel with evidence; Intel's parts only where all four are there."""
    for one in kept:
        if isinstance(one, AmdKey):
            yield from (Endorsement(kind="amd-certificates", data=data) for data in one.chain)
        elif isinstance(one, AmdRevocations):
            yield Endorsement(kind="amd-revocations", data=one.data)
        elif isinstance(one, NvidiaManifest):
            yield Endorsement(kind="nvidia-manifest", data=one.data)
        elif isinstance(one, OcspAnswer):
            yield Endorsement(kind="ocsp-answer", data=one.data)
    collateral = _collateral(kept)
    if collateral is not None:
        yield Endorsement(kind="intel-collateral", data=msgspec.json.encode(collateral))


def _collateral(kept: Sequence[Kept]) -> IntelCollateral | None:
    info = next((one for one in kept if isinstance(one, IntelTcbInfo)), None)
    identity = next((one for one in kept if isinstance(one, IntelQeIdentity)), None)
    pck = next((one for one in kept if isinstance(one, IntelPckRevocations)), None)
    root = next((one for one in kept if isinstance(one, IntelRootRevocations)), None)
    if info is None or identity is None or pck is None or root is None:
        return None
    return IntelCollateral(
        tcb_info=info.body,
        tcb_info_signature=info.signature,
        tcb_info_issuer_chain=info.issuer_chain,
        qe_identity=identity.body,
        qe_identity_signature=identity.signature,
        qe_identity_issuer_chain=identity.issuer_chain,
        pck_crl=pck.data.hex(),
        pck_crl_issuer_chain=pck.issuer_chain,
        root_ca_crl=root.data.hex(),
    )


def _of(kind: EndorsementKind, brought: Iterable[Endorsement]) -> Iterator[bytes]:
    return (one.data for one in brought if one.kind == kind)
