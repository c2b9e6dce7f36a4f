"""What a store answers: order, paging, filters, and what an executor polls."""

from __future__ import annotations

from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.journal.event import Draft
from interlock.journal.guard import TakesMail
from interlock.journal.rows import QueueGroup, RunFilter, RunState
from interlock.journal.store import Store
from tests.conformance.backend import START_US, Backend
from tests.conformance.commits import claimed, commit, event, queued, sent, write


def many(store: Store, count: int = 12) -> None:
    """Runs of two agents and two tenants in three states; names against the order of creation."""
    for number in range(count):
        run = f"r{count - number:02}"
        write(store, queued(run, agent="ab"[number % 2], tenant="xy"[number % 3 == 0]))
        if number % 4:
            write(store, claimed(run))
        if number % 4 == 3:
            write(store, commit(run, event("run_suspended"), epoch=1))


def test_a_stream_is_read_in_pages(store: Store) -> None:
    write(store, commit("a", *[event("e", str(n), body=b"%d" % n) for n in range(10)]))
    assert [entry.event.key for entry in store.read("a", 3, 4)] == ["3", "4", "5", "6"]
    assert [entry.body for entry in store.read("a", 8)] == [b"8", b"9"]
    assert store.read("a", 10) == store.read("nobody") == []
    assert store.read("a", 0, 0) == []


def test_all_streams_are_scanned_in_pages(store: Store) -> None:
    write(store, *[commit(f"s{n % 3}", event("e", str(n))) for n in range(10)])
    found: list[str] = []
    position = 0
    while page := store.scan(position, 3):
        assert len(page) <= 3
        found += [event.key for event in page]
        position = page[-1].position
    assert found == [str(n) for n in range(10)]


def test_records_are_what_was_hashed(store: Store) -> None:
    write(store, commit("a", event("e", body=b"1", b=2, a=1), event()))
    first, second = store.records()
    assert first.header == '{"a":1,"b":2}'
    assert (first.body, second.body, second.salt) == (b"1", None, None)
    assert first.salt is not None
    assert len(first.salt) == 16
    assert second.prev_hash == first.hash() == store.scan()[0].hash()
    assert store.records(1, 1) == [second]


def test_heads_that_changed_since_a_position(store: Store) -> None:
    write(store, commit("b", event()), commit("a", event(), event()), commit("c", event()))
    write(store, commit("a", event()), commit("d", event()))
    changed = store.heads_since(4)
    assert changed.position == 6
    assert [(head.stream, head.seq) for head in changed.heads] == [("a", 3), ("d", 1)]
    assert changed.heads[0].hash == store.read("a")[-1].event.hash()
    assert [head.stream for head in store.heads_since(0).heads] == ["a", "b", "c", "d"]
    assert store.heads_since(6) == (6, [])


def test_runs_come_newest_first_and_in_pages(store: Store) -> None:
    many(store)
    everything = [row.id for row in store.runs(RunFilter())]
    assert everything == [f"r{n:02}" for n in range(1, 13)]
    first = store.runs(RunFilter(limit=5))
    second = store.runs(RunFilter(limit=5, before=first[-1].id))
    third = store.runs(RunFilter(limit=5, before=second[-1].id))
    assert [row.id for row in (*first, *second, *third)] == everything
    assert store.runs(RunFilter(before=everything[-1])) == []


def test_runs_are_filtered_by_all_that_is_given(store: Store) -> None:
    many(store)
    everything = store.runs(RunFilter(limit=99))
    choices: list[tuple[RunState, ...]] = [(), ("waiting",), ("queued", "running"), ("failed",)]
    for states in choices:
        for agent in ("", "a"):
            for tenant in ("", "y"):
                expected = [
                    row
                    for row in everything
                    if (not states or row.state in states)
                    and agent in ("", row.agent)
                    and tenant in ("", row.tenant)
                ]
                where = RunFilter(states=states, agent=agent, tenant=tenant, limit=99)
                assert store.runs(where) == expected
                for limit in (1, 3):
                    found = store.runs(where._replace(limit=limit))
                    assert found == expected[:limit]
                    if found:
                        rest = store.runs(where._replace(before=found[-1].id))
                        assert rest == expected[limit:]


def test_counts_and_running(store: Store) -> None:
    assert store.run_counts() == {}
    many(store)
    rows = store.runs(RunFilter(limit=99))
    assert store.run_counts() == Counter(row.state for row in rows)
    oldest_first = [row.id for row in reversed(rows) if row.state == "running"]
    assert store.running() == oldest_first


