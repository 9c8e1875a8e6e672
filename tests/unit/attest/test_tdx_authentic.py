"""Every step from a TDX quote's bytes to what is authentic: each row breaks one link and nothing else."""

import json
from dataclasses import replace

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from cloister.attest.certificates import ChainRefused, parse_certificate
from cloister.attest.seen import SEEN_NOTHING, SeenCollateral, SeenEndorsements, intel_kind
from cloister.attest.tdx.authentic import SGX_STEPS, TDX_STEPS, examine_sgx, examine_tdx
from cloister.attest.tdx.collateral import examine_collateral, read_lists
from cloister.attest.tdx.intel_chain import key_of
from cloister.attest.tdx.quote import TdxRejected, examine_quote
from cloister.testing.certificates import Life, made_key
from cloister.testing.tdx_hardware import DAY, ENCLAVE, QE, TD, TdxHardware, level, moment

NOW = 1_800_000_000
HARDWARE = TdxHardware(at=NOW)
QUOTE = HARDWARE.quote()
COLLATERAL = HARDWARE.collateral()
KIND = intel_kind("TDX", HARDWARE.fmspc)
STRANGER = TdxHardware(at=NOW, seed="someone else")
OTHER_KEY = made_key("another", ec.SECP256R1())


def examine(quote=QUOTE, collateral=COLLATERAL, *, at=NOW, seen=SEEN_NOTHING):
    return examine_tdx(quote, collateral, roots=HARDWARE.roots, at=at, seen=seen)


def breaks(check):
    return pytest.mark.breaks(check)


def broken(check, given, *, says, name):
    return pytest.param(check, given, says, id=name.replace(" ", "_"), marks=breaks(check))


def with_info(**changes):
    return {"collateral": HARDWARE.collateral(tcb_info=HARDWARE.tcb_info(**changes))}


def with_identity(**changes):
    return {"collateral": HARDWARE.collateral(qe_identity=HARDWARE.qe_identity(**changes))}


def with_collateral(**changes):
    return {"collateral": msgspec.structs.replace(COLLATERAL, **changes)}


def with_qe(**changes):
    return {"quote": HARDWARE.quote(qe=replace(QE, **changes))}


def with_td(**changes):
    return {"quote": HARDWARE.quote(replace(TD, **changes))}


def seen(**changes):
    return {"seen": SeenEndorsements({}, {KIND: msgspec.structs.replace(SeenCollateral(0, 0, 0, 0, 0), **changes)})}


def old_tcb_info():
    """TCB info past its end, with lists of today beside it."""
    return HARDWARE.tcb_info(issueDate=moment(NOW - 31 * DAY), nextUpdate=moment(NOW - DAY))


