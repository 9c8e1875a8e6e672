"""An Azure VM's vTPM is tied to its hardware by the runtime data: each step is broken alone."""

import json
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.attest.azure import (
    AZURE_APPRAISAL_STEPS,
    AZURE_STEPS,
    AzureRejected,
    appraise_azure,
    examine_azure,
    examine_runtime,
)
from cloister.attest.tpm import SignedQuote
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.azure_evidence import MAXIMUM_AZURE, parse_azure_buffers, parse_azure_evidence
from cloister.formats.azure_policy import AzurePolicy
from cloister.formats.event_log import SHA256
from cloister.formats.hcl_report import MAXIMUM_HCL, declared_length, parse_hcl_report, parse_runtime_data
from cloister.formats.tpm_policy import TpmPolicy
from cloister.testing.azure_hardware import (
    AZURE_TPM,
    CONFIGURATION,
    PCRS,
    azure_evidence,
    hcl_report,
    report_data_of,
    runtime_data,
    runtime_key,
)
from cloister.testing.tpm_hardware import MadeTpm

NONCE = b"\7" * 64
RUNTIME = runtime_data()
SNP_REPORT = b"\1" * 1184
TD_REPORT = b"\1" * 1024
HCL = hcl_report(SNP_REPORT, RUNTIME)
EVIDENCE = azure_evidence(HCL, NONCE, beside={"vcek": b"vcek"})
POLICY = AzurePolicy(
    vm_configuration={"secure-boot": True, "vmUniqueId": "1"},
    tpm=TpmPolicy(bank="sha256", pcrs={4: (PCRS[4],)}),
    expressions=(),
)


def examined(*, data=RUNTIME, hcl=None, report_data=None, evidence=EVIDENCE):
    told = parse_azure_evidence(evidence)
    hcl = parse_hcl_report(hcl_report(SNP_REPORT, data) if hcl is None else hcl)
    signed = SignedQuote(told.quote, told.signature, told.pcrs)
    return examine_azure(hcl, signed, report_data=report_data_of(data) if report_data is None else report_data)


def appraised(*, policy=POLICY, nonce=NONCE):
    return appraise_azure(examined().require(), policy, nonce=nonce)


def test_a_quote_by_the_key_that_the_hardware_vouches_for_is_authentic_and_appraised():
    assert examined().passed == list(AZURE_STEPS)
    assert examined().require().quote.pcrs == {SHA256: PCRS}
    assert appraised().passed == list(AZURE_APPRAISAL_STEPS)
    assert appraised().require().quote.pcrs == {4: PCRS[4]}


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_runtime_data_may_be_hashed_with_any_of_three_hashes(kind):
    hcl = hcl_report(SNP_REPORT, RUNTIME, kind=kind)
    assert examined(hcl=hcl, report_data=report_data_of(RUNTIME, kind=kind)).passed == list(AZURE_STEPS)


@pytest.mark.breaks("azure.hardware")
def test_a_tdreport_instead_of_a_quote_is_refused_by_name():
    examination = examine_runtime(parse_hcl_report(hcl_report(TD_REPORT, RUNTIME, tdx=True)), report_data=None)
    assert examination.failed == ["azure.hardware"]
    with pytest.raises(AzureRejected, match="TDREPORT is authenticated by a local MAC only"):
        examination.require()


GOOD = report_data_of(RUNTIME)


@pytest.mark.breaks("azure.runtime-data")
@pytest.mark.parametrize(
    "report_data",
    [
        pytest.param(bytes(64), id="zeros"),
        pytest.param(report_data_of(RUNTIME + b" "), id="the hash of other data"),
        pytest.param(GOOD[:32] + b"\1" * 32, id="something behind the hash"),
        pytest.param(GOOD[:31] + bytes(33), id="a hash that agrees but for its end"),
        pytest.param(GOOD[:32], id="the hash without what is behind it"),
        pytest.param(report_data_of(RUNTIME, kind=2), id="another hash than the report says"),
    ],
)
def test_report_data_is_compared_whole(report_data):
    assert examined(report_data=report_data).failed == ["azure.runtime-data"]


