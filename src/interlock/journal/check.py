"""What a commit must look like before a group takes it.

A malformed commit is its caller's mistake and is refused alone, before any database sees it, so
that it can never fail the commits it would have shared a transaction with.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn, cast

from interlock.errors import InvalidInputError, PayloadTooLargeError
from interlock.journal.event import Draft, Header, encode_header
from interlock.journal.guard import (
    Append,
    Commit,
    Guard,
    HoldsBudget,
    NewMessage,
    TakesMail,
    UniqueKey,
    UsesApproval,
)
from interlock.journal.projections import GENERIC_FIELDS, LARGEST_INTEGER, PROJECTIONS, Field

__all__ = ["BODY_LIMIT_BYTES", "check_commit"]

BODY_LIMIT_BYTES = 1_000_000
_SIMPLE = frozenset({str, int, bool, type(None)})
_LARGEST_VERSION = 2**31 - 1
_ONCE_PER_COMMIT = (UniqueKey, TakesMail, NewMessage, UsesApproval)


def check_commit(commit: Commit) -> None:
    """Raise what is wrong with a commit; nothing when a store can take it.

    Raises `PayloadTooLargeError` for a body over `BODY_LIMIT_BYTES`, `InvalidInputError` for all
    else: no events, a header that is not JSON or lacks a field that its kind needs, a key claimed
    without its guard.
    """
    appends, guards = commit
    if guards:
        _check_guards(guards)
    for append in appends:
        stream, drafts, epoch, raise_epoch, _ = append
        if not (drafts and stream) or (raise_epoch and epoch is None):
            _check_append(append)
        for draft in drafts:
            kind, key, header, body, version = draft
            if not (kind and 0 < version <= _LARGEST_VERSION):
                _refuse_kind(draft)
            if body is not None and (type(body) is not bytes or len(body) > BODY_LIMIT_BYTES):
                _refuse_body(draft)
            # One look at all three: each of them alone is looked at only when something is odd.
            if not _is_plain(f"{stream}{kind}{key}"):
                _check_append(append)
                _refuse_kind(draft)
                _check_text(key, "key", kind)
            if kind in PROJECTIONS or (header and not _is_simple(header)):
                _check_header(draft, append, guards)


def _is_plain(text: str) -> bool:
    return text.isascii() and "\0" not in text


def _is_simple(header: Header) -> bool:
    """Whether a header is certainly JSON, and without anything that projections read."""
    return _is_flat(header) and not any(name in header for name in GENERIC_FIELDS)


def _is_flat(header: Header) -> bool:
    """Whether a header holds nothing but texts, integers, booleans and nulls."""
    for name, value in header.items():
        if type(name) is not str or type(value) not in _SIMPLE:
            return False
    return True


def _check_append(append: Append) -> None:
    if not append.drafts:
        raise InvalidInputError(
            f"An append to stream {append.stream!r} has no events; leave the append out.",
            stream=append.stream,
        )
    if append.raise_epoch and append.epoch is None:
        raise InvalidInputError(
            f"A claim on stream {append.stream!r} names no epoch; say which epoch it raises.",
            stream=append.stream,
        )
    if not append.stream:
        raise InvalidInputError("An append goes to a stream without a name; name one.")
    _check_text(append.stream, "stream", append.stream)


def _refuse_kind(draft: Draft) -> None:
    if not draft.kind:
        raise InvalidInputError("An event has no kind; name what happened, in the past tense.")
    if not 0 < draft.version <= _LARGEST_VERSION:
        raise InvalidInputError(
            f"The version of {draft.kind!r} must be from 1 to {_LARGEST_VERSION}, "
            f"not {draft.version!r}.",
            kind=draft.kind,
        )
    _check_text(draft.kind, "kind", draft.kind)


def _refuse_body(draft: Draft) -> NoReturn:
    body = draft.body
    if not isinstance(body, bytes) or type(body) is not bytes:
        raise InvalidInputError(
            f"The body of {draft.kind!r} is {type(body).__name__}; encode it to bytes first.",
            kind=draft.kind,
        )
    raise PayloadTooLargeError(
        f"The body of {draft.kind!r} {draft.key!r} has {len(body):,} bytes, over the limit of "
        f"{BODY_LIMIT_BYTES:,}; store it elsewhere and record a reference.",
        kind=draft.kind,
        key=draft.key,
        bytes=len(body),
    )


def _check_text(text: str, what: str, owner: str) -> None:
    if _is_plain(text):
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"The {what} of {owner!r} is not valid Unicode: {text!r}."
        ) from error
    if "\0" in text:
        raise InvalidInputError(f"The {what} of {owner!r} holds a NUL character: {text!r}.")


def _check_header(draft: Draft, append: Append, guards: Sequence[Guard]) -> None:
    if draft.kind == "run_queued" and draft is not append.drafts[0]:
        raise InvalidInputError(
            f"'run_queued' must be the first event of stream {append.stream!r}.",
            stream=append.stream,
        )
    header = _as_json(draft)
    projection = PROJECTIONS.get(draft.kind)
    for field in projection.fields if projection else ():
        if not _is_usual(header, field):
            _check_field(draft, header, field)
    _check_claims(draft, header, guards)
    for name in ("takes", "consumes"):
        if name in header:
            _check_field(draft, header, Field(name, (str,)))


def _as_json(draft: Draft) -> Header:
    """The header as a reader will see it."""
    if _is_flat(draft.header):  # Then it is seen as it is, and need not be written to know that.
        return draft.header
    try:
        return json.loads(encode_header(draft.header))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(
            f"The header of {draft.kind!r} {draft.key!r} is not JSON: {error}.", kind=draft.kind
        ) from error


def _is_usual(header: Header, field: Field) -> bool:
    """Whether a field is certainly right; if not, `_check_field` looks closer."""
    name, types, _, _, least = field
    if name not in header:
        return False
    value = header[name]
    kind = cast("type[Any]", type(value))
    if kind not in types:
        return False
    if kind is str:
        return _is_plain(value)
    return kind is not int or least <= value <= LARGEST_INTEGER


def _check_field(draft: Draft, header: Header, field: Field) -> None:
    if field.name not in header:
        if field.required:
            raise InvalidInputError(
                f"The header of {draft.kind!r} {draft.key!r} lacks {field.name!r}.", kind=draft.kind
            )
        return
    value = header[field.name]
    if type(value) not in field.types or (
        isinstance(value, int) and not field.least <= value <= LARGEST_INTEGER
    ):
        raise InvalidInputError(
            f"{field.name!r} in the header of {draft.kind!r} {draft.key!r} is {value!r}; "
            f"it must be {_wanted(field)}.",
            kind=draft.kind,
        )
    if isinstance(value, str):
        _check_text(value, field.name, draft.kind)


def _wanted(field: Field) -> str:
    names = sorted(known.__name__ for known in field.types)
    if int not in field.types:
        return " or ".join(names)
    return f"{' or '.join(names)}, from {field.least} to {LARGEST_INTEGER}"


def _check_claims(draft: Draft, header: Header, guards: Sequence[Guard]) -> None:
    if "unique" not in header:
        return
    pairs = header["unique"]
    for pair in cast("list[object]", pairs) if isinstance(pairs, list) else (pairs,):
        scope, key = _claim(draft, pair)
        if UniqueKey(scope, key) not in guards:
            raise InvalidInputError(
                f"{draft.kind!r} claims the key {key!r} in {scope!r} without its guard; "
                f"add UniqueKey({scope!r}, {key!r}) to the commit.",
                kind=draft.kind,
            )


def _claim(draft: Draft, pair: object) -> tuple[str, str]:
    match pair:
        case [str() as scope, str() as key]:
            _check_text(scope, "scope", draft.kind)
            _check_text(key, "unique key", draft.kind)
            return scope, key
        case _:
            raise InvalidInputError(
                f"'unique' in the header of {draft.kind!r} must be a list of [scope, key], "
                f"not {pair!r}.",
                kind=draft.kind,
            )


def _check_guards(guards: Iterable[Guard]) -> None:
    seen: set[Guard] = set()
    for guard in guards:
        if isinstance(guard, HoldsBudget):
            _check_amount(guard)
        elif isinstance(guard, _ONCE_PER_COMMIT):
            if guard in seen:
                raise InvalidInputError(f"A commit has the guard {guard!r} twice.")
            seen.add(guard)


def _check_amount(guard: HoldsBudget) -> None:
    if not 0 <= guard.amount <= LARGEST_INTEGER:
        raise InvalidInputError(
            f"A reservation on {guard.account!r} must be 0 or more, not {guard.amount!r}.",
            account=guard.account,
        )