ROWS = [
    broken("tdx.quote", {"quote": QUOTE + b"\0"}, says="1 bytes follow", name="a byte behind the quote"),
    broken("tdx.quote", {"quote": b"\x81\0" + bytes(1022)}, says="TDREPORT", name="a tdreport instead of a quote"),
    broken("tdx.quote", {"quote": bytes(2**20)}, says="the cap is", name="a quote over its cap"),
    broken("tdx.tee", {"quote": HARDWARE.quote(ENCLAVE)}, says="0x0 is not TDX's", name="an enclave's quote"),
    broken(
        "tdx.pck-chain",
        {"quote": HARDWARE.quote().replace(b"CERTIFICATE-----\n-----BEGIN", b"CERTIFICATE-----\r-----BEGIN", 1)},
        says="between the certificates",
        name="something between the certificates",
    ),
    broken(
        "tdx.pck-chain",
        {"quote": replace(HARDWARE, pck_name="Intel SGX Something").quote()},
        says="a chain of Intel SGX Something",
        name="a certificate for something else in the place of the PCK",
    ),
    broken(
        "tdx.qe-signature",
        {"quote": HARDWARE.quote(keys={"pck": OTHER_KEY})},
        says="the QE's report is not signed",
        name="a QE report by another key",
    ),
    broken(
        "tdx.qe-binding",
        {"quote": HARDWARE.quote(authentication_data=bytes(32))},
        says="names another attestation key",
        name="other authentication data",
    ),
    broken(
        "tdx.qe-binding",
        {"quote": HARDWARE.quote(keys={"bound": OTHER_KEY})},
        says="names another attestation key",
        name="another attestation key",
    ),
    broken(
        "tdx.signature",
        {"quote": HARDWARE.quote(keys={"attestation": OTHER_KEY})},
        says="the quote is not signed",
        name="a quote by another key",
    ),
    broken("tdx.signature", {"quote": QUOTE[:700] + b"\1" + QUOTE[701:]}, says="not signed", name="a byte of the body"),
    broken("tdx.lists", with_collateral(root_ca_crl="00"), says="not a revocation list", name="no list"),
    broken(
        "tdx.revocation",
        {"collateral": HARDWARE.collateral(revoked=[HARDWARE.pck_certificate])},
        says="PCK Certificate was revoked",
        name="a revoked platform",
    ),
    broken(
        "tdx.revocation",
        {"collateral": HARDWARE.collateral(revoked=[HARDWARE.pck_ca.certificate])},
        says="PCK Platform CA was revoked",
        name="a revoked CA of platforms",
    ),
    broken(
        "tdx.tcb-info",
        with_collateral(tcb_info=COLLATERAL.tcb_info.replace("OutOfDate", "UpToDate")),
        says="TCB info is not signed",
        name="TCB info with a status changed",
    ),
    broken(
        "tdx.tcb-info",
        with_collateral(tcb_info=json.dumps(HARDWARE.tcb_info(), indent=1)),
        says="TCB info is not signed",
        name="TCB info encoded again",
    ),
    broken(
        "tdx.tcb-info-date", with_info(issueDate=moment(NOW + 1)), says="TCB info is of", name="TCB info of tomorrow"
    ),
    broken(
        "tdx.identity",
        with_collateral(qe_identity=COLLATERAL.qe_identity.replace('"isvsvn":6', '"isvsvn":5')),
        says="the QE identity is not signed",
        name="a QE identity with a version changed",
    ),
    broken(
        "tdx.identity-date",
        with_identity(nextUpdate=moment(NOW - 1)),
        says="the QE identity is of",
        name="a QE identity past its end",
    ),
    broken("tdx.rollback", seen(tcb_info=NOW), says="TCB info is older", name="older TCB info than was seen"),
    broken("tdx.rollback", seen(qe_identity=NOW), says="QE identity is older", name="an older QE identity"),
    broken("tdx.rollback", seen(pck_crl=NOW), says="list of the PCK's CA is older", name="an older list"),
    broken("tdx.rollback", seen(root_crl=NOW), says="list of the root is older", name="an older list of the root"),
    broken(
        "tdx.rollback",
        seen(evaluation_data_number=19),
        says="evaluation data number is older",
        name="documents from before a TCB recovery",
    ),
    broken(
        "tdx.fmspc", with_info(fmspc="B0C06F000000"), says="of FMSPC b0c06f000000", name="TCB info of another FMSPC"
    ),
    broken("tdx.fmspc", with_info(pceId="0001"), says="of PCE 0001", name="TCB info of another PCE"),
    broken(
        "tdx.fmspc",
        {
            "collateral": HARDWARE.collateral(
                tcb_info={
                    name: value
                    for name, value in HARDWARE.tcb_info(id="SGX", tcbLevels=[level((5,) * 16, 13, "UpToDate")]).items()
                    if not name.startswith("tdx")
                }
            )
        },
        says="of SGX, not of TDX",
        name="TCB info of SGX",
    ),
    broken("tdx.qe-identity", with_qe(mr_signer=b"\1" * 32), says="another MRSIGNER", name="anybody's enclave"),
    broken("tdx.qe-identity", with_qe(isv_prod_id=1), says="another ISVPRODID", name="another enclave of Intel's"),
    broken("tdx.qe-identity", with_qe(misc_select=1), says="another MISCSELECT", name="another MISCSELECT"),
    broken(
        "tdx.qe-identity",
        with_qe(attributes=bytes([0x17]) + QE.attributes[1:]),
        says="another ATTRIBUTES",
        name="a quoting enclave in debug mode",
    ),
    broken("tdx.qe-identity", with_identity(id="QE"), says="is of QE, not of TD_QE", name="the identity of the SGX QE"),
    broken(
        "tdx.module", with_td(mr_signer_seam=b"\1" * 48), says="signed by 0101", name="a module that is not Intel's"
    ),
    broken("tdx.module", with_td(seam_attributes=1), says="no production module", name="a module in debug mode"),
    broken(
        "tdx.module",
        with_td(tee_tcb_svn=bytes([6, 2, 5]) + bytes(13)),
        says="no TDX module of version 2",
        name="a module that Intel does not name",
    ),
]


