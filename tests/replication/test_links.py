"""Links: what comes out is what was sent, in order, without a gap, each once, whatever the network does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.replication.links import Links
from holdfast.replication.messages import Beat, Envelope, LogHeld, Reached

REACHED = Reached(0, 0, 0, 0, None)


def two(generation: int = 3) -> tuple[Links, Links]:
    return Links(generation, "a", 7, [("b", 8)]), Links(generation, "b", 8, [("a", 7)])


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["in turn", "lost", "again", "any"])), max_size=60))
def test_a_lossy_doubling_network_never_yields_a_gap(fates: list[tuple[int, str]]) -> None:
    sender, receiver = two()
    sent: list[Envelope] = []
    came: list[int] = []
    following = 0

    def arrive(envelope: Envelope) -> None:
        if receiver.accept(envelope):
            assert isinstance(envelope.message, LogHeld)
            came.append(envelope.message.tail)

    for pick, fate in fates:
        sent.append(sender.wrap("b", REACHED, LogHeld(0, len(sent))))
        if fate == "any":
            arrive(sent[pick % len(sent)])
        elif fate == "again":
            arrive(sent[following])
            arrive(sent[following])
            following += 1
        else:
            if fate == "in turn":
                arrive(sent[following])
            following += 1

    assert came == list(range(len(came)))


def test_a_gap_breaks_the_link_for_good() -> None:
    sender, receiver = two()
    first, second, third = (sender.wrap("b", REACHED, Beat()) for _ in range(3))

    assert receiver.accept(first)
    assert not receiver.accept(third)
    assert not receiver.accept(second)
    assert receiver.lost == ("a",)


def test_what_comes_twice_is_dropped_and_breaks_nothing() -> None:
    sender, receiver = two()
    first = sender.wrap("b", REACHED, Beat())

    assert [receiver.accept(first), receiver.accept(first)] == [True, False]
    assert receiver.lost == ()


def test_frames_of_other_generations_lives_and_strangers_change_nothing() -> None:
    sender, receiver = two()
    envelope = sender.wrap("b", REACHED, Beat())
    foreign = [
        Envelope(2, "a", 7, 1, REACHED, Beat()),
        Envelope(4, "a", 7, 1, REACHED, Beat()),
        Envelope(3, "a", 6, 1, REACHED, Beat()),
        Envelope(3, "c", 7, 1, REACHED, Beat()),
        Envelope(2, "a", 7, 5, REACHED, Beat()),
    ]

    assert not any(map(receiver.accept, foreign))
    assert receiver.lost == ()
    assert receiver.accept(envelope)


def test_a_lost_connection_breaks_its_link_alone() -> None:
    links = Links(1, "a", 1, [("b", 1), ("c", 1)])
    links.lose("c")
    links.lose("nobody")

    assert links.lost == ("c",)
    assert links.accept(Envelope(1, "b", 1, 1, REACHED, Beat()))
    assert not links.accept(Envelope(1, "c", 1, 1, REACHED, Beat()))
