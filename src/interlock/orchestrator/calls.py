"""Calls of tools that write: the effect protocol as a durable operation.

Intent on disk, then the call, then the outcome on disk. What is next is decided by
`tools.effects.next_action` from the journal alone. An effect that was intended is followed to its
end even when the code no longer waits for it: the run does not finish before it is known.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, cast

from interlock.base.codec import canonical
from interlock.base.failure import Failure, failure_of, read_failure
from interlock.base.identifier import derived_id
from interlock.errors import (
    EffectFailedError,
    InterlockError,
    InvalidInputError,
    NotAllowedError,
    ReplayMismatchError,
)
from interlock.journal.event import Draft, Header
from interlock.journal.guard import Guard, Refused, TakesMail
from interlock.journal.rows import Mail
from interlock.orchestrator.gateway import Gateway
from interlock.orchestrator.operation import UNSET, Operation, OperationHost, read_object
from interlock.orchestrator.permitting import Permitting
from interlock.orchestrator.repeated import (
    AskedWrites,
    Claim,
    Write,
    deduplicated,
    result_of,
)
from interlock.orchestrator.retry import Retry
from interlock.orchestrator.steps import is_async
from interlock.tools.effects import (
    CannotTell,
    EffectKey,
    EffectLog,
    Happened,
    NotHappened,
    next_action,
)
from interlock.tools.provenance import Sources
from interlock.tools.tool import Tool, key_parameter_of

__all__ = ["EffectOperation"]

Work = Callable[[], Awaitable[tuple[Draft | None, Any]]]
_US = timedelta(microseconds=1)
_LOOKUP_PAUSE_US = 1_000_000


class EffectOperation(Operation):
    """One effect, from its intent to its known outcome."""

    kinds: ClassVar[frozenset[str]] = frozenset(
        {
            "effect_intended",
            "effect_completed",
            "effect_failed",
            "effect_attempt_failed",
            "effect_unknown",
            "effect_looked_up",
            "effect_resolved",
            "resolution_refused",
            "task_opened",
            "task_expired",
            "approval_given",
            "approval_granted",
            "call_edited",
            "effect_deduplicated",
            "effect_denied",
            "effect_scheduled",
        }
    )
    ends = frozenset({"effect_completed", "effect_deduplicated", "effect_denied", "effect_failed"})
    wait_kind = "effect"
    __slots__ = (
        "arguments",
        "asked_writes",
        "began",
        "claim",
        "deduplicated",
        "effect_key",
        "followers",
        "fresh",
        "late",
        "log",
        "look_at_us",
        "looking_up",
        "made",
        "permit",
        "permitting",
        "recording",
        "stopped",
        "task",
        "thread",
        "tool",
    )

    def __init__(
        self,
        session: OperationHost,
        tool: Tool[Any, Any],
        arguments: dict[str, Any],
        name: str = "",
    ) -> None:
        super().__init__(session, name or tool.name)
        self.tool = tool
        self.arguments = arguments
        self.log = EffectLog()
        self.effect_key = EffectKey("")
        # None where nothing has to be judged: no policies, and nothing in the declaration.
        self.permitting: Permitting | None = None
        self.permit: Callable[[], Permitting] | None = None
        # Where a model asked: what else it asked for, for it may ask for the same again.
        self.asked_writes: AskedWrites | None = None
        # Where the tool says what its call names in the business.
        self.claim: Claim | None = None
        self.followers: list[Write] = []
        self.made: bytes | None = None
        # When the effect that holds the claim is looked at again.
        self.look_at_us: int | None = None
        # The effect that this call was the same as.
        self.deduplicated = ""
        # True only between the acknowledged intent and the call, in the process that wrote it.
        self.fresh = False
        # One thing at a time: what is next is decided when the last record is folded.
        self.recording = False
        self.late: asyncio.Future[Any] | None = None
        self.stopped = False
        self.looking_up = False
        self.began = False
        self.task: asyncio.Task[None] | None = None
        self.thread: asyncio.Future[Any] | None = None

    def needs_the_end(self) -> bool:
        """Whether an intent is on disk, or may be on its way there, whose outcome is not."""
        return self.open and (self.log.state != "new" or self.recording or not self.session.live)

    def ended_by(self, draft: Draft) -> bool:
        """Known outcomes, and a person's word unless it has the effect made again."""
        resolved = draft.kind == "effect_resolved" and draft.header["verdict"] != "not_happened"
        return resolved or draft.kind in self.ends

    def judged_by(self, gateway: Gateway, sources: Callable[[], Sources], tenant: str) -> None:
        """Have the call judged before anything of it begins, where there is anything to judge."""
        self.permit = functools.partial(
            Permitting,
            self,
            gateway,
            sources,
            tenant=tenant,
            ready=self._record_intent,
            preview=self._begin_preview,
        )
        if gateway.concerns(self.tool):
            self.permitting = self.permit()

    def _begin_preview(self) -> None:
        self._spawn(self._preview)

    def with_cancellation(self) -> tuple[Draft, ...]:
        """Nobody needs to approve any more."""
        if self.permitting is None or not self.permitting.asked:
            return ()
        return (Draft("task_withdrawn", self.key, {"task": self.permitting.log.task}),)

    def left_over(self) -> tuple[Draft, ...]:
        """The same, where the run's code ends without the result."""
        return self.with_cancellation()

    def go_live(self) -> None:
        """Follow what was intended; begin what was not, unless the code has turned away."""
        if self.log.state == "new" and (self.cancel_asked or self.future is None):
            self.sealed = True
            if self.future is not None and not self.future.done():
                self._record_cancellation()
            else:
                self.close()
            return
        super().go_live()

    def abandon(self) -> None:
        """The effect is followed to its end all the same."""

    def record(
        self,
        draft: Draft,
        *,
        value: Any = UNSET,
        guards: tuple[Guard, ...] = (),
        also: tuple[Draft, ...] = (),
    ) -> None:
        """Commit an event of the effect; what is next waits until it is folded."""
        self.recording = True
        self.session.record(self, draft, value=value, guards=guards, also=also)

    # The fold.

    def apply(self, kind: str, header: Header, body: bytes | None, value: Any) -> None:
        """Fold one event, deliver a known outcome, and go on."""
        self.recording = False
        if kind == "effect_intended":
            self._check_intent(header, body)
        if kind == "effect_deduplicated":
            self._is_deduplicated(header, body)
            return
        if self.log.state == "new" and kind != "effect_intended":
            self._apply_permission(kind, header, body)
            return
        self.log.apply(kind, header, self.session.now_us)
        match kind:
            case "effect_completed":
                self.made = body or b"null"
                self.resolve(self._decode(body) if value is UNSET else value)
            case "effect_failed":
                self.reject(self._failed_error(read_failure(body)))
            case "effect_resolved" if self.log.state == "settled":
                self._resolved(read_object(body))
            case _:
                self.fresh = kind == "effect_intended" and self.session.live
                if self.session.live:
                    self.start()
        self._tell_followers()

    def _is_deduplicated(self, header: Header, body: bytes | None) -> None:
        self.log.state = "settled"
        self.made = body or b"null"
        self.deduplicated = str(header["first"])
        self.resolve(self._decode(body))
        self._tell_followers()

    def _tell_followers(self) -> None:
        """Those that are the same go on once it is known what became of this one."""
        if self.log.state == "settled" and self.session.live:
            followers, self.followers = self.followers, []
            for follower in followers:
                follower.start()

    def _apply_permission(self, kind: str, header: Header, body: bytes | None) -> None:
        if self.permitting is None and self.permit is not None:
            # A person was asked: they are heard, whatever there is to judge by today.
            self.permitting = self.permit()
        if self.permitting is not None:
            self.permitting.apply(kind, header)
        match kind:
            case "effect_denied":
                self.log.state = "settled"
                self.reject(self._denied_error(header, read_failure(body)))
                self._tell_followers()
                return
            case "call_edited":
                self.arguments = self.tool.bind((), read_object(body))
            case _:
                pass
        if self.session.live:
            self.start()

    def _resolved(self, data: dict[str, Any]) -> None:
        if self.log.verdict == "happened":
            self.made = json.dumps(data.get("result")).encode()
            self.resolve(self._decode(self.made))
            return
        failure = Failure((), "a person gave up on it; its outcome stays unknown")
        self.reject(self._failed_error(failure))

    def _check_intent(self, header: Header, body: bytes | None) -> None:
        now = canonical(self.arguments, self._label())
        if header["tool"] != self.tool.name or header["tool_version"] != self.tool.version:
            was = f"{header['tool']} version {header['tool_version']}"
            raise self._mismatch(was, f"{self.tool.name} version {self.tool.version}")
        if header["effect_key"] != self.effect_key:
            raise self._mismatch(f"effect key {header['effect_key']}", self.effect_key)
        if body != now:
            raise self._mismatch(_shown(body or b""), _shown(now))

    # What is next, live.

    def start(self) -> None:
        """Do what the journal says is next."""
        self.disarm()
        if not self.open or self.recording or self.task is not None:
            return
        # A process that is about to stop still sends what it has said it will, and nothing else.
        if self.session.draining and not self.fresh:
            return
        mail = self.session.mailbox.take(self.wants)
        if mail is not None:
            self.take(mail)
        elif self.late is None or not self._record_late():
            self._do_next()

    def _do_next(self) -> None:
        if self.thread is not None:
            return
        now_us = self.session.clock.now_us()
        match next_action(self.log, self.tool.recovery or "never", self._settle_us(), now_us):
            case "intend":
                self._intend()
            case "send":
                self._send_or_unknown()
            case "settle":
                self.arm(self.wake_at_us())
            case "lookup":
                self.looking_up = True
                self._spawn(self._look_up)
            case "ask_person":
                self._ask_person()
            case "wait_for_person" | "done":
                pass

    def due(self) -> None:
        """The pause is over, or a person's time to approve."""
        if self.permitting is not None and self.log.state == "new" and self.permitting.asked:
            if not self.recording:
                self.permitting.due()
            return
        self.start()

    def wake_at_us(self) -> int | None:
        """The end of the settling time, or of the pause before the next attempt."""
        if self.log.state == "not_made":
            return self.log.not_before_us or None
        if self.log.state == "unknown" and not self.log.asked:
            return max(self.log.unknown_since_us + self._settle_us(), self.log.not_before_us)
        if self.permitting is not None and self.permitting.asked:
            return self.permitting.due_us()
        return self.look_at_us

    def _settle_us(self) -> int:
        pause_us = 0 if self.log.cannot_tells == 0 else _LOOKUP_PAUSE_US << self.log.cannot_tells
        if self.log.unknowns > 1:
            pause_us = max(pause_us, self._backoff_us(self.log.unknowns - 1))
        return self.tool.settle // _US + pause_us

    def _backoff_us(self, attempt: int, error: Exception | None = None) -> int:
        clock = self.session.clock
        now = datetime.fromtimestamp(clock.now_us() / 1e6, UTC)
        retry = Retry(attempts=self.tool.attempts, base=self.tool.pause)
        return retry.pause(attempt, 1.0, error or Exception(), now) // _US

    def _intend(self) -> None:
        if self.cancel_asked and self.log.state != "unknown":
            # The code left before anything was sent, or after it was certainly not made. From
            # unknown it is called again all the same: only that makes the outcome known.
            self._give_up("cancelled before it was sent")
            return
        if not self.log.intents and self._is_the_same_as_before():
            return
        # What recovers an effect, or makes it after it certainly was not, needs no new permission.
        if self.permitting is None or self.log.intents:
            self._record_intent({}, ())
            return
        self.permitting.seek(self.arguments)
        self.arm(self.permitting.due_us())

    def _is_the_same_as_before(self) -> bool:
        """Whether the model asked for this very write before, in the same ask."""
        first = None if self.asked_writes is None else self.asked_writes.first(self)
        if first is None:
            return False
        if first.made is None:
            if self not in first.followers:
                first.followers.append(self)
        else:
            run = self.session.run_id
            self.record(deduplicated(self, first.effect_key, run, first.made, "same_ask"))
        return True

    def _claim_taken(self, claim: Claim, holder: str) -> None:
        """Another call names the same thing: take its result, wait for it, or take its place."""
        found = claim.look(holder)
        if found is None:
            self.start()
            return
        first, entry = found
        if entry is None:
            self.look_at_us = claim.next_look_us(self.session.clock.now_us())
            self.arm(self.look_at_us)
            return
        result = result_of(entry)
        if result is None:
            failure = Failure((), f"effect {first} is the same, and its result was erased")
            header = {"effect_key": self.effect_key, "reason": "erased", "first": first}
            self.record(Draft("effect_denied", self.key, header, failure.encode()))
            return
        self.record(deduplicated(self, first, holder, result, "unique"))

    def _record_intent(self, more: dict[str, Any], guards: tuple[Guard, ...]) -> None:
        if self.claim is not None and not self.log.intents:
            more, guards = more | self.claim.header(), (*guards, *self.claim.guards())
        header = {
            "effect_key": self.effect_key,
            "tool": self.tool.name,
            "tool_version": self.tool.version,
            "recovery": self.tool.recovery,
            **self.tool.sensitive_in("args"),
            **more,
        }
        body = canonical(self.arguments, self._label())
        self.record(Draft("effect_intended", self.key, header, body), guards=guards)

    async def _preview(self) -> tuple[Draft | None, Any]:
        """Ask the dry run what the call would do, for the person who is asked."""
        permitting, arguments = self.permitting, self.arguments
        said: Any
        try:
            dry_run = self.tool.standing.dry_run
            said = await self._call(dry_run, self.tool.timeout.total_seconds())
            shown = canonical(said, f"the dry run of {self._label()}")
        except asyncio.CancelledError:
            if self.stopped:
                raise
            shown = canonical({"failed": "the dry run was cancelled"}, "dry run")
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a person is shown what it was
            shown = canonical({"failed": failure_of(error).sentence()}, "dry run")
        if permitting is not None and arguments is self.arguments:
            permitting.dry_run = shown
        return None, UNSET

    def _give_up(self, why: str) -> None:
        if self.log.intents == 0:
            self.close()
            return
        failure = Failure((), why)
        header = {"effect_key": self.effect_key, "reason": "cancelled"}
        self.record(Draft("effect_failed", self.key, header, failure.encode()))

    def _send_or_unknown(self) -> None:
        if not self.fresh:
            self._record_unknown("interrupted", Failure((), "the process ended during the call"))
            return
        self.fresh = False
        if self.cancel_asked and not self.log.maybe_made:
            self._give_up("cancelled before it was sent")
        else:
            self._spawn(functools.partial(self._send, self.session.may_act_seconds()))

    def _spawn(self, work: Work) -> None:
        self.session.working(+1)
        self.began = False
        self.task = self.session.host.create_task(self._guarded(work), context=self.context)

    async def _guarded(self, work: Work) -> None:
        draft: Draft | None = None
        value: Any = UNSET
        self.began = True
        try:
            draft, value = await work()
        finally:
            if self.task is asyncio.current_task():
                self.task = None
            if draft is not None:
                self.record(draft, value=value)
            elif self.log.state == "new" and not self.stopped:
                self.start()
            self.session.working(-1)

    # The call.

    async def _send(self, lease_seconds: float) -> tuple[Draft | None, Any]:
        if lease_seconds <= 0:  # Not ours any more: whoever executes the run next recovers it.
            return None, UNSET
        seconds = min(self.tool.timeout.total_seconds(), lease_seconds)
        try:
            result = await self._call(self.tool.function, seconds)
            body = self.tool.result.encode(result, self._label())
            value = self.tool.result.read_back(result, body, self._label())
        except asyncio.CancelledError as error:
            if self.stopped:
                raise
            return self._outcome_of(error), UNSET
        except (Exception, SystemExit) as error:  # noqa: BLE001 - what it was decides the outcome
            return self._outcome_of(error), UNSET
        return Draft("effect_completed", self.key, self._completed_header(), body), value

    async def _call(self, function: Any, seconds: float) -> Any:
        filled = self.tool.hidden(self.effect_key) if function is self.tool.function else {}
        if function is not self.tool.function and key_parameter_of(function):
            filled = {key_parameter_of(function): self.effect_key}
        bound = functools.partial(function, **self.arguments, **filled)
        if is_async(function):
            async with asyncio.timeout(seconds):
                return await bound()
        work = self.session.acting.during(bound) if function is self.tool.function else bound
        answer = self.session.threads.run(self.session.host, work)
        done, _ = await asyncio.wait({answer}, timeout=seconds)
        if not done:
            self._watch(answer)
            raise TimeoutError(
                f"{self._label()} is still running in its thread after {seconds:g} s"
            )
        result = answer.result()
        if not inspect.isawaitable(result):
            return result
        async with asyncio.timeout(seconds):
            return await result

    def _watch(self, answer: asyncio.Future[Any]) -> None:
        """A write that is still running in its thread is not recovered before it has ended."""
        self.thread = answer
        self.session.working(+1)
        answer.add_done_callback(self._thread_ended)

    def _thread_ended(self, answer: asyncio.Future[Any]) -> None:
        self.thread = None
        self.late = None if answer.cancelled() else answer
        self.start()
        self.session.working(-1)

    def _record_late(self) -> bool:
        """Record what the thread came to after all, where that says what became of the effect."""
        answer, self.late = self.late, None
        error = None if answer is None else answer.exception()
        if answer is None or self.log.state not in ("unknown", "not_made"):
            return False
        if error is not None:
            return self._record_late_error(error)
        try:
            body = self.tool.result.encode(answer.result(), self._label())
        except InterlockError:
            # It happened, but its result cannot be kept: recovery, or a person, has to supply one.
            return False
        self.record(Draft("effect_completed", self.key, self._completed_header(), body))
        return True

    def _completed_header(self) -> dict[str, Any]:
        return {"effect_key": self.effect_key, **self.tool.sensitive_in("result")}

    def _record_late_error(self, error: BaseException) -> bool:
        certain = isinstance(error, Exception) and self.tool.says_not_made(error)
        if not certain or self.log.unknowns != 1:
            return False
        failure = failure_of(error)
        header: dict[str, Any] = {"effect_key": self.effect_key}
        if self._is_refused(error):
            header["reason"] = failure.name()
            self.record(Draft("effect_failed", self.key, header, failure.encode()))
        else:
            header["verdict"] = "not_happened"
            self.record(Draft("effect_looked_up", self.key, header, failure.encode()))
        return True

    def _is_refused(self, error: BaseException) -> bool:
        return isinstance(error, Exception) and self.tool.says_refused(error)

    def _outcome_of(self, error: BaseException) -> Draft:
        failure = failure_of(error)
        header: dict[str, Any] = {"effect_key": self.effect_key, "reason": failure.name()}
        if not (isinstance(error, Exception) and self.tool.says_not_made(error)):
            return Draft("effect_unknown", self.key, header, failure.encode())
        failures, refused = self.log.failures + 1, self._is_refused(error)
        if (refused or failures >= self.tool.attempts) and not self.log.maybe_made:
            return Draft("effect_failed", self.key, header, failure.encode())
        header["maybe_made"] = int(self.log.maybe_made)
        if refused:
            header["final"] = True
            return Draft("effect_attempt_failed", self.key, header, failure.encode())
        header["retry_at_us"] = self.session.clock.now_us() + self._backoff_us(failures, error)
        return Draft("effect_attempt_failed", self.key, header, failure.encode())

    def _record_unknown(self, reason: str, failure: Failure) -> None:
        header = {"effect_key": self.effect_key, "reason": reason}
        self.record(Draft("effect_unknown", self.key, header, failure.encode()))

    # Recovery.

    async def _look_up(self) -> tuple[Draft, Any]:
        try:
            answer = await self._call(self.tool.lookup, self.tool.timeout.total_seconds())
            if isinstance(answer, Happened):
                found = cast("Happened[Any]", answer)
                body = self.tool.result.encode(found.value, self._label())
                header = {**self._completed_header(), "found": True}
                return Draft("effect_completed", self.key, header, body), UNSET
        except asyncio.CancelledError:
            if self.stopped or not self.looking_up:
                raise
            answer = CannotTell("the lookup was cancelled")
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a failed lookup cannot tell
            answer = CannotTell(failure_of(error).sentence())
        finally:
            self.looking_up = False
        verdict = "not_happened" if isinstance(answer, NotHappened) else "cannot_tell"
        reason = answer.reason if isinstance(answer, CannotTell) else ""
        header = {"effect_key": self.effect_key, "verdict": verdict}
        body = json.dumps({"reason": reason}).encode()
        return Draft("effect_looked_up", self.key, header, body), UNSET

    def _ask_person(self) -> None:
        question = {
            "question": f"Did {self.tool.name!r} happen? Its outcome is unknown and it is not "
            "made again by itself.",
            "effect_key": self.effect_key,
            "tool": self.tool.name,
            "arguments": json.loads(canonical(self.arguments, self._label())),
        }
        header = {
            "task": derived_id("task", self.effect_key, self.log.asks),
            "kind": "effect",
            "role": "",
            "due_at_us": None,
            **self.tool.sensitive_in("args", "arguments"),
        }
        body = canonical(question, self._label())
        self.record(Draft("task_opened", self.key, header, body))

    def wants(self, mail: Mail) -> bool:
        """A person's word about this effect."""
        # A person's word goes before a lookup that is under way, but not before a call that is.
        idle = self.task is None or self.looking_up
        if self.log.state == "new" and self.permitting is not None:
            return self.open and idle and not self.recording and self.permitting.wants(mail)
        if not (self.open and idle and not self.recording and self.log.state == "unknown"):
            return False
        if mail.kind == "decision":
            return self.log.asked and mail.name == self.log.task
        return mail.kind == "resolution" and mail.name == self.effect_key

    def take(self, mail: Mail) -> None:
        """Record the person's word."""
        if self.log.state == "new" and self.permitting is not None:
            self.permitting.take(mail)
            return
        self._drop_lookup()
        verdict, problem = self._read_resolution(mail)
        by = mail.header.get("by", "")
        header = {"effect_key": self.effect_key, "takes": mail.message_id, "by": by}
        closed = mail.header.get("task", "")
        if problem and closed:
            header["task"] = closed  # It is closed at the door: another one has to be opened.
        if problem:
            body = json.dumps({"problem": problem}).encode()
            draft = Draft("resolution_refused", self.key, header, body)
        else:
            draft = Draft("effect_resolved", self.key, header | {"verdict": verdict}, mail.body)
        withdrawn: tuple[Draft, ...] = ()
        if self.log.asked and closed != self.log.task and not problem:
            withdrawn = (Draft("task_withdrawn", self.key, {"task": self.log.task}),)
        self.record(draft, guards=(TakesMail(mail.message_id),), also=withdrawn)

    def _drop_lookup(self) -> None:
        if self.task is not None:
            self.looking_up = False
            self.task.cancel()
            if not self.began:
                self.session.working(-1)
            self.task = None

    def _read_resolution(self, mail: Mail) -> tuple[str, str]:
        attempt = mail.header.get("attempt")
        if attempt is not None and attempt != self.log.intents:
            return "", f"it is about attempt {attempt}, and the last one is {self.log.intents}"
        data = read_object(mail.body)
        verdict = str(data.get("verdict") or data.get("choice", ""))
        if verdict not in ("happened", "not_happened", "given_up"):
            return "", f"{verdict!r} is none of happened, not_happened, given_up"
        if verdict == "happened":
            try:
                self._decode(json.dumps(data.get("result")).encode())
            except InvalidInputError as error:
                return "", f"{error.message} Give the result that the call would have returned."
        return verdict, ""

    def refused(self, refusal: Refused) -> None:
        """The message was taken meanwhile, or the permission does not hold."""
        self.recording = False
        if refusal.reason == "key_taken" and self.claim is not None:
            self._claim_taken(self.claim, refusal.holder)
            return
        if self.log.state == "new" and self.permitting is not None:
            self.permitting.refused(refusal.reason)
        if not self.recording:
            self.start()

    def stop(self) -> None:
        """The claim ends; the call, if one is under way, is unknown to the next one."""
        super().stop()
        self.stopped = True
        if self.task is not None:
            self.task.cancel()
            if not self.began:  # Then the call's code never runs, its `finally` included.
                self.task = None
                self.session.working(-1)

    # Words.

    def waits_for(self) -> str:
        """In words."""
        if self.log.state == "new" and self.permitting is not None and self.permitting.asked:
            return self.permitting.waits_for()
        if self.log.state == "new":
            return f"another call of tool {self.tool.name!r} that is the same"
        if self.log.asked:
            return f"a person: did effect {self.effect_key} of tool {self.tool.name!r} happen?"
        if self.log.state == "unknown":
            return f"the outcome of effect {self.effect_key} of tool {self.tool.name!r}"
        return f"the next attempt of tool {self.tool.name!r}"

    def unblocked_by(self) -> str:
        """Who can end it."""
        if self.log.state == "new" and self.permitting is not None and self.permitting.asked:
            return self.permitting.unblocked_by()
        return f"interlock effects resolve {self.effect_key}" if self.log.asked else "time"

    def _decode(self, body: bytes | None) -> Any:
        return self.tool.result.decode(body or b"null", f"the recorded result of {self._label()}")

    def _failed_error(self, failure: Failure) -> InterlockError:
        return EffectFailedError(
            f"{self._label()} was not made: {failure.sentence()}",
            error_types=failure.types,
            effect_key=self.effect_key,
            tool=self.tool.name,
        )

    def _denied_error(self, header: Header, failure: Failure) -> InterlockError:
        return NotAllowedError(
            f"{self._label()} is not allowed: {failure.sentence()}",
            error_types=failure.types,
            effect_key=self.effect_key,
            tool=self.tool.name,
            policies=list(header.get("policies", ())),
        )

    def _mismatch(self, recorded: str, now: str) -> ReplayMismatchError:
        return ReplayMismatchError(
            f"{self._label()}: the journal has it with {recorded}, and the code now has {now}.",
            key=self.key,
        )

    def _label(self) -> str:
        return f"effect {self.key!r} of tool {self.tool.name!r}"


def _shown(arguments: bytes) -> str:
    text = arguments.decode("utf-8", "replace")
    return f"arguments {text if len(text) <= 200 else text[:200] + '…'}"
