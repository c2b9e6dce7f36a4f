"""What a run asked models and people, and what its budgets allowed, as sentences.

What a model said is a payload: without payloads a story tells which model answered, how much it
took and what it cost.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, cast
from urllib.parse import unquote

from interlock.limits.amount import amount_text, unit_of
from interlock.observe.moment import how_long
from interlock.observe.scene import Scene, cut, fields_of

__all__ = ["MODEL_TELLERS", "loop_calls", "tell_decided", "tell_opened"]

_MOST_CALLS: Final = 12


# Models.


def _requested(scene: Scene) -> str:
    return f"Is about to ask {_model(scene)}; held for it: {_holds(scene)}."


def _answered(scene: Scene) -> str:
    tokens_in, tokens_out = scene.header.get("input_tokens"), scene.header.get("output_tokens")
    took = f"{_count(tokens_in)} tokens in, {_count(tokens_out)} out"
    return f"{_capital(_model(scene))} answered: {took}, {_cost(scene)}.{_said(scene)}"


def _attempt_failed(scene: Scene) -> str:
    attempt = scene.get("attempt") or "1"
    pause = scene.header.get("retry_after_us")
    if pause:
        follows = f"; the provider asks to be left alone for {how_long(pause)}"
    elif scene.header.get("transient"):
        follows = "; another attempt may succeed"
    else:
        follows = "; another attempt would end the same"
    sent = "" if scene.header.get("sent", 1) else ", and nothing was sent"
    return f"Attempt {attempt} of asking {_model(scene)} failed: {scene.failure()}{sent}{follows}."


def _skipped(scene: Scene) -> str:
    return f"Did not ask {_model(scene)}: {scene.get('reason') or 'no reason given'}."


def _model(scene: Scene) -> str:
    return f"model {scene.get('model')!r}"


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def _count(number: Any) -> str:
    return f"{number:,}" if isinstance(number, int) else "unknown"


def _cost(scene: Scene) -> str:
    cost = scene.header.get("cost_micro_usd")
    return f"${amount_text(cost, 'usd')}" if isinstance(cost, int) else "at a price nobody knows"


def _said(scene: Scene) -> str:
    """What the answer says and which tools it wants, where payloads are wanted."""
    if scene.erased or not scene.bodies:
        return scene.excerpt("Answer", None)
    response = fields_of(scene.fields().get("response"))
    parts = [fields_of(part) for part in _items(response.get("parts"))]
    texts = [str(part.get("content", "")) for part in parts if part.get("part_kind") == "text"]
    calls = [_wanted(part) for part in parts if part.get("part_kind") == "tool-call"]
    text = scene.excerpt("Text", "\n".join(texts)) if texts else ""
    return f"{text} Wants: {cut('; '.join(calls))}." if calls else text


def _wanted(part: Mapping[str, Any]) -> str:
    arguments = part.get("args")
    told = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return f"{part.get('tool_name')} {told}"


def _items(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


# Budgets.


def _held(scene: Scene) -> str:
    return f"Held for the next call of a tool: {_holds(scene)}."


def _settled(_scene: Scene) -> str:
    return "Took what that call used from its budgets; the rest came back."


def _refused(scene: Scene) -> str:
    what = f"asking {_model(scene)}" if scene.get("model") else "a call of a tool"
    account = scene.get("account")
    why = _in_words(scene.get("detail"), account)
    return f"Budget {account!r} has too little left for {what}: {why}. Nothing was sent."


def _topped_up(scene: Scene) -> str:
    return f"{scene.by()} raised budget {_by_how_much(scene)}."


def _rechecked(scene: Scene) -> str:
    return f"Budget {scene.get('account')!r} covers the call by now: nobody needs to answer."


def _waiters_told(_: Scene) -> str:
    return "Told the runs that wait for that budget."


def _set(scene: Scene) -> str:
    account, limit = scene.get("account"), scene.header.get("limit")
    return f"Budget {account!r} was set to {_amount(limit, account)}."


def _reserved(scene: Scene) -> str:
    return f"Held {_of_budget(scene)} for a call."


def _given_back(scene: Scene) -> str:
    return f"The call took {_of_budget(scene)}."


def _holds(scene: Scene) -> str:
    """`$0.05 and 1 model call of run/run_1; $0.05 of tenant/acme/2026-05-01`."""
    held: dict[str, list[str]] = {}
    for hold in map(_items, _items(scene.header.get("holds"))):
        if len(hold) == 3:
            whose = str(hold[1]).rpartition("/")[0]
            held.setdefault(whose, []).append(_amount(hold[2], hold[1]))
    told = (f"{_and(amounts)} of {whose}" for whose, amounts in held.items())
    return "; ".join(told) or "nothing"


def _and(words: list[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def _of_budget(scene: Scene) -> str:
    account = scene.get("account")
    return f"{_amount(scene.header.get('amount'), account)} of budget {account!r}"


def _by_how_much(scene: Scene) -> str:
    account = scene.get("account")
    return f"{account!r} by {_amount(scene.header.get('amount'), account)}"


def _amount(amount: Any, account: Any) -> str:
    unit = unit_of(str(account))
    if not isinstance(amount, int):
        return "an unknown amount"
    if unit == "usd":
        return f"{'-' if amount < 0 else ''}${amount_text(abs(amount), unit)}"
    number = amount_text(amount, unit) if unit == "seconds" else f"{amount:,}"
    words = (unit or "units").replace("_", " ")
    return f"{number} {words.removesuffix('s') if number == '1' else words}"


def _in_words(detail: str, account: str) -> str:
    """The journal's reason with its whole numbers as amounts."""
    words = detail.replace(" is left and ", " left and ").replace(" is needed", " needed").split()
    return " ".join(
        _amount(int(word), account) if word.removeprefix("-").isdecimal() else word
        for word in words
    )


