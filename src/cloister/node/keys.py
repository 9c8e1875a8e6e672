"""A node's keys: made when it starts, in memory only, gone when it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from cloister.crypto.hpke import X_WING, KemPrivateKey
from cloister.crypto.signing import SigningKey
from cloister.formats.evidence import NodeKeys


@dataclass(frozen=True, slots=True)
class NodeSecrets:
    """The private keys of one process. Nothing writes them anywhere: a node that ends takes them with it."""

    sign: SigningKey  # Ed25519: a KMS's statements, a gateway's receipts
    wrap: KemPrivateKey  # X-Wing: what a KMS releases is wrapped to it

    @classmethod
    def generate(cls) -> Self:
        """Fresh keys, drawn by pyca."""
        return cls(SigningKey.generate(), KemPrivateKey.generate(X_WING))

    @property
    def public(self) -> NodeKeys:
        """The public halves, as evidence binds them."""
        return NodeKeys(sign=self.sign.public, wrap=self.wrap.public)
