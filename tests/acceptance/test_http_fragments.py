"""A model's answer is followed live over HTTP: from the simulated model to a reader of events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.testing.simulated_model import Scenario, SimulatedModel
from tests.support.asking import says
from tests.support.event_frames import Frame, frames_of
from tests.support.serving import Served, served

ANSWER = "We open at nine.\nOn Sundays, and on the days before a holiday, at ten: “as ever”."
STREAM = {"accept": "text/event-stream"}


@pytest.fixture
def model() -> Iterator[SimulatedModel]:
    """A model that answers each question alike."""
    with SimulatedModel(Scenario(turns=(says(ANSWER),))) as answering:
        yield answering


@pytest.fixture
def server(
    model: SimulatedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Served]:
    """A server whose agent asks the model."""
    monkeypatch.setenv("INTERLOCK_TEST_MODEL", model.base_url)
    with served(tmp_path, "--app", "tests.support.served_agents:app") as up:
        yield up


def followed(server: Served, run: str, *, bodies: str) -> list[Frame]:
    """What a reader is told who is there before the model is asked."""
    found: list[Frame] = []
    path, query = f"/v1/runs/{run}/events", {"bodies": bodies}
    with server.http.stream("GET", path, headers=STREAM, params=query) as stream:
        for frame in frames_of(stream.iter_lines()):
            if frame.event == "run_suspended":
                server.post(f"/v1/runs/{run}/signals/go")
            found.append(frame)
    return found


def test_fragments_of_an_answer_come_before_it_and_have_no_id(
    server: Served, model: SimulatedModel
) -> None:
    run = server.start("faq", "When do you open?")["id"]
    frames = followed(server, run, bodies="true")
    fragments = [frame for frame in frames if frame.event == "fragment"]
    assert "".join(frame.data["text"] for frame in fragments) == ANSWER
    assert len(fragments) > 1
    assert {frame.id for frame in fragments} == {None}
    assert {(frame.data["ask"], frame.data["kind"]) for frame in fragments} == {
        ("faq", "model_text")
    }
    order = [frame.event for frame in frames]
    assert max(n for n, event in enumerate(order) if event == "fragment") < order.index(
        "model_answered"
    )
    recorded = [frame for frame in frames if frame.event != "fragment"]
    assert [frame.id for frame in recorded] == [str(n) for n in range(1, len(recorded) + 1)]
    assert order[-1] == "run_completed"
    assert [entry.streaming for entry in model.ledger.entries()] == [True]
    assert server.run(run)["result"] == ANSWER


def test_who_comes_back_after_the_last_event_is_told_nothing_more(server: Served) -> None:
    run = server.start("faq", "When do you open?")["id"]
    last = followed(server, run, bodies="true")[-1]
    again = server.http.get(
        f"/v1/runs/{run}/events",
        headers={**STREAM, "last-event-id": str(last.id)},
        params={"bodies": "true"},
    )
    assert again.status_code == 204


def test_who_asks_for_no_bodies_sees_no_fragment_and_makes_no_stream(
    server: Served, model: SimulatedModel
) -> None:
    run = server.start("faq", "When do you open?")["id"]
    frames = followed(server, run, bodies="false")
    assert "fragment" not in {frame.event for frame in frames}
    assert not any("nine" in str(frame.data) for frame in frames)
    assert [entry.streaming for entry in model.ledger.entries()] == [False]
    assert server.run(run)["result"] == ANSWER
