"""How a call gets its permission: judged, and where that is needed, approved by people.

Nothing of the effect itself has begun meanwhile. A person's word is about one exact call, its dry
run included: whatever differs when the call is about to be made voids it, and they are asked again.
The approval is consumed by the commit that writes the intent, where the journal judges its expiry.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, cast

from interlock.base.codec import canonical
from interlock.base.failure import Failure
from interlock.base.identifier import derived_id
from interlock.errors import UsageError
from interlock.journal.event import Draft, Header
from interlock.journal.guard import Guard, TakesMail, TaskOpen, UsesApproval
from interlock.journal.rows import Mail
from interlock.orchestrator.gateway import Call, Gateway, plain_arguments
from interlock.orchestrator.operation import OperationHost, read_object
from interlock.tools.permission import Permission
from interlock.tools.policy.decision import Ask, Decision
from interlock.tools.provenance import Sources
from interlock.tools.tool import Tool

__all__ = ["Permitting"]

_US = timedelta(microseconds=1)
_CHOICES = ("approve", "edit", "reject")
_NO_DRY_RUN = b"null"


class Recorder(Protocol):
    """The operation whose call it is."""

    key: str
    session: OperationHost
    tool: Tool[Any, Any]

    @property
    def effect_key(self) -> str:
        """The key that the called system sees."""
        ...

    def record(
        self, draft: Draft, *, guards: tuple[Guard, ...] = (), also: tuple[Draft, ...] = ()
    ) -> None:
        """Commit an event of the operation."""
        ...


class Permitting:
    """The permission of one call. `ready` is what follows once the call may be made.

    `ready` takes the header that the intent carries, and the guards that it is committed with.
    """

    def __init__(
        self,
        operation: Recorder,
        gateway: Gateway,
        sources: Callable[[], Sources],
        *,
        tenant: str,
        ready: Callable[[dict[str, Any], tuple[Guard, ...]], None],
        preview: Callable[[], None],
    ) -> None:
        self.log = Permission()
        # What the dry run said of the call as it stands; None as long as it was not asked.
        self.dry_run: bytes | None = None
        self._operation = operation
        self._gateway = gateway
        self._sources = sources
        self._tenant = tenant
        self._ready = ready
        self._preview = preview

    @property
    def asked(self) -> bool:
        """Whether a person is asked and has not answered yet."""
        return bool(self.log.task)

    def apply(self, kind: str, header: Header) -> None:
        """Fold one of the call's events in."""
        self.log.apply(kind, header)
        # A person's word, or another call: what a dry run said before then says nothing any more.
        if kind in ("approval_granted", "approval_given", "call_edited"):
            self.dry_run = None

    def seek(self, arguments: dict[str, Any]) -> None:
        """Do what is next towards the permission for a call with these arguments."""
        log, operation = self.log, self._operation
        if log.expired:
            self._deny("expired", "nobody approved it in time")
            return
        if log.task:
            return
        call = self._call(arguments)
        decision = self._gateway.judge(call, self._sources(), operation.session.clock.now_us())
        header = self._gateway.header(decision)
        if decision.verdict == "deny":
            self._deny("policy", decision.reason, header)
        elif decision.verdict == "allow":
            self._ready(header, ())
        elif self.dry_run is None and operation.tool.standing.dry_run is not None:
            self._preview()
        elif self._is_approved(call, decision.ask or Ask()):
            guard = UsesApproval(log.approval, log.call)
            self._ready(header | {"consumes": log.approval}, (guard,))
        else:
            self._ask(call, decision)

    def _call(self, arguments: dict[str, Any]) -> Call:
        operation = self._operation
        what = f"the call of tool {operation.tool.name!r}"
        return Call(
            agent=operation.session.agent_name,
            tenant=self._tenant,
            tool=operation.tool,
            arguments=plain_arguments(arguments, what),
        )

    def _is_approved(self, call: Call, ask: Ask) -> bool:
        return bool(self.log.approval) and self.log.call == self._bound(call, ask)

    def _bound(self, call: Call, ask: Ask) -> str:
        return call.hash(self.dry_run or _NO_DRY_RUN, ask)

    # Asking.

    def _ask(self, call: Call, decision: Decision) -> None:
        operation, log = self._operation, self.log
        ask = decision.ask or Ask()
        bound = self._bound(call, ask)
        # About the same call a second person is asked, or somebody after one who may not answer:
        # until the same moment, or whoever may not could keep the question open for good.
        again = bound == log.call and log.due_at_us is not None
        due_us = log.due_at_us if again else operation.session.clock.now_us() + ask.within // _US
        header = {
            "task": derived_id("approval", operation.effect_key, log.asks),
            "kind": "approval",
            "role": ask.role,
            "due_at_us": due_us,
            "call_hash": bound,
            "two_persons": int(ask.two_persons),
            "effect_key": operation.effect_key,
            **operation.tool.sensitive_in("args", "details.arguments"),
        }
        card = self._card(call, decision, ask, bound)
        body = canonical(card, f"the question about tool {operation.tool.name!r}")
        operation.record(Draft("task_opened", operation.key, header, body))

    def _card(self, call: Call, decision: Decision, ask: Ask, bound: str) -> dict[str, Any]:
        details: dict[str, Any] = {
            "tool": call.tool.name,
            "version": call.tool.version,
            "effect": call.tool.effect,
            "effect_key": self._operation.effect_key,
            "arguments": call.arguments,
            "sources": self._sources().named(call.arguments),
            "reason": decision.reason,
            "policies": list(decision.policies),
            "call_hash": bound,
        }
        if self.dry_run is not None:
            details["dry_run"] = json.loads(self.dry_run)
        if ask.two_persons:
            details["approved_by"] = list(self.log.approvers)
            details["two_persons"] = True
        return {
            "question": f"May agent {call.agent!r} call {call.tool.name!r} with these arguments?",
            "choices": list(_CHOICES),
            "details": details,
        }

    def due_us(self) -> int | None:
        """Until when a person may answer; None when nobody is asked, or an answer is coming."""
        return self.log.due_at_us if self.log.task and not self.log.decided_in_time else None

    def due(self) -> None:
        """The deadline: unless a decision was let in at the door before it."""
        header = {"task": self.log.task}
        draft = Draft("task_expired", self._operation.key, header)
        self._operation.record(draft, guards=(TaskOpen(self.log.task),))

    def refused(self, reason: str) -> None:
        """The journal refused: the deadline was too late, or the approval does not hold."""
        if reason.startswith("approval_"):
            self._deny(reason.removeprefix("approval_"), "its approval does not hold any more")
        elif reason == "task_closed":
            self.log.decided_in_time = True

    # A person's word.

    def wants(self, mail: Mail) -> bool:
        """Whether a message answers the question that is open."""
        return mail.kind == "decision" and bool(self.log.task) and mail.name == self.log.task

    def take(self, mail: Mail) -> None:
        """Record the word, or why it cannot be taken: then the question is asked again."""
        self.log.decided_in_time = False
        by = str(mail.header.get("by", ""))
        data = read_object(mail.body)
        choice = str(data.get("choice", ""))
        header: dict[str, Any] = {
            "effect_key": self._operation.effect_key,
            "takes": mail.message_id,
            "by": by,
            "task": self.log.task,
        }
        holder, problem = self._entitled(by)
        if not problem and choice not in _CHOICES:
            problem = f"{choice!r} is none of {', '.join(_CHOICES)}"
        body: bytes | None = mail.body
        if not problem and choice == "edit":
            body, problem = self._edited(data.get("value"))
        if problem:
            body = json.dumps({"problem": problem}).encode()
            draft = Draft("resolution_refused", self._operation.key, header, body)
            self._operation.record(draft, guards=(TakesMail(mail.message_id),))
            return
        if holder != by:
            header["acts_for"] = holder
        self._record(choice, header, body, mail.message_id)

    def _record(
        self, choice: str, header: dict[str, Any], body: bytes | None, message_id: str
    ) -> None:
        key, log = self._operation.key, self.log
        match choice:
            case "edit":
                hidden = self._operation.tool.sensitive_in("args")
                draft = Draft("call_edited", key, header | hidden, body)
            case "reject":
                failure = Failure((), f"{header['by'] or 'a person'} rejected it")
                rejected = header | {"reason": "rejected"}
                draft = Draft("effect_denied", key, rejected, failure.encode())
            case _ if log.completes():
                approval = derived_id("approved", self._operation.effect_key, log.asks)
                granted: dict[str, Any] = {
                    "approval": approval,
                    "call_hash": log.call,
                    "expires_at_us": log.due_at_us,
                }
                draft = Draft("approval_granted", key, header | granted, body)
            case _:
                draft = Draft("approval_given", key, header, body)
        self._operation.record(draft, guards=(TakesMail(message_id),))

    def _entitled(self, by: str) -> tuple[str | None, str]:
        """For whom they act, and why they may not."""
        session = self._operation.session
        today = datetime.fromtimestamp(session.clock.now_us() / 1e6, UTC).date()
        holder, problem = self._gateway.may_approve(by, self.log.role, today)
        if not problem and self.log.two_persons:
            if not by:
                problem = "two persons are asked: say who you are"
            elif by in self.log.approvers or holder in self.log.holders:
                first = by if by in self.log.approvers else holder
                problem = f"{first} has approved it already: another person is asked"
        return holder, problem

    def _edited(self, value: Any) -> tuple[bytes | None, str]:
        tool = self._operation.tool
        if not isinstance(value, dict):
            return None, "an edit needs the arguments as a JSON object"
        try:
            bound = tool.bind((), cast("dict[str, Any]", value))
            return canonical(bound, f"the edited arguments of tool {tool.name!r}"), ""
        except UsageError as error:  # They do not fit, are too large, or cannot be recorded.
            return None, error.message

    def _deny(self, reason: str, why: str, header: dict[str, Any] | None = None) -> None:
        failure = Failure((), why)
        told = {"effect_key": self._operation.effect_key, "reason": reason, **(header or {})}
        self._operation.record(Draft("effect_denied", self._operation.key, told, failure.encode()))

    def waits_for(self) -> str:
        """In words."""
        return f"an approval of inbox task {self.log.task}"

    def unblocked_by(self) -> str:
        """Who can give it."""
        return self.log.role or "anybody who may decide"
