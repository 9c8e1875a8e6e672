"""A verifier's word in place of evidence: each row breaks one link of one kind's tokens, and nothing else."""

import base64
import hmac
import json
from collections.abc import Callable
from dataclasses import replace as changed

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from joserfc import jwt as other_jwt
from joserfc.jwk import RSAKey
from tests.doubles.named_tokens import (
    AZURE,
    CASES,
    CHALLENGE,
    FOREIGN,
    GOOGLE,
    NODE,
    OTHER_AZURE,
    OTHER_GOOGLE,
    SUBJECT,
    AzureSnp,
    AzureTdx,
    Case,
    Ear,
    Google,
    GooglePki,
)

from cloister.attest.evidence import EVIDENCE_STEPS, EvidenceRejected, Expected, examine_evidence
from cloister.attest.result import TOKEN_STEPS
from cloister.attest.seen import SEEN_NOTHING
from cloister.formats import canonical
from cloister.formats.appraisal_policy import AppraisalPolicy, RoleReference, VerifierPlatform, named_verifiers
from cloister.formats.jws import encode_base64url
from cloister.formats.named_token import NamedToken
from cloister.formats.verifier_policy import VerifierPolicy
from cloister.testing.certificates import made_key
from cloister.testing.made_tokens import part
from cloister.testing.made_verifiers import (
    IMAGE,
)
from cloister.testing.world import NOON, WORKLOAD, Node

replace = msgspec.structs.replace
ROWS: list[tuple[str, type[Case], Callable[[Case], None]]] = []


def breaks(check, *cases):
    def put(row):
        ROWS.extend((check, case, row) for case in cases or CASES)
        return row

    return put


@breaks("token.verifier")
def a_verifier_that_the_policy_does_not_name(case):
    case.named = "anyone"


@breaks("token.form")
def a_fourth_part(case):
    case.altered = lambda token: token + b".x"


@breaks("token.form", *FOREIGN)
def an_extension_named_critical(case):
    case.headers |= {"crit": ["exp"]}


@breaks("token.form", Google, GooglePki)
def a_certificate_in_another_spelling(case):
    case.headers |= {"x5c": [GOOGLE.chain()[0].rstrip("=") + "=\n"]}


@breaks("token.algorithm", *FOREIGN)
def no_algorithm(case):
    case.headers |= {"alg": "none"}


