"""On a machine that never had a network: endorsements come in on a bundle, evidence and receipts are verified.

Everything runs in a network namespace of its own, in which there is nothing, not even a loopback that is up.
"""

import asyncio
import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from tests.doubles.command_line import Ran, cloister_command, environment
from tests.doubles.relayed_service import RelayedService
from tests.doubles.served_service import served

from cloister.formats import canonical
from cloister.formats.appraisal_policy import AppraisalPolicy, SnpPlatform, VendorRoots
from cloister.formats.appraisal_policy_file import format_appraisal_policy, no_comment
from cloister.formats.endorsement_bundle import AmdKey, AmdRevocations, EndorsementBundle
from cloister.formats.snp_policy import SnpImage
from cloister.testing.certificates import Life
from cloister.testing.snp_hardware import SnpHardware

NETLESS = ("unshare", "--net", "--user", "--map-root-user")
ALLOWED = subprocess.run([*NETLESS, "true"], check=False, capture_output=True).returncode == 0
pytestmark = pytest.mark.skipif(not ALLOWED, reason="this machine lets nobody make a network namespace")
CHALLENGE = b"\x0c" * 32
CONNECT = "import socket; socket.create_connection(('127.0.0.1', {port}), 5)"


async def isolated(home, *command):
    """Run a command of this tree without a network."""
    process = await asyncio.create_subprocess_exec(
        *(*NETLESS, sys.executable, *map(str, command)),
        cwd=home,
        env=environment(home),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    return Ran(process.returncode or 0, out.decode(), err.decode())


async def cloister(home, *arguments):
    return await isolated(home, "-m", "cloister", *arguments)


@pytest.fixture
def machine(now, tmp_path):
    """A made-up machine's report, a bundle of what its vendor says, and a policy that pins that vendor."""
    chip = SnpHardware(life=Life(now - 86_400, now + 86_400))
    report = replace(chip.report(), report_data=CHALLENGE.ljust(64, b"\0"))
    endorsed = chip.endorsements()
    first, second, root = endorsed.chain
    kept = (AmdKey(chain=(first, second, root)), AmdRevocations(data=endorsed.revocations[0], issuer=root))
    image = SnpImage(measurement=report.measurement, workload=b"w" * 48)
    policy = AppraisalPolicy(
        unsafe=("UnsafeAllowOtherRoots",),
        roots=VendorRoots(amd=dict(chip.roots), intel=(), nitro=(), nvidia_devices=(), nvidia_manifests=()),
        platforms=(SnpPlatform(report=chip.policy(), images=(image,), gpu="none"),),
    )
    (tmp_path / "report.bin").write_bytes(chip.sign(report))
    (tmp_path / "bundle").write_bytes(canonical.encode(EndorsementBundle(kept=kept)))
    (tmp_path / "policy.toml").write_text(format_appraisal_policy(policy, comment=no_comment))
    return tmp_path


async def verified(home, endorsements):
    options = ("--appraisal-policy", "policy.toml", "--endorsements", endorsements, "--challenge", CHALLENGE.hex())
    return await cloister(home, "evidence", "verify", "report.bin", *options)


async def test_there_is_no_network_in_there(tmp_path):
    """The control: what listens on this machine's loopback is reached from out here, and not from in there."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        code = CONNECT.format(port=server.sockets[0].getsockname()[1])
        outside = await asyncio.create_subprocess_exec(sys.executable, "-c", code, env=os.environ)
        assert await outside.wait() == 0
        inside = await isolated(tmp_path, "-c", code)
    assert inside.code == 1
    assert "Network is unreachable" in inside.err


async def test_evidence_is_verified_with_an_imported_bundle(machine):
    taken = await cloister(
        machine, "endorsements", "import", "bundle", "--store", "store", "--appraisal-policy", "policy.toml"
    )
    assert taken.code == 0, taken.err
    ran = await verified(machine, "store")
    assert ran.code == 0, ran.out + ran.err
    assert "ACCEPTED: all" in ran.out


async def test_evidence_is_verified_with_the_bundle_itself(machine):
    ran = await verified(machine, "bundle")
    assert (ran.code, "ACCEPTED: all" in ran.out) == (0, True), ran.out + ran.err


async def test_what_the_bundle_lacks_is_named(machine):
    (machine / "empty").mkdir()
    ran = await verified(machine, "empty")
    assert (ran.code, "fetch it from AMD's KDS" in ran.out) == (3, True), ran.out + ran.err


async def test_a_receipt_is_verified(now, tmp_path):
    async with served(RelayedService(now), tmp_path) as options:
        await cloister_command("transcribe", *options, "--receipt-dir", "kept", "speech.wav", home=tmp_path)
    files = ("--request", "speech.wav", "--response", "kept/speech.wav.response.json", "--policy", "policy.toml")
    ran = await cloister(tmp_path, "receipt", "verify", "kept/speech.wav.receipt", *files)
    assert ran.code == 0, ran.out + ran.err
    assert "This answer was given to this request" in ran.out


@pytest.fixture
def now():
    """This machine's time, by which commands judge."""
    return int(time.time())
