"""Intel's part of the world, made up from a seed: a root, certificates, quotes and collateral that nobody vouches for.

The same seed gives the same keys and certificates; signatures differ from run to run, as ECDSA's do. Production code
accepts it where `roots` is given in place of Intel's. Each argument varies one thing, for tests of what is refused.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from cloister.formats.intel_collateral import IntelCollateral
from cloister.formats.pck_certificate import EXTENSIONS_OID
from cloister.formats.sgx_report import EnclaveReport
from cloister.formats.tcb_info import TcbStatus
from cloister.formats.td_report import TdAttributes, TdReport
from cloister.formats.tdx_policy import IntelTcbPolicy, TdImage, TdxPolicy
from cloister.testing.certificates import Authority, Life, made_key

INTEL: Final = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
DAY: Final = 24 * 3600
TD: Final = TdReport(
    tee_tcb_svn=bytes([6, 1, 5]) + bytes(13),
    mr_seam=b"\x5e" * 48,
    mr_signer_seam=bytes(48),
    seam_attributes=0,
    td_attributes=TdAttributes.SEPT_VE_DISABLE,
    xfam=0x602E7,
    mr_td=b"\x7d" * 48,
    mr_config_id=bytes(48),
    mr_owner=bytes(48),
    mr_owner_config=bytes(48),
    rtmrs=(b"\xf0" * 48, b"\xf1" * 48, b"\xf2" * 48, b"\xf3" * 48),
    report_data=bytes(range(64)),
    tee_tcb_svn_2=bytes([6, 1, 5]) + bytes(13),
    mr_service_td=bytes(48),
)
ENCLAVE: Final = EnclaveReport(
    cpu_svn=bytes(16),
    misc_select=0,
    isv_ext_prod_id=bytes(16),
    attributes=bytes.fromhex("0500000000000000e700000000000000"),
    mr_enclave=b"\xee" * 32,
    mr_signer=b"\x51" * 32,
    config_id=bytes(64),
    isv_prod_id=1,
    isv_svn=1,
    config_svn=0,
    isv_family_id=bytes(16),
    report_data=bytes(range(64)),
)
QE: Final = replace(
    ENCLAVE,
    attributes=bytes.fromhex("1500000000000000e700000000000000"),
    mr_enclave=b"\x0e" * 32,
    mr_signer=b"\x90" * 32,
    isv_prod_id=2,
    isv_svn=6,
    report_data=bytes(64),
)


@dataclass(frozen=True, slots=True)
class TdxHardware:
    """One platform, its vendor, and the vendor's service."""

    at: int  # when its collateral is fresh, in seconds since 1970
    seed: str = "made-up Intel"
    fmspc: bytes = bytes.fromhex("90c06f000000")
    pce_id: bytes = bytes(2)
    ppid: bytes = b"\x0d" * 16
    components: tuple[int, ...] = (5,) * 16
    pce_svn: int = 13
    pck_name: str = "Intel SGX PCK Certificate"
    root: Authority = field(init=False)
    pck_ca: Authority = field(init=False)

    def __post_init__(self) -> None:
        root = Authority.root("Intel SGX Root CA", self.life, key=made_key(f"{self.seed} root"))
        object.__setattr__(self, "root", root)
        object.__setattr__(self, "pck_ca", root.authority("Intel SGX PCK Platform CA", self.life))

    @property
    def life(self) -> Life:
        """Of its certificates."""
        return Life(self.at - 400 * DAY, self.at + 400 * DAY)

    @property
    def roots(self) -> frozenset[bytes]:
        """What the production code is given in place of Intel's root."""
        return frozenset({self.root.pin})

    @property
    def pck_key(self) -> ec.EllipticCurvePrivateKey:
        """The platform's provisioning certification key."""
        return made_key(f"{self.seed} {self.ppid.hex()} PCK", ec.SECP256R1())

    @property
    def pck_certificate(self) -> x509.Certificate:
        """Its certificate."""
        oid = x509.ObjectIdentifier(EXTENSIONS_OID)
        extension = x509.UnrecognizedExtension(oid, self.extensions())
        return self.pck_ca.issue(self.pck_name, self.pck_key.public_key(), self.life, [(extension, False)])

    def quote(
        self,
        body: TdReport | EnclaveReport = TD,
        *,
        version: int = 5,
        qe: EnclaveReport = QE,
        authentication_data: bytes = bytes(range(32)),
        keys: Mapping[str, ec.EllipticCurvePrivateKey] | None = None,
    ) -> bytes:
        """A quote of this body.

        `keys` may replace those that sign, `pck` and `attestation`, the key that the QE's report binds, `bound`, and
        the key that the quote shows, `shown`.
        """
        own = made_key(f"{self.seed} attestation", ec.SECP256R1())
        used = {"pck": self.pck_key, "attestation": own, "bound": own, "shown": own} | dict(keys or {})
        signed = encode_signed(body, version=version)
        bound = hashlib.sha256(raw_key(used["bound"]) + bytes(range(32))).digest() + bytes(32)
        report = encode_enclave_report(qe, report_data=qe.report_data if any(qe.report_data) else bound)
        chain = pem([self.pck_certificate, *self.pck_ca.chain])
        qe_part = report + raw_signature(used["pck"], report)
        qe_part += struct.pack("<H", len(authentication_data)) + authentication_data
        qe_part += struct.pack("<HI", 5, len(chain)) + chain
        if version > 3:
            qe_part = struct.pack("<HI", 6, len(qe_part)) + qe_part
        signature = raw_signature(used["attestation"], signed) + raw_key(used["shown"]) + qe_part
        return signed + struct.pack("<I", len(signature)) + signature

    def tcb_info(self, **changes: Any) -> dict[str, Any]:
        """TCB info that calls this platform up to date, one below it out of date."""
        module = {"mrsigner": "00" * 48, "attributes": "00" * 8, "attributesMask": "FF" * 8}
        newer, older = enclave_level(6, "UpToDate"), enclave_level(4, "OutOfDate", ["INTEL-SA-00002"])
        return {
            "id": "TDX",
            "version": 3,
            "issueDate": moment(self.at - DAY),
            "nextUpdate": moment(self.at + 29 * DAY),
            "fmspc": self.fmspc.hex().upper(),
            "pceId": self.pce_id.hex(),
            "tcbType": 0,
            "tcbEvaluationDataNumber": 18,
            "tdxModule": module,
            "tdxModuleIdentities": [{"id": "TDX_01", **module, "tcbLevels": [newer, older]}],
            "tcbLevels": [
                level((5,) * 16, 13, "UpToDate", tdx=(5, 0, 5)),
                level((4,) * 16, 13, "OutOfDate", tdx=(5, 0, 4), advisories=["INTEL-SA-00001"]),
            ],
        } | changes

    def qe_identity(self, **changes: Any) -> dict[str, Any]:
        """The identity of the quoting enclave `QE`."""
        return {
            "id": "TD_QE",
            "version": 2,
            "issueDate": moment(self.at - DAY),
            "nextUpdate": moment(self.at + 29 * DAY),
            "tcbEvaluationDataNumber": 18,
            "miscselect": "00000000",
            "miscselectMask": "FFFFFFFF",
            "attributes": "11000000000000000000000000000000",
            "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000",
            "mrsigner": "90" * 32,
            "isvprodid": 2,
            "tcbLevels": [enclave_level(6, "UpToDate"), enclave_level(4, "OutOfDate", ["INTEL-SA-00003"])],
        } | changes

    def collateral(
        self,
        *,
        tcb_info: Mapping[str, Any] | None = None,
        qe_identity: Mapping[str, Any] | None = None,
        revoked: Sequence[x509.Certificate] = (),
        lists: Life | None = None,
        signer: str = "Intel SGX TCB Signing",
    ) -> IntelCollateral:
        """What the vendor's service answers about it; `revoked` are certificates that its lists name."""
        key = made_key(f"{self.seed} TCB signing", ec.SECP256R1())
        chain = pem([self.root.issue(signer, key.public_key(), self.life), *self.root.chain]).decode()
        info = json.dumps(tcb_info or self.tcb_info(), separators=(",", ":"))
        identity = json.dumps(qe_identity or self.qe_identity(), separators=(",", ":"))
        life = lists or Life(self.at - DAY, self.at + 29 * DAY)
        return IntelCollateral(
            tcb_info=info,
            tcb_info_signature=raw_signature(key, info.encode()).hex(),
            tcb_info_issuer_chain=chain,
            qe_identity=identity,
            qe_identity_signature=raw_signature(key, identity.encode()).hex(),
            qe_identity_issuer_chain=chain,
            pck_crl=self.pck_ca.revocations(revoked, life).hex(),
            pck_crl_issuer_chain=pem(self.pck_ca.chain).decode(),
            root_ca_crl=self.root.revocations(revoked, life).hex(),
        )

    def tcb_policy(self) -> IntelTcbPolicy:
        """The tightest that it meets, as its vendor's collateral calls it."""
        return IntelTcbPolicy(
            statuses=(TcbStatus.UP_TO_DATE,),
            maximum_tcb_age_seconds=730 * DAY,
            advisories=(),
            minimum_evaluation_data_number=18,
            ppids=(self.ppid,),
            fmspcs=(self.fmspc,),
        )

    def policy(self, image: TdImage | None = None) -> TdxPolicy:
        """The tightest that `TD` meets, or another of this `image`; relax it with `msgspec.structs.replace`."""
        return TdxPolicy(
            tcb=self.tcb_policy(),
            images=(image or image_of(TD),),
            unsafe=(),
            protection_keys="refused",
            key_locker="refused",
            performance_monitoring="refused",
            other_attributes=bytes(8),
            xfam_required=(3).to_bytes(8, "little"),
            xfam_allowed=TD.xfam.to_bytes(8, "little"),
            service_tds=(),
            unreported_service_td="refuse",
            expressions=(),
        )

    def extensions(self) -> bytes:
        """The SGX extensions of its PCK certificate."""
        tcb = [_pair(bytes([2, number]), b"\x02", _small(svn)) for number, svn in enumerate(self.components, 1)]
        tcb += [_pair(b"\x02\x11", b"\x02", _small(self.pce_svn)), _pair(b"\x02\x12", b"\x04", bytes(16))]
        members = [
            _pair(b"\x01", b"\x04", self.ppid),
            _pair(b"\x02", b"\x30", b"".join(tcb)),
            _pair(b"\x03", b"\x04", self.pce_id),
            _pair(b"\x04", b"\x04", self.fmspc),
            _pair(b"\x05", b"\x0a", b"\x01"),
            _pair(b"\x06", b"\x04", bytes(16)),
            _pair(b"\x07", b"\x30", _pair(b"\x07\x03", b"\x01", b"\xff")),
        ]
        return _der(b"\x30", b"".join(members))


