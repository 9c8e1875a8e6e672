"""The valid system of custody whose contract has three sections: a workload's, an environment's, a party's secrets."""

import msgspec
from tests.doubles.custody_world import CustodyWorld

from cloister.formats.contract import Asset, Grant
from cloister.formats.custody import Deposited
from cloister.formats.section import Section, encode_section
from cloister.testing.world import DAY, NOON

replace = msgspec.structs.replace
OWNERS = {"workload": "model owner", "environment": "operator", "secrets": "bank"}

PLAIN = CustodyWorld().contract


def section_asset(kind, owner=None):
    """The contract's asset for a section, which is called as its kind is."""
    return Asset(name=kind, kind="secret", digest=b"", owner=owner or OWNERS[kind], recovery="custodians", section=kind)


def sample_section(kind, /, **changes):
    """A section with one variable and one file of its own."""
    section = Section(
        kind=kind,
        persona=OWNERS[kind],
        variables={f"{kind.upper()}_TOKEN": f"token of the {kind}"},
        files={f"{kind}/settings.toml": b"depth = 3\n"},
    )
    return replace(section, **changes)


class SectionWorld(CustodyWorld):
    """Before any section is logged."""

    def __init__(self, **changes):
        grants = [Grant(asset=kind, task="serve", uses="unlimited", not_after=NOON + DAY, policy=()) for kind in OWNERS]
        usual = {
            "assets": (*PLAIN.assets, *map(section_asset, OWNERS)),
            "grants": (*PLAIN.grants, *grants),
        }
        self.sections = {kind: sample_section(kind) for kind in OWNERS}
        self.signers = {}
        super().__init__(**(usual | changes))
        self.signers = {
            "workload": self.parties.owner,
            "environment": self.parties.operator,
            "secrets": self.custodians["bank"],
        }

    def deposited_section(self, kind):
        """What is sealed of that section."""
        return Deposited(salt=bytes(32), value=encode_section(self.sections[kind]).reveal())

    def section(self, kind, *keys, **changes):
        """The entry that deposits the section of that kind."""
        commitment = self.deposited_section(kind).commitment()
        usual = {"asset": kind, "under": (self.line,), "commitment": commitment}
        return self.deposit(*(keys or (self.signers[kind],)), **(usual | changes))
