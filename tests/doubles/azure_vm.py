"""A machine that looks like an Azure confidential VM: a real TPM in software, set up as the paravisor does it."""

import base64
import contextlib
from dataclasses import replace

from tests.doubles.device_kernel import DeviceKernel, loopback
from tests.doubles.metadata_server import metadata_server, told

from cloister.formats.tpm_quote import parse_tpm_public
from cloister.formats.workload_event import TPM_REGISTER, event_digest
from cloister.tee.collectors.machine import Machine
from cloister.tee.collectors.metadata_service import MetadataService
from cloister.testing.azure_hardware import hcl_report, report_data_of, runtime_data

ATTRIBUTES = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|sign"


def set_up(tpm, report, workload):
    """A key, the HCL report that names it, and a workload's event in PCR 13; `report` signs given REPORT_DATA."""
    tpm.run("tpm2_createprimary", "-Q", "-C", "e", "-G", "rsa2048:rsassa-sha256:null", "-a", ATTRIBUTES, "-c", "ak")
    tpm.run("tpm2_evictcontrol", "-Q", "-C", "o", "-c", "ak", "0x81000003")
    tpm.run("tpm2_readpublic", "-Q", "-c", "ak", "-f", "tpmt", "-o", "ak.pub")
    tpm.run("tpm2_flushcontext", "-Q", "-t")
    tpm.run("tpm2_pcrextend", f"{TPM_REGISTER}:sha256={event_digest(workload, 'sha256').hex()}")
    rsa = parse_tpm_public(tpm.read("ak.pub")).rsa
    assert rsa is not None
    modulus = base64.urlsafe_b64encode(rsa[0].to_bytes(256, "big")).rstrip(b"=").decode()
    runtime = runtime_data(keys=[{"kid": "HCLAkPub", "key_ops": ["sign"], "kty": "RSA", "e": "AQAB", "n": modulus}])
    (tpm.folder / "hcl").write_bytes(hcl_report(report(report_data_of(runtime)), runtime, size=2048))
    attributes = "ownerread|authread|ownerwrite|authwrite"
    tpm.run("tpm2_nvdefine", "-Q", "-C", "o", "-s", "2048", "-a", attributes, "0x01400001")
    tpm.run("tpm2_nvwrite", "-Q", "-C", "o", "-i", "hcl", "0x01400001")


def report_of(chip, **changes):
    """How `chip` reports on a guest."""
    return lambda report_data: chip.sign(replace(chip.report(), report_data=report_data, **changes))


def kernel(tpm):
    """What of this machine's devices collectors meet."""
    return DeviceKernel({"/dev/tpmrm0": loopback(tpm.port)})


@contextlib.contextmanager
def azure_vm(tpm, chain):
    """The machine, with a metadata service that tells of this chip's certificates."""
    with metadata_server({"/metadata/THIM/amd/certification": told(chain[0], chain[1:])}) as (port, _):
        yield Machine(calls=kernel(tpm), metadata=MetadataService("127.0.0.1", port))