@pytest.mark.breaks("azure.attestation-key")
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(runtime_data(keys=[runtime_key("HCLEkPub")]), id="no attestation key"),
        pytest.param(runtime_data(keys=[runtime_key(), runtime_key()]), id="two attestation keys"),
        pytest.param(runtime_data(keys=[runtime_key() | {"kty": "EC"}]), id="a key of another kind"),
        pytest.param(runtime_data(keys=[runtime_key() | {"n": "AQAB"}]), id="a small key"),
        pytest.param(runtime_data(keys=[runtime_key() | {"e": "Ag"}]), id="an exponent that is none"),
        pytest.param(runtime_data(keys=[]), id="no key at all"),
        pytest.param(b"{", id="no json"),
    ],
)
def test_runtime_data_without_one_attestation_key_fails_alone(data):
    assert examined(data=data).failed == ["azure.attestation-key"]


def test_a_quote_by_another_key_than_the_one_named_fails_alone():
    other = runtime_key(tpm=replace(AZURE_TPM, seed="other"))
    assert examined(data=runtime_data(keys=[other])).failed == ["tpm.signature"]


@pytest.mark.breaks("azure.vm-configuration")
@pytest.mark.parametrize(
    "named", [{"secure-boot": False}, {"absent": True}, {"vmUniqueId": "2"}, {"secure-boot": "true"}]
)
def test_a_configuration_that_the_policy_does_not_name_fails_alone(named):
    policy = msgspec.structs.replace(POLICY, vm_configuration=named)
    assert appraised(policy=policy).failed == ["azure.vm-configuration"]


def test_one_is_not_true():
    data = runtime_data(**{"vm-configuration": CONFIGURATION | {"secure-boot": 1}})
    examination = appraise_azure(examined(data=data).require(), POLICY, nonce=NONCE)
    assert examination.failed == ["azure.vm-configuration"]


def test_every_shortfall_of_the_appraisal_is_told():
    policy = AzurePolicy(
        vm_configuration={"x": True}, tpm=TpmPolicy(bank="sha256", pcrs={4: ()}), expressions=("false",)
    )
    assert appraised(policy=policy, nonce=NONCE[:-1]).failed == list(AZURE_APPRAISAL_STEPS)


def test_unmeasured_host_configuration_gets_nowhere():
    """What nobody hashed is refused: a member beside the evidence, or bytes behind the report."""
    with pytest.raises(MalformedInput):
        parse_azure_evidence(EVIDENCE[:-1] + b', "vm_config": {"secure-boot": true}}')
    with pytest.raises(MalformedInput):
        parse_hcl_report(HCL + b'{"secure-boot":true}')


def put(at, *, word):
    return HCL[:at] + word.to_bytes(4, "little") + HCL[at + 4 :]


TOTAL = 1236 + len(RUNTIME)


@pytest.mark.parametrize(
    "hcl",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"HCLB" + HCL[4:], id="another signature"),
        pytest.param(put(4, word=3), id="another version"),
        pytest.param(put(8, word=TOTAL + 1), id="another size"),
        pytest.param(put(12, word=1), id="another request"),
        pytest.param(put(16, word=1), id="a status that is not 0"),
        pytest.param(put(28, word=1), id="something reserved"),
        pytest.param(put(1216, word=len(RUNTIME)), id="another size of the request"),
        pytest.param(put(1220, word=2), id="another version of the request"),
        pytest.param(put(1224, word=3), id="hardware of another kind"),
        pytest.param(put(1228, word=4), id="another hash"),
        pytest.param(put(1232, word=len(RUNTIME) - 1), id="runtime data cut short"),
        pytest.param(put(1232, word=2**32 - 1), id="runtime data larger than all"),
        pytest.param(HCL + b"\1", id="something behind the report"),
        pytest.param(HCL + b"\0", id="more than the report"),
        pytest.param(HCL.ljust(2600, b"\0"), id="a whole nv index"),
        pytest.param(HCL[: TOTAL - 1], id="cut short"),
        pytest.param(hcl_report(b"\1" * 1184, RUNTIME, tdx=True), id="something behind a tdreport"),
    ],
)
def test_what_is_no_hcl_report_is_malformed(hcl):
    with pytest.raises(MalformedInput):
        parse_hcl_report(hcl)


