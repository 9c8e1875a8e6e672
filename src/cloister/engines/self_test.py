"""What a model must answer before anybody is served: cases that its owner put beside the weights, `selftest.json`.

docs/formats/selftest.md is the specification. What a case asks and expects is the owner's: no message quotes it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from cloister.engines import ended
from cloister.engines.http_exchange import Handler, Request
from cloister.errors import MalformedInput

FILE: Final = "selftest.json"
MAXIMUM_BYTES: Final = 1024 * 1024
_NAMED_IN_PATH = "/v2/"  # where the Open Inference Protocol names the model
_BOUNDARY = "cloister-self-test"
_SEGMENT = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"

Words = Annotated[str, msgspec.Meta(min_length=1, max_length=65_536)]
Field = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_\[\]]{1,64}\Z")]


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What must hold of an answer; at least one of these. `cosine` is the least similarity to `embedding`."""

    text: Words | None = None
    contains: Words | None = None
    embedding: Annotated[tuple[float, ...], msgspec.Meta(min_length=1, max_length=16_384)] | None = None
    cosine: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.99
    status: Annotated[int, msgspec.Meta(ge=200, le=599)] = 200


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One request: a JSON body, or a form with a file that lies in the model's folder, or neither: a GET."""

    path: Annotated[str, msgspec.Meta(pattern=r"^/[A-Za-z0-9._/-]{0,255}\Z")]
    expect: Expected
    body: dict[str, Any] | None = None
    form: dict[Field, str] | None = None
    file: Annotated[str, msgspec.Meta(pattern=rf"^{_SEGMENT}(/{_SEGMENT}){{0,8}}\Z")] | None = None


class SelfTest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    version: Literal[1]
    cases: Annotated[tuple[Case, ...], msgspec.Meta(min_length=1, max_length=64)]


def parse(data: bytes) -> tuple[Case, ...]:
    """The cases in the bytes of a `selftest.json`.

    Raises:
        MalformedInput: it is not one, or a case asks or expects nothing that makes sense.
    """
    if len(data) > MAXIMUM_BYTES:
        raise MalformedInput(f"{FILE} has more than {MAXIMUM_BYTES} bytes")
    try:
        cases = msgspec.json.decode(data, type=SelfTest).cases
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedInput(f"{FILE} is not what docs/formats/selftest.md says") from error
    for number, case in enumerate(cases, 1):
        if case.body is not None and case.form is not None:
            raise MalformedInput(f"case {number} of {FILE} has a body and a form: it takes one of them")
        if case.file is not None and case.form is None:
            raise MalformedInput(f"case {number} of {FILE} has a file and no form that would carry it")
        if case.expect.embedding is not None and not any(case.expect.embedding):
            raise MalformedInput(f"case {number} of {FILE} expects an embedding of zeros, to which nothing is similar")
    return cases


def read(model: Path) -> tuple[Case, ...]:
    """The cases in a model's folder; none where it has no such file.

    Raises:
        MalformedInput: the file is not a self-test, or sends a file that is not there.
    """
    file = model / FILE
    cases = parse(file.read_bytes()) if file.exists() else ()
    for number, case in enumerate(cases, 1):
        if case.file is not None and not (model / case.file).is_file():
            raise MalformedInput(f"case {number} of {FILE} sends a file that the model's folder has not")
    return cases


def first_failure(cases: Sequence[Case], handle: Handler, model: Path, name: str) -> str | None:
    """Ask all of them; what is wrong with the first answer that is not as expected, without its words.

    Args:
        cases: from `read`.
        handle: answers requests, as the engine will.
        model: the folder that `cases` came from.
        name: of the model, for cases that name none.
    """
    for number, case in enumerate(cases, 1):
        answer = handle(request_of(case, model, name))
        body = answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)
        if (wrong := _shortfall(case.expect, answer.status, body)) is not None:
            return f"case {number} of {FILE}: {wrong}"
    return None


def failed_status(folder: Path, handle: Handler, name: str) -> int:
    """The exit status of an engine whose self-test fails: the first case that does, which is asked once more for it."""
    for number, case in enumerate(read(folder), 1):
        if first_failure((case,), handle, folder, name) is not None:
            return ended.CASES + number
    return ended.FAILED


def request_of(case: Case, model: Path, name: str) -> Request:
    """The request that a case describes."""
    if case.body is not None:
        in_path = case.path.startswith(_NAMED_IN_PATH)
        body = json.dumps(case.body if in_path else {"model": name} | case.body).encode()
        return Request("POST", case.path, {"content-type": "application/json"}, body)
    if case.form is None:
        return Request("GET", case.path, {}, b"")
    parts = [_part(field, value.encode()) for field, value in ({"model": name} | case.form).items()]
    if case.file is not None:
        parts.append(_part(f'file"; filename="{Path(case.file).name}', (model / case.file).read_bytes()))
    body = b"".join([*parts, f"--{_BOUNDARY}--\r\n".encode()])
    return Request("POST", case.path, {"content-type": f"multipart/form-data; boundary={_BOUNDARY}"}, body)


def _part(name: str, content: bytes) -> bytes:
    return f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + content + b"\r\n"


def _shortfall(expect: Expected, status: int, body: bytes) -> str | None:
    if status != expect.status:
        return f"the answer has status {status}, expected {expect.status}"
    said = _text(body)
    if expect.text is not None and said.strip() != expect.text:
        return "the answer has another text"
    if expect.contains is not None and expect.contains not in said:
        return "the answer lacks the text that it must contain"
    if expect.embedding is not None and not _similar(expect.embedding, _embedding(body), expect.cosine):
        return f"the embedding is not within a cosine of {expect.cosine}"
    return None


# Where the APIs have what a model said: chat, completions, responses, transcriptions.
_PLACES: tuple[Callable[[Any], Any], ...] = (
    lambda answer: answer["choices"][0]["message"]["content"],
    lambda answer: answer["choices"][0]["text"],
    lambda answer: answer["output"][0]["content"][0]["text"],
    lambda answer: answer["text"],
)


def _text(body: bytes) -> str:
    """What the model said; of an answer of another shape all of it."""
    written = body.decode(errors="replace")
    for place in _PLACES:
        try:
            found = place(json.loads(written))
        except (ValueError, LookupError, TypeError):
            continue
        if isinstance(found, str):
            return found
    return written


def _embedding(body: bytes) -> list[float]:
    try:
        return [float(number) for number in json.loads(body)["data"][0]["embedding"]]
    except (ValueError, LookupError, TypeError):
        return []


def _similar(expected: Sequence[float], found: Sequence[float], cosine: float) -> bool:
    lengths = math.hypot(*expected) * math.hypot(*found)
    if len(expected) != len(found) or not 0 < lengths < math.inf:  # not a number is not between them
        return False
    return sum(one * other for one, other in zip(expected, found, strict=True)) / lengths >= cosine
