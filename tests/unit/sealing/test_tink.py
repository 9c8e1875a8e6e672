"""Google's Tink opens our streams, and ours opens Tink's."""

import io

import pytest
import tink
from tests.doubles.plain_models import KEY, SMALL, Watched, counted, write_model
from tink import cleartext_keyset_handle, streaming_aead
from tink.proto import aes_gcm_hkdf_streaming_pb2, common_pb2, tink_pb2

from cloister.crypto.sealed_stream import HEADER_SIZE, SEGMENT, SealedStream, SegmentBroken, StreamHead, sealed_size
from cloister.formats.sealed_artifact import associated_data
from cloister.sealing.artifact import open_artifact, seal_folder

FIRST = SEGMENT - 40 - 16  # bytes of plaintext in the first segment
SIZES = [0, 1, FIRST - 1, FIRST, FIRST + 1, FIRST + SEGMENT - 16, FIRST + SEGMENT - 15]


@pytest.fixture(scope="module")
def oracle():
    streaming_aead.register()
    key = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey(
        version=0,
        params=aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingParams(
            ciphertext_segment_size=SEGMENT, derived_key_size=32, hkdf_hash_type=common_pb2.SHA256
        ),
        key_value=KEY.reveal(),
    )
    data = tink_pb2.KeyData(
        type_url="type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey",
        value=key.SerializeToString(),
        key_material_type=tink_pb2.KeyData.SYMMETRIC,
    )
    entry = tink_pb2.Keyset.Key(key_data=data, status=tink_pb2.ENABLED, key_id=1, output_prefix_type=tink_pb2.RAW)
    keyset = tink_pb2.Keyset(primary_key_id=1, key=[entry])
    handle = cleartext_keyset_handle.from_keyset(keyset)
    return handle.primitive(streaming_aead.StreamingAead)


class Kept(io.BytesIO):
    """Tink's stream closes what it writes to."""

    def close(self):
        return None


def theirs_opened(oracle, sealed, associated):
    with oracle.new_decrypting_stream(io.BytesIO(sealed), associated) as stream:
        return stream.read()


def ours_opened(sealed, associated, size):
    stream = SealedStream(KEY, StreamHead.parse(sealed[:HEADER_SIZE]), associated=associated, size=size)
    room = bytearray(size)
    for number in range(stream.last + 1):
        (at, length), (begin, end) = stream.place(number), stream.span(number)
        stream.open_into(number, memoryview(sealed)[at : at + length], memoryview(room)[begin:end])
    return bytes(room)


@pytest.mark.parametrize("size", SIZES)
def test_ours_opens_what_tink_sealed(oracle, size):
    kept, plain = Kept(), counted(size)
    with oracle.new_encrypting_stream(kept, b"for this") as stream:
        stream.write(plain)
    assert len(kept.getvalue()) == sealed_size(size)
    assert ours_opened(kept.getvalue(), b"for this", size) == plain
    with pytest.raises(SegmentBroken):
        ours_opened(kept.getvalue(), b"for that", size)


@pytest.mark.parametrize("size", SIZES)
def test_tink_opens_what_ours_sealed(oracle, size):
    head, plain = StreamHead(bytes(range(32)), bytes(7)), counted(size)
    stream = SealedStream(KEY, head, associated=b"for this", size=size)
    sealed = bytearray(head.encode() + bytes(sealed_size(size) - HEADER_SIZE))
    for number in range(stream.last + 1):
        (at, length), (begin, end) = stream.place(number), stream.span(number)
        stream.seal_into(number, memoryview(plain)[begin:end], memoryview(sealed)[at : at + length])
    assert theirs_opened(oracle, bytes(sealed), b"for this") == plain
    sealed[-1] ^= 1
    with pytest.raises(tink.TinkError):
        theirs_opened(oracle, bytes(sealed), b"for this")


def test_tink_opens_every_file_of_an_artifact(oracle, tmp_path):
    seal_folder(write_model(tmp_path / "plain", SMALL), tmp_path / "sealed", name="a", key=KEY, progress=Watched())
    artifact = open_artifact(tmp_path / "sealed")
    for one in artifact.sealed:
        associated = associated_data(artifact.header.id, one.file.path)
        assert theirs_opened(oracle, one.place.read_bytes(), associated) == SMALL[one.file.path]
