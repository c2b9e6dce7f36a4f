"""The contract that a run keeps: the one it began under, by hash.

A contract is recorded once, as a stream of its own. The first claim of a run names its hash, and
each later claim repeats it: a changed file is for runs that begin afterwards. `continue_as_new`
begins anew, under the present contract.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interlock.base.codec import canonical, codec_for
from interlock.contract import Contract
from interlock.errors import BodyErasedError
from interlock.journal.event import Draft
from interlock.journal.guard import Append, Commit
from interlock.journal.rows import RunRow
from interlock.journal.store import Store
from interlock.orchestrator.history import History

__all__ = ["ContractPins", "contract_stream"]


def contract_stream(digest: str) -> str:
    """The stream that holds the contract of a hash."""
    return f"contract/{digest}"


class ContractPins:
    """Contracts as runs have them. `current` are those of the application, by agent."""

    def __init__(self, store: Store, current: Mapping[str, Contract]) -> None:
        self._store = store
        self._current = current
        self._recorded: dict[str, Contract] = {}

    def pin(self, agent: str, row: RunRow | None = None) -> tuple[dict[str, Any], Commit | None]:
        """What a run's next claim says of its contract, and what has to be committed before it.

        `row` is that of a run that exists: what its last claim says holds until its generation
        ends. Nothing is said for an agent without a contract. To be called by the store's executor,
        which is the only one that records contracts.
        """
        contract = self._current.get(agent)
        if contract is None:
            return {}, None
        digest = self._claimed_under(row) if row is not None else ""
        if digest:
            return {"contract": digest}, None
        digest = contract.hash
        commit = None if digest in self._recorded else self._recording(contract)
        self._recorded[digest] = contract
        return {"contract": digest}, commit

    def _claimed_under(self, row: RunRow) -> str:
        if row.claim_seq < row.generation_seq:
            return ""
        return History(row.id, self._store.read(row.id, row.claim_seq - 1, limit=1)).contract()

    def _recording(self, contract: Contract) -> Commit | None:
        stream = contract_stream(contract.hash)
        if self._store.head(stream) is not None:
            return None
        body = canonical(contract.as_json(), f"the contract of agent {contract.agent!r}")
        draft = Draft("contract_recorded", "", {"agent": contract.agent}, body)
        return Commit((Append(stream, (draft,)),))

    def recorded(self, digest: str) -> Contract:
        """The contract of a hash. Raises `BodyErasedError` when the journal has it no more."""
        found = self._recorded.get(digest)
        if found is None:
            entries = self._store.read(contract_stream(digest), limit=1)
            if not entries or entries[0].erased or entries[0].body is None:
                raise BodyErasedError(
                    f"the contract {digest[:12]} that the run began under is not in the journal "
                    "any more. Cancel the run, or start a new one under the present contract."
                )
            label = f"the recorded contract {digest[:12]}"
            found = codec_for(Contract).decode(entries[0].body, label)
            self._recorded[digest] = found
        return found

    def of(self, agent: str, digest: str) -> Contract | None:
        """The contract of a run that was pinned to `digest`, the agent's present one where it is
        empty: runs that began before contracts were pinned.
        """
        return self.recorded(digest) if digest else self._current.get(agent)

    def of_run(self, row: RunRow) -> Contract | None:
        """The contract that a run was last claimed under."""
        return self.of(row.agent, self._claimed_under(row))
