"""The desk's handbook: for each category its queue, its reply, and what follows.

The handbook is a Markdown file that people read and change; `read_handbook`
explains its form by what it refuses. A category without a section of its own is
treated as the section "anything else" says.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

__all__ = ["Handbook", "HandbookEntry", "HandbookError", "fill_in", "read_handbook"]

_ANYTHING_ELSE: Final = "anything else"
_ITEM = re.compile(r"- (?P<name>[a-z-]+): (?P<value>.+)")
_KNOWN: Final = frozenset({"queue", "reply", "follow-up", "refund", "escalate"})
_REQUIRED: Final = ("queue", "reply", "escalate")
_ENDINGS: Final = ("send", "draft")
_REFUNDED: Final = "last purchase"


class HandbookError(Exception):
    """The handbook cannot be used; the message names its section and the remedy."""


@dataclass(frozen=True, kw_only=True)
class HandbookEntry:
    """What to do with a ticket of one category.

    `ending` is whether the reply is sent or kept as a draft. `follow_up` is the
    title of a second ticket, or None. `refund` is whether what the customer
    bought last is paid back. `escalate` says in words when a person has to decide.
    """

    category: str
    queue: str
    ending: Literal["send", "draft"]
    follow_up: str | None
    refund: bool
    escalate: str
    reply: str

    def reply_to(self, *, customer: str, reference: str) -> str:
        """The reply with the customer's name and the ticket's reference filled in."""
        return fill_in(self.reply, customer=customer, reference=reference)

    def follow_up_to(self, *, customer: str, reference: str) -> str | None:
        """The follow-up ticket's title, or None where none is needed."""
        if self.follow_up is None:
            return None
        return fill_in(self.follow_up, customer=customer, reference=reference)


class Handbook:
    """The entries by category."""

    def __init__(self, entries: Mapping[str, HandbookEntry]) -> None:
        self._entries = dict(entries)

    @property
    def categories(self) -> frozenset[str]:
        """The categories with a section of their own."""
        return frozenset(self._entries) - {_ANYTHING_ELSE}

    @property
    def queues(self) -> frozenset[str]:
        """Every queue that the handbook names."""
        return frozenset(entry.queue for entry in self._entries.values())

    @property
    def anything_else(self) -> HandbookEntry:
        """What holds for a category without a section, and who looks at what nobody knows."""
        return self._entries[_ANYTHING_ELSE]

    def entry(self, category: str) -> HandbookEntry:
        """What the handbook says about `category`."""
        return self._entries.get(category, self.anything_else)


def read_handbook(path: Path) -> Handbook:
    """Read the handbook. Raises `HandbookError`, naming the section at fault.

    A section is a heading of level two, the list of `queue`, `reply`,
    `escalate` and, where needed, `follow-up` and `refund`, and the reply as quoted lines.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise HandbookError(f"{path} cannot be read: {problem}") from problem
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    entries: dict[str, HandbookEntry] = {}
    for section in sections:
        entry = _read_section(path, section.splitlines())
        if entry.category in entries:
            raise _at(path, entry.category, "is there twice; keep one of the two")
        entries[entry.category] = entry
    if _ANYTHING_ELSE not in entries:
        raise _at(path, _ANYTHING_ELSE, "is missing; it covers categories without a section")
    return Handbook(entries)


def _read_section(path: Path, lines: list[str]) -> HandbookEntry:
    category = lines[0].strip()
    items = _read_items(path, category, lines[1:])
    reply = "\n".join(line[1:].removeprefix(" ") for line in lines if line.startswith(">"))
    if not reply.strip():
        raise _at(path, category, "has no reply; add it as lines that start with '> '")
    ending = items["reply"]
    if ending not in _ENDINGS:
        raise _at(path, category, f"has reply: {ending}; write send or draft")
    if items.get("refund", _REFUNDED) != _REFUNDED:
        problem = f"has refund: {items['refund']}; write {_REFUNDED} or leave the line out"
        raise _at(path, category, problem)
    return HandbookEntry(
        category=category,
        queue=items["queue"],
        ending="send" if ending == "send" else "draft",
        follow_up=items.get("follow-up"),
        refund="refund" in items,
        escalate=items["escalate"],
        reply=reply,
    )


def _read_items(path: Path, category: str, lines: Iterable[str]) -> dict[str, str]:
    items: dict[str, str] = {}
    for line in lines:
        if not line.startswith("- "):
            continue
        item = _ITEM.fullmatch(line.rstrip())
        if item is None or item["name"] not in _KNOWN:
            known = ", ".join(sorted(_KNOWN))
            raise _at(path, category, f"has the line {line!r}; write '- name: value' with {known}")
        items[item["name"]] = item["value"]
    for name in _REQUIRED:
        if name not in items:
            raise _at(path, category, f"lacks {name!r}; add the line '- {name}: …'")
    return items


def _at(path: Path, section: str, problem: str) -> HandbookError:
    return HandbookError(f"{path}: the section {section!r} {problem}")


def fill_in(text: str, *, customer: str, reference: str) -> str:
    """A text of the handbook's form with the customer's name and the ticket's reference in it."""
    return text.replace("{customer}", customer).replace("{reference}", reference)
