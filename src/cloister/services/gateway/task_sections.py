"""What the parties of the contract in force gave its task: asked for once for each contract, and handed to the engine.

All that a running gateway has of it is here, in memory, for an engine that has to be started again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

from cloister.contract.sections import NO_SECTIONS, VerifiedSections, sections_of
from cloister.errors import MalformedInput, Refused, TooLarge, Unavailable
from cloister.node.released_assets import AskingNode, AssetKms
from cloister.node.sections import released_sections
from cloister.peers.exchange import PeerRefused
from cloister.peers.failover import Failover
from cloister.sandbox.errors import SandboxUnavailable
from cloister.services.gateway.keys import KeyWithheld
from cloister.trust.bundle import VerifiedBundle

OF_PARTIES = "the sections of its parties: "  # how what is said begins where a party has to do something
AGAIN_SECONDS = 5.0  # after a refusal, before the KMS is asked again where the log has grown since
LATEST_SECONDS = 60.0  # and where it has not: every refusal is an entry, of which the log takes one a minute


Asked = TypeVar("Asked", bound=AssetKms)


class TaskSections:
    """The sections of one gateway's task.

    They are asked for before a key is, so that a gateway which its parties did not equip opens nothing. A new contract
    asks anew: an owner may have withdrawn its leave, or sealed another section for the successor.
    """

    def __init__(
        self,
        hand_over: Callable[[VerifiedSections], Awaitable[None]],
        *,
        handed: VerifiedSections | None = None,
    ) -> None:
        """`hand_over` returns when an engine that has just these sections can be asked.

        `handed` is what an engine has that was started without being asked for here.
        """
        self._hand_over = hand_over
        self._under = b""  # digest of the contract that they were given under
        self._given = NO_SECTIONS
        self._handed = handed
        self._refusal = ""  # what was said last, where a party has to do something
        self._refused_at = 0.0
        self._refused_size = 0  # of the log, with the refusal in it

    async def follow(self, kms: Failover[Asked], node: AskingNode, bundle: VerifiedBundle) -> None:
        """Have the engine hold what the contract in force gives its task; nothing where it holds that already.

        Raises:
            KeyWithheld: a section is missing, or refused by name, or the engine cannot use what they hold.
            Unavailable: the KMS cannot be asked now.
        """
        contract = bundle.contract.digest()
        if self._under != contract:
            self._spare(bundle)
            try:
                self._given = await self._asked_for(kms, node, bundle)
            except KeyWithheld as refusal:
                if str(refusal).startswith(OF_PARTIES):  # a person has to do something: that takes its time
                    self._refusal, self._refused_at = str(refusal), monotonic()
                    self._refused_size = bundle.checkpoint.size + 1
                raise
            except Unavailable as error:
                if not self._refusal:
                    raise
                self._refused_at = monotonic()  # more is refused than the log takes: what was said first is still so
                raise KeyWithheld(self._refusal) from error
            self._under, self._refusal = contract, ""
        if self._handed == self._given:
            return
        try:
            await self._hand_over(self._given)
        except SandboxUnavailable as error:
            raise KeyWithheld(f"{OF_PARTIES}{error}") from error
        self._handed = self._given

    def _spare(self, bundle: VerifiedBundle) -> None:
        """Say what was said before, while it is too soon to ask again.

        Raises:
            KeyWithheld: as when the KMS was asked.
        """
        if not self._refusal:
            return
        since, grown = monotonic() - self._refused_at, bundle.checkpoint.size > self._refused_size
        if since < (AGAIN_SECONDS if grown else LATEST_SECONDS):
            raise KeyWithheld(self._refusal)

    async def _asked_for(self, kms: Failover[Asked], node: AskingNode, bundle: VerifiedBundle) -> VerifiedSections:
        owners = sorted({one.owner for one in sections_of(bundle.contract, bundle.contract.serving.name)})
        try:
            return await kms.ask(lambda instance: released_sections(instance, node, bundle))
        except Refused as error:
            ours = not error.check.startswith(("asset.", "section."))
            raise KeyWithheld(str(error) if ours else f"{OF_PARTIES}{error} (of {', '.join(owners)})") from error
        except (PeerRefused, MalformedInput, TooLarge) as error:
            raise KeyWithheld(str(error)) from error
