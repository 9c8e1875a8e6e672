"""Every step of an attestation result: each row breaks one link and nothing else."""

import hmac
import json
import re
from collections.abc import Callable
from dataclasses import replace as changed
from pathlib import Path

import msgspec
import pytest

from cloister.attest.result import TOKEN_STEPS, ExpectedResult, TokenRefused, examine_attestation_result
from cloister.attest.trustworthiness import GPU, WEAKENED, explained, passed_vector
from cloister.crypto.es384 import Es384Key
from cloister.crypto.jws import sign_jws
from cloister.crypto.signing import SigningKey
from cloister.formats.attestation_result import TOKEN_TYPE, UNSAFE_FLAGS, encode_attestation_result
from cloister.formats.jws import JwsHeader, encode_base64url, signing_input
from cloister.testing.made_tokens import (
    AFFIRMING,
    AUDIENCE,
    ISSUER,
    NONCE,
    POLICY,
    SUBJECT,
    MadeVerifier,
    attestation_result,
    flags,
    node_claims,
    part,
)
from cloister.testing.world import NOON

replace = msgspec.structs.replace
SOFTWARE = passed_vector("software", ("UnsafeAllowSoftwareTee",))


class Case:
    """A token, and what its relying party expects; a row changes one thing."""

    def __init__(self):
        self.verifier = MadeVerifier()
        self.node = SigningKey.generate()
        self.result = attestation_result(self.node)
        self.expected = ExpectedResult(ISSUER, AUDIENCE, NONCE, self.node.public, SUBJECT, (POLICY,), ())
        self.at = NOON + 10
        self.typ = TOKEN_TYPE
        self.altered = None

    def change(self, **changes):
        self.result = replace(self.result, **changes)

    def examine(self):
        token = self.verifier.token(self.result, typ=self.typ)
        token = self.altered(token) if self.altered else token
        return examine_attestation_result(token, self.verifier.keys, self.expected, at=self.at)

    def signed(self, header):
        """The token under another header, signed all the same with ES384."""
        payload = encode_attestation_result(self.result)
        signed = encode_base64url(json.dumps(header).encode()) + b"." + encode_base64url(payload)
        return signed + b"." + encode_base64url(self.verifier.key.sign(signed))

    def header(self, **changes):
        return {"alg": "ES384", "typ": TOKEN_TYPE, "kid": next(iter(self.verifier.keys))} | changes


BREAKS: dict[str, list[Callable[[Case], None]]] = {}


def breaks(check):
    def put(row):
        BREAKS.setdefault(check, []).append(row)
        return row

    return put


@breaks("token.form")
def an_extension_named_critical(case):
    case.altered = lambda _: case.signed(case.header(crit=["exp"], exp=NOON))


@breaks("token.form")
def a_key_brought_along(case):
    case.altered = lambda _: case.signed(case.header(jwk={"kty": "EC"}))


@breaks("token.form")
def a_fourth_part(case):
    case.altered = lambda token: token + b".x"


@breaks("token.form")
def padding(case):
    case.altered = lambda token: token + b"="


@breaks("token.algorithm")
def no_algorithm(case):
    payload = encode_attestation_result(case.result)
    case.altered = lambda _: signing_input(JwsHeader(**case.header(alg="none")), payload) + b"."


@breaks("token.algorithm")
def a_public_key_as_the_secret_of_an_hmac(case):
    signed = signing_input(JwsHeader(**case.header(alg="HS384")), encode_attestation_result(case.result))
    mac = hmac.digest(case.verifier.key.public, signed, "sha384")
    case.altered = lambda _: signed + b"." + encode_base64url(mac)


@breaks("token.type")
def another_kind_of_token(case):
    case.typ = "JWT"


@breaks("token.signature")
def another_verifiers_key_under_this_ones_name(case):
    other, kid = Es384Key.generate(), next(iter(case.verifier.keys))
    signed = signing_input(JwsHeader(**case.header(kid=kid)), encode_attestation_result(case.result))
    case.altered = lambda _: signed + b"." + encode_base64url(other.sign(signed))


@breaks("token.signature")
def a_key_that_the_relying_party_has_not(case):
    payload = encode_attestation_result(case.result)
    case.altered = lambda _: sign_jws(Es384Key.generate(), payload, typ=TOKEN_TYPE)


@breaks("token.claims")
def a_claim_that_comes_twice(case):
    payload = encode_attestation_result(case.result).replace(b'"iat"', b'"aud":"https://elsewhere.test","iat"', 1)
    case.altered = lambda _: sign_jws(case.verifier.key, payload, typ=TOKEN_TYPE)


