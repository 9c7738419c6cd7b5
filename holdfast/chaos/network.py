"""The network of a cluster: a connection between every two processes that talk, and all that can become of one.

What is sent on a connection arrives in order, once, after a while; or the connection breaks, and of what was under way
some is lost, some arrives in spite of it, some much later, behind what newer connections carry. A path can be blocked
in one direction: what is sent waits, and who waits too long takes the connection for broken. Invariant: where a
message was lost, both ends that still live are told that they lost each other.
What a message says is not known here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from holdfast.chaos.counters import Counters
from holdfast.chaos.schedule import Schedule, Streams

RESET_MS = 1.0  # until a reset or a refused connection is noticed, about
ARRIVED_BEFORE_BREAK = 0.3  # of what is under way when a connection breaks
LATE_AFTER_BREAK = 0.4  # of the rest, where messages may be late at all
LATE_LEVELS = 0.25  # as often as they are lost, messages that would be said again come much later as well


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """How good the network is."""

    latency_ms: float  # one way, on average
    tail: float  # of the messages take many times as long
    doubled: float  # of the messages arrive twice
    late: float  # of the messages arrive again much later, whatever has happened since
    late_ms: float  # how much later, on average
    notice_ms: float  # until somebody who hears nothing takes the connection for broken, about
    levels_lost: float  # of the messages that would be said again are lost, as many overtake others


@dataclass(frozen=True, slots=True, eq=False)
class End:
    """A process at an end of connections; another life of it is another end."""

    incarnation: int
    received: Callable[[object], None]  # something has come
    lost: Callable[[str, int], None]  # the connection with that incarnation of a peer (0: not known) is of no use
    made: Callable[[str], None]  # a connection with a peer is there


@dataclass(slots=True)
class Connection:
    """What two processes say to each other; by receiver's name."""

    ends: dict[str, End]
    held: dict[str, deque[object]] = field(default_factory=dict)  # waits at a blocked path
    arrives: dict[str, float] = field(default_factory=dict)  # the last message before the next
    under_way: dict[str, deque[object]] = field(default_factory=dict)
    broken: bool = False


def pair(one: str, other: str) -> tuple[str, str]:
    """Two names, in the order that tells nothing about who speaks."""
    return (one, other) if one < other else (other, one)