def image_of(report: TdReport) -> TdImage:
    """The image that a trust domain is of, RTMR3 as it stands there."""
    return TdImage(
        mr_td=report.mr_td,
        rtmrs=(report.rtmrs[0], report.rtmrs[1], report.rtmrs[2]),
        rtmr3=(report.rtmrs[3],),
        mr_config_id=report.mr_config_id,
        mr_owner=report.mr_owner,
        mr_owner_config=report.mr_owner_config,
    )


def level(
    sgx: Sequence[int], pce_svn: int, status: str, *, tdx: Sequence[int] | None = None, advisories: Sequence[str] = ()
) -> dict[str, Any]:
    """A TCB level of platforms, as TCB info has it."""
    tcb: dict[str, Any] = {"sgxtcbcomponents": [{"svn": one} for one in sgx], "pcesvn": pce_svn}
    if tdx is not None:
        tcb["tdxtcbcomponents"] = [{"svn": one} for one in (*tdx, *[0] * (16 - len(tdx)))]
    return {"tcb": tcb, "tcbDate": "2026-01-01T00:00:00Z", "tcbStatus": status, "advisoryIDs": list(advisories)}


def enclave_level(isv_svn: int, status: str, advisories: Sequence[str] = ()) -> dict[str, Any]:
    """A TCB level of a TDX module or a quoting enclave."""
    tcb = {"isvsvn": isv_svn}
    return {"tcb": tcb, "tcbDate": "2026-01-01T00:00:00Z", "tcbStatus": status, "advisoryIDs": list(advisories)}


