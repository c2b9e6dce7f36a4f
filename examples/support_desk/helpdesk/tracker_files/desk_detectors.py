"""Keeps issues and their messages together.

Roundup calls `init` when it opens the database. A message and its place on the
issue are stored by one commit. An issue and its opening message take two, since
Roundup commits whenever it gives out an id: the message comes first, so that an
interruption can leave a message that belongs to no issue, and never an issue
without its message. Like the schema, this file lives in the tracker's home and
imports nothing but Roundup.
"""

import uuid
from typing import Any

from roundup import date  # pyright: ignore[reportMissingTypeStubs]


def init(db: Any) -> None:
    """Register the detectors on an opened database."""
    db.issue.audit("create", complete_issue)
    db.issue.react("create", adopt_messages)
    db.msg.audit("create", complete_message)
    db.msg.react("create", place_message)
    db.msg.react("set", send_draft)


def complete_issue(db: Any, issues: Any, _id: None, values: dict[str, Any]) -> None:
    """Give a new issue a reference, a status and its opening message.

    Raises `ValueError`, which Roundup answers with 409, when the reference is taken.
    """
    values.setdefault("reference", f"web-{uuid.uuid4()}")
    _refuse_taken(issues, values["reference"])
    values.setdefault("status", db.status.lookup("new"))
    opening = values.get("opening")
    if opening:
        message = db.msg.create(content=opening, author=values.get("customer") or db.getuid())
        values["messages"] = [*values.get("messages", []), message]


def _refuse_taken(issues: Any, reference: str) -> None:
    # Roundup looks again when it stores the issue, but then the message is there already.
    try:
        taken = issues.lookup(reference)
    except KeyError:
        return
    raise ValueError(f"issue{taken} has the reference {reference!r}")


def adopt_messages(db: Any, issues: Any, issue: str, _old: None) -> None:
    """Tell the messages an issue was created with which issue they belong to."""
    for message in issues.get(issue, "messages"):
        if db.msg.get(message, "issue") is None:
            db.msg.set(message, issue=issue)


def complete_message(db: Any, _class: Any, _id: None, values: dict[str, Any]) -> None:
    """Fill in who wrote a message and when, as Roundup's own pages do."""
    if values.get("author") is None:
        values["author"] = db.getuid()
    if values.get("date") is None:
        values["date"] = date.Date(".")


def place_message(db: Any, messages: Any, message: str, _old: None) -> None:
    """Put a new message on its issue; a draft stays off it until it is sent."""
    if not messages.get(message, "draft"):
        _show(db, messages.get(message, "issue"), message)


def send_draft(db: Any, messages: Any, message: str, old: dict[str, Any]) -> None:
    """Put a draft on its issue when its mark is cleared."""
    if old.get("draft") and not messages.get(message, "draft"):
        _show(db, messages.get(message, "issue"), message)


def _show(db: Any, issue: str | None, message: str) -> None:
    if issue is None:
        return
    shown = db.issue.get(issue, "messages")
    if message not in shown:
        db.issue.set(issue, messages=[*shown, message])
