"""`cloister node show`: what a certificate says, of a file or a server; what is none is said."""

import json
import ssl
import threading
from typing import get_args

import pytest
from click.testing import CliRunner
from tests.doubles.identity_world import IdentityWorld
from tests.unit.node.test_identity_tls import Nodes

from cloister.cli import release_list
from cloister.cli.node_show import show
from cloister.errors import MalformedInput, Unavailable, UsageError
from cloister.formats.refusal import Wanted
from cloister.formats.statement import parse_statement
from cloister.hosting.loopback import LOOPBACK, listen, port_of


@pytest.fixture(scope="module")
def held():
    return Nodes().held()


def said(*arguments):
    return CliRunner().invoke(show, arguments, catch_exceptions=False, standalone_mode=False)


@pytest.mark.parametrize("pem", [True, False], ids=["PEM", "DER"])
def test_a_certificate_of_a_file_is_told(held, tmp_path, pem):
    path = tmp_path / "certificate.pem"
    path.write_bytes(held.certificate_pem() if pem else held.certificate)
    told = said(str(path)).output
    assert f"contract: {held.name.line.hex()}, number 0" in told
    assert "role: service" in told
    assert f"host name: {held.name.host}" in told


def test_a_certificate_of_a_server_is_told_as_json(held, tmp_path):
    path = tmp_path / "identity.pem"
    path.write_bytes(held.certificate_pem() + held.key.pem())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    with listen(LOOPBACK, 0) as listener:
        listener.setblocking(True)

        def serve():
            accepted, _ = listener.accept()
            with context.wrap_socket(accepted, server_side=True) as spoken:
                spoken.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        told = json.loads(said(f"{LOOPBACK}:{port_of(listener)}", "--json").output)
        thread.join(5)
    assert told["role"] == "service"
    assert told["node"] == held.name.node.hex()
    assert told["for_tls_alone"]


def test_certificates_and_their_refusals_are_among_what_a_kms_let_out():
    world = IdentityWorld()
    statement = parse_statement(world.identity())
    told = release_list._READ["identity"](world.state(), statement, 7, "entry", "counts")
    assert told.what.startswith("a certificate for a service until ")
    assert told.to == world.service.sign.public.hex()
    assert release_list._REFUSED.keys() == set(get_args(Wanted))


def test_what_is_no_certificate_is_said(tmp_path):
    (tmp_path / "x").write_bytes(b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n")
    with pytest.raises(MalformedInput):
        said(str(tmp_path / "x"))
    with pytest.raises(UsageError, match="cannot be read"):
        said(str(tmp_path / "y"))
    with listen(LOOPBACK, 0) as listener:
        free = port_of(listener)
    with pytest.raises(Unavailable, match="shows no certificate"):
        said(f"{LOOPBACK}:{free}")
