"""A contract of several parties who propose and vote, in a log that witnesses state the time of."""

import msgspec

from cloister.contract.fold import advance, begin, fold
from cloister.contract.governance import time_awaited
from cloister.crypto.signing import SigningKey
from cloister.formats.contract import Party
from cloister.formats.governance import Vote, WitnessedTime
from cloister.ledger.checkpoints import examine_checkpoint
from cloister.ledger.statements import entry_digest, sign_statement
from cloister.testing.world import DAY, NOON, World

replace = msgspec.structs.replace
HOUR = 3600
OPERATOR, AUDITOR, PUBLISHER = (SigningKey.generate() for _ in range(3))


class Council:
    """A contract of four parties, of whom two of three approvers are enough, with a day's notice and two to vote."""

    def __init__(self, **changes):
        self.world = World()
        rules = replace(
            self.world.contract.changes,
            approvers=("model owner", "operator", "auditor"),
            number=2,
            veto=("model owner",),
            window_seconds=2 * DAY,
            notice_seconds=DAY,
        )
        auditor = Party(name="auditor", duties=("auditor",), keys=(AUDITOR.public,), seal=b"")
        publisher = Party(name="publisher", duties=("publisher",), keys=(PUBLISHER.public,), seal=b"")
        self.keys = {
            "model owner": self.world.parties.owner,
            "operator": OPERATOR,
            "auditor": AUDITOR,
            "publisher": PUBLISHER,
        }
        owner, operator = self.world.contract.parties
        self.contract = replace(
            self.world.contract,
            name="four parties",
            parties=(owner, replace(operator, keys=(OPERATOR.public,)), auditor, publisher),
            changes=replace(rules, **changes),
        )
        entries = self.world.log.entries
        self.state = fold(begin(entries[0], genesis=self.world.constitution.digest()), entries[1:])
        self.log(sign_statement("contract", self.contract, list(self.keys.values())))
        assert not self.state.reason

    def log(self, entry):
        """One more entry in the log."""
        self.world.log.append(entry)
        self.state = advance(self.state, entry)
        return entry

    def propose(self, *names, **changes):
        """A successor of the contract in force, signed by these."""
        current = self.line.current
        fields = {"sequence": current.sequence + 1, "previous": current.digest()} | changes
        successor = replace(current, **fields)
        entry = self.log(sign_statement("contract", successor, [self.keys[name] for name in names]))
        return successor, entry_digest(entry)

    def vote(self, proposal, name, choice="approve"):
        """One's word on a proposal."""
        key = self.keys[name]
        return self.log(sign_statement("vote", Vote(proposal=proposal, choice=choice), (key,)))

    def tell(self, at, **cosigned):
        """The log as it stands, cosigned at `at`, put into it."""
        note = WitnessedTime(note=self.world.log.checkpoint(at=at, **cosigned))
        return self.log(sign_statement("time", note, (SigningKey.generate(),)))

    def waits_for(self, at):
        """Whether the KMS would put the time into the log now."""
        rules = self.state.constitution
        checkpoint = examine_checkpoint(
            self.world.log.checkpoint(at=at), log=rules.log, witnesses=rules.witnesses, quorum=rules.quorum
        ).require()
        return time_awaited(self.state, checkpoint)

    @property
    def line(self):
        return self.state.lines[self.contract.digest()]

    @property
    def standing(self):
        return [proposal.standing for proposal in self.line.governed.proposals]


NEW = {"not_after": NOON + 2 * DAY}
