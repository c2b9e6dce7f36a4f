"""What this block asks of the run that it works for, and what it is told in return.

The orchestrator implements `Operations`; nothing here knows how a run works. Everything that a
model decides passes through these few operations, each recorded once: a request to a model, a call
of a tool, other work outside, a question to a person.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, NamedTuple, Protocol

from interlock.contract import Contract
from interlock.limits.budget import Account, Hold, Spent, WorstCase
from interlock.limits.provider import ProviderGate
from interlock.tools.masking.vault import RunVault
from interlock.tools.tool import Tool

__all__ = [
    "Answer",
    "Attempt",
    "Called",
    "Conversation",
    "Held",
    "Operations",
    "Outcome",
    "PersonAnswer",
    "SendError",
    "Summary",
]


class Answer(NamedTuple):
    """A model's answer: the response as JSON, what was used (tokens) and what it cost.

    `cost_micro_usd` is None where no price is known; `measured` tells whether the provider said
    what was used.
    """

    response: bytes
    input_tokens: int
    output_tokens: int
    cost_micro_usd: int | None
    measured: bool


class SendError(Exception):
    """A request to a model that got no answer.

    `transient`: another attempt may succeed. `sent`: the request may have reached the provider.
    `free`: the provider refused it, so it cost nothing; else one that was sent may have cost all
    that it may cost. `retry_after`: how long the provider asked to wait.
    """

    def __init__(
        self,
        message: str,
        *,
        types: tuple[str, ...],
        transient: bool,
        sent: bool,
        free: bool = False,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.types = types
        self.transient = transient
        self.sent = sent
        self.free = free
        self.retry_after = retry_after


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One request to one model.

    `name` is the operation's, `model` and `provider` say who is asked, `number` which attempt of
    the same question it is. `digest` is the fingerprint of what is asked: the same on a replay, or
    the run is parked. `said` is a JSON array of the messages that are new since the request before
    and `prefix` how many were there already. `send` asks, on the host. `accounts` are the budgets
    that it draws on, `worst` what it may take of them at most, `price` what a token costs.
    """

    name: str
    model: str
    provider: str
    number: int
    digest: str
    prefix: int
    said: bytes
    send: Callable[[], Awaitable[Answer]]
    timeout: timedelta
    gate: ProviderGate
    accounts: tuple[Account, ...]
    worst: WorstCase
    price: Mapping[str, Any] | None = None


class Outcome(NamedTuple):
    """What became of an attempt.

    `answered` carries the response as JSON; `failed` says why and whether another attempt may help,
    and whether it was `interrupted` because the process ended;
    `skipped` was never sent, because the provider is failing; `exhausted` names the account that
    would not cover it, and what it would have to (`needed`).
    """

    kind: Literal["answered", "failed", "skipped", "exhausted"]
    response: bytes = b""
    reason: str = ""
    error_types: tuple[str, ...] = ()
    transient: bool = False
    interrupted: bool = False
    retry_after_us: int = 0
    account: str = ""
    detail: str = ""
    needed: int = 0


class Called(NamedTuple):
    """What a call answered; `first` is the effect whose result it is, where the same write was
    made before.
    """

    result: Any
    first: str = ""


class Held(NamedTuple):
    """What was held for a tool's call; `account` names the budget that would not cover it, and
    `needed` what it would have to.
    """

    holds: tuple[Hold, ...] = ()
    account: str = ""
    detail: str = ""
    needed: int = 0


class Summary(NamedTuple):
    """What a model has summed up: the first `covers` messages of a conversation."""

    text: str
    covers: int


class Conversation(NamedTuple):
    """What was said, as JSON arrays of messages, and the summary that covers most of it, if any."""

    said: Sequence[bytes]
    summary: Summary | None


class PersonAnswer(NamedTuple):
    """A person's answer to an inbox task."""

    choice: str
    value: Any
    note: str
    by: str
    expired: bool


class Operations(Protocol):
    """A run, as far as this block may use it. All of it is recorded and replays."""

    @property
    def run_id(self) -> str:
        """The run's id."""
        ...

    @property
    def agent(self) -> str:
        """The agent that the run executes."""
        ...

    @property
    def tenant(self) -> str:
        """The tenant that the run belongs to."""
        ...

    @property
    def contract(self) -> Contract | None:
        """The contract that the run began under."""
        ...

    def vault(self) -> RunVault | None:
        """The run's values under handles, where its contract asks for them."""
        ...

    def lineage(self) -> Sequence[tuple[str, str, Contract | None]]:
        """The runs that started this one, its parent first: id, agent and contract of each."""
        ...

    def now_us(self) -> int:
        """The run's time in microseconds since 1970."""
        ...

    def in_code(self) -> bool:
        """Whether the caller is the run's own code, and not a step or a tool."""
        ...

    def new_id(self) -> str:
        """A text that nothing else of any run is called by; the same on a replay."""
        ...

    def live(self) -> bool:
        """Whether what happens now happens for the first time."""
        ...

    async def request(self, attempt: Attempt) -> Outcome:
        """Ask a model once."""
        ...

    async def call(self, tool: Tool[..., Any], values: dict[str, Any], ask: str) -> Called:
        """Call a tool with bound values, through the gateway.

        `ask` names the ask of which it is part: in it, an identical write is not made again.
        """
        ...

    async def work(self, name: str, arguments: Any, function: Callable[[], Awaitable[Any]]) -> Any:
        """Do something outside and record its JSON result once."""
        ...

    async def hold(self, accounts: tuple[Account, ...], worst: WorstCase) -> Held:
        """Keep the worst case of a tool's call back from the budgets."""
        ...

    async def settle(self, held: Held, spent: Spent) -> None:
        """Take what the call used, and return the rest."""
        ...

    async def raise_budget(self, account: str, amount: int, by: str) -> None:
        """Raise a budget's limit by a person's word."""
        ...

    async def ask_person(
        self,
        kind: str,
        question: dict[str, Any],
        *,
        to: str,
        choices: Sequence[str],
        due_us: int | None,
    ) -> PersonAnswer:
        """Open an inbox task and wait for its decision."""
        ...

    async def ask_for_budget(
        self,
        account: str,
        needed: int,
        question: dict[str, Any],
        *,
        to: str,
        choices: Sequence[str],
        due_us: int | None,
    ) -> PersonAnswer:
        """Open an inbox task and wait for its decision, or until the account covers `needed`.

        When the account was raised elsewhere, the answer is `top_up` without a value.
        """
        ...

    async def read_conversation(self, name: str) -> Conversation:
        """What was said in a conversation of the tenant before."""
        ...

    async def extend_conversation(
        self, name: str, said: Sequence[bytes], summary: Summary | None
    ) -> None:
        """Add JSON arrays of messages, and a summary of what came before, all at once."""
        ...

    async def sleep(self, duration: timedelta) -> None:
        """Wait, durably."""
        ...

    def stop(self, reason: str) -> None:
        """Cancel the run from inside."""
        ...

    def publish(self, fragment: dict[str, Any]) -> None:
        """Show something to whoever follows the run live; nothing is recorded."""
        ...

    def new_stream(self) -> int:
        """A number for one answer that is shown while it comes in, new in this process."""
        ...

    def followed(self) -> bool:
        """Whether anybody follows the run live."""
        ...