@pytest.mark.parametrize(("check", "given", "says"), ROWS)
def test_each_broken_link_fails_its_own_check_alone(check, given, says):
    examination = examine(**given)
    assert examination.failed == [check]
    with pytest.raises(TdxRejected, match=says) as caught:
        examination.require()
    assert caught.value.check == check


def test_a_genuine_quote_with_collateral_of_today_is_authentic():
    examination = examine()
    assert examination.passed == list(TDX_STEPS)
    authentic = examination.require()
    assert authentic.report == TD
    assert authentic.platform.pck.fmspc == HARDWARE.fmspc
    assert authentic.platform.collateral.seen == SeenEndorsements({}, {KIND: SeenCollateral(18, *(NOW - DAY,) * 4)})


def test_what_was_seen_is_taken_again():
    first = examine().require()
    assert not examine(seen=first.platform.collateral.seen).failed


def test_what_was_seen_of_another_kind_of_platform_says_nothing_of_this():
    others = {intel_kind("SGX", HARDWARE.fmspc), intel_kind("TDX", bytes(6))}
    newest = SeenCollateral(99, *(NOW,) * 4)
    assert not examine(seen=SeenEndorsements({}, dict.fromkeys(others, newest))).failed


@pytest.mark.parametrize("name", ["pck_crl", "root_ca_crl"])
def test_the_date_of_a_list_that_nobody_signed_is_never_remembered(name):
    """Whoever could make one up would have every true list refused as older."""
    later = Life(NOW - 1, NOW + 29 * DAY)
    forged = {"pck_crl": STRANGER.pck_ca, "root_ca_crl": STRANGER.root}[name].revocations([], later).hex()
    collateral = msgspec.structs.replace(COLLATERAL, **{name: forged})
    examination = examine(collateral=collateral)
    assert examination.failed == ["tdx.lists"]
    with pytest.raises(ChainRefused, match="the revocation list is not signed by Intel SGX"):
        read_lists(collateral, roots=HARDWARE.roots, at=NOW)


def test_an_enclaves_quote_is_authentic_in_its_own_examination():
    info = HARDWARE.tcb_info(id="SGX", tcbLevels=[level((5,) * 16, 13, "UpToDate")])
    del info["tdxModule"], info["tdxModuleIdentities"]
    collateral = HARDWARE.collateral(tcb_info=info, qe_identity=HARDWARE.qe_identity(id="QE"))
    for version in (3, 4, 5):
        quote = HARDWARE.quote(ENCLAVE, version=version)
        examination = examine_sgx(quote, collateral, roots=HARDWARE.roots, at=NOW, seen=SEEN_NOTHING)
        assert examination.passed == list(SGX_STEPS)
        assert examination.require().report == ENCLAVE


def test_no_root_is_taken_that_was_not_pinned():
    """Neither a quote's own nor one that comes with collateral."""
    examination = examine(STRANGER.quote(), STRANGER.collateral())
    assert examination.failed == ["tdx.pck-chain", "tdx.lists"]


def test_collateral_of_a_stranger_does_not_replace_the_quotes_chain():
    """A swapped chain: the root is the stranger's own, or the list is of another CA than the quote's."""
    assert examine(collateral=STRANGER.collateral()).failed == ["tdx.lists"]
    swapped = msgspec.structs.replace(COLLATERAL, pck_crl=HARDWARE.root.revocations([], HARDWARE.life).hex())
    assert examine(collateral=swapped).failed == ["tdx.lists"]


@breaks("tdx.tcb-info-date")
def test_old_tcb_info_replayed_with_a_fresh_revocation_list_is_refused():
    """Lists and documents have dates of their own: a fresh one says nothing of the other."""
    examination = examine(collateral=HARDWARE.collateral(tcb_info=old_tcb_info()))
    assert examination.failed == ["tdx.tcb-info-date"]
    with pytest.raises(TdxRejected, match="fetch it anew"):
        examination.require()


def test_a_platforms_own_key_signs_no_tcb_info():
    """Intel's root stands above many keys: only the one named for TCB info signs it."""
    collateral = HARDWARE.collateral(signer="Intel SGX PCK Certificate")
    assert examine(collateral=collateral).failed == ["tdx.tcb-info", "tdx.identity"]


