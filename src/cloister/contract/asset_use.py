"""May this deposit go out now, for this task: the steps that a KMS performs and the fold performs again.

The KMS asks before it logs a use; the fold asks at the use's place in the log, where every use before it counts. So of
two replicas that both log the last use, the one that comes second is void, whatever each of them saw before.
"""

from __future__ import annotations

from cloister.contract.custody_records import DepositRecord, asset_named, grant_of
from cloister.contract.state import ContractLine
from cloister.examination import Steps


def check_use(steps: Steps, line: ContractLine, asset: str, task: str, *, at: int) -> DepositRecord | None:
    """Perform `USE_STEPS` for one asset at `at` (seconds since 1970); the deposit, if there is one."""
    # 1. Its owner put it there, and neither the owner nor a retirement took it back.
    deposit = line.custody.deposits.get(asset)
    counts = deposit is not None and _counts(line, deposit)
    shortfall = "was revoked or retired, or is no asset any more" if deposit else "was never deposited"
    steps.check("asset.deposit", counts, f"{asset} {shortfall}")
    if deposit is None or not counts:
        return None
    terms = deposit.deposit.terms
    # 2. For this task: an owner's word for one task is none for another.
    steps.check("asset.task", terms.task == task, f"{asset} was deposited for {terms.task}, not for {task}")
    # 3. Under this version of the contract, or under whichever there is, as its owner said.
    meant = terms.under == "line" or line.digest in terms.under
    steps.check("asset.contract", meant, f"{asset} was deposited for another version of the contract")
    # 4. The contract in force grants it.
    grant = grant_of(line.current, asset, task)
    steps.check("asset.grant", grant is not None, f"no grant lets {task} use {asset}")
    if grant is None:
        return deposit
    # 5. Both in time …
    end = min(terms.expires, grant.not_after)
    steps.check("asset.expiry", at < end, f"{asset} may be used until {end}, it is {at}")
    # 6. … and one use is left, counting every use that the log holds before this one.
    used = line.custody.uses.get((asset, task), 0)
    left = grant.uses == "unlimited" or used < grant.uses
    steps.check(
        "asset.uses", left, f"{asset} was used {used} times, {grant.uses} are granted", found=f"used {used} times"
    )
    return deposit


def _counts(line: ContractLine, deposit: DepositRecord) -> bool:
    asset = asset_named(line.current, deposit.deposit.terms.asset)
    return (
        asset is not None
        and asset.owner == deposit.owner
        and deposit.placed.digest not in line.revoked
        and line.custody.root(deposit.deposit.terms.generation) is not None
    )
