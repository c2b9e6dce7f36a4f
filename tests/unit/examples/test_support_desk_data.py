"""The example's own messages and handbook fit together, and the messages are unseen."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from examples.support_desk.handbook import HandbookError, read_handbook
from examples.support_desk.labelled import Labelled, read_labelled

DATA = Path(__file__).parents[3] / "examples" / "support_desk" / "data"
TRAIN = read_labelled(DATA / "train.csv")
TICKETS = read_labelled(DATA / "tickets.csv")
HANDBOOK = read_handbook(DATA / "handbook.md")

SECTION = "## a\n- queue: q\n- reply: send\n- escalate: e\n\n> Hello {customer}\n>\n> {reference}\n"
ELSE = SECTION.replace("## a", "## anything else")


def words(message: Labelled) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", message.text.lower()))


def likeness(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other)


def test_there_are_enough_messages_of_every_category() -> None:
    assert len(TICKETS) == 80
    assert min(Counter(message.category for message in TRAIN).values()) >= 15
    assert min(Counter(message.category for message in TICKETS).values()) >= 5


def test_no_message_is_an_example_in_disguise() -> None:
    """Nothing the decider learns from says nearly the same as a message it is measured on."""
    examples = [words(example) for example in TRAIN]
    close = [
        ticket.text
        for ticket in TICKETS
        if max(likeness(words(ticket), example) for example in examples) > 0.6
    ]
    assert close == []


def test_nothing_is_there_twice() -> None:
    texts = [message.text.casefold() for message in [*TRAIN, *TICKETS]]
    assert [text for text, times in Counter(texts).items() if times > 1] == []


def test_the_handbook_has_every_category_and_no_other() -> None:
    assert {message.category for message in TRAIN} == HANDBOOK.categories
    assert {message.category for message in TICKETS} == HANDBOOK.categories


def test_every_reply_names_the_customer_and_the_ticket() -> None:
    for category in HANDBOOK.categories | {"unheard of"}:
        reply = HANDBOOK.entry(category).reply_to(customer="Ana {x}", reference="T-7")
        assert reply.startswith("Hello Ana {x},")
        assert "T-7" in reply
        assert "{customer}" not in reply
        assert "{reference}" not in reply


def test_the_handbook_asks_for_each_kind_of_ending() -> None:
    entries = [HANDBOOK.entry(category) for category in HANDBOOK.categories]
    assert {entry.ending for entry in entries} == {"send", "draft"}
    assert {entry.refund for entry in entries} == {True, False}
    follow_ups = [entry.follow_up_to(customer="Ana", reference="T-7") for entry in entries]
    assert None in follow_ups
    assert all("T-7" in title for title in follow_ups if title is not None)


def test_a_category_without_a_section_gets_the_general_one() -> None:
    entry = HANDBOOK.entry("card_arrival")
    assert entry.category == "anything else"
    assert entry.queue in HANDBOOK.queues


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (SECTION, "'anything else' is missing"),
        (SECTION + SECTION + ELSE, "'a' is there twice"),
        (SECTION.replace("- queue: q\n", "") + ELSE, "'a' lacks 'queue'"),
        (SECTION.replace("> ", "- ", 1) + ELSE, "'a' has the line '- Hello"),
        (SECTION.replace("send", "post") + ELSE, "'a' has reply: post; write send or draft"),
        (SECTION.replace("- queue", "- qeue") + ELSE, "'a' has the line '- qeue: q'"),
        (SECTION.replace("- queue", "- refund: all\n- queue") + ELSE, "'a' has refund: all; write"),
        ("## a\n- queue: q\n- reply: send\n- escalate: e\n" + ELSE, "'a' has no reply"),
    ],
)
def test_a_handbook_with_a_fault_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "handbook.md"
    path.write_text(text)
    with pytest.raises(HandbookError, match=re.escape(complaint)) as refused:
        read_handbook(path)
    assert str(path) in str(refused.value)


def test_a_missing_handbook_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HandbookError, match="cannot be read"):
        read_handbook(tmp_path / "none.md")
