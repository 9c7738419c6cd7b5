"""Deliver: outputs are numbered without a gap, and an epoch is delivered when the sinks have said that they have it."""

from __future__ import annotations

from holdfast.worker.deliver import Delivery
from holdfast.worker.effects import Deliver


def test_an_epoch_is_delivered_once_every_sink_has_all_of_it() -> None:
    delivery = Delivery(2)
    delivery.open(3)
    delivery.hand_out(4, [(0, 2, ("x", "y")), (1, 1, ("z",))], durable=5)
    delivery.hand_out(5, [], durable=5)
    reached = [delivery.delivered]
    for sink, last in ((0, 1), (1, 1), (0, 2)):
        delivery.acknowledged(sink, last)
        reached.append(delivery.delivered)

    assert reached == [3, 3, 3, 5]


def test_outputs_are_numbered_on_from_where_the_sink_stood() -> None:
    delivery = Delivery(1)
    delivery.restore(0, 12, "token")
    delivery.open(3)

    assert delivery.hand_out(4, [(0, 2, ("x", "y"))], durable=5) == [Deliver(0, 4, 13, 2, ("x", "y"))]
    assert delivery.hand_out(5, [(0, 1, ("z",))], durable=5) == [Deliver(0, 5, 15, 1, ("z",))]


def test_an_epoch_without_outputs_is_delivered_where_the_sink_stands() -> None:
    delivery = Delivery(1)
    delivery.restore(0, 12, "token")
    delivery.open(3)

    delivery.hand_out(4, [], durable=4)

    assert delivery.delivered == 4