@breaks("token.algorithm", *FOREIGN)
def a_public_key_as_the_secret_of_an_hmac(case):
    head = encode_base64url(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    signed = head + b"." + encode_base64url(json.dumps(case.claims).encode())
    mac = hmac.digest(case.signer.public, signed, "sha256")
    case.altered = lambda _: signed + b"." + encode_base64url(mac)


@breaks("token.type", *FOREIGN)
def another_kind_of_token(case):
    case.headers |= {"typ": "at+jwt"}


@breaks("token.signature", AzureSnp, AzureTdx)
def a_key_of_another_instance(case):
    case.signer = OTHER_AZURE


@breaks("token.signature", Google, GooglePki)
def a_key_of_anyone(case):
    case.signer = OTHER_GOOGLE


@breaks("token.signature", *FOREIGN)
def keys_that_the_header_points_to(case):
    case.signer = OTHER_AZURE
    case.headers |= {"jku": "https://elsewhere.test/certs", "jwk": {"kty": "RSA"}}


@breaks("token.signature", GooglePki)
def a_chain_to_a_root_that_is_not_pinned(case):
    case.name(roots=(bytes(32),))


@breaks("token.signature", GooglePki)
def a_chain_that_is_over(case):
    case.headers = {"x5c": changed(GOOGLE, life=type(GOOGLE.life)(NOON - 9, NOON - 1)).chain()}


@breaks("token.signature", GooglePki)
def a_certificate_of_another_kind_of_key(case):
    leaf = GOOGLE.authority.issue("token signer", made_key("a signer on P-384").public_key(), GOOGLE.life)
    chain = (leaf, *GOOGLE.authority.chain)
    case.headers = {"x5c": [base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in chain]}


@breaks("token.signature", GooglePki)
def a_chain_that_is_cut(case):
    case.headers = {"x5c": GOOGLE.chain()[:2]}


@breaks("token.signature", GooglePki)
def a_certificate_that_is_none(case):
    case.headers = {"x5c": [base64.b64encode(b"certificate").decode(), *GOOGLE.chain()[1:]]}


@breaks("token.signature", GooglePki)
def a_certificate_that_may_sign_no_tokens(case):
    case.headers = {"x5c": GOOGLE.chain(signs=False)}


@breaks("token.signature", Google)
def a_policy_that_pins_no_key(case):
    case.name(keys=())


@breaks("token.claims", *FOREIGN)
def a_claim_that_comes_twice(case):
    payload = json.dumps(case.claims).encode()[:-1] + b', "iss": "https://elsewhere.test"}'
    case.altered = lambda _: case.signer.token(msgspec.Raw(payload), **case.headers)


@breaks("token.claims", *FOREIGN)
def a_time_with_a_fraction(case):
    case.put(iat=NOON + 0.5)


@breaks("token.claims", *FOREIGN)
def a_claim_under_two_spellings_of_its_name(case):
    case.claims |= {"some-thing": 1, "some_thing": 2}


@breaks("token.claims", AzureSnp, AzureTdx)
def a_vm_whose_paravisor_owns_the_report_data(case):
    case.claims["x-ms-attestation-type"] = "azurevm"


@breaks("token.claims", AzureSnp)
def a_guest_of_which_debugging_is_not_said(case):
    del case.claims["x-ms-sevsnpvm-is-debuggable"]


@breaks("token.claims", Google, GooglePki)
def two_audiences(case):
    case.put(aud=[case.verifier.audience, "https://elsewhere.test"])


@breaks("token.claims", Google)
def an_image_by_another_algorithm(case):
    case.container(image_digest=f"sha512:{IMAGE.hex()}")


@breaks("token.issuer")
def another_issuer_with_the_same_keys(case):
    case.put(iss="https://elsewhere.test")


@breaks("token.audience", Ear, Google, GooglePki)
def a_token_for_another_relying_party(case):
    case.put(aud="https://elsewhere.test")


@breaks("token.time")
def a_token_that_is_over(case):
    case.put(exp=NOON + 5)


@breaks("token.time", *FOREIGN)
def a_token_that_has_not_begun(case):
    case.put(nbf=NOON + 71)


@breaks("token.age")
def a_token_older_than_the_contract_allows(case):
    case.name(maximum_age_seconds=9)


@breaks("token.nonce", Ear)
def a_token_for_another_challenge_by_ours(case):
    case.put(eat_nonce=encode_base64url(bytes(64)).decode())


@breaks("token.nonce", AzureSnp)
def a_token_for_another_challenge_of_a_guest(case):
    case.claims["x-ms-sevsnpvm-reportdata"] = bytes(64).hex()


@breaks("token.nonce", AzureSnp)
def report_data_that_begins_alike(case):
    case.claims["x-ms-sevsnpvm-reportdata"] = (case.binding.report_data()[:32] + bytes(32)).hex()


@breaks("token.nonce", AzureTdx)
def a_token_for_another_challenge_of_a_trust_domain(case):
    case.claims["tdx_report_data"] = bytes(64).hex()


@breaks("token.nonce", Google, GooglePki)
def a_token_for_another_challenge_by_google(case):
    case.put(eat_nonce="00" * 32)


@breaks("token.nonce", Google)
def a_nonce_beside_ours(case):
    case.put(eat_nonce=[case.claims["eat_nonce"], "00" * 32])


@breaks("token.environment", AzureSnp)
def a_guest_that_may_be_debugged(case):
    case.claims["x-ms-sevsnpvm-is-debuggable"] = True


@breaks("token.environment", AzureSnp)
def a_guest_that_may_be_moved(case):
    case.claims["x-ms-sevsnpvm-migration-allowed"] = True


@breaks("token.environment", AzureSnp)
def a_report_from_below_a_paravisor(case):
    case.claims["x-ms-sevsnpvm-vmpl"] = 2


@breaks("token.environment", AzureTdx)
def a_trust_domain_that_may_be_debugged(case):
    case.claims["tdx_td_attributes"] = "0100001000000000"


@breaks("token.environment", AzureTdx)
def a_trust_domain_that_may_be_moved(case):
    case.claims["tdx_td_attributes"] = "0000003000000000"


@breaks("token.environment", AzureTdx)
def a_trust_domain_without_sept_ve_disable(case):
    case.claims["tdx_td_attributes"] = "00" * 8


@breaks("token.environment", Google)
def memory_that_the_host_may_exchange(case):
    case.put(hwmodel="GCP_AMD_SEV")


@breaks("token.environment", Google)
def a_debug_image(case):
    case.put(dbgstat="enabled")


@breaks("token.environment", Google)
def another_system(case):
    case.put(swname="GCE")


@breaks("token.environment", Google)
def a_boot_that_was_not_secure(case):
    case.put(secboot=False)


@breaks("token.environment", Google)
def an_image_that_is_too_old(case):
    case.put(swversion=["240899"])


@breaks("token.environment", Google)
def a_command_that_the_operator_put_in(case):
    case.container(cmd_override=["sh"])


@breaks("token.environment", Google)
def variables_that_the_operator_put_in(case):
    case.container(env_override={"LD_PRELOAD": "/tmp/x.so"})


@breaks("token.measurement", AzureSnp)
def another_launch_measurement(case):
    case.claims["x-ms-sevsnpvm-launchmeasurement"] = bytes(48).hex()


@breaks("token.measurement", AzureTdx)
def another_kernel_in_the_trust_domain(case):
    case.put(tdx_rtmr1=bytes(48).hex())


@breaks("token.measurement", Google, GooglePki)
def another_container(case):
    case.container(image_digest=f"sha256:{bytes(32).hex()}")


@breaks("token.expressions")
def a_demand_of_the_contracts_that_the_token_does_not_meet(case):
    case.name(expressions=("exp > iat", "exp < iat"))


@breaks("token.node", Ear)
def a_node_that_says_another_role_than_the_verifier_found(case):
    case.node(role="kms")


@breaks("token.node", Ear)
def a_node_that_says_other_settings_than_the_verifier_found(case):
    case.node(settings=bytes(32).hex())


@breaks("token.node", Ear)
def a_node_that_says_other_keys_than_the_verifier_found(case):
    case.node(keys=bytes(32).hex())


@breaks("token.node", Ear)
def a_key_to_encrypt_to_that_the_verifier_did_not_find(case):
    case.node(wrap=bytes(32).hex())


@breaks("token.subject", Ear)
def a_node_of_another_contract(case):
    case.node(subject=bytes(32).hex())


@breaks("token.policy", Ear)
def a_policy_of_the_verifiers_that_the_contract_does_not_name(case):
    case.name(policies=())


@breaks("token.status", Ear)
def a_processor_that_the_verifier_warns_of(case):
    worse = replace(part().ear_trustworthiness_vector, hardware=97)
    case.put(submods={"cpu": part(worse)}, ear_status="contraindicated")


@breaks("evidence.workload", Ear)
def another_workload_by_ours(case):
    case.node(workload=bytes(48).hex())


@breaks("evidence.workload", AzureTdx)
def another_workload_in_rtmr3(case):
    case.put(tdx_rtmr3=bytes(48).hex())


@breaks("evidence.workload", AzureSnp, Google)
def an_image_with_a_workload_that_the_contract_does_not_name(case):
    images = tuple(replace(one, workload=bytes(48)) for one in case.verifier.images)
    case.name(images=images)


PARAMETERS = [
    pytest.param(check, case, row, id=f"{check}-{case.kind}-{row.__name__}", marks=pytest.mark.breaks(check))
    for check, case, row in ROWS
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind)
def test_a_named_verifiers_word_stands_for_evidence(case):
    examination = case().examine()
    assert examination.failed == []
    found = examination.require()
    assert (found.platform, found.workload, found.keys) == ("verifier", WORKLOAD, NODE.keys)
    assert len(found.platform_measurement) == 48
    assert found.claims["verifier"] == case.verifier.name
    before = EVIDENCE_STEPS.index("evidence.signature")
    ids = tuple(step.id for step in examination.steps)
    assert ids == (*EVIDENCE_STEPS[:before], *case.steps, *EVIDENCE_STEPS[before:])


@pytest.mark.parametrize(("check", "case", "row"), PARAMETERS)
def test_each_broken_link_is_refused_by_its_own_check_alone(check, case, row):
    broken = case()
    row(broken)
    examination = broken.examine()
    assert examination.failed == [check]
    assert next(step.detail for step in examination.steps if step.id == check)
    with pytest.raises(EvidenceRejected, match=check.replace(".", r"\.")):
        examination.require()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind)
