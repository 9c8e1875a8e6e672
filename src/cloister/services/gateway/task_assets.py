"""What the parties of the contract in force gave its task: asked for once for each contract, and handed to the engine.

Sections, and the key of a sealed model. All that a running gateway has of them is here and in the service of its
engine, in memory, for an engine that has to be started again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

from cloister.contract.task_assets import NO_ASSETS, VerifiedTaskAssets, wanted_assets
from cloister.errors import CloisterError, MalformedInput, Refused, TooLarge, Unavailable
from cloister.node.released_assets import AskingNode, AssetKms
from cloister.node.task_assets import released_task_assets
from cloister.peers.exchange import PeerRefused
from cloister.peers.failover import Failover
from cloister.services.gateway.keys import KeyWithheld
from cloister.trust.bundle import VerifiedBundle

OF_PARTIES = "the assets of its parties: "  # how what is said begins where a party has to do something
AGAIN_SECONDS = 5.0  # after a refusal, before the KMS is asked again where the log has grown since
LATEST_SECONDS = 60.0  # and where it has not: every refusal is an entry, of which the log takes one a minute
RESTS = 4  # times as long as an engine took that could not have them: a model of many GiB is not opened on and on

Asked = TypeVar("Asked", bound=AssetKms)


class TaskAssets:
    """The assets of one gateway's task.

    They are asked for before a transport key is, so that a gateway which its parties did not equip opens nothing. A new
    contract asks anew: an owner may have withdrawn its leave, or sealed another section for the successor.
    """

    def __init__(
        self,
        hand_over: Callable[[VerifiedTaskAssets], Awaitable[None]],
        withdraw: Callable[[], None] = lambda: None,
        *,
        model: bytes | None = None,
        handed: VerifiedTaskAssets | None = None,
    ) -> None:
        """`hand_over` returns when an engine that has just these assets can be asked.

        `withdraw` ends the engine that was handed some: its task may not use them any more.
        `model` is the digest of the sealed model that lies here, 32 bytes; without one, no key of a model is asked for.
        `handed` is what an engine has that was started without being asked for here.
        """
        self._model = model
        self._hand_over = hand_over
        self._withdraw = withdraw
        self._under = b""  # digest of the contract that they were given under
        self._given = NO_ASSETS
        self._handed = handed
        self._refusal = ""  # what was said last, where a party has to do something
        self._refused_at = 0.0
        self._refused_size = 0  # of the log, with the refusal in it
        self._unusable = ""  # why the engine did not take them, last
        self._rests_until = 0.0  # an engine that cannot have them is not started again before

    async def follow(self, kms: Failover[Asked], node: AskingNode, bundle: VerifiedBundle) -> None:
        """Have the engine hold what the contract in force gives its task; nothing where it holds that already.

        Raises:
            KeyWithheld: an asset is missing, or refused by name, or the engine cannot use it.
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
                    self._take_away()
                raise
            except Unavailable as error:
                if not self._refusal:
                    raise
                self._refused_at = monotonic()  # more is refused than the log takes: what was said first is still so
                raise KeyWithheld(self._refusal) from error
            self._under, self._refusal = contract, ""
        if self._handed != self._given:
            await self._equip()

    async def _equip(self) -> None:
        """Have the engine hold what was given.

        Raises:
            KeyWithheld: it cannot use it, or the model does not open; the sentence names the check.
        """
        began = monotonic()
        if began < self._rests_until:
            raise KeyWithheld(self._unusable)
        try:
            await self._hand_over(self._given)
        except CloisterError as error:
            self._unusable = f"{OF_PARTIES}{error}"
            self._rests_until = monotonic() + RESTS * (monotonic() - began)
            raise KeyWithheld(self._unusable) from error
        self._handed = self._given

    def _take_away(self) -> None:
        """Keep nothing of what an owner gave under a contract that another one followed, which no longer gives it."""
        if self._handed is not None and self._handed != NO_ASSETS:
            self._given, self._handed = NO_ASSETS, None
            self._withdraw()

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

    async def _asked_for(self, kms: Failover[Asked], node: AskingNode, bundle: VerifiedBundle) -> VerifiedTaskAssets:
        try:
            return await kms.ask(lambda one: released_task_assets(one, node, bundle, model=self._model))
        except Refused as error:
            raise KeyWithheld(self._told(error, bundle)) from error
        except (PeerRefused, MalformedInput, TooLarge) as error:
            raise KeyWithheld(str(error)) from error

    def _told(self, error: Refused, bundle: VerifiedBundle) -> str:
        """What is said of a refusal: whose assets these are, where their owners have to do something."""
        if error.check == "model.asset":  # nothing was asked for
            return f"{OF_PARTIES}{error}"
        if not error.check.startswith(("asset.", "section.", "model.")):
            return str(error)
        wanted = wanted_assets(bundle.contract, bundle.contract.serving.name, self._model)
        return f"{OF_PARTIES}{error} (of {', '.join(sorted({one.owner for one in wanted}))})"
