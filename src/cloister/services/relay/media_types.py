"""What a relay passes on: encapsulated messages, whole (RFC 9458) or in chunks, and a gateway's problems."""

from __future__ import annotations

from typing import Final

from cloister.hosting import problem

REQUESTS: Final = {kind: kind for kind in (b"message/ohttp-req", b"message/ohttp-chunked-req")}
ANSWERS: Final[dict[bytes | None, bytes]] = {
    kind: kind for kind in (b"message/ohttp-res", b"message/ohttp-chunked-res", problem.MEDIA_TYPE.encode())
}


def media_type(content_type: bytes | None) -> bytes:
    """The type alone, in lower case: parameters are the sender's words and are not passed on."""
    return (content_type or b"").partition(b";")[0].strip().lower()
