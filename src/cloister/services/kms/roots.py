"""Root secrets of contract lines: in this process's memory, made when due, dropped when retired.

What one is, and when it is due: docs/formats/custody.md. None is used that does not derive the intake key in the log.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from cloister.contract.custody_records import Custodian, RootRecord, custodians_of
from cloister.contract.recovery import derives
from cloister.contract.state import ContractLine
from cloister.crypto.hpke import KemPrivateKey, wrap
from cloister.crypto.root_secret import ROOT_SIZE, intake_key
from cloister.crypto.shares import split
from cloister.formats import canonical
from cloister.formats.custody import EARLIER_INFO, SHARE_INFO, CommittedShare, EarlierSeal, Root, Share, ShareSeal
from cloister.secret import SecretBytes


class RootSecrets:
    """The secrets, by the digest of their root's entry."""

    def __init__(self) -> None:
        self._secrets: dict[bytes, SecretBytes] = {}
        self._unborn: dict[bytes, SecretBytes] = {}

    def expect(self, digest: bytes, secret: SecretBytes) -> None:
        """Keep the secret of a root that is about to be logged: an answer that is lost does not take it along."""
        self._unborn[digest] = secret

    def hold(self, record: RootRecord, secret: SecretBytes) -> bool:
        """Keep the secret of `record`, if it is that; whether it was not held before."""
        digest = record.placed.digest
        if digest in self._secrets or not derives(secret, record):
            return False
        self._secrets[digest] = secret
        return True

    def settle(self, lines: Iterable[ContractLine]) -> bool:
        """Keep what these lines have in use and take in what was expected; whether anything changed."""
        in_use = {record.placed.digest for line in lines for record in in_use_of(line)}
        before = set(self._secrets)
        self._secrets |= {digest: secret for digest, secret in self._unborn.items() if digest in in_use}
        self._secrets = {digest: secret for digest, secret in self._secrets.items() if digest in in_use}
        self._unborn = {digest: secret for digest, secret in self._unborn.items() if digest not in in_use}
        return set(self._secrets) != before

    def get(self, record: RootRecord) -> SecretBytes | None:
        """The secret of `record`, if it is held."""
        return self._secrets.get(record.placed.digest)

    def named(self, digest: bytes) -> SecretBytes | None:
        """The secret of the root whose entry has this digest, if it is held."""
        return self._secrets.get(digest)

    def intake(self, record: RootRecord) -> KemPrivateKey | None:
        """The intake key of `record`, if its secret is held."""
        secret = self.get(record)
        made = record.root
        return None if secret is None else intake_key(secret, line=made.contract, generation=made.generation)

    def held(self) -> frozenset[bytes]:
        """The digests of the roots whose secrets are held."""
        return frozenset(self._secrets)

    def all(self) -> Mapping[bytes, SecretBytes]:
        """All that are held, to be sealed to the platform."""
        return dict(self._secrets)

    def erase_all(self) -> None:
        """Drop every secret."""
        self._secrets.clear()
        self._unborn.clear()


def in_use_of(line: ContractLine) -> tuple[RootRecord, ...]:
    """The roots of a line that are not retired."""
    return tuple(record for record in line.custody.roots if record.root.generation > line.custody.retired)


def new_root(name: bytes, line: ContractLine, before: SecretBytes | None, *, at: int) -> tuple[Root, SecretBytes]:
    """A fresh root secret of the line `name`, and the statement of it; `before` is the secret of the last, if held."""
    secret = SecretBytes(secrets.token_bytes(ROOT_SIZE))
    latest = line.custody.latest
    generation = latest.root.generation + 1 if latest else 1
    intake = intake_key(secret, line=name, generation=generation).public
    custodians = custodians_of(line.current)
    seal = ShareSeal(contract=name, terms=line.digest, generation=generation, intake=intake, custodian="-")
    root = Root(
        contract=name,
        terms=line.digest,
        generation=generation,
        previous=latest.placed.digest if latest else b"",
        intake=intake,
        threshold=custodians.threshold,
        shares=_shares(secret, custodians.all, custodians.threshold, seal) if custodians.all else (),
        earlier=b"" if before is None else _earlier(before, intake, name, generation),
        at=at,
    )
    return root, secret


def _shares(
    secret: SecretBytes, custodians: tuple[Custodian, ...], threshold: int, seal: ShareSeal
) -> tuple[Share, ...]:
    shares = split(secret, threshold=threshold, count=len(custodians))
    return tuple(
        _share(one, share, replace(seal, custodian=one.name)) for one, share in zip(custodians, shares, strict=True)
    )


def _share(custodian: Custodian, share: SecretBytes, seal: ShareSeal) -> Share:
    return Share(
        custodian=custodian.name,
        commitment=CommittedShare(seal=seal, share=share.reveal()).commitment(),
        wrapped=wrap(custodian.seal, share.reveal(), info=SHARE_INFO, aad=canonical.encode(seal)),
    )


def _earlier(before: SecretBytes, intake: bytes, name: bytes, generation: int) -> bytes:
    aad = canonical.encode(EarlierSeal(contract=name, generation=generation))
    return wrap(intake, before.reveal(), info=EARLIER_INFO, aad=aad)