class Network:
    """All connections of a world."""

    def __init__(self, schedule: Schedule, streams: Streams, options: NetworkOptions, counters: Counters) -> None:
        self.options = options
        self._schedule = schedule
        self._random = streams["network"]
        self._counters = counters
        self._ends: dict[str, End] = {}
        self._connections: dict[tuple[str, str], Connection] = {}
        self._blocked: dict[tuple[str, str], float] = {}  # (from, to) -> until when
        self._frozen: dict[str, float] = {}  # a process that stands still -> until when
        self.healed = False  # nothing arrives twice or late any more

    # --- processes come and go

    def join(self, name: str, end: End) -> None:
        """A process has come up."""
        self._ends[name] = end

    def leave(self, name: str, *, silently: bool) -> None:
        """A process is gone; with the power of its machine others are not told, and have to notice."""
        self._ends.pop(name, None)
        self._frozen.pop(name, None)
        for names in [names for names in self._connections if name in names]:
            self._break(names, self._notice_delay() if silently else self._reset_delay())

    def freeze(self, name: str, milliseconds: float) -> None:
        """A process stands still: nothing leaves it or gets into it, and it notices nothing."""
        self._frozen[name] = max(self._frozen.get(name, 0.0), self._schedule.now + milliseconds)
        for names in [names for names in self._connections if name in names]:
            self._watch(names)

    def thaw(self, name: str) -> None:
        """A process that stood still goes on."""
        self._frozen.pop(name, None)
        for names in [names for names in self._connections if name in names]:
            self._release(names)

    def block(self, sender: str, receiver: str, milliseconds: float) -> None:
        """Nothing passes in this direction for a while."""
        until = self._schedule.now + milliseconds
        self._blocked[sender, receiver] = max(self._blocked.get((sender, receiver), 0.0), until)
        self._watch(pair(sender, receiver))

    def reset(self, one: str, other: str) -> None:
        """The connection between two breaks."""
        self._break(pair(one, other), self._reset_delay())

    def heal(self) -> None:
        """All paths are open from now on."""
        self.healed = True
        for sender, receiver in list(self._blocked):
            self._blocked[sender, receiver] = 0.0
        for names in list(self._connections):
            self._release(names)

    # --- messages

    def send(self, sender: str, receiver: str, payload: object) -> None:
        """Send in order on the connection, which is made where there is none."""
        connection = self._connect(sender, receiver)
        if connection is None:
            return
        arrival = max(connection.arrives.get(receiver, 0.0), self._schedule.now + self._latency())
        connection.arrives[receiver] = arrival
        connection.under_way.setdefault(receiver, deque()).append(payload)
        self._schedule.at(arrival, lambda: self._arrive(connection, sender, receiver))

    def send_level(self, sender: str, receiver: str, payload: object) -> None:
        """Send what is said again as long as it is true: it may be lost, doubled and overtaken, and nobody is told."""
        connection = self._connect(sender, receiver)
        if connection is None or (not self.healed and self._random.random() < self.options.levels_lost):
            return
        if not self.healed and self._random.random() < self.options.levels_lost * LATE_LEVELS:
            # Not to another process: what a worker says of itself reaches only whom it is connected to.
            self._deliver_late(receiver, payload, connection.ends[receiver])
        times = 1 if self.healed or self._random.random() >= self.options.levels_lost else 2
        for _ in range(times):
            self._schedule.after(self._latency(), lambda: self._arrive_level(connection, sender, receiver, payload))

    def _connect(self, sender: str, receiver: str) -> Connection | None:
        names = pair(sender, receiver)
        if sender not in self._ends:
            return None
        connection = self._connections.get(names)
        if connection is not None:
            return connection
        if receiver not in self._ends:
            self._tell_lost(sender, (receiver, 0), self._ends[sender], self._reset_delay())
            return None
        connection = self._connections[names] = Connection({name: self._ends[name] for name in names})
        self._watch(names)
        connection.ends[sender].made(receiver)
        connection.ends[receiver].made(sender)
        return connection

    def _arrive(self, connection: Connection, sender: str, receiver: str) -> None:
        """The next message has come as far as the receiver's machine."""
        if connection.broken:
            return  # what becomes of it was decided then
        payload = connection.under_way[receiver].popleft()
        held = connection.held.setdefault(receiver, deque())
        if held or self._is_blocked(sender, receiver):
            held.append(payload)
            self._watch(pair(sender, receiver))
            return
        self._hand_over(connection.ends[receiver], receiver, payload)

    def _arrive_level(self, connection: Connection, sender: str, receiver: str, payload: object) -> None:
        if not self._is_blocked(sender, receiver) and self._ends.get(receiver) is connection.ends[receiver]:
            self._hand_over(connection.ends[receiver], receiver, payload)
            self._tell_again(receiver, sender)

    def _hand_over(self, end: End, receiver: str, payload: object) -> None:
        if self._ends.get(receiver) is not end:
            return
        end.received(payload)
        if self.healed:
            return
        if self._random.random() < self.options.doubled:
            self._counters.meet("message doubled")
            end.received(payload)
        if self._random.random() < self.options.late:
            self._deliver_late(receiver, payload)

    def _deliver_late(self, receiver: str, payload: object, only: End | None = None) -> None:
        """It comes once more, or only now, to whatever process is there by then, or `only` to this one."""

        def deliver() -> None:
            end = self._ends.get(receiver)
            if end is not None and only in (None, end) and self._frozen.get(receiver, 0.0) <= self._schedule.now:
                self._counters.meet("message of an old connection")
                end.received(payload)

        self._schedule.after(self._random.expovariate(1.0) * self.options.late_ms, deliver)

    def _tell_again(self, receiver: str, sender: str) -> None:
        """Whose words come when he is gone already, and was told to be, is told to be gone behind them."""
        if sender not in self._ends and receiver in self._ends:
            self._tell_lost(receiver, (sender, 0), self._ends[receiver], self._reset_delay())

    # --- paths that are blocked

    def _is_blocked(self, sender: str, receiver: str) -> bool:
        return self._blocked_until(sender, receiver) > self._schedule.now

    def _blocked_until(self, sender: str, receiver: str) -> float:
        return max(
            self._blocked.get((sender, receiver), 0.0), self._frozen.get(sender, 0.0), self._frozen.get(receiver, 0.0)
        )

    def _watch(self, names: tuple[str, str]) -> None:
        """Notice a connection that is blocked for long, and go on with one that is free again."""
        connection = self._connections.get(names)
        if connection is None:
            return
        one, other = names
        until = max(self._blocked_until(one, other), self._blocked_until(other, one))
        if until <= self._schedule.now:
            return
        self._schedule.at(until, lambda: self._release(names))
        self._schedule.after(self._notice_delay(), lambda: self._notice(names, connection))

    def _notice(self, names: tuple[str, str], connection: Connection) -> None:
        one, other = names
        if connection.broken or not (self._is_blocked(one, other) or self._is_blocked(other, one)):
            return
        self._counters.meet("connection given up in silence")
        self._break(names, self._reset_delay())

    def _release(self, names: tuple[str, str]) -> None:
        connection = self._connections.get(names)
        if connection is None:
            return
        for sender, receiver in (names, names[::-1]):
            held = connection.held.get(receiver)
            while held and not connection.broken and not self._is_blocked(sender, receiver):
                self._hand_over(connection.ends[receiver], receiver, held.popleft())

    # --- connections that break

    def _break(self, names: tuple[str, str], delay: float) -> None:
        connection = self._connections.pop(names, None)
        if connection is None:
            return
        connection.broken = True
        for sender, receiver in (names, names[::-1]):
            self._drop(connection, sender, receiver)
            peer = (sender, connection.ends[sender].incarnation)
            self._tell_lost(receiver, peer, connection.ends[receiver], delay * self._random.uniform(0.5, 1.5))

    def _drop(self, connection: Connection, sender: str, receiver: str) -> None:
        """Of what was under way a beginning has arrived; of the rest some comes late."""
        left = [*connection.held.get(receiver, ()), *connection.under_way.get(receiver, ())]
        arrived = 0
        if not self._is_blocked(sender, receiver) and self._random.random() < ARRIVED_BEFORE_BREAK:
            arrived = self._random.randint(0, len(left))
        for payload in left[:arrived]:
            self._hand_over(connection.ends[receiver], receiver, payload)
        for payload in left[arrived:]:
            if self.options.late and not self.healed and self._random.random() < LATE_AFTER_BREAK:
                self._deliver_late(receiver, payload)

    def _tell_lost(self, name: str, peer: tuple[str, int], end: End, delay: float) -> None:
        def tell() -> None:
            if self._ends.get(name) is not end:
                return
            frozen = self._frozen.get(name, 0.0)
            if frozen > self._schedule.now:
                self._schedule.at(frozen, tell)
                return
            end.lost(*peer)

        self._schedule.after(delay, tell)

    # --- chance

    def _latency(self) -> float:
        time = self._random.expovariate(1.0) * self.options.latency_ms
        return time * 20.0 if self._random.random() < self.options.tail else time

    def _reset_delay(self) -> float:
        return self._random.expovariate(1.0) * RESET_MS

    def _notice_delay(self) -> float:
        return self.options.notice_ms * self._random.uniform(0.5, 1.5)
