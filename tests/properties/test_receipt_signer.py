"""What is written out for speed, the receipt's template and the request's summary, is what the plain way makes."""

from hypothesis import given
from hypothesis import strategies as st

from cloister.crypto.signing import SigningKey
from cloister.formats import canonical
from cloister.formats.response_receipt import PartDigest, RequestSummary
from cloister.provenance.answer import Answered, ReceiptSigner, sign_receipt
from cloister.secret import SecretBytes

digests = st.binary(min_size=32, max_size=32) | st.sampled_from([bytes([byte]) * 32 for byte in range(4)])
KEY = SigningKey.from_seed(SecretBytes(bytes(32)))
summaries = st.builds(
    RequestSummary,
    method=st.sampled_from(["GET", "POST"]),
    path=st.just("/v1/models"),
    parts=st.lists(st.builds(PartDigest, name=st.text(max_size=5), digest=digests), max_size=2).map(tuple),
)
answers = st.builds(Answered, summaries, st.integers(200, 599), digests, digests, st.integers(0, 2**40))


@given(digests, st.lists(st.tuples(digests, answers), min_size=1, max_size=3))
def test_a_template_gives_the_same_receipts(epoch, several):
    signer = ReceiptSigner(KEY)
    for contract, answered in several:
        said = signer.sign(answered, contract=contract, epoch=epoch)
        assert said == sign_receipt(KEY, answered, contract=contract, epoch=epoch)


counts = st.sampled_from([0, 1, 2, 23, 24, 255, 256])  # where the heads of CBOR items change


@given(counts, counts, st.text(max_size=256), st.text(min_size=1, max_size=16))
def test_a_summary_is_encoded_as_every_other_record_is(parts, size, name, method):
    part = PartDigest(name=name, digest=bytes(32))
    summary = RequestSummary(method=method, path="/" + "p" * size, parts=(part,) * parts)
    assert summary.encode() == canonical.encode(summary)
