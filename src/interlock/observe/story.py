"""A run's events as sentences that a person understands without knowing the journal.

Every kind has its sentence; one that this version does not know is told by its kind and header. A
payload is shown only when asked for, cut to one line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final

from interlock.journal.event import Entry
from interlock.journal.rows import Mail
from interlock.observe.model_story import MODEL_TELLERS, tell_decided, tell_opened
from interlock.observe.moment import when
from interlock.observe.operation_key import is_pause, is_time_limit, operation_name
from interlock.observe.scene import Scene, answer_of, cut
from interlock.observe.shown import shown_body, shown_fields, shown_text
from interlock.observe.wait import wait_in_words

__all__ = ["is_told", "tell", "tell_unread"]

# Bookkeeping of a budget: the event that it was written with tells it.
_SILENT: Final = frozenset({"budget_reserved", "budget_settled"})


def is_told(kind: str) -> bool:
    """Whether events of this kind belong into a story; the others only repeat what it tells."""
    return kind not in _SILENT


def tell(entry: Entry, *, bodies: bool = False, reveal: bool = False) -> str:
    """An event as a sentence, with an excerpt of its payload when `bodies`; masked unless `reveal`.

    What goes into the sentence is masked before an excerpt is cut, which could hide what it is.
    """
    event = entry.event
    teller = _TELLERS.get(event.kind, _unknown_kind(event.kind))
    recorded = json.loads(entry.body) if entry.body is not None else None
    body = shown_body(event.header, recorded, reveal=reveal)
    header = shown_fields(event.header, reveal=reveal)
    name = shown_text(operation_name(event.key), reveal=reveal)
    return teller(Scene(header, name, event.key, body, bodies, entry.erased))


def tell_unread(mail: Mail) -> str:
    """A message that no wait of the run has taken yet."""
    by = mail.header.get("by") or "somebody"
    named = f" {mail.name!r}" if mail.name else ""
    told = f"{mail.kind}{named} from {by}, sent at {when(mail.at_us)}, is not taken yet."
    return shown_text(told)


def _unknown_kind(kind: str) -> Callable[[Scene], str]:
    def told(scene: Scene) -> str:
        facts = ", ".join(f"{name} {value!r}" for name, value in scene.header.items())
        words = kind.replace("_", " ").capitalize()
        return f"{words}{f' ({facts})' if facts else ''}."

    return told


# The run itself.


def _queued(scene: Scene) -> str:
    parts = [f"Queued for agent {scene.get('agent')!r}"]
    if scene.get("by"):
        parts.append(f"by {scene.get('by')}")
    if scene.get("tenant") not in ("", "default"):
        parts.append(f"tenant {scene.get('tenant')!r}")
    if scene.header.get("priority"):
        parts.append(f"priority {scene.get('priority')}")
    if scene.get("parent"):
        parts.append(f"as a child of run {scene.get('parent')}")
    if scene.header.get("deadline_at_us"):
        parts.append(f"to be finished by {scene.moment('deadline_at_us')}")
    return f"{', '.join(parts)}.{scene.excerpt('Input', scene.body)}"


def _claimed(scene: Scene) -> str:
    times = int(scene.header.get("claim") or 1)
    again = f" (claim {times} without getting any further)" if times > 1 else ""
    contract = str(scene.header.get("contract") or "")[:12]
    terms = f" under contract {contract}" if contract else ""
    return f"Worker {scene.get('worker')!r} took the run up{again}{terms}."


def _suspended(scene: Scene) -> str:
    waits = scene.header.get("waits") or ()
    what = ", ".join(wait_in_words(wait) for wait in waits) or "nothing by name"
    until = scene.moment("wake_at_us")
    return f"Rests, waiting for {what}{f'; wakes at {until} at the latest' if until else ''}."


def _completed(scene: Scene) -> str:
    outcome = f" with outcome {scene.get('outcome')!r}" if scene.get("outcome") else ""
    return f"Completed{outcome}.{scene.excerpt('Result', scene.body)}"


def _failed(scene: Scene) -> str:
    kept = scene.fields()
    value = scene.excerpt("The value was", kept["value"]) if "value" in kept else ""
    return f"Failed because of {scene.get('reason')!r}: {scene.failure()}.{value}"


def _cancelled(scene: Scene) -> str:
    by = f" by {scene.get('by')}" if scene.get("by") else ""
    return f"Cancelled{by}: {scene.get('reason') or 'no reason given'}."


def _parked(scene: Scene) -> str:
    return f"Parked for an operator because of {scene.get('reason')!r}: {scene.failure()}"


def _retried(scene: Scene) -> str:
    return f"{scene.by()} let the parked run go on."


def _released(_scene: Scene) -> str:
    return "The executor let go of the run because it was shutting down."


def _continued(scene: Scene) -> str:
    generation = scene.get("generation")
    return f"Continued as new, generation {generation}.{scene.excerpt('Input', scene.body)}"


def _outcome_set(scene: Scene) -> str:
    return f"Its outcome is {scene.get('outcome')!r}."


def _state_changed(scene: Scene) -> str:
    return f"Stored its state.{scene.excerpt('State', scene.body)}"


def _cancel_requested(scene: Scene) -> str:
    if scene.get("reason") == "deadline" and not scene.get("by"):
        return "Its deadline passed, so its code is being cancelled."
    return f"{scene.by()} asked to cancel it: {scene.get('reason') or 'no reason given'}."


# Steps and reads.


def _done(noun: str) -> Callable[[Scene], str]:
    def told(scene: Scene) -> str:
        recorded = scene.fields()
        given = scene.excerpt("Given", recorded.get("args")) if recorded.get("args") else ""
        answer = scene.excerpt("Answer", answer_of(recorded.get("result")))
        return f"{noun} {scene.called()} completed.{given}{answer}"

    return told


def _attempt_failed(noun: str) -> Callable[[Scene], str]:
    def told(scene: Scene) -> str:
        again = scene.moment("retry_at_us")
        return (
            f"Attempt {scene.get('attempt')} of {noun} {scene.called()} failed: {scene.failure()}"
            f"{f'; the next is at {again}' if again else ''}."
        )

    return told


def _given_up(noun: str) -> Callable[[Scene], str]:
    def told(scene: Scene) -> str:
        attempts = scene.get("attempts")
        times = "attempt" if attempts == "1" else "attempts"
        return (
            f"{noun} {scene.called()} failed for good after {attempts} {times}: {scene.failure()}."
        )

    return told


def _operation_cancelled(scene: Scene) -> str:
    return f"The code gave up waiting for {scene.called()}."


# Effects.


def _intended(scene: Scene) -> str:
    return (
        f"Wrote down that it is about to call tool {scene.get('tool')!r} (effect "
        f"{scene.get('effect_key')}, recovery {scene.get('recovery')!r})."
        f"{scene.excerpt('Arguments', scene.body)}"
    )


def _effect_completed(scene: Scene) -> str:
    how = " (found by looking it up)" if scene.header.get("found") else ""
    answer = scene.excerpt("Answer", answer_of(scene.body))
    return f"The call of tool {scene.called()} happened{how}.{answer}"


def _effect_failed(scene: Scene) -> str:
    return f"The call of tool {scene.called()} was certainly not made: {scene.failure()}."


def _effect_denied(scene: Scene) -> str:
    named = ", ".join(repr(name) for name in scene.header.get("policies") or ())
    by = f" (policies: {named})" if named else ""
    return f"The call of tool {scene.called()} was not allowed: {scene.failure()}{by}."


def _effect_deduplicated(scene: Scene) -> str:
    why = "in the same ask" if scene.get("reason") == "same_ask" else f"by run {scene.get('run')}"
    return (
        f"The call of tool {scene.called()} is the same as effect {scene.get('first')}, made {why}:"
        f" it was not made again.{scene.excerpt('Result', scene.body)}"
    )


def _approval_given(scene: Scene) -> str:
    return f"{scene.by()} approved it; another person has to approve it too."


def _approval_granted(scene: Scene) -> str:
    holder = scene.get("acts_for")
    instead = f" for {holder}" if holder else ""
    return f"{scene.by()} approved this very call{instead}."


def _call_edited(scene: Scene) -> str:
    return (
        f"{scene.by()} changed the call, which is judged anew."
        f"{scene.excerpt('Arguments', scene.body)}"
    )


def _effect_attempt_failed(scene: Scene) -> str:
    again = scene.moment("retry_at_us")
    follows = f"; the next attempt is at {again}" if again else ""
    if scene.header.get("final"):
        follows = "; another attempt would end the same, and an earlier one may have been made"
    why = scene.failure()
    return f"The call of tool {scene.called()} was not made this time: {why}{follows}."


def _effect_unknown(scene: Scene) -> str:
    return f"Whether the call of tool {scene.called()} happened is unknown: {scene.failure()}."


_LOOKED_UP: Final[Mapping[str, str]] = {
    "not_happened": "it did not happen",
    "cannot_tell": "it cannot tell",
    "happened": "it happened",
}


def _looked_up(scene: Scene) -> str:
    verdict = _LOOKED_UP.get(scene.get("verdict"), scene.get("verdict"))
    return f"Asked the system whether the call of tool {scene.called()} happened: {verdict}."


_RESOLVED: Final[Mapping[str, str]] = {
    "happened": "it happened",
    "not_happened": "it did not happen, so it is made again",
    "given_up": "give up on it",
}


def _effect_resolved(scene: Scene) -> str:
    verdict = _RESOLVED.get(scene.get("verdict"), scene.get("verdict"))
    return f"{scene.by()} decided about the call of tool {scene.called()}: {verdict}."


def _resolution_refused(scene: Scene) -> str:
    found = scene.fields()
    why = cut(str(found.get("problem", "")))
    return f"{scene.by()}'s word about tool {scene.called()} could not be used: {why}"


# People, signals, time, children.


def _task_expired(scene: Scene) -> str:
    return f"Nobody answered inbox task {scene.get('task')} in time."


def _task_withdrawn(scene: Scene) -> str:
    return f"Inbox task {scene.get('task')} needs no answer any more."


def _timer_fired(scene: Scene) -> str:
    if is_time_limit(scene.key):
        return "A time limit of its own code ended."
    if is_pause(scene.key):
        return "The pause before the next attempt to ask a model is over."
    return f"The time it waited for ({scene.name!r}) came."


def _signal_received(scene: Scene) -> str:
    return f"Took signal {scene.get('signal')!r}.{scene.excerpt('Payload', scene.body)}"


def _wait_timed_out(scene: Scene) -> str:
    return f"Signal {scene.name.removeprefix('wait:')!r} did not come in time."


def _child_started(scene: Scene) -> str:
    return f"Started child run {scene.get('child')} of agent {scene.get('agent')!r}."


def _child_completed(scene: Scene) -> str:
    told = scene.fields()
    result = scene.excerpt("Result", told["result"]) if "result" in told else ""
    return f"Its child run {scene.get('child')} is {told.get('state', 'finished')}.{result}"


# Plans.


def _plan_accepted(scene: Scene) -> str:
    ids = ", ".join(str(step["id"]) for step in scene.header.get("steps") or ())
    by = f", approved by {scene.get('approved_by')}" if scene.get("approved_by") else ""
    written = scene.excerpt("Goal", scene.fields().get("goal")) + scene.excerpt(
        "Plan", scene.fields().get("plan")
    )
    return f"Accepted plan {scene.get('plan')}: {ids}{by}.{written}"


def _plan_refused(scene: Scene) -> str:
    found = scene.fields().get("problems")
    count = scene.get("problems")
    return (
        f"Refused proposal {scene.get('attempt')} for plan {scene.get('plan')}, which has {count} "
        f"problem{'' if count == '1' else 's'}.{scene.excerpt('Problems', found)}"
    )


def _plan_step_failed(scene: Scene) -> str:
    return (
        f"Step {scene.get('step')!r} of plan {scene.get('plan')} could not be called: "
        f"{scene.failure()}."
    )


def _plan_failed(scene: Scene) -> str:
    failed = ", ".join(scene.header.get("failed") or ())
    skipped = ", ".join(scene.header.get("skipped") or ())
    after = f"; skipped: {skipped}" if skipped else ""
    again = scene.get("next") == "replan"
    then = "Another plan is made for the rest." if again else "It is given up."
    return f"Plan {scene.get('plan')} failed at {failed}{after}. {then}"


def _vault_erased(scene: Scene) -> str:
    why = f": {scene.get('reason')}" if scene.get("reason") else ""
    return f"{scene.by()} had the vault erase what it kept for person {scene.get('person')}{why}."


def _people_declared(_: Scene) -> str:
    return "The executor began with other people: who holds which role, and who acts for whom."


_TELLERS: Final[Mapping[str, Callable[[Scene], str]]] = {
    "run_queued": _queued,
    "vault_erased": _vault_erased,
    "people_declared": _people_declared,
    "run_claimed": _claimed,
    "run_suspended": _suspended,
    "run_completed": _completed,
    "run_failed": _failed,
    "run_cancelled": _cancelled,
    "run_parked": _parked,
    "run_retried": _retried,
    "run_released": _released,
    "run_continued": _continued,
    "outcome_set": _outcome_set,
    "state_changed": _state_changed,
    "cancel_requested": _cancel_requested,
    "step_completed": _done("Step"),
    "step_attempt_failed": _attempt_failed("step"),
    "step_failed": _given_up("Step"),
    "read_completed": _done("Read"),
    "read_attempt_failed": _attempt_failed("read"),
    "read_failed": _given_up("Read"),
    "operation_cancelled": _operation_cancelled,
    "effect_intended": _intended,
    "effect_completed": _effect_completed,
    "effect_failed": _effect_failed,
    "effect_attempt_failed": _effect_attempt_failed,
    "effect_denied": _effect_denied,
    "effect_deduplicated": _effect_deduplicated,
    "approval_given": _approval_given,
    "approval_granted": _approval_granted,
    "call_edited": _call_edited,
    "effect_unknown": _effect_unknown,
    "effect_looked_up": _looked_up,
    "effect_resolved": _effect_resolved,
    "resolution_refused": _resolution_refused,
    "task_opened": tell_opened,
    "task_decided": tell_decided,
    "task_expired": _task_expired,
    "task_withdrawn": _task_withdrawn,
    "timer_fired": _timer_fired,
    "signal_received": _signal_received,
    "wait_timed_out": _wait_timed_out,
    "child_started": _child_started,
    "child_completed": _child_completed,
    "plan_accepted": _plan_accepted,
    "plan_refused": _plan_refused,
    "plan_step_failed": _plan_step_failed,
    "plan_failed": _plan_failed,
    **MODEL_TELLERS,
}
