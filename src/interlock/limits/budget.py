"""Budgets: what a run, an agent's day and a tenant's day may take, held before it is taken.

A call draws on several **accounts**, one for each limit that its contract sets. Before it is made,
its worst case is held on all of them in one commit: `reserve` makes that commit's guards and
events, and the journal refuses it as a whole when one account has too little left. After the call
`settle` turns the holds into what was taken. Accounts come to be when they are first needed
(`opening`), and a limit that was set is only ever raised (`raising`), whatever a contract says
later.

Everything here is a function of its arguments: a caller puts the parts into its own commits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from interlock.base.identifier import derived_id
from interlock.errors import InvalidInputError
from interlock.journal.event import Draft, Header
from interlock.journal.guard import Append, Commit, HoldsBudget, UniqueKey
from interlock.limits.amount import LARGEST, UNITS, Unit, parse_amount, unit_of

__all__ = [
    "Account",
    "Budgets",
    "Hold",
    "Limits",
    "Reservation",
    "Spent",
    "WorstCase",
    "account_owner",
    "accounts",
    "budget_stream",
    "day_of",
    "hold_of",
    "next_day_us",
    "opening",
    "raising",
    "release",
    "reserve",
    "settle",
    "settle_worst_case",
]

_RAISES: Final = "budget_raised"
_OPENINGS: Final = "budget"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_US: Final = 86_400_000_000


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What may be taken, each 0 or more; None sets no limit.

    `usd` with at most 6 decimals, `seconds` (of calls, added up) with at most 3, the others whole.
    Raises `InvalidInputError` for anything else.
    """

    usd: Decimal | int | None = None
    tokens: int | None = None
    model_calls: int | None = None
    tool_calls: int | None = None
    seconds: Decimal | int | None = None

    def __post_init__(self) -> None:
        for unit in UNITS:
            self.amount(unit)

    def amount(self, unit: Unit) -> int | None:
        """The limit as the integer that is counted, or None."""
        value: Decimal | int | None = getattr(self, unit)
        return None if value is None else parse_amount(value, unit, f"the limit of {unit}")


@dataclass(frozen=True, kw_only=True)
class Budgets:
    """A contract's limits: for each run, for its agent and for its tenant on each day (UTC)."""

    run: Limits | None = None
    agent_day: Limits | None = None
    tenant_day: Limits | None = None


class Account(NamedTuple):
    """Something that is drawn on. `limit` is in the smallest part of `unit` (`limits.amount`)."""

    name: str
    unit: Unit
    limit: int


def day_of(now_us: int) -> str:
    """The day (UTC) of a moment, as accounts are named after it: `2026-11-25`."""
    return f"{_EPOCH + timedelta(microseconds=now_us):%Y-%m-%d}"