def test_children(store: Store) -> None:
    write(store, queued("p"), queued("c2", parent="p"), queued("c1", parent="p"), queued("o"))
    write(store, queued("c3", parent="p"))
    write(store, commit("c2", event("run_completed"), epoch=0))
    assert [row.id for row in store.open_children("p")] == ["c1", "c3"]
    assert [row.id for row in store.runs(RunFilter(parent="p"))] == ["c3", "c1", "c2"]
    completed = RunFilter(parent="p", states=("completed",))
    assert [row.id for row in store.runs(completed)] == ["c2"]
    assert [row.id for row in store.runs(RunFilter(parent="p", before="c3", limit=1))] == ["c1"]
    assert store.open_children("o") == store.open_children("") == []


def test_due_runs_come_by_their_time(store: Store) -> None:
    write(
        store,
        queued("late", deadline_at_us=START_US + 9),
        queued("early", deadline_at_us=START_US + 1),
        queued("never"),
        queued("other", agent="b", deadline_at_us=START_US + 5),
    )
    write(store, claimed("late"), claimed("never"))
    assert [row.id for row in store.due(START_US + 9, 9)] == ["early", "other"]
    for run, wake in (("late", START_US + 3), ("never", None)):
        write(store, commit(run, event("run_suspended", wake_at_us=wake), epoch=1))
    assert store.due(START_US, 9) == []
    assert [row.id for row in store.due(START_US + 9, 9)] == ["early", "late", "other"]
    assert [row.id for row in store.due(START_US + 9, 2)] == ["early", "late"]
    assert [row.id for row in store.due(START_US + 3, 9)] == ["early", "late"]
    assert [row.id for row in store.due(START_US + 9, 9, ["triage"])] == ["other"]
    assert store.due(START_US + 9, 9, ["triage", "b"]) == []
    assert [row.id for row in store.due(START_US + 9, 9, states=["waiting"])] == ["late"]
    assert store.due(START_US + 9, 9, states=[]) == []


def test_the_next_wake_is_the_earliest_later_moment(store: Store) -> None:
    assert store.next_wake_us(0) is None
    write(
        store,
        queued("a", start_after_us=START_US + 5),
        queued("b", deadline_at_us=START_US + 3),
        queued("c"),
    )
    assert store.next_wake_us(START_US) == START_US + 3
    assert store.next_wake_us(START_US + 3) == START_US + 5
    assert store.next_wake_us(START_US + 5) is None
    write(store, claimed("b"), claimed("a"))
    assert store.next_wake_us(START_US) is None


def test_queued_runs_come_first_come_first(store: Store) -> None:
    write(
        store,
        queued("r4", start_after_us=START_US + 1),
        queued("r3"),
        queued("r1"),
        queued("r2", start_after_us=START_US + 9),
    )
    group = QueueGroup(0, "default", "triage")
    assert [row.id for row in store.queued(group, START_US + 1, 9)] == ["r3", "r1", "r4"]
    assert [row.id for row in store.queued(group, START_US, 1)] == ["r3"]
    write(store, claimed("r3"))
    assert [row.id for row in store.queued(group, START_US + 9, 9)] == ["r1", "r4", "r2"]
    assert store.queued(group._replace(agent="x"), START_US, 9) == []


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    runs=st.lists(
        st.tuples(
            st.integers(-2, 2),
            st.sampled_from("xyz"),
            st.sampled_from("abc"),
            st.sampled_from([0, START_US + 5]),
            st.booleans(),
        ),
        max_size=25,
    )
)
def test_the_queue_shows_every_group_that_can_start(
    backend: Backend, runs: list[tuple[int, str, str, int, bool]]
) -> None:
    store = backend.opened[0] if backend.opened else backend.open()
    for row in store.runs(RunFilter(states=("queued",), limit=999)):
        write(store, claimed(row.id))
    for number, (priority, tenant, agent, start, taken) in enumerate(runs):
        run = f"r{store.heads_since(0).position}-{number}"
        header = {"priority": priority, "tenant": tenant, "agent": agent, "start_after_us": start}
        write(store, queued(run, **header))
        if taken:
            write(store, claimed(run))
    for now in (START_US, START_US + 5):
        open_runs = [r for r in runs if r[3] <= now and not r[4]]
        groups = {QueueGroup(priority, tenant, agent) for priority, tenant, agent, *_ in open_runs}
        expected = sorted(groups, key=lambda g: (-g.priority, g.tenant, g.agent))
        assert store.queue_groups(now) == expected
        assert sum(len(store.queued(group, now, 99)) for group in expected) == len(open_runs)