@breaks("token.claims")
def a_flag_that_is_not_mentioned(case):
    claims = json.loads(encode_attestation_result(case.result))
    del claims["cloister"]["unsafe"]["UnsafeAllowSoftwareTee"]
    case.altered = lambda _: sign_jws(case.verifier.key, json.dumps(claims).encode(), typ=TOKEN_TYPE)


@breaks("token.claims")
def two_audiences(case):
    claims = json.loads(encode_attestation_result(case.result)) | {"aud": [AUDIENCE, "https://elsewhere.test"]}
    case.altered = lambda _: sign_jws(case.verifier.key, json.dumps(claims).encode(), typ=TOKEN_TYPE)


@breaks("token.claims")
def a_status_better_than_its_vector(case):
    claims = json.loads(encode_attestation_result(case.result))
    claims["submods"]["gpu0"]["ear_trustworthiness_vector"]["hardware"] = 96
    case.altered = lambda _: sign_jws(case.verifier.key, json.dumps(claims).encode(), typ=TOKEN_TYPE)


@breaks("token.profile")
def an_older_draft(case):
    case.change(eat_profile="tag:github.com,2023:veraison/ear")


@breaks("token.issuer")
def another_issuer_with_the_same_keys(case):
    case.change(iss="https://elsewhere.test")


@breaks("token.audience")
def a_token_for_another_relying_party(case):
    case.change(aud="https://elsewhere.test")


@breaks("token.nonce")
def a_token_of_yesterdays_challenge(case):
    case.change(eat_nonce=encode_base64url(bytes(32)).decode())


@breaks("token.nonce")
def the_beginning_of_the_challenge(case):
    case.change(eat_nonce=encode_base64url(NONCE[:16]).decode())


@breaks("token.time")
def a_token_that_is_over(case):
    case.at = NOON + 300


@breaks("token.time")
def a_token_from_the_future(case):
    case.at = NOON - 61


@breaks("token.lifetime")
def a_token_that_lives_too_long(case):
    case.change(exp=NOON + 301)


@breaks("token.confirmation")
def a_token_presented_by_another(case):
    case.expected = changed(case.expected, presenter=SigningKey.generate().public)


@breaks("token.subject")
def a_node_of_another_contract(case):
    case.change(cloister=node_claims(subject=bytes(32).hex()))


@breaks("token.policy")
def a_policy_of_the_operators(case):
    case.change(submods={"cpu": part(policy=f"ni:///sha-256;{'A' * 43}")})


@breaks("token.policy")
def one_part_under_another_policy(case):
    case.change(submods={"cpu": part(), "gpu0": part(policy=f"ni:///sha-256;{'A' * 43}")})


@breaks("token.policy")
def no_policy_that_counts(case):
    case.expected = changed(case.expected, policies=())


@breaks("token.unsafe")
def an_exception_that_nobody_accepted(case):
    case.change(cloister=node_claims(unsafe=flags("UnsafeAllowSoftwareTee")))


@breaks("token.status")
def a_gpu_that_is_contraindicated(case):
    bad = replace(AFFIRMING, hardware=96)
    case.change(ear_status="contraindicated", submods={"cpu": part(), "gpu0": part(bad)})


@breaks("token.status")
def a_warning(case):
    case.change(ear_status="warning", submods={"cpu": part(replace(AFFIRMING, configuration=36))})


@breaks("token.status")
def nothing_affirmed(case):
    nothing = replace(AFFIRMING, configuration=0, executables=0, hardware=0, runtime_opaque=0)
    case.change(submods={"cpu": part(), "gpu0": part(nothing)})


@breaks("token.status")
def a_software_tee_whose_settings_are_not_approved_either(case):
    worse = replace(SOFTWARE, configuration=96)
    software = node_claims(platform="software", unsafe=flags("UnsafeAllowSoftwareTee"))
    case.change(ear_status="contraindicated", submods={"cpu": part(worse)}, cloister=software)
    case.expected = changed(case.expected, unsafe=("UnsafeAllowSoftwareTee",))


@breaks("token.status")
def an_exception_accepted_that_the_node_does_not_claim(case):
    case.change(ear_status="contraindicated", submods={"cpu": part(SOFTWARE)})
    case.expected = changed(case.expected, unsafe=("UnsafeAllowSoftwareTee",))


