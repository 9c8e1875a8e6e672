"""The systemd units: what they start, what they take from it, and what systemd itself says of them."""

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from cloister.cli.local.machines import GRACE_SECONDS
from cloister.cli.local.roles import ROLES as LOCAL_ROLES
from cloister.cli.service import service as service_command
from cloister.hosting.settings import load
from cloister.services.places import SERVICES
from cloister.tee.collectors import sev_guest, tdx_guest, tpm

UNITS = Path(__file__).parents[3] / "deploy" / "systemd"
ROLES = (*LOCAL_ROLES, "verifier", "deployment")  # of the last two a system of its own has no need
EXPOSURE = {"gateway": 35, "deployment": 35}  # by `systemd-analyze security`, of 100; bubblewrap takes namespaces
LEAST_EXPOSURE = 15


def lines(role):
    text = (UNITS / f"cloister-{role}.service").read_text()
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def of(role, key):
    """All values of a key, in order."""
    return [line.partition("=")[2] for line in lines(role) if line.startswith(f"{key}=")]


def test_every_role_has_a_unit_and_every_unit_a_role():
    assert {path.name for path in UNITS.glob("*.service")} == {f"cloister-{role}.service" for role in ROLES}


@pytest.mark.parametrize("role", ROLES)
def test_the_command_line_is_one_that_cloister_takes(role):
    (command,) = of(role, "ExecStart")
    env, ready, program, group, *arguments = shlex.split(command)
    assert (env, program, group) == ("/usr/bin/env", "/opt/cloister/bin/cloister", "service")
    context = service_command.make_context("service", arguments)
    assert context.params == {"name": role, "config": Path(f"/etc/cloister/{role}/{role}.toml")}
    variable, _, socket = ready.partition("=")
    assert socket == "${NOTIFY_SOCKET}"
    assert of(role, "Type") == ["notify"]
    assert variable == f"CLOISTER_{role.upper()}__READY"


@pytest.mark.parametrize("role", ROLES)
def test_the_variable_that_tells_systemd_is_a_setting_of_the_role(role):
    module, _, name = SERVICES[role].settings.partition(":")
    record = getattr(__import__(module, fromlist=[name]), name)
    with pytest.raises(Exception, match="missing settings") as missing:
        load(record, service=role, config=None, environ={f"CLOISTER_{role.upper()}__READY": "@x"}, flags={})
    assert "READY" not in str(missing.value)


@pytest.mark.parametrize("role", ROLES)
def test_a_service_gains_nothing_dumps_nothing_and_writes_only_to_what_is_its_own(role):
    for key, value in (
        ("User", f"cloister-{role}"),
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("MemoryDenyWriteExecute", "yes"),
        ("LimitCORE", "1"),
        ("UMask", "0077"),
        ("RestartPreventExitStatus", "2 3"),
    ):
        assert of(role, key) == [value], key
    assert of(role, "ReadWritePaths") == []


def test_only_the_gateway_and_who_starts_one_may_make_namespaces():
    may = {role for role in ROLES if of(role, "RestrictNamespaces") != ["yes"]}
    assert may == {"gateway", "deployment"}


@pytest.mark.parametrize("role", ROLES)
def test_a_stop_leaves_time_for_what_is_in_flight(role):
    (allowed,) = of(role, "TimeoutStopSec")
    assert int(allowed) > GRACE_SECONDS


def test_a_deployments_nodes_outlive_its_api_and_no_others_do():
    assert {role: of(role, "KillMode") for role in ROLES} == {role: ["mixed"] for role in ROLES} | {
        "deployment": ["process"]
    }
    assert of("deployment", "RuntimeDirectoryPreserve") == ["yes"]


def test_every_unit_has_a_user_of_its_own():
    made = {line.split()[1] for line in (UNITS / "cloister.sysusers.conf").read_text().splitlines() if line[0] == "u"}
    assert made == {user for role in ROLES for user in of(role, "User")}


def drop_in(key):
    text = (UNITS / "hardware.conf").read_text()
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}=")]


def test_on_hardware_a_node_reaches_the_devices_that_its_collectors_open_and_no_others():
    devices = {f"/{device} rw" for device in (sev_guest.DEVICE, tdx_guest.DEVICE, tpm.DEVICE)}
    assert set(drop_in("DeviceAllow")) == devices | {"char-nvidia* rw"}
    assert drop_in("DevicePolicy") == ["closed"]
    assert drop_in("SupplementaryGroups") == ["cloister-tee"]
    ruled = {
        line.partition(",")[0] for line in (UNITS / "cloister-tee.rules").read_text().splitlines() if line[0] != "#"
    }
    assert ruled == {'KERNEL=="sev-guest"', 'KERNEL=="tdx_guest"'}
    assert "g cloister-tee -" in (UNITS / "cloister.sysusers.conf").read_text().splitlines()


needs_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing: apt-get install systemd"
)


@needs_analyze
@pytest.mark.parametrize("role", ["kms", "gateway"])
def test_systemd_takes_what_is_added_for_hardware_and_still_finds_the_units_closed(role, tmp_path):
    whole = tmp_path / f"cloister-{role}.service"
    whole.write_text((UNITS / whole.name).read_text() + "\n" + (UNITS / "hardware.conf").read_text())
    said = subprocess.run(["systemd-analyze", "verify", str(whole)], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout + said.stderr) == (0, "")
    threshold = f"--threshold={EXPOSURE.get(role, LEAST_EXPOSURE) + 10}"
    judged = ["systemd-analyze", "security", "--offline=true", threshold, str(whole)]
    found = subprocess.run(judged, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout.splitlines()[-1]


@needs_analyze
def test_systemd_takes_the_units_and_finds_them_closed():
    paths = [str(UNITS / f"cloister-{role}.service") for role in ROLES]
    said = subprocess.run(["systemd-analyze", "verify", *paths], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout + said.stderr) == (0, "")
    for role, path in zip(ROLES, paths, strict=True):
        threshold = f"--threshold={EXPOSURE.get(role, LEAST_EXPOSURE)}"
        judged = ["systemd-analyze", "security", "--offline=true", threshold, path]
        found = subprocess.run(judged, capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stdout.splitlines()[-1]
