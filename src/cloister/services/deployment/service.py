"""A deployment API's life from start to stop. Its end is not that of the nodes: they go on, and are found again."""

from __future__ import annotations

import asyncio
import time

from cloister.errors import Unavailable
from cloister.hosting import logs
from cloister.hosting.listening import listen_to_services
from cloister.hosting.loopback import run_until_stopped
from cloister.hosting.serving import serve_until
from cloister.services.deployment.deployment import Deployment
from cloister.services.deployment.fleet import Fleet
from cloister.services.deployment.history import Said
from cloister.services.deployment.routes import routes
from cloister.services.deployment.settings import DeploymentSettings
from cloister.storage.database import Database
from cloister.storage.database_file import advising
from cloister.storage.deployment_store import DeploymentStore

DAMAGED = (
    "The deployment API does not start, and the nodes that run go on. Put the folder aside, set `first` to the number"
    " of the next revision, end the nodes that run (they hold their ports), and apply that revision (docs/faults.md)"
)


def run(settings: DeploymentSettings) -> None:
    """Serve until SIGTERM or SIGINT. Raises as `serve_deployment`."""
    logs.configure("deployment", level=settings.log_level)

    async def main(stop: asyncio.Event) -> None:
        await serve_deployment(settings, stop)

    run_until_stopped(main)


async def serve_deployment(settings: DeploymentSettings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set.

    Raises:
        CorruptStore: what it remembers is damaged.
        Unavailable: another process has its folder, or it cannot be written, or the port is taken.
    """
    try:
        for folder in (settings.folder, settings.folder / "run", settings.folder / "logs"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"{error.filename} cannot be made: {error.strerror}") from error
    with advising(DAMAGED):
        database = await Database.open(settings.folder / "deployment.sqlite", migrations="deployment")
    try:
        listening = listen_to_services(settings.address, settings.port, settings.tls)
        say = Said(_now)
        fleet = Fleet(settings.folder, DeploymentStore(database), settings.peers, _now, say)
        with advising(DAMAGED):
            deployment = await Deployment.open(settings, fleet, say)
        try:
            app = routes(deployment, checks=[database.probe], limits=settings.limits)
            await serve_until(
                app, listening.socket, stop, ready=settings.ready, limits=settings.limits, tls=listening.tls
            )
        finally:
            await deployment.leave()
    finally:
        await database.close()


def _now() -> int:
    return int(time.time())  # noqa: TID251 - when something happened is this machine's time