def test_every_step_of_a_kind_has_a_row(case):
    rows = {check for check, other, _ in ROWS if other is case}
    shown_elsewhere = set(TOKEN_STEPS) if case is Ear else set()
    as_oidc = {check for check, other, _ in ROWS if other is Google} if case is GooglePki else set()
    assert set(case.steps) <= rows | shown_elsewhere | as_oidc


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind)
@pytest.mark.parametrize(
    ("check", "changes"),
    [
        ("evidence.challenge", {"challenge": bytes(32)}),
        ("evidence.subject", {"subject": bytes(32)}),
    ],
)
def test_a_token_of_another_binding_is_refused_as_raw_evidence_of_it_is(case, check, changes):
    broken = case()
    broken.binding = replace(broken.binding, **changes)
    broken.claims = broken.made()
    if case is Ear and "subject" in changes:
        broken.node(subject=bytes(32).hex())
    assert broken.examine().failed == [check]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind)
def test_what_travels_beside_a_token_is_held_to_it(case):
    good = case()
    other = replace(good.evidence(), keys=Node().keys)
    assert good.examine(other).failed[0] in ("token.confirmation", "evidence.keys")
    settings = replace(good.settings, values={"workers": 5})
    assert good.examine(replace(good.evidence(), settings=settings)).failed == ["evidence.settings-digest"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind)
