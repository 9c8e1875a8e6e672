"""A real TPM 2.0 (swtpm) quotes its PCRs, and what Cloister's code accepts is that and nothing else."""

import pytest
from tests.doubles.software_tpm import MISSING, WHY_NOT, SoftwareTpm, software_tpm

from cloister.attest.replay import LogRefused, authenticate_pcrs
from cloister.attest.tpm import SignedQuote, appraise_tpm, examine_tpm
from cloister.formats.event_log import SHA256, SHA384, parse_event_log
from cloister.formats.tpm_policy import TpmPolicy
from cloister.formats.tpm_quote import parse_tpm_public, parse_tpm_quote, parse_tpm_signature
from cloister.testing.event_logs import encode_event_log, firmware_event

pytestmark = pytest.mark.skipif(bool(MISSING), reason=WHY_NOT)
NONCE = b"\x2a" * 32
MEASURED = b"the workload that a measured loader extends"
ATTRIBUTES = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign"
KINDS = {
    "ecdsa-p256": ("ecc256:ecdsa-sha256:null", "sha256"),
    "ecdsa-p384": ("ecc384:ecdsa-sha384:null", "sha384"),
    "rsassa": ("rsa2048:rsassa-sha256:null", "sha256"),
    "rsapss": ("rsa2048:rsapss-sha256:null", "sha256"),
}


class Tpm(SoftwareTpm):
    """One that makes quotes with Debian's tools."""

    def quote(self, kind, selection):
        """A quote by a fresh attestation key of this kind; the key's Name, as the TPM says it."""
        algorithm, digest = KINDS[kind]
        scheme = algorithm.split(":")[1].partition("-")[0]
        self.run("tpm2_createprimary", "-Q", "-C", "o", "-G", algorithm, "-a", ATTRIBUTES, "-c", "ak.ctx")
        self.run("tpm2_readpublic", "-Q", "-c", "ak.ctx", "-f", "tpmt", "-o", "ak.pub", "-n", "ak.name")
        self.run(
            *("tpm2_quote", "-Q", "-c", "ak.ctx", "-l", selection, "-q", NONCE.hex()),
            *("-m", "quote.msg", "-s", "quote.sig", "-f", "tss", "-g", digest, "--scheme", scheme),
        )
        self.run("tpm2_pcrread", "-Q", selection, "-o", "pcrs.bin")
        self.run("tpm2_flushcontext", "-Q", "-t")
        return self.read("ak.name")


@pytest.fixture(scope="module")
def tpm(tmp_path_factory):
    with software_tpm(tmp_path_factory.mktemp("tpm")) as running:
        made = Tpm(running.folder, running.port)
        for algorithm, name in ((SHA256, "sha256"), (SHA384, "sha384")):
            digest = firmware_event(23, MEASURED).digests[algorithm].hex()
            made.run("tpm2_pcrextend", f"14:{name}={digest}")
        yield made


def parsed(tpm, bank, indices, size):
    data = tpm.read("pcrs.bin")
    values = {index: data[size * at : size * (at + 1)] for at, index in enumerate(indices)}
    quote, signature = parse_tpm_quote(tpm.read("quote.msg")), parse_tpm_signature(tpm.read("quote.sig"))
    return SignedQuote(quote, signature, {bank: values}), parse_tpm_public(tpm.read("ak.pub")), values


@pytest.mark.parametrize("kind", KINDS)
def test_a_real_quote_is_authentic_appraised_and_explained_by_its_log(tpm, kind):
    name = tpm.quote(kind, "sha256:0,7,14")
    signed, public, values = parsed(tpm, SHA256, (0, 7, 14), 32)
    authentic = examine_tpm(signed, public, names=[name]).require()
    policy = TpmPolicy(bank="sha256", pcrs={14: (values[14],)})
    assert appraise_tpm(authentic, policy, nonce=NONCE).require().pcrs == {14: values[14]}
    assert appraise_tpm(authentic, policy, nonce=bytes(32)).failed == ["tpm.nonce"]
    assert examine_tpm(signed, public, names=[b"\0\x0b" + bytes(32)]).failed == ["tpm.key"]
    log = parse_event_log(encode_event_log([firmware_event(14, MEASURED)]))
    (event,) = authenticate_pcrs(log, authentic.pcrs[SHA256], algorithm=SHA256, registers=[14]).events
    assert event.data == MEASURED
    other = parse_event_log(encode_event_log([firmware_event(14, b"something else")]))
    with pytest.raises(LogRefused, match="PCR14"):
        authenticate_pcrs(other, authentic.pcrs[SHA256], algorithm=SHA256, registers=[14])


def test_a_real_quote_of_the_sha384_bank_is_authentic(tpm):
    name = tpm.quote("ecdsa-p384", "sha384:14,23")
    signed, public, values = parsed(tpm, SHA384, (14, 23), 48)
    assert examine_tpm(signed, public, names=[name]).require().pcrs == {SHA384: values}
    other = SignedQuote(signed.quote, signed.signature, {SHA384: values | {14: bytes(48)}})
    assert examine_tpm(other, public, names=[name]).failed == ["tpm.pcrs"]