@pytest.mark.parametrize(
    ("check", "row"),
    [
        pytest.param(check, row, marks=pytest.mark.breaks(check), id=f"{check}-{row.__name__}")
        for check, rows in BREAKS.items()
        for row in rows
    ],
)
def test_each_broken_link_fails_its_own_check_alone(check, row):
    case = Case()
    assert case.examine().failed == []
    row(case)
    examination = case.examine()
    assert examination.failed == [check]
    with pytest.raises(TokenRefused, match=check):
        examination.require()


def test_a_good_token_passes_every_step():
    examination = Case().examine()
    assert examination.passed == list(TOKEN_STEPS)
    assert examination.require().claims.cloister.platform == "snp"


def test_a_relying_party_that_takes_anything_says_so_in_a_word():
    case = Case()
    case.change(
        cloister=node_claims(subject=bytes(32).hex()), submods={"cpu": part(policy=f"ni:///sha-256;{'A' * 43}")}
    )
    case.expected = changed(case.expected, presenter="any", subject="any", policies="any")
    assert case.examine().failed == []


def test_a_software_tee_is_taken_by_name_only():
    case = Case()
    software = node_claims(platform="software", unsafe=flags("UnsafeAllowSoftwareTee"))
    case.change(ear_status="contraindicated", submods={"cpu": part(SOFTWARE)}, cloister=software)
    assert case.examine().failed == ["token.unsafe", "token.status"]
    case.expected = changed(case.expected, unsafe=("UnsafeAllowSoftwareTee",))
    assert case.examine().failed == []


@pytest.mark.parametrize("flag", sorted(UNSAFE_FLAGS))
def test_every_exception_weakens_a_claim_and_no_relying_party_takes_it_unless_by_name(flag):
    rows = [row for row in WEAKENED if row.flag == flag]
    assert rows
    for attester in sorted({name for row in rows for name in row.on}):
        vector = passed_vector(attester, [flag])
        case = Case()
        label, platform = ("gpu0", "snp") if attester == GPU else ("cpu", attester)
        node = node_claims(platform=platform, unsafe=flags(flag))
        parts = {"cpu": part(), label: part(vector)}
        case.change(ear_status=vector.status(), submods=parts, cloister=node)
        assert case.examine().failed == ["token.unsafe", "token.status"]
        case.expected = changed(case.expected, unsafe=(flag,))
        assert case.examine().failed == []


def test_passing_and_every_exception_say_what_the_page_says():
    page = Path("docs/formats/attestation-result.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `UnsafeAllow")]
    told = {
        (flag, claim.replace("-", "_"), int(value))
        for row in rows
        for flag in re.findall(r"`(Unsafe\w+)`", row)
        for claim, value in re.findall(r"`([a-z-]+)` (-?\d+)", row)
    }
    assert told == {(row.flag, row.claim, row.value) for row in WEAKENED}
    passed = {"configuration": 2, "executables": 3, "hardware": 2, "runtime_opaque": 2}
    assert {name: value for name, value in msgspec.structs.asdict(AFFIRMING).items() if value} == passed
    for name, value in passed.items():
        assert f"`{name.replace('_', '-')}` {value}\n" in page.replace(" (", "\n(")


def test_an_exception_of_another_platform_weakens_nothing():
    assert passed_vector("tdx", ["UnsafeAllowSnpDebug", "UnsafeAllowUnmeasuredGpu"]) == AFFIRMING
    assert explained("tdx", ["UnsafeAllowSnpDebug"]) == frozenset()


def test_of_two_exceptions_of_one_claim_the_worse_is_said():
    both = passed_vector("snp", ["UnsafeAllowOtherRoots", "UnsafeAllowSnpWithoutRevocation"])
    assert both.hardware == 97
    both = passed_vector("snp", ["UnsafeAllowSnpMigrationAgent", "UnsafeAllowSnpDebug"])
    assert both.runtime_opaque == 96


def test_a_clock_a_minute_behind_the_verifiers_is_forgiven_and_no_second_more():
    case = Case()
    case.at = NOON - 60
    assert case.examine().failed == []
    case.at = NOON - 61
    assert case.examine().failed == ["token.time"]


def test_any_bit_of_a_token_matters():
    case = Case()
    token = case.verifier.token(case.result)
    for at in range(0, len(token), 7):
        mutant = token[:at] + bytes([token[at] ^ 1]) + token[at + 1 :]
        examination = examine_attestation_result(mutant, case.verifier.keys, case.expected, at=case.at)
        assert examination.failed[0] in ("token.form", "token.algorithm", "token.type", "token.signature")
