"""One machine of each made-up vendor, its evidence as it comes bare, and how its endorsements are judged."""

from dataclasses import replace

from cloister.attest.azure_vm import examine_azure_snp, examine_azure_tdx
from cloister.attest.endorsed import sort_endorsements
from cloister.attest.nvidia.chain import NvidiaTerms
from cloister.attest.nvidia.device import DeviceEvidence, examine_nvidia_device
from cloister.attest.nvidia.rim import examine_nvidia_rim
from cloister.attest.ocsp import STAPLED
from cloister.attest.seen import SEEN_NOTHING
from cloister.attest.snp.authentic import examine_snp
from cloister.attest.tdx.authentic import examine_tdx
from cloister.endorsements.bare_evidence import BareEvidence
from cloister.formats.azure_evidence import parse_azure_evidence
from cloister.formats.snp_report import SigningKey
from cloister.testing.azure_hardware import azure_evidence, hcl_report, report_data_of, runtime_data
from cloister.testing.made_endorsements import MadeVendors
from cloister.testing.snp_hardware import SnpHardware
from cloister.testing.tdx_hardware import TD

NOON = 1_800_000_000
VENDORS = MadeVendors(NOON)
NONCE = b"\7" * 32
RUNTIME = runtime_data()


def snp(*, version=5, chip: SnpHardware = VENDORS.snp, kind=SigningKey.VCEK):
    """A guest's report; a VLEK's signer hides the chip."""
    report = chip.report(version)
    chip_id = bytes(64) if kind is SigningKey.VLEK else report.chip_id
    return BareEvidence("snp", chip.sign(replace(report, signing_key=kind, chip_id=chip_id)))


def tdx():
    """A trust domain's quote."""
    return BareEvidence("tdx", VENDORS.tdx.quote())


def azure_snp(data=RUNTIME):
    """An Azure VM on SEV-SNP."""
    report = replace(VENDORS.snp.report(), report_data=report_data_of(RUNTIME))
    hcl = hcl_report(VENDORS.snp.sign(report), data)
    return BareEvidence("azure-snp", azure_evidence(hcl, NONCE, beside={"vcek": VENDORS.snp.certificate()}))


def azure_tdx():
    """An Azure VM on TDX."""
    td = replace(TD, report_data=report_data_of(RUNTIME))
    owners = td.mr_td + td.mr_config_id + td.mr_owner + td.mr_owner_config
    numbers = td.td_attributes.to_bytes(8, "little") + td.xfam.to_bytes(8, "little")
    shown = bytes(128) + td.report_data.ljust(384, b"\0") + numbers + owners + b"".join(td.rtmrs)
    hcl = hcl_report(shown.ljust(1024, b"\0"), RUNTIME, tdx=True)
    return BareEvidence("azure-tdx", azure_evidence(hcl, NONCE, beside={"td_quote": VENDORS.tdx.quote(td)}))


def gpu(device=VENDORS.gpu):
    """A GPU beside no CPU."""
    return BareEvidence("", b"", gpu=[device.evidence(NONCE)])


def failed(evidence, endorsements, *, at=NOON):
    """What fails when `evidence` is examined with these endorsements under the made-up roots."""
    roots = VENDORS.roots
    endorsed = sort_endorsements(replace(evidence, platform=evidence.platform or "snp", endorsements=endorsements))
    match evidence.platform:
        case "snp":
            return examine_snp(
                evidence.report, endorsed.snp, roots=roots.amd, at=at, unsafe=(), seen=SEEN_NOTHING
            ).failed
        case "tdx":
            held = {"roots": roots.intel, "at": at, "seen": SEEN_NOTHING}
            return examine_tdx(evidence.report, endorsed.collateral(), **held).failed
        case "azure-snp":
            told = parse_azure_evidence(evidence.report)
            above = (one for one in endorsed.snp.chain if one != told.vcek)
            chain = replace(endorsed.snp, chain=(told.vcek or b"", *above))
            return examine_azure_snp(told, chain, roots=roots.amd, at=at, unsafe=(), seen=SEEN_NOTHING).failed
        case "azure-tdx":
            told = parse_azure_evidence(evidence.report)
            held = {"roots": roots.intel, "at": at, "seen": SEEN_NOTHING}
            return examine_azure_tdx(told, endorsed.collateral(), **held).failed
    return _failed_of_devices(evidence, endorsed, at)


def _terms(endorsed, at):
    roots = VENDORS.roots
    pins = {"devices": roots.nvidia_devices, "manifests": roots.nvidia_manifests}
    return NvidiaTerms(**pins, answers=endorsed.answers, nonce=STAPLED, at=at, unsafe=())


def _failed_of_devices(evidence, endorsed, at):
    terms = _terms(endorsed, at)
    failing = []
    for one in evidence.gpu:
        failing += examine_nvidia_device(DeviceEvidence(one.report, one.chain), terms).failed
    for data in endorsed.manifests:
        failing += examine_nvidia_rim(data, terms).failed
    return failing