def next_day_us(now_us: int) -> int:
    """When the accounts of the moment's day are followed by new ones: the next midnight (UTC)."""
    return (now_us // _DAY_US + 1) * _DAY_US


def accounts(
    budgets: Budgets, *, run: str, agent: str, tenant: str, day: str
) -> tuple[Account, ...]:
    """The accounts that a run draws on, always in the same order; none where nothing is limited.

    Named `run/<run>/usd`, `agent/<agent>/<day>/usd`, `tenant/<tenant>/<day>/tokens` and so on, with
    `/` and `%` in a part written as `%2F` and `%25`.
    """
    scopes = (
        (budgets.run, ("run", run)),
        (budgets.agent_day, ("agent", agent, day)),
        (budgets.tenant_day, ("tenant", tenant, day)),
    )
    return tuple(
        Account("/".join([*map(_escaped, parts), unit]), unit, limit)
        for limits, parts in scopes
        if limits is not None
        for unit in UNITS
        if (limit := limits.amount(unit)) is not None
    )


def account_owner(account: str) -> tuple[str, str]:
    """Whose an account is, as its name says, such as `("tenant", "acme")`."""
    kind, _, rest = account.partition("/")
    owner = rest.partition("/")[0]
    return kind, owner.replace("%2F", "/").replace("%25", "%")


def _escaped(part: str) -> str:
    return part.replace("%", "%25").replace("/", "%2F")


@dataclass(frozen=True, kw_only=True)
class _Taken:
    """Amounts in all units, each 0 or more, in their smallest parts."""

    micro_usd: int = 0
    tokens: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    milliseconds: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value: int = getattr(self, field.name)
            if not 0 <= value <= LARGEST:
                raise InvalidInputError(
                    f"{field.name} of a call must be 0 or more, not {value!r}.", field=field.name
                )

    def amount(self, unit: Unit | None) -> int:
        """What it takes of one unit; 0 of one that is not ours."""
        match unit:
            case "usd":
                return self.micro_usd
            case "seconds":
                return self.milliseconds
            case None:
                return 0
            case _:
                return getattr(self, unit)


@dataclass(frozen=True, kw_only=True)
class WorstCase(_Taken):
    """The most that one call can take."""


@dataclass(frozen=True, kw_only=True)
class Spent(_Taken):
    """What one call took. It may be more than its worst case: the truth is counted."""


class Hold(NamedTuple):
    """A reservation of `amount` on an account for one attempt of the operation `key`."""

    id: str
    account: str
    amount: int
    key: str = ""


class Reservation(NamedTuple):
    """What a commit needs to hold a call's worst case: its guards, its events, and the holds."""

    guards: tuple[HoldsBudget, ...]
    drafts: tuple[Draft, ...]
    holds: tuple[Hold, ...]


def reserve(
    drawn_on: Iterable[Account],
    worst: WorstCase,
    *,
    run: str,
    generation: int,
    key: str,
    attempt: int,
) -> Reservation:
    """Hold the worst case of one attempt of an operation on every account that it draws on.

    The parts belong into one commit with whatever records that the call is about to be made. The
    commit is refused as `budget_absent` (then write `opening`, and try again) or `budget_exhausted`
    (its subject is the account, and nothing is held anywhere). The holds' ids are derived from run,
    generation, key, attempt and account: an attempt that was refused may reserve again, one whose
    holds are written needs the next number. An account of which the call takes nothing is left out.
    """
    holds = tuple(
        Hold(
            derived_id("hold", run, generation, key, attempt, account.name),
            account.name,
            amount,
            key,
        )
        for account in drawn_on
        if (amount := worst.amount(account.unit)) > 0
    )
    return Reservation(
        guards=tuple(HoldsBudget(hold.account, hold.amount) for hold in holds),
        drafts=tuple(_reserved(hold) for hold in holds),
        holds=holds,
    )


def _reserved(hold: Hold) -> Draft:
    header = {"account": hold.account, "hold": hold.id, "amount": hold.amount}
    return Draft("budget_reserved", hold.key, header)


def hold_of(key: str, header: Header) -> Hold:
    """The hold that a `budget_reserved` event wrote, from its key and header."""
    return Hold(header["hold"], header["account"], header["amount"], key)


def settle(holds: Iterable[Hold], spent: Spent) -> tuple[Draft, ...]:
    """The call is over and what it took is known. Settling a hold again changes nothing."""
    return tuple(_settled(hold, spent.amount(unit_of(hold.account))) for hold in holds)


def settle_worst_case(holds: Iterable[Hold]) -> tuple[Draft, ...]:
    """The call may have left, and nobody knows what it took: all that was held counts as spent."""
    return tuple(_settled(hold, hold.amount) for hold in holds)


def release(holds: Iterable[Hold]) -> tuple[Draft, ...]:
    """The call was certainly never sent: all that was held returns."""
    return tuple(_settled(hold, 0) for hold in holds)


def _settled(hold: Hold, amount: int) -> Draft:
    header = {"account": hold.account, "hold": hold.id, "amount": amount}
    return Draft("budget_settled", hold.key, header)


def budget_stream(account: str) -> str:
    """The stream of an account's own events: what was set and raised, by whom."""
    return f"budget/{account}"


def opening(drawn_on: Sequence[Account]) -> tuple[Commit, ...]:
    """One commit per account that sets its limit, for a caller who was refused as `budget_absent`.

    An account that exists already is refused as `key_taken` and keeps its limit, so a raise is
    never undone; that refusal is as good as success. Safe to repeat, and from several processes.
    """
    return tuple(_opening(account) for account in drawn_on)


def _opening(account: Account) -> Commit:
    claim = UniqueKey(_OPENINGS, account.name)
    header = {"account": account.name, "limit": account.limit, "unique": [list(claim)]}
    append = Append(budget_stream(account.name), (Draft("budget_set", header=header),))
    return Commit((append,), (claim,))


def raising(account: str, amount: int, *, message_id: str, by: str = "") -> Commit:
    """Raise an account's limit by `amount` parts (1 or more), once for each message id.

    Raises of several people add up. A repeat with the same id is refused as `key_taken`. On an
    account that was never set it changes nothing: look before.
    """
    claim = UniqueKey(f"{_RAISES}/{account}", message_id)
    header = {"account": account, "amount": amount, "by": by, "unique": [list(claim)]}
    append = Append(budget_stream(account), (Draft("budget_raised", message_id, header),))
    return Commit((append,), (claim,))
