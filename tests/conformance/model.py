"""What a journal means, written a second time and as plainly as possible.

The model knows the guards and the projections from their descriptions, holds everything in
dictionaries and judges one commit at a time. A store must agree with it on every history.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from interlock.journal.event import Draft
from interlock.journal.guard import (
    Append,
    Commit,
    Committed,
    Guard,
    HoldsBudget,
    NewMessage,
    NoMailSince,
    Refused,
    Result,
    RunIn,
    StreamAbsent,
    TakesMail,
    TaskOpen,
    UniqueKey,
    UsesApproval,
)

Row = dict[str, Any]
FINISHED = ("completed", "failed", "cancelled")


@dataclass
class Model:
    """A journal in dictionaries."""

    at_us: int = 0
    position: int = 0
    streams: dict[str, list[int]] = field(default_factory=dict)  # seq, epoch
    runs: dict[str, Row] = field(default_factory=dict)
    effects: dict[str, Row] = field(default_factory=dict)
    tasks: dict[str, Row] = field(default_factory=dict)
    mail: dict[str, Row] = field(default_factory=dict)
    keys: dict[tuple[str, str], str] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    holds: dict[str, Row] = field(default_factory=dict)
    approvals: dict[str, Row] = field(default_factory=dict)

    def commit(self, item: Commit, now_us: int) -> Result:
        """The answer to one commit."""
        self_at = max(now_us, self.at_us)
        refused = self._place(item.appends) or self._guards(item.guards, self_at)
        if refused is not None:
            return refused
        if item.appends:
            self.at_us = self_at
        return Committed([self._append(append) for append in item.appends], self_at)

    def _place(self, appends: Any) -> Refused | None:
        ends = {stream: list(end) for stream, end in self.streams.items()}
        for append in appends:
            end = ends.setdefault(append.stream, [0, 0])
            if (append.epoch or 0) != end[1]:
                return Refused("stale_epoch", append.stream)
            if append.after_seq is not None and append.after_seq != end[0]:
                return Refused("wrong_seq", append.stream)
            if append.drafts[0].kind == "run_queued" and end[0] > 0:
                return Refused("stream_exists", append.stream)
            end[0] += len(append.drafts)
            end[1] += append.raise_epoch
        return None

    def _guards(self, guards: Any, at_us: int) -> Refused | None:
        asked: dict[str, int] = {}
        for guard in guards:
            refused = self._guard(guard, at_us, asked)
            if refused is not None:
                return refused
        return None

    def _guard(self, guard: Guard, at_us: int, asked: dict[str, int]) -> Refused | None:  # noqa: C901, PLR0911, PLR0912 - one line a guard
        match guard:
            case StreamAbsent(stream):
                if stream in self.streams:
                    return Refused("stream_exists", stream)
            case UniqueKey(scope, key):
                if (scope, key) in self.keys:
                    return Refused("key_taken", key, holder=self.keys[scope, key])
            case RunIn(run, states):
                state = self.runs[run]["state"] if run in self.runs else "absent"
                if state not in states:
                    return Refused("run_state", run, detail=state)
            case TakesMail(message):
                if message not in self.mail:
                    return Refused("mail_absent", message)
                if self.mail[message]["taken"]:
                    return Refused("mail_taken", message)
            case NewMessage(message):
                if message in self.mail:
                    return Refused("message_exists", message)
            case NoMailSince(run, position):
                if any(m["position"] > position for m in self.untaken(run)):
                    return Refused("mail_waiting", run)
            case TaskOpen(task):
                if task not in self.tasks:
                    return Refused("task_absent", task)
                if self.tasks[task]["state"] != "open":
                    return Refused("task_closed", task)
            case HoldsBudget(account, amount):
                if account not in self.limits:
                    return Refused("budget_absent", account)
                asked[account] = asked.get(account, 0) + amount
                if self.used(account) + asked[account] > self.limits[account]:
                    return Refused("budget_exhausted", account)
            case UsesApproval(approval, call_hash):
                return self._approval(approval, call_hash, at_us)
        return None

    def _approval(self, approval: str, call_hash: str, at_us: int) -> Refused | None:
        row = self.approvals.get(approval)
        if row is None:
            return Refused("approval_absent", approval)
        if row["consumed"]:
            return Refused("approval_consumed", approval)
        if row["call_hash"] != call_hash:
            return Refused("approval_mismatch", approval)
        if row["expires_at_us"] is not None and row["expires_at_us"] <= at_us:
            return Refused("approval_expired", approval)
        return None

    def used(self, account: str) -> int:
        """What is held and spent of an account."""
        return self.held(account) + self.spent(account)

    def held(self, account: str) -> int:
        """What is reserved on an account and not settled."""
        mine = [hold for hold in self.holds.values() if hold["account"] == account]
        return sum(hold["amount"] for hold in mine if hold["settled"] is None)

    def spent(self, account: str) -> int:
        """What was spent of an account."""
        mine = [hold for hold in self.holds.values() if hold["account"] == account]
        return sum(hold["settled"] or 0 for hold in mine)

    def untaken(self, run: str) -> list[Row]:
        """A run's mail that nobody took."""
        return [m for m in self.mail.values() if m["run"] == run and not m["taken"]]

    def _append(self, append: Append) -> tuple[int, int]:
        end = self.streams.setdefault(append.stream, [0, 0])
        end[1] += append.raise_epoch
        first = (self.position + 1, end[0] + 1)
        for draft in append.drafts:
            self.position += 1
            end[0] += 1
            self._fold(append.stream, end[0], draft)
        return first

    def _fold(self, stream: str, seq: int, draft: Draft) -> None:
        header = json.loads(json.dumps(draft.header))
        fold = getattr(self, f"_{draft.kind}", None)
        if fold is not None:
            fold(stream, seq, draft.key, header)
        for scope, key in header.get("unique", ()):
            self.keys[scope, key] = stream
        if header.get("takes") in self.mail:
            self.mail[header["takes"]]["taken"] = True
        if header.get("consumes") in self.approvals:
            self.approvals[header["consumes"]]["consumed"] = True

    def _set(self, run: str, **fields: Any) -> None:
        if run in self.runs:
            self.runs[run].update(fields, updated_at_us=self.at_us)

    def _run_queued(self, stream: str, seq: int, key: str, header: Row) -> None:
        deadline = header.get("deadline_at_us")
        self.runs[stream] = {
            "id": stream,
            "agent": header["agent"],
            "tenant": header.get("tenant", "default"),
            "state": "queued",
            "outcome": "",
            "priority": header.get("priority", 0),
            "created_at_us": self.at_us,
            "updated_at_us": self.at_us,
            "start_after_us": header.get("start_after_us", 0),
            "deadline_at_us": deadline,
            "wake_at_us": deadline,
            "parent": header.get("parent", ""),
            "parent_key": header.get("parent_key", ""),
            "close_policy": header.get("close_policy", ""),
            "generation": 1,
            "generation_seq": seq,
            "claims": 0,
            "claim_seq": 0,
            "worker": "",
            "code_version": header.get("code_version", ""),
            "reason": "",
            "waits": [],
            "input_position": self.position,
            "result_position": None,
        }

    def _run_claimed(self, stream: str, seq: int, key: str, header: Row) -> None:
        worker, claim = header["worker"], header["claim"]
        self._set(
            stream, state="running", worker=worker, claims=claim, claim_seq=seq, wake_at_us=None,
            waits=[],
        )  # fmt: skip

    def _run_suspended(self, stream: str, seq: int, key: str, header: Row) -> None:
        wake, waits = header.get("wake_at_us"), header.get("waits", [])
        self._set(stream, state="waiting", wake_at_us=wake, waits=waits, worker="")

    def _end(self, stream: str, state: str, header: Row) -> None:
        outcome = header.get("outcome") or self.runs.get(stream, {}).get("outcome", "")
        self._set(
            stream, state=state, outcome=outcome, reason=header.get("reason", ""),
            result_position=self.position, wake_at_us=None, waits=[], worker="",
        )  # fmt: skip
        self._withdraw_all(stream)

    def _withdraw_all(self, run: str) -> None:
        for task in self.tasks.values():
            if task["run"] == run and task["state"] == "open":
                task["state"] = "withdrawn"

    def _run_completed(self, stream: str, seq: int, key: str, header: Row) -> None:
        self._end(stream, "completed", header)

    def _run_failed(self, stream: str, seq: int, key: str, header: Row) -> None:
        self._end(stream, "failed", header)

    def _run_cancelled(self, stream: str, seq: int, key: str, header: Row) -> None:
        self._end(stream, "cancelled", header)

    def _run_parked(self, stream: str, seq: int, key: str, header: Row) -> None:
        asked = any(message["kind"] == "cancel" for message in self.untaken(stream))
        deadline = self.runs.get(stream, {}).get("deadline_at_us")
        self._set(
            stream, state="parked", reason=header.get("reason", ""), worker="",
            wake_at_us=0 if asked else deadline, result_position=self.position,
        )  # fmt: skip

    def _run_retried(self, stream: str, seq: int, key: str, header: Row) -> None:
        deadline = self.runs.get(stream, {}).get("deadline_at_us")
        self._set(
            stream, state="queued", start_after_us=self.at_us, claims=0, reason="",
            wake_at_us=deadline, worker="", waits=[],
        )  # fmt: skip

    _run_released = _run_retried

    def _run_continued(self, stream: str, seq: int, key: str, header: Row) -> None:
        deadline = self.runs.get(stream, {}).get("deadline_at_us")
        self._set(
            stream, state="queued", generation=header["generation"], generation_seq=seq,
            input_position=self.position, claims=0, start_after_us=self.at_us, worker="", waits=[],
            wake_at_us=deadline,
        )  # fmt: skip
        self._withdraw_all(stream)

    def _outcome_set(self, stream: str, seq: int, key: str, header: Row) -> None:
        self._set(stream, outcome=header["outcome"])

    def _effect_intended(self, stream: str, seq: int, key: str, header: Row) -> None:
        again = self.effects.get(header["effect_key"])
        if again is not None:
            again.update(
                state="intended", attempts=again["attempts"] + 1, reason="", settled_at_us=None,
                result_position=None,
            )  # fmt: skip
            return
        self.effects[header["effect_key"]] = {
            "effect_key": header["effect_key"],
            "run": stream,
            "key": key,
            "tool": header["tool"],
            "tool_version": header.get("tool_version", ""),
            "recovery": header["recovery"],
            "state": "intended",
            "attempts": 1,
            "reason": "",
            "intended_at_us": self.at_us,
            "settled_at_us": None,
            "position": self.position,
            "result_position": None,
        }

    def _effect(self, header: Row, **fields: Any) -> None:
        if header["effect_key"] in self.effects:
            self.effects[header["effect_key"]].update(fields)

    def _effect_completed(self, stream: str, seq: int, key: str, header: Row) -> None:
        self._effect(
            header, state="completed", reason="", settled_at_us=self.at_us,
            result_position=self.position,
        )  # fmt: skip

    def _effect_failed(self, stream: str, seq: int, key: str, header: Row) -> None:
        reason = header.get("reason", "")
        self._effect(header, state="failed", reason=reason, settled_at_us=self.at_us)

    def _effect_attempt_failed(self, stream: str, seq: int, key: str, header: Row) -> None:
        state = "unknown" if header.get("maybe_made", 0) else "failed"
        self._effect(header, state=state, reason=header.get("reason", ""))

    def _effect_unknown(self, stream: str, seq: int, key: str, header: Row) -> None:
        self._effect(header, state="unknown", reason=header.get("reason", ""), settled_at_us=None)

    def _effect_resolved(self, stream: str, seq: int, key: str, header: Row) -> None:
        if header["verdict"] == "happened":
            self._effect_completed(stream, seq, key, header)
        else:
            self._effect_failed(stream, seq, key, {**header, "reason": header["verdict"]})
            self._effect(header, result_position=None)

    def _task_opened(self, stream: str, seq: int, key: str, header: Row) -> None:
        self.tasks.setdefault(
            header["task"],
            {
                "id": header["task"],
                "run": stream,
                "key": key,
                "kind": header["kind"],
                "role": header.get("role", ""),
                "state": "open",
                "opened_at_us": self.at_us,
                "due_at_us": header.get("due_at_us"),
                "decided_by": "",
                "decided_at_us": None,
                "position": self.position,
                "decision_position": None,
            },
        )

    def _close(self, task: str, **fields: Any) -> None:
        if task in self.tasks and self.tasks[task]["state"] == "open":
            self.tasks[task].update(fields)

    def _task_expired(self, stream: str, seq: int, key: str, header: Row) -> None:
        self._close(header["task"], state="expired")

    def _task_withdrawn(self, stream: str, seq: int, key: str, header: Row) -> None:
        self._close(header["task"], state="withdrawn")

    def _mail_sent(self, stream: str, seq: int, key: str, header: Row) -> None:
        run, kind = header["run"], header["kind"]
        sent = {"position": self.position, "message_id": key, "run": run, "kind": kind}
        self.mail.setdefault(key, {**sent, "name": header.get("name", ""), "taken": False})
        state = self.runs[run]["state"] if run in self.runs else ""
        waking = ("signal", "decision", "resolution", "child", "budget_raised")
        wakes = kind in waking and state == "waiting"
        orders = kind in ("cancel", "retry") and state in ("queued", "waiting", "parked")
        if wakes or orders:
            self._set(run, wake_at_us=0)
        if header.get("task"):
            by = header.get("by", "")
            self._close(
                header["task"], state="decided", decided_by=by, decided_at_us=self.at_us,
                decision_position=self.position,
            )  # fmt: skip

    def _budget_set(self, stream: str, seq: int, key: str, header: Row) -> None:
        self.limits[header["account"]] = header["limit"]

    def _budget_raised(self, stream: str, seq: int, key: str, header: Row) -> None:
        account = header["account"]
        if account in self.limits:
            self.limits[account] = min(self.limits[account] + header["amount"], 2**63 - 1)

    def _budget_reserved(self, stream: str, seq: int, key: str, header: Row) -> None:
        account, amount = header["account"], header["amount"]
        if account in self.limits:
            self.holds.setdefault(
                header["hold"], {"account": account, "amount": amount, "settled": None}
            )

    def _budget_settled(self, stream: str, seq: int, key: str, header: Row) -> None:
        hold = self.holds.get(header["hold"])
        if hold is not None and hold["settled"] is None:
            hold["settled"] = header["amount"]

    def _approval_granted(self, stream: str, seq: int, key: str, header: Row) -> None:
        self.approvals.setdefault(
            header["approval"],
            {
                "call_hash": header["call_hash"],
                "expires_at_us": header.get("expires_at_us"),
                "consumed": False,
            },
        )
