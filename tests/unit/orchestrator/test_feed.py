"""What a run does right now, for those who follow it."""

from __future__ import annotations

import asyncio

from interlock.orchestrator.feed import Feed


def test_each_follower_of_a_run_gets_its_fragments_in_order() -> None:
    async def main() -> None:
        feed = Feed()
        with feed.follow("a") as one, feed.follow("a") as two, feed.follow("b") as other:
            feed.publish("a", {"n": 1})
            feed.publish("a", {"n": 2})
            await one.wait()
            assert one.taken() == [{"n": 1}, {"n": 2}]
            assert one.taken() == []
            assert two.taken() == [{"n": 1}, {"n": 2}]
            assert other.taken() == []

    asyncio.run(main())


def test_a_run_is_followed_for_the_length_of_the_block() -> None:
    feed = Feed()
    with feed.follow("a"):
        with feed.follow("a"):
            assert feed.followed("a")
        assert feed.followed("a")
        assert not feed.followed("b")
    assert not feed.followed("a")
    feed.publish("a", {"n": 1})


def test_a_slow_follower_loses_the_oldest() -> None:
    feed = Feed()
    with feed.follow("a") as slow:
        for number in range(5000):
            feed.publish("a", {"n": number})
        kept = [fragment["n"] for fragment in slow.taken()]
    assert 0 < len(kept) < 5000
    assert kept == list(range(5000 - len(kept), 5000))