def moment(seconds: int) -> str:
    """A moment as Intel's documents have it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def encode_signed(body: TdReport | EnclaveReport, *, version: int) -> bytes:
    """What the attestation key signs: header, body descriptor (version 5), body."""
    tdx = isinstance(body, TdReport)
    header = struct.pack("<HHIHH16s20s", version, 2, 0x81 if tdx else 0, 0, 0, INTEL, bytes(20))
    data = encode_td_report(body) if isinstance(body, TdReport) else encode_enclave_report(body)
    if version == 5:
        return header + struct.pack("<HI", {384: 1, 584: 2, 648: 3}[len(data)], len(data)) + data
    return header + (data[:584] if tdx else data)


def encode_td_report(report: TdReport) -> bytes:
    """The body of a TDX quote: 1.5 where the report says what only that says."""
    head = report.tee_tcb_svn + report.mr_seam + report.mr_signer_seam
    head += struct.pack("<QQQ", report.seam_attributes, report.td_attributes, report.xfam)
    owners = report.mr_td + report.mr_config_id + report.mr_owner + report.mr_owner_config
    return (
        head
        + owners
        + b"".join(report.rtmrs)
        + report.report_data
        + (report.tee_tcb_svn_2 or b"")
        + (report.mr_service_td or b"")
    )


def td_report(report: TdReport) -> bytes:
    """The TDREPORT of the same TD, 1,024 bytes, as far as anyone reads it; its MAC is its CPU's secret."""
    numbers = report.td_attributes.to_bytes(8, "little") + report.xfam.to_bytes(8, "little")
    owners = report.mr_td + report.mr_config_id + report.mr_owner + report.mr_owner_config
    head = b"\x81\0".ljust(128, b"\0") + report.report_data.ljust(384, b"\0")
    return (head + numbers + owners + b"".join(report.rtmrs)).ljust(1024, b"\0")