def test_mail_of_one_run_and_of_all(store: Store) -> None:
    write(store, sent("r1", "m1"), sent("r2", "m2"), sent("r1", "m3"), sent("r1", "m4"))
    write(store, commit("r1", event("signal_received", takes="m3"), guards=[TakesMail("m3")]))
    mine = store.mail("r1")
    assert [mail.message_id for mail in mine] == ["m1", "m4"]
    assert [mail.message_id for mail in store.mail("r1", mine[0].position)] == ["m4"]
    everything = store.mail_since(0)
    assert [(mail.run, mail.message_id) for mail in everything] == [
        ("r1", "m1"),
        ("r2", "m2"),
        ("r1", "m4"),
    ]
    assert store.mail_since(0, 2) == everything[:2]
    assert store.mail_since(everything[1].position) == everything[2:]
    assert store.mail("nobody") == []


def test_the_inbox_is_listed_oldest_first(store: Store) -> None:
    for number in range(6):
        write(store, commit("r1", event("task_opened", task=f"t{5 - number}", kind="question")))
    for task in ("t4", "t1"):
        write(store, commit("r1", event("task_expired", task=task)))
    assert [row.id for row in store.inbox()] == ["t5", "t3", "t2", "t0"]
    assert [row.id for row in store.inbox(("expired", "open"))] == [
        f"t{n}" for n in range(5, -1, -1)
    ]
    assert [row.id for row in store.inbox(("expired", "open"), limit=2)] == ["t5", "t4"]
    assert store.inbox(("decided",)) == []
    assert store.inbox_task("nothing") is None


def test_open_tasks_of_one_run(store: Store) -> None:
    for run, task in (("r1", "t3"), ("r2", "t2"), ("r1", "t1"), ("r1", "t0")):
        write(store, commit(run, event("task_opened", task=task, kind="question")))
    write(store, commit("r1", event("task_expired", task="t1")))
    assert [row.id for row in store.open_tasks("r1")] == ["t3", "t0"]
    assert store.open_tasks("r1")[0] == store.inbox_task("t3")
    assert store.open_tasks("r3") == []


def test_effects_are_listed_newest_first(store: Store) -> None:
    for number in range(6):
        header = {"effect_key": f"e{5 - number}", "tool": "t", "recovery": "key"}
        write(store, commit(f"r{number % 2}", Draft("effect_intended", "k", header)))
    for number in (1, 4):
        write(store, commit("r0", event("effect_unknown", effect_key=f"e{number}")))

    def keys(*args: object, **kwargs: object) -> list[str]:
        return [row.effect_key for row in store.effects(*args, **kwargs)]  # pyright: ignore[reportArgumentType]

    assert keys() == ["e0", "e1", "e2", "e3", "e4", "e5"]
    assert keys(limit=2) == ["e0", "e1"]
    assert keys(("unknown",)) == ["e1", "e4"]
    assert keys(("unknown", "intended"), limit=3) == ["e0", "e1", "e2"]
    assert keys(run="r0") == ["e1", "e3", "e5"]
    assert keys(("unknown",), "r0") == ["e1"]
    assert store.effect("nothing") is None


def test_budgets_are_listed_by_name_and_by_how_they_begin(store: Store) -> None:
    names = ["run/b/usd", "run/a/usd", "agent/x/d/usd", "run/a/tokens", "run", "run0", "rün/ü"]
    for name in names:
        write(store, commit(f"budget/{name}", event("budget_set", account=name, limit=len(name))))

    def listed(prefix: str = "", limit: int = 100) -> list[str]:
        return [row.account for row in store.budgets(prefix, limit)]

    assert listed() == sorted(names)
    assert listed("run/") == ["run/a/tokens", "run/a/usd", "run/b/usd"]
    assert listed("run") == ["run", "run/a/tokens", "run/a/usd", "run/b/usd", "run0"]
    assert listed("rü") == ["rün/ü"]
    assert listed("run/", 2) == ["run/a/tokens", "run/a/usd"]
    assert listed("%") == listed("nobody") == []
    assert store.budget("run/a/usd") == store.budgets("run/a/usd")[0]
    assert store.budget("run/a") is None


def test_changes_show_another_writer_and_not_oneself(backend: Backend) -> None:
    mine, other = backend.open(), backend.open()
    before = mine.changes()
    write(mine, commit("a", event()))
    assert mine.changes() == before
    write(other, commit("a", event()))
    after = mine.changes()
    assert after != before
    mine.stage([commit("b", event())])
    assert mine.changes() == after
    mine.sync()
    assert mine.changes() == after
    write(other, commit("a", event()))
    mine.stage([commit("b", event())])
    assert mine.changes() != after
    mine.sync()