@pytest.mark.parametrize("size", [0, 2048, 2600])
def test_a_report_is_cut_out_of_every_nv_index(size):
    index = hcl_report(SNP_REPORT, RUNTIME, size=size)
    assert index[: declared_length(index)] == HCL


@pytest.mark.parametrize("index", [HCL[:31], put(8, word=32), put(8, word=2**31), HCL[:-1]])
def test_an_index_that_is_shorter_than_its_report_is_malformed(index):
    with pytest.raises(MalformedInput):
        declared_length(index)


def test_evidence_is_exact_and_agents_send_whole_buffers():
    sent = azure_evidence(hcl_report(SNP_REPORT, RUNTIME, size=2600), NONCE, beside={"vcek": b"vcek"})
    with pytest.raises(MalformedInput, match="runtime data"):
        parse_azure_evidence(sent)
    found, exact = parse_azure_buffers(sent), parse_azure_evidence(EVIDENCE)
    assert (found.hcl, found.vcek) == (exact.hcl, exact.vcek)


def told(**changes):
    return json.dumps(json.loads(EVIDENCE) | changes).encode()


QUOTE = json.loads(EVIDENCE)["tpm_quote"]


@pytest.mark.parametrize(
    "evidence",
    [
        pytest.param(b"[]", id="no object"),
        pytest.param(told(version=3), id="another version"),
        pytest.param(told(more=1), id="a member that nobody knows"),
        pytest.param(told(td_quote="AAAA"), id="a td quote beside a report of snp"),
        pytest.param(told(vcek=None), id="no vcek"),
        pytest.param(told(vcek="AAB="), id="another spelling of base64"),
        pytest.param(told(vcek="A+==="), id="another alphabet"),
        pytest.param(told(tpm_quote=QUOTE | {"pcrs": QUOTE["pcrs"][:23]}), id="a pcr less"),
        pytest.param(told(tpm_quote=QUOTE | {"message": QUOTE["message"].upper()}), id="upper case digits"),
        pytest.param(told(hcl_report="AAAA"), id="no report"),
    ],
)
def test_what_is_no_evidence_is_malformed(evidence):
    with pytest.raises(MalformedInput):
        parse_azure_evidence(evidence)


@pytest.mark.parametrize(
    ("parse", "size"),
    [(parse_hcl_report, MAXIMUM_HCL), (parse_runtime_data, MAXIMUM_HCL), (parse_azure_evidence, MAXIMUM_AZURE)],
)
def test_each_has_a_cap_before_any_work(parse, size):
    with pytest.raises(TooLarge):
        parse(bytes(size + 1))


def test_a_quote_over_fewer_pcrs_than_are_told_is_refused():
    few = MadeTpm({SHA256: {index: PCRS[index] for index in range(3)}}, scheme=AZURE_TPM.scheme)
    quote = few.quote(NONCE)
    message = QUOTE | {"message": quote.hex(), "signature": few.signature(quote)[0].hex()}
    assert examined(evidence=told(tpm_quote=message)).failed == ["tpm.pcrs"]


json_values = st.recursive(
    st.none() | st.booleans() | st.text(max_size=9), lambda inner: st.dictionaries(st.text(max_size=9), inner)
)


@given(
    st.binary(max_size=200)
    | st.binary(max_size=99).map(lambda end: HCL[: 1236 - len(end)] + end)
    | json_values.map(lambda value: json.dumps(value).encode())
)
def test_any_bytes_either_parse_or_are_malformed(data):
    for parse in (parse_hcl_report, parse_runtime_data, parse_azure_evidence, parse_azure_buffers, declared_length):
        with pytest.raises(MalformedInput):
            parse(data)
