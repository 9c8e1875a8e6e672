"""Receipts as files: kept beside answers, and verified offline, years later, without asking anyone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from cloister.client.durable import create_file, read_at_most, replace_file
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, Refused, TooLarge, UsageError
from cloister.examination import Examination
from cloister.formats import canonical
from cloister.formats.constitution import parse_constitution
from cloister.formats.key_bundle import KeyBundle, parse_key_bundle
from cloister.formats.response_receipt import PartDigest, RequestSummary, StoredReceipt, parse_stored_receipt
from cloister.formats.trust_policy import TrustPolicy
from cloister.ledger.checkpoints import examine_checkpoint
from cloister.ledger.statements import open_statement
from cloister.trust.bundle import VerifiedBundle, examine_bundle
from cloister.trust.memory import first_contact
from cloister.trust.receipt import Exchange, VerifiedReceipt, examine_receipt

MAXIMUM_RECEIPT = 5 * 1024 * 1024  # bytes
SUFFIX = ".receipt"
FILE_PART = "file"  # the form field that holds what was sent


@dataclass(frozen=True, slots=True)
class ReceiptExaminations:
    """Both chains: the service as it was when the receipt was made, then the receipt; the second if the first held."""

    bundle: Examination[VerifiedBundle]
    receipt: Examination[VerifiedReceipt] | None
    at: int  # the checkpoint's time, at which everything was judged; seconds since 1970

    def require(self) -> VerifiedReceipt:
        """The verified receipt.

        Raises:
            BundleRefused, ReceiptRefused: the first step that failed.
        """
        self.bundle.require()
        if self.receipt is None:
            raise Refused("receipt.key", "the receipt was not reached")
        return self.receipt.require()


def store_receipt(folder: Path, stored: StoredReceipt, *, name: str = "") -> Path:
    """Write a receipt into `folder` (made if missing) and return its path.

    Its name is `name`, or else begins with the receipt's digest: it tells nothing of the request.

    Raises:
        UsageError: the folder cannot be written.
    """
    data = canonical.encode(stored)
    path = receipt_path(folder, name or hashlib.sha256(stored.core).hexdigest()[:16])
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_file(path, data)
    except OSError as error:
        raise UsageError(f"the receipt cannot be kept in {folder}: {error.strerror}; name a folder you own") from error
    return path


def keep_answer(folder: Path, stored: StoredReceipt, body: bytes, *, name: str, suffix: str) -> tuple[Path, Path]:
    """Keep an answer beside its receipt in `folder` (made if missing): the paths of the receipt and of the answer.

    They are `name` and `.receipt`, `name` and `suffix`; with a number behind the name where one of the two is there
    already, so that what was kept before is never replaced, whoever else keeps something at the same time.

    Raises:
        UsageError: the folder cannot be written.
    """
    data = canonical.encode(stored)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        number = 1
        while True:
            numbered = name if number == 1 else f"{name}-{number}"
            receipt, answer = folder / (numbered + SUFFIX), folder / (numbered + suffix)
            if _create_both((answer, body), (receipt, data)):
                return receipt, answer
            number += 1
    except OSError as error:
        raise UsageError(f"the receipt cannot be kept in {folder}: {error.strerror}; name a folder you own") from error


def _create_both(first: tuple[Path, bytes], second: tuple[Path, bytes]) -> bool:
    """Make both files, or none where one of the two is there already.

    Raises:
        OSError: one could not be written; none of the two is left.
    """
    try:
        create_file(*first)
    except FileExistsError:
        return False
    try:
        create_file(*second)
    except OSError as error:
        first[0].unlink()
        if isinstance(error, FileExistsError):
            return False
        raise
    return True


def receipt_path(folder: Path, name: str) -> Path:
    """Where `store_receipt` writes a receipt of this name."""
    return folder / (name + SUFFIX)


def load_receipt(path: Path) -> StoredReceipt:
    """Read a receipt file.

    Raises:
        UsageError: it cannot be read, or is no receipt.
    """
    try:
        return parse_stored_receipt(read_at_most(path, MAXIMUM_RECEIPT))
    except OSError as error:
        raise UsageError(f"the receipt {path} cannot be read: {error.strerror}") from error
    except (MalformedInput, TooLarge) as error:
        raise UsageError(f"{path} is no receipt, or a damaged one: {error}") from error


def verify_receipt(
    stored: StoredReceipt, policy: TrustPolicy, *, request_file: bytes, response_file: bytes
) -> ReceiptExaminations:
    """Hold a stored receipt against the file that was sent and the answer that came, both as they are now.

    Everything is judged at the checkpoint's time, and as at first contact: what another client remembers since then
    says nothing about that moment.

    Raises:
        MalformedInput, TooLarge: the receipt holds no bundle.
        UsageError: the request had no file, so that there is nothing to hold it against.
    """
    summary = _with_file(stored.request, request_file)
    bundle = parse_key_bundle(stored.bundle)
    at = _checkpoint_time(bundle)
    examination = examine_bundle(bundle, policy, first_contact(policy.constitution), at=at)
    if examination.failed:
        return ReceiptExaminations(examination, None, at)
    exchange = Exchange(summary, stored.status, hashlib.sha256(response_file).digest(), stored.salt)
    return ReceiptExaminations(examination, examine_receipt(stored.core, exchange, examination.require()), at)


def _with_file(summary: RequestSummary, content: bytes) -> RequestSummary:
    """The summary that the request would have had with `content` as its file: equal only if that is what was sent."""
    names = [part.name for part in summary.parts]
    wanted = FILE_PART if FILE_PART in names else ""
    if wanted not in names:
        raise UsageError("the request of this receipt had no file; it cannot be held against one")
    digest = hashlib.sha256(content).digest()
    parts = tuple(
        PartDigest(name=part.name, digest=digest if part.name == wanted else part.digest) for part in summary.parts
    )
    return msgspec.structs.replace(summary, parts=parts)


def _checkpoint_time(bundle: KeyBundle) -> int:
    """When the bundle's own witnesses say that they cosigned; 0 where that cannot be told.

    The examination that follows proves who these witnesses are; where this finds nothing, it stops and says why.
    """
    try:
        statement = open_statement(bundle.constitutions[-1].entry)
        constitution = parse_constitution(statement.payload)
        return (
            examine_checkpoint(
                bundle.checkpoint,
                log=constitution.log,
                witnesses=constitution.witnesses,
                quorum=constitution.quorum,
            )
            .require()
            .cosigned_at
        )
    except (MalformedInput, TooLarge, BadSignature, Refused):
        return 0
