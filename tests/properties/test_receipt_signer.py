"""The signer that puts digests into a template makes what the plain one makes, byte for byte."""

from hypothesis import given
from hypothesis import strategies as st

from cloister.crypto.signing import SigningKey
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


@given(digests, digests, st.lists(answers, min_size=1, max_size=3))
def test_a_template_gives_the_same_receipts(contract, epoch, several):
    signer = ReceiptSigner(KEY, contract=contract)
    for answered in several:
        assert signer.sign(answered, epoch=epoch) == sign_receipt(KEY, answered, contract=contract, epoch=epoch)