def encode_enclave_report(report: EnclaveReport, *, report_data: bytes | None = None) -> bytes:
    """The body of an enclave's report."""
    return struct.pack(
        "<16s I 12x 16s 16s 32s 32x 32s 32x 64s H H H 42x 16s 64s",
        report.cpu_svn,
        report.misc_select,
        report.isv_ext_prod_id,
        report.attributes,
        report.mr_enclave,
        report.mr_signer,
        report.config_id,
        report.isv_prod_id,
        report.isv_svn,
        report.config_svn,
        report.isv_family_id,
        report_data or report.report_data,
    )


def raw_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Its public key as quotes have it: x and y."""
    numbers = key.public_key().public_numbers()
    return numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


def raw_signature(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    """A signature as quotes and documents have it: r and s."""
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def pem(chain: Sequence[x509.Certificate]) -> bytes:
    """A chain as quotes and Intel's service have it."""
    return b"".join(one.public_bytes(Encoding.PEM) for one in chain)


def _pair(below: bytes, tag: bytes, value: bytes) -> bytes:
    oid = bytes.fromhex("2a864886f84d010d01") + below
    return _der(b"\x30", _der(b"\x06", oid) + _der(tag, value))


def _small(value: int) -> bytes:
    return value.to_bytes(1 + value // 0x80, "big") if value < 0x100 else value.to_bytes(3, "big")


def _der(tag: bytes, value: bytes) -> bytes:
    size = len(value)
    if size < 0x80:
        return tag + bytes([size]) + value
    return tag + (bytes([0x81, size]) if size < 0x100 else b"\x82" + size.to_bytes(2, "big")) + value
