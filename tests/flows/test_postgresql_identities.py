"""PostgreSQL and libpq, unchanged, speak by nodes' identities: host name, role, contract; renewed under a session."""

import asyncio
import os
import pwd
from dataclasses import replace

import pytest
from tests.doubles.identity_world import other_authority
from tests.doubles.postgresql import running_server
from tests.unit.node.test_identity_tls import Nodes

NAMES = ("certificate.pem", "key.pem", "authority.pem")


def install(held, folder):
    """What `cloister node identity` would write, for the user that the server runs as here."""
    folder.mkdir(mode=0o700, exist_ok=True)
    contents = (held.certificate_pem(), held.key.pem(), held.authorities_pem())
    for name, data in zip(NAMES, contents, strict=True):
        partial = folder / f"{name}.new"
        partial.write_bytes(data)
        partial.chmod(0o600)
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(partial, nobody.pw_uid, nobody.pw_gid)
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        partial.rename(folder / name)


class Database:
    """A server that takes the user `service` by a certificate of the contract, and psql to call it."""

    def __init__(self, server, nodes, folder):
        self.server, self.nodes, self.folder = server, nodes, folder

    @classmethod
    async def made(cls, server, tmp_path):
        nodes = Nodes()
        install(nodes.held(), server.folder / "tls")
        rules = server.data / "pg_hba.conf"
        rules.write_text(f"hostssl all service 127.0.0.1/32 cert\nhost all service all reject\n{rules.read_text()}")
        await server.execute("CREATE ROLE service LOGIN")
        for name, file in zip(("cert", "key", "ca"), NAMES, strict=True):
            await server.execute(f"ALTER SYSTEM SET ssl_{name}_file = '{server.folder}/tls/{file}'")
        await server.execute("ALTER SYSTEM SET ssl = on")
        await server.execute("SELECT pg_reload_conf()")
        return cls(server, nodes, tmp_path)

    async def renew(self):
        install(self.nodes.held(), self.server.folder / "tls")
        await self.server.execute("SELECT pg_reload_conf()")

    async def psql(self, held, *arguments, host=None):
        """psql by this identity, which insists on the server's host name."""
        folder = self.folder / held.certificate.hex()[-16:]
        folder.mkdir(mode=0o700)
        for name, data in zip(
            NAMES, (held.certificate_pem(), held.key.pem(), self.nodes.held().authorities_pem()), strict=True
        ):
            (folder / name).write_bytes(data)
            (folder / name).chmod(0o600)
        said = {
            "host": host or self.nodes.world.name().host,
            "hostaddr": "127.0.0.1",
            "port": self.server.port,
            "user": "service",
            "dbname": "postgres",
            "sslmode": "verify-full",
            "sslcert": folder / "certificate.pem",
            "sslkey": folder / "key.pem",
            "sslrootcert": folder / "authority.pem",
        }
        address = " ".join(f"{name}={value}" for name, value in said.items())
        pipe = asyncio.subprocess.PIPE
        command = ("psql", address, "-X", "-A", "-t", "-q", *arguments)
        return await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)

    async def asked(self, held, **changes):
        process = await self.psql(held, "-c", "SELECT current_user", **changes)
        return await process.communicate()


@pytest.fixture(scope="module")
def server():
    with running_server() as running:
        yield running


async def test_a_session_lives_on_while_certificates_are_renewed_and_others_are_refused(server, tmp_path):
    database = await Database.made(server, tmp_path)
    nodes = database.nodes

    async def is_served():
        out, _ = await database.asked(nodes.held())
        return out == b"service\n"

    for _ in range(100):  # the server reads its settings again a little later
        if await is_served():
            break
        await asyncio.sleep(0.1)
    session = await database.psql(nodes.held())
    lines = []
    for number in range(3):
        session.stdin.write(b"SELECT %d;\n" % number)
        lines.append(await asyncio.wait_for(session.stdout.readline(), 10))
        await database.renew()
        assert await is_served()
    session.stdin.close()
    await session.wait()
    assert lines == [b"0\n", b"1\n", b"2\n"]

    key, issuer = other_authority(nodes.world.line, now=nodes.now)
    _, told = await database.asked(nodes.held(authority=key, issuer=issuer))
    assert b"unknown ca" in told
    _, told = await database.asked(replace(Nodes().held(), authorities=(nodes.world.certificate,)))
    assert b"unknown ca" in told
    _, told = await database.asked(nodes.held("gateway"))
    assert b"certificate authentication failed" in told
    _, told = await database.asked(nodes.held(), host=nodes.world.name("gateway").host)
    assert b"does not match host name" in told
