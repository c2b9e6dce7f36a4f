"""`Run`: what an agent's function is given, and all that it may do durably.

Every operation is recorded once. After a crash, a restart or a long wait the function is executed
again from its first line and each operation answers what it answered before, so the function goes
on where it stopped. Between two operations the code must only compute.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from interlock.base.codec import Codec, canonical, codec_for
from interlock.base.identifier import derived_id
from interlock.errors import InvalidInputError, StepFailedError
from interlock.orchestrator.agent import same_input
from interlock.orchestrator.calling import call_tool
from interlock.orchestrator.ending import RunContinuation
from interlock.orchestrator.note import NoteOperation
from interlock.orchestrator.operation import Operation
from interlock.orchestrator.plan import PlanHost, Planning, by_name, carry_out, make_plan
from interlock.orchestrator.retry import NO_RETRY, Retry
from interlock.orchestrator.run_operations import RunOperations
from interlock.orchestrator.session import Session
from interlock.orchestrator.start import (
    LAST_MOMENT_US,
    ClosePolicy,
    StartOptions,
    queued_draft,
)
from interlock.orchestrator.steps import StepOperation, StepPlan, bound, callee
from interlock.orchestrator.waits import (
    ChildOperation,
    Decision,
    SignalOperation,
    StartOperation,
    TaskOperation,
    TimerOperation,
)
from interlock.tools.plan import Plan
from interlock.tools.tool import Tool

if TYPE_CHECKING:
    from pydantic_ai import Agent as PydanticAgent

__all__ = ["Child", "Escalation", "Run", "Value", "agent_body"]

T = TypeVar("T")
_NOTHING: Any = object()


@dataclass(frozen=True)
class Value(Generic[T]):
    """A fallback that is a value: the step's result when it fails for good."""

    value: T


@dataclass(frozen=True, kw_only=True)
class Escalation:
    """A fallback that is a person: their answer's `value` is the step's result."""

    to: str = ""
    question: str = ""
    deadline: timedelta | None = None


class Child(Generic[T]):
    """A child run that was started. Its result may be awaited more than once."""

    def __init__(self, run_id: str, agent: str, result: Callable[[], Awaitable[T]]) -> None:
        self.id = run_id
        self.agent = agent
        self._result = result

    async def result(self) -> T:
        """The child's result. Raises `ChildFailedError` when it failed or was cancelled."""
        return await self._result()