# Conversations.


def _conversation_read(scene: Scene) -> str:
    asks = int(scene.header.get("seq") or 0)
    if not asks:
        return f"Began conversation {_conversation(scene)}: nothing was said in it before."
    before = "1 ask was" if asks == 1 else f"{asks} asks were"
    return f"Read conversation {_conversation(scene)}, in which {before} answered before."


def _conversation_summarised(scene: Scene) -> str:
    fields = scene.fields()
    covers = f"{int(fields.get('covers') or 0):,} messages"
    told = scene.excerpt("Summary", fields.get("text"))
    return f"Run {scene.get('run')} had the first {covers} summed up.{told}"


def _contract_recorded(scene: Scene) -> str:
    return f"Recorded a contract of agent {scene.get('agent')!r}, for the runs that begin under it."


def _conversation_extended(scene: Scene) -> str:
    return f"Added what was said to conversation {_conversation(scene)}."


def _messages_said(scene: Scene) -> str:
    return f"Run {scene.get('run')} added what was said.{scene.excerpt('Messages', scene.body)}"


def _conversation(scene: Scene) -> str:
    return repr(unquote(scene.get("conversation").rpartition("/")[2]))


# People.


def tell_opened(scene: Scene) -> str:
    """A person is asked; where a model went round in circles, with the calls that show it."""
    role = scene.get("role") or "anybody who may decide"
    due = scene.moment("due_at_us")
    until = f", to be answered by {due}" if due else ""
    why = _WHY.get(scene.get("kind"), "")
    asked = scene.fields()
    question = scene.excerpt("Question", asked.get("question"))
    return (
        f"Asked a person ({role}){why}, inbox task {scene.get('task')}{until}.{question}"
        f"{_loop(scene, asked)}"
    )


_WHY: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ask": " because no usable answer came",
        "budget": " because a budget is exhausted",
    }
)


def _loop(scene: Scene, asked: Mapping[str, Any]) -> str:
    calls = loop_calls(asked.get("details"))
    if scene.get("kind") != "ask" or not calls or not scene.bodies:
        return ""
    return f" The calls: {'; '.join(calls[-_MOST_CALLS:])}."


def loop_calls(details: Any) -> list[str]:
    """The calls that show a loop, in order, one text each; none where there was no loop."""
    return [
        cut(f"({call.get('number')}) {call.get('tool')} {call.get('arguments')}: {outcome}")
        for call in map(fields_of, _items(fields_of(details).get("calls")))
        for outcome in [call.get("outcome")]
    ]


def tell_decided(scene: Scene) -> str:
    """A person has answered."""
    answer = scene.fields()
    note = scene.excerpt("Note", answer["note"]) if answer.get("note") else ""
    value = scene.excerpt("Value", answer["value"]) if answer.get("value") is not None else ""
    return f"{scene.by()} decided: {answer.get('choice') or 'no choice'!r}.{note}{value}"


MODEL_TELLERS: Final[Mapping[str, Callable[[Scene], str]]] = MappingProxyType(
    {
        "model_requested": _requested,
        "model_answered": _answered,
        "model_attempt_failed": _attempt_failed,
        "model_skipped": _skipped,
        "call_held": _held,
        "call_settled": _settled,
        "budget_refused": _refused,
        "budget_topped_up": _topped_up,
        "budget_rechecked": _rechecked,
        "budget_waiters_told": _waiters_told,
        "budget_raised": _topped_up,
        "budget_set": _set,
        "budget_reserved": _reserved,
        "budget_settled": _given_back,
        "conversation_read": _conversation_read,
        "contract_recorded": _contract_recorded,
        "conversation_summarised": _conversation_summarised,
        "conversation_extended": _conversation_extended,
        "messages_said": _messages_said,
    }
)
