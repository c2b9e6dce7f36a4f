"""One request to one model as a durable operation.

With a budget, the hold for the worst case is on disk before the request leaves, and its settlement
is one transaction with the outcome. A hold that is found without an outcome by another claim
belongs to a request that may have left: it is settled at its worst, and the code asks again with a
new one. Without a budget, only the outcome is recorded.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, ClassVar, Final

from interlock.base.codec import check_size
from interlock.base.failure import Failure, failure_of, read_failure
from interlock.errors import InterlockError, ReplayMismatchError
from interlock.journal.event import Draft, Header
from interlock.limits.budget import Hold, Spent, release, settle, settle_worst_case
from interlock.limits.provider import Ticket
from interlock.models.operations import Answer, Attempt, Outcome, SendError
from interlock.orchestrator.budgeting import Budgeted
from interlock.orchestrator.operation import UNSET, OperationHost

__all__ = ["RequestOperation"]

_US: Final = 1_000_000
_INTERRUPTED: Final = Failure((), "the process ended while the model was asked")


class RequestOperation(Budgeted):
    """One request to one model, from its hold to its outcome."""

    kinds: ClassVar[frozenset[str]] = frozenset(
        {
            "model_requested",
            "model_answered",
            "model_attempt_failed",
            "model_skipped",
            "budget_refused",
        }
    )
    ends = kinds - {"model_requested"}
    wait_kind = "model"
    __slots__ = ("attempt", "began", "fresh", "holds", "requested", "sent_at_us", "task", "ticket")

    def __init__(self, session: OperationHost, attempt: Attempt) -> None:
        super().__init__(session, attempt.name)
        self.attempt = attempt
        self.requested = False
        self.holds: tuple[Hold, ...] = ()
        # True only between the acknowledged hold and the request, in the process that wrote it.
        self.fresh = False
        self.began = False
        self.sent_at_us = 0
        self.ticket: Ticket | None = None
        self.task: asyncio.Task[None] | None = None

    # The fold.

    def apply(self, kind: str, header: Header, body: bytes | None, value: Any) -> None:
        """Fold what became of the request."""
        self._check(header)
        match kind:
            case "model_requested":
                self.requested = True
                self.holds = self.holds_of(header)
                self.fresh = self.session.live
                # A process that is about to stop still sends what it has held something for.
                if self.session.live and not self.cancel_asked:
                    self.start()
            case "model_answered":
                self._gone(value if value is not UNSET else self._answered(body))
            case "model_attempt_failed":
                self._gone(self._failed_outcome(header, body))
            case "model_skipped":
                self._gone(Outcome("skipped", reason=header["reason"]))
            case _:
                account, detail = header["account"], header["detail"]
                needed = header.get("needed", 0)
                self._gone(Outcome("exhausted", account=account, detail=detail, needed=needed))

    def _gone(self, outcome: Outcome) -> None:
        self.requested = False
        self.resolve(outcome)

    def _check(self, header: Header) -> None:
        recorded = header.get("digest", "")
        if recorded != self.attempt.digest:
            raise ReplayMismatchError(
                f"request {self.key!r} to model {self.attempt.model!r}: the journal has it with "
                f"other messages (fingerprint {recorded!r}, now {self.attempt.digest!r}). The "
                "prompt, the instructions, the tools or what they answered have changed since.",
                key=self.key,
            )

    def _answered(self, body: bytes | None) -> Outcome:
        # The response is the last member, as `_answer_body` writes it.
        recorded = json.loads(body or b"{}")
        return Outcome("answered", response=json.dumps(recorded.get("response")).encode())

    def _failed_outcome(self, header: Header, body: bytes | None) -> Outcome:
        failure = read_failure(body)
        return Outcome(
            "failed",
            reason=failure.sentence(),
            error_types=failure.types,
            transient=bool(header["transient"]),
            interrupted=bool(header.get("interrupted")),
            retry_after_us=int(header.get("retry_after_us") or 0),
        )

    # Live.

    def start(self) -> None:
        """Wait for the provider's turn, hold the worst case, then send."""
        if self.requested:
            self._send_or_give_up()
            return
        if self.ticket is None:
            ticket = self.attempt.gate.enter(self._now_seconds(), self.attempt.worst.tokens)
            if isinstance(ticket, str):
                self._record(Draft("model_skipped", self.key, self._header(reason=ticket)))
                return
            self.ticket = ticket
        wait = self.attempt.gate.wait_seconds(self.ticket, self._now_seconds())
        if wait > 0:
            self.arm(self.session.clock.now_us() + int(wait * _US) + 1)
        else:
            self._take_turn()

    def due(self) -> None:
        """The provider's turn may have come, or what others held is settled."""
        if self.waits_for_others():
            self.look_again()
        else:
            self.start()

    def _now_seconds(self) -> float:
        return self.session.clock.boot_seconds()

    def _take_turn(self) -> None:
        if self.attempt.accounts:
            accounts, worst = self.attempt.accounts, self.attempt.worst
            self.reserve("model_requested", self._header(), accounts, worst)
        else:
            self._spawn()

    def exhausted(self, account: str, detail: str, needed: int) -> None:
        """A budget would not cover the worst case: nothing was sent."""
        self._leave_gate(sent=False)
        header = self._header(account=account, detail=detail, needed=needed)
        self._record(Draft("budget_refused", self.key, header))

    def _send_or_give_up(self) -> None:
        if self.fresh:
            self.fresh = False
            self._spawn()
        else:
            self._record_failure(_INTERRUPTED, transient=True, sent=True, interrupted=True)

    def _spawn(self) -> None:
        self.session.working(+1)
        self.began = False
        self.sent_at_us = self.session.clock.now_us()
        self.task = asyncio.Task(self._attempt(), loop=self.session.host, context=self.context)

    async def _attempt(self) -> None:
        self.began = True
        try:
            self._succeeded(await self._sent())
        except asyncio.CancelledError as error:
            # Without our asking, the provider's library raised it: a failure like another.
            if not self.cancel_asked and self.session.live and self.open:
                self._record_failure(failure_of(error), transient=True, sent=True)
        except SendError as error:
            self._send_failed(error)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it was is the outcome
            self._record_failure(failure_of(error), transient=False, sent=True)
        finally:
            self.task = None
            self.session.working(-1)

    async def _sent(self) -> Answer:
        seconds = self.attempt.timeout.total_seconds()
        scope = asyncio.timeout(seconds)
        try:
            async with scope:
                return await self.attempt.send()
        except TimeoutError as error:
            if not scope.expired():
                raise
            raise SendError(
                f"model {self.attempt.model!r} did not answer within {seconds:g} s",
                types=("builtins.TimeoutError",),
                transient=True,
                sent=True,
            ) from error

    def _succeeded(self, answer: Answer) -> None:
        attempt = self.attempt
        tokens = answer.input_tokens + answer.output_tokens
        if self.ticket is not None:
            attempt.gate.succeeded(self.ticket, self._now_seconds(), tokens)
            self.ticket = None
        header = self._header(
            input_tokens=answer.input_tokens,
            output_tokens=answer.output_tokens,
            cost_micro_usd=answer.cost_micro_usd,
        )
        body = b'{"prefix":%d,"said":%s,"response":%s}' % (
            attempt.prefix,
            attempt.said,
            answer.response,
        )
        try:
            check_size(body, f"the answer of model {attempt.model!r}")
        except InterlockError as error:
            self._record_failure(failure_of(error), transient=False, sent=True)
            return
        spent = Spent(
            micro_usd=answer.cost_micro_usd or 0,
            tokens=tokens,
            model_calls=1,
            milliseconds=self._milliseconds(),
        )
        outcome = Outcome("answered", response=answer.response)
        draft = Draft("model_answered", self.key, header, body)
        settled = settle(self.holds, spent) if answer.measured else settle_worst_case(self.holds)
        self._record(draft, value=outcome, also=settled)

    def _send_failed(self, error: SendError) -> None:
        after = None if error.retry_after is None else error.retry_after.total_seconds()
        if self.ticket is not None:
            self.attempt.gate.failed(
                self.ticket,
                self._now_seconds(),
                transient=error.transient,
                retry_after_seconds=after,
            )
            self.ticket = None
        self._record_failure(
            Failure(error.types, error.message),
            transient=error.transient,
            sent=error.sent,
            free=error.free,
            retry_after_us=int((after or 0.0) * _US),
        )

    def _leave_gate(self, *, sent: bool) -> None:
        if self.ticket is not None:
            self.attempt.gate.left(self.ticket, self._now_seconds(), sent=sent)
            self.ticket = None

    def _record_failure(
        self,
        failure: Failure,
        *,
        transient: bool,
        sent: bool,
        free: bool = False,
        retry_after_us: int = 0,
        interrupted: bool = False,
    ) -> None:
        more = {"interrupted": 1} if interrupted else {}
        header = self._header(
            error=failure.name(),
            transient=int(transient),
            sent=int(sent),
            retry_after_us=retry_after_us,
            **more,
        )
        draft = Draft("model_attempt_failed", self.key, header, failure.encode())
        self._record(draft, also=self._settled(sent=sent, free=free))

    def _settled(self, *, sent: bool, free: bool) -> tuple[Draft, ...]:
        if not sent:
            return release(self.holds)
        if free:
            called = Spent(model_calls=1, milliseconds=self._milliseconds())
            return settle(self.holds, called)
        return settle_worst_case(self.holds)

    def _milliseconds(self) -> int:
        return max(0, (self.session.clock.now_us() - self.sent_at_us) // 1000)

    def _record(self, draft: Draft, *, value: Any = UNSET, also: tuple[Draft, ...] = ()) -> None:
        self.session.record(self, draft, value=value, also=also)

    def _header(self, **more: Any) -> dict[str, Any]:
        attempt = self.attempt
        header = {
            "model": attempt.model,
            "provider": attempt.provider,
            "attempt": attempt.number,
            "digest": attempt.digest,
            **more,
        }
        if attempt.price is not None:
            header["price"] = attempt.price
        return header

    # Giving up.

    def with_cancellation(self) -> tuple[Draft, ...]:
        """What is held, settled: at its worst if the request may have left."""
        if not self.requested:
            return release(self.under_way)
        return release(self.holds) if self.fresh else settle_worst_case(self.holds)

    def left_over(self) -> tuple[Draft, ...]:
        """As with a cancellation."""
        return self.with_cancellation()

    def abandon(self) -> None:
        """Stop the request; what it may have cost is settled with the cancellation."""
        self.stop()

    def stop(self) -> None:
        """Stop the request and record nothing."""
        super().stop()
        self._leave_gate(sent=self.task is not None)
        if self.task is None:
            return
        self.task.cancel()
        if not self.began:  # Then the attempt's code never runs, its `finally` included.
            self.task = None
            self.session.working(-1)

    def waits_for(self) -> str:
        """In words."""
        return f"its turn to ask model {self.attempt.model!r}"