class Run:
    """One run, seen from its agent's code."""

    def __init__(self, session: Session, code_version: Callable[[str], str]) -> None:
        self._session = session
        self._code_version = code_version
        self._plan_numbers = itertools.count(1)
        model = session.agent.state
        if model is not None:
            codec = codec_for(model)
            label = f"the state of run {session.run_id}"
            carried = session.history.carried_state()
            self._state = model() if carried is None else codec.decode(carried, label)
            session.state_body = lambda: codec.encode(self._state, label)

    @property
    def id(self) -> str:
        """This run's id."""
        return self._session.run_id

    @property
    def tenant(self) -> str:
        """The tenant that this run belongs to."""
        return self._session.row.tenant

    @property
    def state(self) -> Any:
        """The agent's state object (`@app.agent(state=Model)`).

        The code changes it freely. It is stored whenever the run rests, for people to read, and on
        replay it has at each point of the code the value it had there. Raises `AttributeError` when
        the agent declares none.
        """
        return self._state

    # Work.

    @overload
    async def step(
        self,
        function: Callable[..., Awaitable[T]],
        *arguments: Any,
        name: str | None = None,
        retry: Retry = NO_RETRY,
        timeout: timedelta | None = None,  # noqa: ASYNC109 - durable, not asyncio's
        total_timeout: timedelta | None = None,
        fallback: Callable[..., Any] | Value[Any] | Escalation | None = None,
    ) -> T: ...

    @overload
    async def step(
        self,
        function: Callable[..., T],
        *arguments: Any,
        name: str | None = None,
        retry: Retry = NO_RETRY,
        timeout: timedelta | None = None,  # noqa: ASYNC109 - durable, not asyncio's
        total_timeout: timedelta | None = None,
        fallback: Callable[..., Any] | Value[Any] | Escalation | None = None,
    ) -> T: ...

    async def step(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        name: str | None = None,
        retry: Retry = NO_RETRY,
        timeout: timedelta | None = None,  # noqa: ASYNC109 - durable, not asyncio's
        total_timeout: timedelta | None = None,
        fallback: Callable[..., Any] | Value[Any] | Escalation | None = None,
    ) -> Any:
        """Run a function of the outside world and record its result once.

        An async function runs on the host's loop, any other in a thread. The result is recorded
        by its declared return type and handed over as read back. A crash during a step repeats it:
        what must not happen twice belongs into a tool (`call`).

        `timeout` bounds one attempt and `total_timeout` all of them with their pauses. `fallback`
        is what takes over when the step fails for good: a function with the same arguments, a
        `Value`, or an `Escalation`. Raises `StepFailedError` without one.
        """
        known = callee(function)
        label = name or known.name
        plan = StepPlan(
            "step",
            bound(function, arguments),
            canonical(list(arguments), f"step {label!r}"),
            known.codec,
            "",
            retry,
            timeout,
            total_timeout,
            known.is_async,
        )
        try:
            return await self._session.issue(StepOperation(self._session, label, plan))
        except StepFailedError as error:
            if fallback is None:
                raise
            return await self._fall_back(fallback, arguments, label, error)

    async def _fall_back(
        self, fallback: Any, arguments: tuple[Any, ...], label: str, error: StepFailedError
    ) -> Any:
        if isinstance(fallback, Value):
            return cast("Value[Any]", fallback).value
        if isinstance(fallback, Escalation):
            question = fallback.question or error.message
            decision = await self.escalate(question, to=fallback.to, deadline=fallback.deadline)
            if decision.expired:
                raise error
            return decision.value
        return await self.step(fallback, *arguments, name=f"{label}.fallback")

    async def call(self, tool: Tool[..., T], /, *arguments: Any, **named: Any) -> T:
        """Call a tool through the gateway.

        A tool that writes makes its effect once, or a person knows: its intent is on disk before
        the call and its outcome after it. Raises `InvalidInputError` for wrong arguments (nothing
        happened), `EffectFailedError` when the effect was certainly not made, and for a tool that
        reads `StepFailedError`.
        """
        called = await call_tool(self._session, tool, tool.bind(arguments, named))
        return cast("T", called.result)

    async def ask(
        self,
        agent: PydanticAgent[Any, Any],
        prompt: str | Sequence[Any],
        *,
        output: Any = None,
        context: Sequence[Any] = (),
        tools: Sequence[Tool[..., Any]] = (),
        deps: Any = None,
        conversation: str | None = None,
        escalate: bool = True,
        name: str | None = None,
    ) -> Any:
        """Have a Pydantic AI agent answer, and a person where it cannot.

        Each request to a model is recorded once and each call of a tool goes through the gateway,
        with an effect key of its own. `output` is the type of the answer (else the agent's own),
        `context` are passages or other texts that the answer is to rest on, `tools` declared tools
        that it may call beside the agent's functions, `deps` its dependencies, made afresh by this
        code after a restart. With `conversation` it sees what was said under that name before, in
        this run and in others of the tenant.

        When no usable answer comes (no model answers, the answer does not fit, the agent goes round
        in circles) an inbox task asks a person; with `escalate=False` raises `AskFailedError`.
        Raises `BudgetExhaustedError` when a person says to finish without what it still wanted.
        """
        from interlock.models.ask import Question

        asker = self._session.services.asker()
        question = Question(
            prompt=prompt,
            output=output,
            context=context,
            tools=tools,
            deps=deps,
            conversation=conversation,
            escalate=escalate,
            name=name or agent.name or "ask",
        )
        return (await asker.ask(RunOperations(self._session), agent, question)).output

    # Plans.

    async def plan(
        self,
        agent: PydanticAgent[Any, Any],
        goal: str,
        *,
        tools: Sequence[Tool[..., Any]],
        approve: str | None = None,
        max_steps: int = 20,
        max_replans: int = 2,
        max_proposals: int = 3,
        check: Callable[[Plan], Sequence[str]] | None = None,
    ) -> Plan:
        """Have a model make an explicit plan: calls of `tools` that reach `goal`.

        The plan is checked before anything happens, also by `check`: a pure function that says
        what is wrong with it. A wrong plan goes back to the model with the problems; after
        `max_proposals` wrong ones a person is asked. `approve` is the role that has to approve the
        plan. `max_replans` is how often `execute` may have another plan made for the rest after a
        failure; `max_steps` bounds each plan.

        Raises `PlanFailedError` when no valid plan is found or it is rejected, and
        `InvalidInputError` when two tools have the same name.
        """
        planning = Planning(
            agent=agent,
            goal=goal,
            tools=by_name(tools),
            approve=approve,
            max_steps=max_steps,
            max_replans=max_replans,
            max_proposals=max_proposals,
            check=check,
        )
        return await make_plan(self._plan_host(), planning)

    async def execute(
        self, plan: Plan, *, tools: Sequence[Tool[..., Any]] | None = None
    ) -> dict[str, Any]:
        """Carry out a plan; the results of its steps by id.

        Steps that do not depend on each other run at the same time, each through `call`. When one
        fails, what depends on it is skipped and the rest is finished; then the model makes another
        plan for what is left, at most `max_replans` times. A plan that `plan` did not make needs
        `tools`, is checked first, and is not replaced.

        Raises `PlanFailedError`, whose `results` are those of the steps that are done, and
        `InvalidInputError` for a wrong plan: then nothing happened.
        """
        return await carry_out(self._plan_host(), plan, tools)

    def _plan_host(self) -> PlanHost:
        session = self._session

        async def call(name: str, tool: Tool[..., Any], values: dict[str, Any]) -> Any:
            return (await call_tool(session, tool, values, name)).result

        async def note(name: str, kind: str, header: dict[str, Any], body: bytes) -> None:
            await self._perform(NoteOperation(session, name, kind, header, body))

        return PlanHost(
            ask=self.ask, escalate=self.escalate, call=call, note=note, numbers=self._plan_numbers
        )

    # Waiting.

    async def sleep(self, duration: timedelta) -> None:
        """Wait, durably: over restarts, at no cost while waiting."""
        await self._perform(TimerOperation(self._session, "sleep", self._after_us(duration)))

    async def wait(
        self,
        signal: str,
        *,
        type: Any = Any,  # noqa: A002 - the word users expect
        timeout: timedelta | None = None,  # noqa: ASYNC109 - durable, not asyncio's
        default: Any = _NOTHING,
    ) -> Any:
        """Wait for a signal and answer its payload, read as `type`.

        A signal that came earlier and was not yet taken answers at once; each is taken by one wait.
        After `timeout` answers `default`, or raises `TimeoutError` without one. Raises
        `InvalidInputError` when the payload does not fit.
        """
        operation = SignalOperation(self._session, signal, codec_for(type), self._due_us(timeout))
        try:
            return await self._perform(operation)
        except TimeoutError:
            if default is _NOTHING:
                raise
            return default

    async def escalate(
        self,
        question: str,
        *,
        to: str = "",
        choices: Sequence[str] = (),
        details: Any = None,
        deadline: timedelta | None = None,
        name: str = "escalate",
    ) -> Decision:
        """Ask a person: an inbox task is opened and the run waits for its decision.

        `to` is the role that decides, `choices` what may be answered (empty: free), `details` JSON
        that the person sees. After `deadline` the answer is a decision that is `expired`.
        """
        body = {"question": question, "choices": list(choices), "details": details}
        operation = TaskOperation(
            self._session,
            name,
            task_kind="escalation",
            role=to,
            question=canonical(body, f"escalation {name!r}"),
            due_us=self._due_us(deadline),
        )

        def name_task(key: str) -> None:
            session = self._session
            operation.task = derived_id("task", session.run_id, session.generation, key)

        self._issue(operation, name_task)
        return cast("Decision", await operation.future)  # type: ignore[misc]

    def timeout(self, duration: timedelta) -> AbstractAsyncContextManager[Any]:
        """`async with run.timeout(…)`: cancels its body with `TimeoutError`, durably."""
        return asyncio.timeout(duration.total_seconds())

    async def race(self, *contestants: Awaitable[Any]) -> tuple[int, Any]:
        """Wait for the first to finish; the others are cancelled.

        Answers its index and result, or raises its exception.
        """
        tasks = [asyncio.ensure_future(c) for c in contestants]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            winner = next(task for task in tasks if task in done)
            return tasks.index(winner), winner.result()
        finally:
            losers = [task for task in tasks if not task.done()]
            for task in losers:
                task.cancel()
            if losers:
                await asyncio.wait(losers)

    # Other runs.

    async def start(
        self,
        agent: str,
        input: Any = None,
        *,
        close: ClosePolicy = "cancel",
        options: StartOptions | None = None,
    ) -> Child[Any]:
        """Start a child run; `await child.result()` waits for it.

        `close` says what becomes of it when this run ends first: `cancel`, `wait` (this run ends
        after it) or `abandon`. Raises `InvalidInputError` or `NotFoundError`; then nothing started.
        """
        session = self._session
        declared = session.services.agent(agent)
        value = declared.input.validate(input, f"the input of agent {agent!r}")
        body = declared.input.encode(value, f"the input of agent {agent!r}")
        given = self._child_options(options)
        operation = StartOperation(session, agent, partial(same_input, declared))

        def name_child(key: str) -> None:
            operation.input = body
            operation.child = derived_id("run", session.run_id, session.generation, key)
            operation.queued = queued_draft(
                agent,
                body,
                given,
                session.clock,
                code_version=self._code_version(agent),
                parent=session.run_id,
                parent_key=key,
                close_policy=close,
                sensitive=declared.sensitive_in("input"),
            )
            session.children[operation.child] = agent

        self._issue(operation, name_child)
        child = cast("str", await operation.future)  # type: ignore[misc]
        return Child(child, agent, partial(self._child_result, child, agent, declared.output))

    def _child_options(self, options: StartOptions | None) -> StartOptions:
        if options is None:
            return StartOptions(tenant=self.tenant, priority=self._session.row.priority)
        if options.tenant not in (None, self.tenant):
            raise InvalidInputError(
                f"a child of a run of tenant {self.tenant!r} cannot belong to {options.tenant!r}."
            )
        if options.idempotency_key is not None:
            raise InvalidInputError(
                "a child needs no idempotency_key: its id derives from its parent and its place in "
                "the code, so it is started once."
            )
        return replace(options, tenant=self.tenant)

    async def _child_result(self, child: str, agent: str, codec: Codec[Any]) -> Any:
        known = self._session.child_results
        return await self._perform(ChildOperation(self._session, child, agent, codec, known))

    async def continue_as_new(self, input: Any = None) -> None:
        """End this history and begin the run again with another input: same id, short journal.

        Never returns. Unread signals and the state object are carried over.
        """
        self._check_caller()
        label = f"the input of agent {self._session.agent_name!r}"
        value = self._session.agent.input.validate(input, label)
        raise RunContinuation(self._session.agent.input.encode(value, label))

    # What the code may know.

    def outcome(self, outcome: str) -> None:
        """Set the business result (`resolved`, `escalated`, `refused` …) that KPIs count."""
        if not outcome or len(outcome) > 100:
            raise InvalidInputError("outcome: give 1 to 100 characters.")
        self._session.outcome = outcome

    def now(self) -> datetime:
        """The run's time (UTC): that of the last outcome the code was given. Same on replay."""
        return datetime.fromtimestamp(self._session.now_us / 1e6, UTC)

    def random(self) -> float:
        """A number in [0, 1), the same on replay. Not for secrets."""
        return int.from_bytes(self._draw("random")[:7], "big") / 2**56

    def uuid(self) -> uuid.UUID:
        """A random UUID (version 4), the same on replay. Not for secrets."""
        return uuid.UUID(bytes=self._draw("uuid")[:16], version=4)

    def _draw(self, name: str) -> bytes:
        self._check_caller()
        session = self._session
        key = f"{session.generation}:{session.next_key(name)}"
        return hmac.new(bytes.fromhex(session.seed), key.encode(), hashlib.sha256).digest()

    # The seam to the session.

    def _issue(self, operation: Operation, named: Callable[[str], None]) -> None:
        self._session.issue(operation, named)

    async def _perform(self, operation: Operation) -> Any:
        return await self._session.issue(operation)

    def _check_caller(self) -> None:
        if not self._session.in_code():
            self._session.refuse_caller()

    def _due_us(self, duration: timedelta | None) -> int | None:
        return None if duration is None else self._after_us(duration)

    def _after_us(self, duration: timedelta) -> int:
        due_us = self._session.now_us + max(0, duration // timedelta(microseconds=1))
        return min(due_us, LAST_MOMENT_US)


def agent_body(session: Session, code_version: Callable[[str], str]) -> Awaitable[Any]:
    """The coroutine of the agent's function for a session, with its recorded input."""
    run = Run(session, code_version)
    agent = session.agent
    if not agent.takes_input:
        return agent.function(run)
    label = f"the recorded input of run {session.run_id}"
    return agent.function(run, agent.input.decode(session.history.input(), label))