def test_a_key_of_no_kind_that_is_known_is_refused_by_name():
    certificate = bytearray(HARDWARE.pck_certificate.public_bytes(Encoding.DER))
    certificate[certificate.index(bytes.fromhex("2a8648ce3d0201")) + 2] ^= 0x39  # the object id of EC keys
    with pytest.raises(ChainRefused, match="is not one we know"):
        key_of(parse_certificate(bytes(certificate)))


def test_a_chain_may_end_its_lines_either_way_but_in_one_way():
    chain = COLLATERAL.tcb_info_issuer_chain
    assert not examine(**with_collateral(tcb_info_issuer_chain=chain.replace("\n", "\r\n"))).failed
    for text in (chain.replace("\n", "\r\n", 1), chain + "\n", chain.replace("\n", "\n\n", 1), chain.rstrip()):
        assert examine(**with_collateral(tcb_info_issuer_chain=text)).failed == ["tdx.tcb-info"]


def test_lists_past_their_end_say_nothing():
    lists = Life(NOW - 3 * DAY, NOW - DAY)
    examination = examine(collateral=HARDWARE.collateral(lists=lists))
    assert examination.failed == ["tdx.revocation", "tdx.tcb-info", "tdx.identity"]


def test_collateral_past_its_end_fails_everywhere_at_once():
    examination = examine(at=NOW + 40 * DAY)
    assert {"tdx.revocation", "tdx.tcb-info", "tdx.identity"} <= set(examination.failed)


def test_a_quote_is_held_against_its_own_keys_before_any_collateral():
    assert not examine_quote(QUOTE, "TDX", roots=HARDWARE.roots, at=NOW).failed
    assert examine_quote(QUOTE, "TDX", roots=STRANGER.roots, at=NOW).failed == ["tdx.pck-chain"]
    expired = examine_quote(QUOTE, "TDX", roots=HARDWARE.roots, at=NOW + 401 * DAY)
    assert expired.failed == ["tdx.pck-chain"]


def test_qe_identity_is_verified_and_not_only_fetched():
    """CVE-2026-22696: every enclave on a genuine platform can have its report signed by the PCK."""
    quote = HARDWARE.quote(qe=replace(QE, mr_signer=b"\xaa" * 32))
    assert not examine_quote(quote, "TDX", roots=HARDWARE.roots, at=NOW).failed
    assert examine(quote).failed == ["tdx.qe-identity"]


def test_collateral_that_was_examined_is_taken_again_while_it_holds():
    first = examine().require().platform.collateral
    assert (first.first, first.last) == (NOW - DAY, NOW + 29 * DAY)
    for at in (first.first, first.last):
        again = examine(collateral=first, at=at)
        assert again.passed == list(TDX_STEPS)
        assert again.require().platform.collateral is first


@pytest.mark.parametrize(
    ("given", "failed"),
    [
        ({"at": NOW + 29 * DAY + 1}, "tdx.revocation"),
        ({"at": NOW - DAY - 1}, "tdx.revocation"),
        (seen(tcb_info=NOW), "tdx.rollback"),
        ({"quote": TdxHardware(at=NOW, fmspc=bytes(6)).quote()}, "tdx.fmspc"),
        ({"quote": STRANGER.quote()}, "tdx.pck-chain"),
    ],
)
def test_collateral_that_was_examined_is_held_against_everything_again(given, failed):
    first = examine().require().platform.collateral
    assert failed in examine(**given, collateral=first).failed
    assert examine(**given, collateral=first).failed == examine(**given).failed


def test_collateral_that_was_examined_under_another_root_is_none():
    strange = examine_tdx(STRANGER.quote(), STRANGER.collateral(), roots=STRANGER.roots, at=NOW, seen=SEEN_NOTHING)
    assert examine(collateral=strange.require().platform.collateral).failed == ["tdx.lists"]


def test_a_platform_that_its_list_revokes_is_refused_with_collateral_examined_before():
    revoking = HARDWARE.collateral(revoked=[HARDWARE.pck_certificate])
    lists = read_lists(revoking, roots=HARDWARE.roots, at=NOW)
    known = examine_collateral(revoking, lists, roots=HARDWARE.roots, at=NOW, seen=SEEN_NOTHING).require()
    assert examine(collateral=known).failed == ["tdx.revocation"]