def test_each_flipped_byte_of_a_token_is_refused(case):
    good = case()
    token = good.token()
    for at in (0, token.index(b".") + 9, token.rindex(b".") - 3, len(token) - 9):
        other = bytearray(token)
        other[at] ^= 1
        good.altered = lambda _, other=bytes(other): other
        assert good.examine().failed[0].startswith("token.")


def test_a_report_that_is_no_named_token_is_refused_by_the_first_step():
    good = Google()
    for report in (b"x", good.token(), canonical.encode(NamedToken(verifier="google", token=b"t")) + b"x"):
        assert good.examine(replace(good.evidence(), report=report)).failed == ["token.verifier"]


def test_a_policy_without_verifiers_takes_no_token():
    good = Google()
    reference = RoleReference(role="gateway", workloads=(WORKLOAD,), settings=(good.settings.digest(),))
    wanted = Expected(CHALLENGE, SUBJECT, reference)
    none = AppraisalPolicy(unsafe=(), roots="vendors", platforms=())
    empty = AppraisalPolicy(unsafe=(), roots="vendors", platforms=(VerifierPlatform(verifiers=()),))
    for policy, check in ((none, "evidence.platform"), (empty, "token.verifier")):
        assert examine_evidence(good.evidence(), policy, wanted, at=NOON, seen=SEEN_NOTHING).failed == [check]
    assert named_verifiers(none) == named_verifiers(empty) == ()
    assert named_verifiers(good.policy()) == (good.verifier,)


def test_two_verifiers_of_one_name_and_a_verifier_behind_a_verifier_are_no_policy():
    with pytest.raises(ValueError, match="named twice"):
        VerifierPlatform(verifiers=(AZURE.verifier(), GOOGLE.verifier(name="azure")))
    with pytest.raises(ValueError, match="judges evidence itself"):
        VerifierPolicy(**msgspec.structs.asdict(Google().policy()), roles=())


def test_what_a_token_says_is_asked_by_name_and_numbers_are_numbers():
    azure = AzureSnp()
    azure.name(expressions=("x_ms_sevsnpvm_snpfw_svn >= 27 && !x_ms_sevsnpvm_is_debuggable",))
    assert azure.examine().failed == []
    azure.name(expressions=("x_ms_sevsnpvm_snpfw_svn >= 28",))
    (told,) = [step.detail for step in azure.examine().steps if step.id == "token.expressions"]
    assert "x_ms_sevsnpvm_snpfw_svn is 27" in told
    google = Google()
    google.name(expressions=("'STABLE' in submods.confidential_space.support_attributes && oemid == 11129",))
    assert google.examine().failed == []
    google.name(expressions=("submods.gce.machine_type == 'c3'",))
    assert google.examine().failed == ["token.expressions"]


def test_another_library_takes_the_made_up_tokens():
    for case in (AzureSnp(), Google()):
        key = RSAKey.import_key(case.signer.key.public_key())
        assert other_jwt.decode(case.token().decode(), key, algorithms=["RS256"]).claims["iss"] == case.verifier.issuer
