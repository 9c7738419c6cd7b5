"""Segments as functions: the stateless steps behind a source or a stateful step, fused into nested loops.

One Python function per segment is written as source text and compiled, because a loop that interprets steps costs more
than the user's functions (measured: 910 against 450 ns a word). There are two forms of each:
fast, which assumes that nothing raises, and careful, where every call is guarded, its outputs are held until it has
returned and its entity is as before if it raises. An exception in the fast form makes the caller do the work again in
the careful form, so both must have the same effects when nothing raises.
Order: statements stand depth-first, so outputs reach each inlet in the order of positions. Variables `p` hold
positions (turn, partition, number, *path), real only where somebody compares or names them; `numbered`, the number that
stands for one (`Plan.numbers_suffice`), which outputs pass on as it is.
"""

from __future__ import annotations

import linecache
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from types import CodeType
from typing import Any, Final

from holdfast.core.connector import remembered_by
from holdfast.core.plan import Plan, Segment
from holdfast.core.steps import Kind, Step

LOOPS_MAX: Final = 8  # CPython refuses more than 20 nested blocks
DEPTH_MAX: Final = 24  # and more than 100 levels of indentation
CHAIN_MAX: Final = 50  # steps in one function: writing them takes three calls each, and Python stops at 1000

Environment = dict[str, Any]


@lru_cache(maxsize=512)
def _compiled(text: str, name: str) -> CodeType:
    """Every return makes the pipeline anew, of the same text; compiling it costs milliseconds."""
    return compile(text, name, "exec")


class NotPlainError(Exception):
    """The bulk form met a message that is not a str; the general form must be used instead."""


class SegmentWriter:
    """Writes the source text of one segment."""

    def __init__(
        self, plan: Plan, segment: Segment, *, careful: bool, track: bool, bulk: bool = True, numbered: bool = False
    ) -> None:
        self.plan = plan
        self.segment = segment
        self.careful = careful
        self.track = track
        self.positions = track or careful
        self.numbered = numbered
        self.bulk = bulk
        self.lines: list[str] = []
        self.depth = 1
        self.loops = 0
        self.chain = 0  # steps, each behind the other, in the function being written
        self.count = 0
        self.waiting: deque[tuple[Step, bool]] = deque()
        self.written: set[tuple[int, bool]] = set()

    def compile(self, environment: Environment) -> Callable[..., None]:
        """The segment's function; every name it uses is looked up in `environment` once."""
        self._entry()
        while self.waiting:
            self._node(*self.waiting.popleft())
        body = "\n".join(self.lines)
        bound = "\n".join(f"    {name} = environment[{name!r}]" for name in environment)
        text = f"def make(environment):\n{bound}\n{body}\n    return run\n"
        name = f"<holdfast segment {self.segment.entry.name}>"
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        namespace: dict[str, Any] = {}
        exec(_compiled(text, name), namespace)  # the text is ours; user functions come in as objects
        function: Callable[..., None] = namespace["make"](environment)
        return function

    # --- text

    def _line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def _variable(self, letter: str) -> str:
        self.count += 1
        return f"{letter}{self.count}"

    # --- entries

    def _entry(self) -> None:
        if self.segment.entry.kind is Kind.SOURCE:
            self._source()
        elif self.segment.entry.on_timer is not None:
            self._timed()
        else:
            self._stateful()

    def _source(self) -> None:
        step = self.segment.entry
        self._line("def run(records, turn, rank, first):")
        self.depth += 1
        chain = self._bulk_chain(step)
        keyed = self._keyed_chain(step)
        if chain is not None:
            self._bulk_body("records", *chain)
        elif keyed is not None:
            if remembered_by(self.plan.connector(step)) is not None:
                self._line("records = [m for m in records if m is not REPEAT]")
            self._keyed_body(*keyed)
        elif self.positions:
            self._line("for n, m in enumerate(records, first):")
            self.depth += 1
            if remembered_by(self.plan.connector(step)) is not None:
                self._line("if m is REPEAT: continue")
            self._line("p = (turn, rank, n)")
            if self.careful:
                self._line("if type(m) is Undecodable:")
                self._line(f"    fail({step.index}, m.error, None, m, p)")
                self._line("else:")
                self.depth += 1
                self._emit(step, 0, "m", None, "p")
                self.depth -= 1
            else:
                self._emit(step, 0, "m", None, "p")
            self.depth -= 1
        else:
            self._line("for m in records:")
            self.depth += 1
            if remembered_by(self.plan.connector(step)) is not None:
                self._line("if m is REPEAT: continue")
            self._emit(step, 0, "m", None, None)
            self.depth -= 1
        self.depth -= 1

    def _bulk_chain(self, entry: Step) -> tuple[Step, Step] | None:
        """flat_map and inlet, where the segment is just flat_map, key_by(str) and one stateful step."""
        if not self.bulk or self.positions or remembered_by(self.plan.connector(entry)) is not None:
            return None
        chain = [entry]
        for kind in (Kind.FLAT_MAP, Kind.KEY_BY, Kind.STATEFUL):
            consumers = self.plan.consumers(chain[-1])
            if len(consumers) != 1 or consumers[0].kind is not kind:
                return None
            chain.append(consumers[0])
        return (chain[1], chain[3]) if chain[2].function is str else None

    def _bulk_body(self, records: str, flat_map: Step, inlet: Step) -> None:
        """Columns made by C loops: worth a fifth of the time of a word count."""
        for text in (
            f"before = len(messages{inlet.index})",
            f"extend = messages{inlet.index}.extend",
            f"for m in {records}:",
            f"    r = f{flat_map.index}(m)",
            "    if r is not None:",
            "        extend(r)",
            f"new = messages{inlet.index}[before:] if before else messages{inlet.index}",
            "if new and set(map(type, new)) != {str}:",
            "    raise NotPlainError",
            f"keys{inlet.index}.extend(new)",
        ):
            self._line(text)

    def _keyed_chain(self, entry: Step) -> tuple[Step, Step] | None:
        """key_by and inlet, where the segment is just key_by, perhaps behind a merge, and one stateful step."""
        if self.positions:
            return None
        chain = [entry]
        for kind in (Kind.KEY_BY, Kind.STATEFUL):
            consumers = self.plan.consumers(chain[-1])
            while len(consumers) == 1 and consumers[0].kind is Kind.MERGE:
                consumers = self.plan.consumers(consumers[0])
            if len(consumers) != 1 or consumers[0].kind is not kind:
                return None
            chain.append(consumers[0])
        return chain[1], chain[2]

    def _keyed_body(self, key_by: Step, inlet: Step) -> None:
        """Records become messages as they are, and their keys are made together."""
        for text in (
            f"new = [f{key_by.index}(m) for m in records]",
            "if not {str, int}.issuperset(map(type, new)):",
            "    new = [k if type(k) is str or type(k) is int else lookup(k) for k in new]",
            f"keys{inlet.index}.extend(new)",
            f"messages{inlet.index}.extend(records)",
        ):
            self._line(text)

    def _stateful(self) -> None:
        names = "k, m, p" if self.positions else "k, m"
        columns = "keys, messages, positions" if self.positions else "keys, messages"
        self._line("def run(keys, messages, positions, alarms):")
        self.depth += 1
        self._line("mark = book.interval")
        self._line("entities = book.entities")
        self._line(f"for {names} in zip({columns}):")
        self.depth += 1
        self._message_call()
        self.depth -= 2

    def _message_call(self) -> None:
        """One message at its entity: variables k, m, p, mark, entities."""
        step = self.segment.entry
        arguments = "m, e.state, ctx" if step.takes_ctx else "m, e.state"
        if self.careful:
            self._line("e = entities.get(k)")
            self._guarded_call(f"f{step.index}({arguments})", begins=step.takes_ctx)
            return
        self._line("try:")
        self._line("    e = entities[k]")
        self._line("except KeyError:")
        self._line("    e = make(k)")
        self._line("if e.mark != mark: touch(e)")
        if step.takes_ctx:
            self._line("begin(e, p)")
        self._line(f"r = f{step.index}({arguments})")
        self._outputs(many=step.is_generator, settles=step.takes_ctx)

    def _timed(self) -> None:
        """A step with timers: messages and alarms in one order of positions."""
        step = self.segment.entry
        self._line("entities = book.entities")
        self._line("def on_message(k, m, p):")
        self.depth += 1
        self._line("mark = book.interval")
        self._message_call()
        self.depth -= 1
        self._line("def on_alarm(k, m, p):")  # m is the timer's name
        self.depth += 1
        self._line("mark = book.interval")
        self._line("e = entities[k]")
        self._line("if e.mark != mark: touch(e)")
        self._line("ring(e, m)")
        if self.careful:
            self._guarded_call(f"g{step.index}(m, e.state, ctx)", begins=True)
        else:
            self._line("begin(e, p)")
            self._line(f"r = g{step.index}(m, e.state, ctx)")
            self._outputs(many=step.timer_is_generator, settles=True)
        self.depth -= 1
        self._line("def run(keys, messages, positions, alarms):")
        self.depth += 1
        self._line("for p, k, m, version in in_order(keys, messages, positions, alarms):")
        self._line("    if version is None: on_message(k, m, p)")
        self._line("    elif is_set(k, m, version): on_alarm(k, m, p)")
        self.depth -= 1

    def _guarded_call(self, call: str, *, begins: bool) -> None:
        """A call at entity `e`, made if it is None. (What can't be copied for a cut is no failure of a call.)"""
        self._line("fresh = e is None")
        self._line("saved = None")
        self._line("if not fresh and e.mark != mark: touch(e)")
        self._line("try:")
        self._line("    if fresh:")
        self._line("        e = make(k)")
        self._line("        touch(e)")
        self._line("    else:")
        self._line("        saved = save(e)")
        if begins:
            self._line("    begin(e, p)")
        self._line(f"    r = {call}")
        self._line(f"    r = hold_outputs(r, {self._copier(self.segment.entry)})")
        self._line("except Exception as error:")
        self._line("    if e is not None: restore(e, saved, fresh=fresh)")
        self._line(f"    fail({self.segment.entry.index}, error, k, m, p)")
        self._line("else:")
        self.depth += 1
        self._held_outputs(settles=begins)
        self.depth -= 1

    def _outputs(self, *, many: bool, settles: bool) -> None:
        """What a fast call returned, to the consumers. (An undeclared generator fails there, and is met carefully.)"""
        step = self.segment.entry
        if many:
            self._line(f"r = hold_outputs(r, {self._copier(step)})")
            self._held_outputs(settles=settles)
            return
        if settles:
            self._line("if ctx.changed: settle(e)")
        self._line("if r is not None:")
        self.depth += 1
        self._copy_for(step, "r")
        self._emit(step, 0, "r", None, "p" if self.positions else None)
        self.depth -= 1

    def _held_outputs(self, *, settles: bool) -> None:
        if settles:
            self._line("if ctx.changed: settle(e)")
        deeper = self.positions and not self.numbered
        if deeper:
            self._line("for i, x in enumerate(r[0]):")
            self._line("    q = p + (i,) if r[1] else p")
        else:
            self._line("for x in r[0]:")
        self.depth += 1
        self.loops += 1
        self._emit(self.segment.entry, 0, "x", None, "q" if deeper else "p" if self.positions else None)
        self.loops -= 1
        self.depth -= 1

    # --- streams

    def _copy_for(self, step: Step, m: str) -> None:
        """An emitted value becomes the consumers' own, unless all of them only encode it."""
        consumers = self.plan.consumers(step)
        if not consumers or not all(map(self._only_encodes, consumers)):
            self._line(f"if type({m}) not in atoms: {m} = {self._copier(step)}({m})")

    def _copier(self, step: Step) -> str:
        """What copies this step's outputs: they must be values where another step gets them."""
        return "clone" if all(map(self._only_encodes, self.plan.consumers(step))) else "copy"

    def _only_encodes(self, step: Step) -> bool:
        """Whether nothing that this step leads to could change a message, or keep it."""
        if step.kind is Kind.REPLY:
            return all(map(self._only_encodes, self.plan.consumers(step)))
        return step.kind is Kind.SINK

    def _emit(self, step: Step, output: int, m: str, k: str | None, p: str | None) -> None:
        consumers = self.plan.consumers(step, output)
        if not consumers:
            self._line("pass")
        elif len(consumers) == 1:
            self._consume(consumers[0], m, k, p)
        else:
            for ordinal, consumer in enumerate(consumers):
                own, place = m, p
                if p is not None and not self.numbered:
                    place = self._variable("p")
                    self._line(f"{place} = {p} + ({ordinal},)")
                if not self._only_encodes(consumer) and ordinal + 1 < len(consumers):
                    own = self._variable("m")
                    self._line(f"{own} = {m} if type({m}) in atoms else clone({m})")
                self._consume(consumer, own, k, place)

    def _consume(self, step: Step, m: str, k: str | None, p: str | None) -> None:
        if step.kind is Kind.STATEFUL:
            position = f"; add_position{step.index}({p})" if self.track else ""
            self._line(f"add_key{step.index}({k}); add_message{step.index}({m}){position}")
        elif step.kind is Kind.SINK:
            self._sink(step, m, k, p)
        elif self.segment.reached[step.index] > 1 or self._is_full:
            if (step.index, k is not None) not in self.written:
                self.written.add((step.index, k is not None))
                self.waiting.append((step, k is not None))
            self._line(f"node{step.index}{'k' if k else ''}({m}, {k}, {p})")
        else:
            self.chain += 1
            self._apply(step, m, k, p)
            self.chain -= 1

    @property
    def _is_full(self) -> bool:
        """Whether the function being written can't take another step."""
        return self.loops >= LOOPS_MAX or self.depth >= DEPTH_MAX or self.chain >= CHAIN_MAX

    def _node(self, step: Step, keyed: bool) -> None:
        """A step reached on several ways, or too deep: a function of its own."""
        self.depth, self.loops, self.chain = 1, 0, 0
        self._line(f"def node{step.index}{'k' if keyed else ''}(m, k, p):")
        self.depth = 2
        self._apply(step, "m", "k" if keyed else None, "p" if self.positions else None)
        self.depth = 1

    def _sink(self, step: Step, m: str, k: str | None, p: str | None) -> None:
        position = f"; add_position{step.index}({p})" if self.track else ""
        if not self.careful:
            self._line(f"add_output{step.index}({m}){position}")
            return
        self._line("try:")
        self._line(f"    add_output{step.index}({m}){position}")
        self._line("except Exception as error:")
        self._line(f"    fail({step.index}, error, {k}, {m}, {p})")

    def _reply(self, step: Step, m: str, k: str | None, p: str | None) -> None:
        start = self.depth
        if self.careful:
            self._guard([f"add_reply({m}, {p})"], step, m, k, p)
        else:
            self._line(f"add_reply({m}, {p})")
        self._emit(step, 0, m, k, p)
        self.depth = start

    def _apply(self, step: Step, m: str, k: str | None, p: str | None) -> None:
        if step.kind is Kind.MERGE:
            self._emit(step, 0, m, k, p)
        elif step.kind is Kind.REPLY:
            self._reply(step, m, k, p)
        elif step.kind is Kind.FLAT_MAP:
            self._flat_map(step, m, k, p)
        elif step.kind is Kind.KEY_BY:
            self._key_by(step, m, k, p)
        elif step.kind is Kind.MAP:
            r = self._variable("r")
            text = f"{r} = f{step.index}({m})"
            if self.careful:
                self._guard([text, f"if type({r}) not in atoms: {r} = {self._copier(step)}({r})"], step, m, k, p)
                self._emit(step, 0, r, k, p)
                self.depth -= 1
            else:
                self._line(text)
                self._copy_for(step, r)
                self._emit(step, 0, r, k, p)
        else:
            self._choice(step, m, k, p)

    def _guard(self, lines: list[str], step: Step, m: str, k: str | None, p: str | None) -> None:
        """A guarded call; what follows stands in its else branch, one level deeper."""
        self._line("try:")
        for text in lines:
            self._line("    " + text)
        self._line("except Exception as error:")
        self._line(f"    fail({step.index}, error, {k}, {m}, {p})")
        self._line("else:")
        self.depth += 1

    def _flat_map(self, step: Step, m: str, k: str | None, p: str | None) -> None:
        r, x, i = self._variable("r"), self._variable("m"), self._variable("i")
        start = self.depth
        call = f"{r} = f{step.index}({m})"
        if self.careful:
            self._guard([call, f"if {r} is not None: {r} = hold({r}, {self._copier(step)})"], step, m, k, p)
        else:
            self._line(call)
        self._line(f"if {r} is not None:")
        self.depth += 1
        deeper = self.positions and not self.numbered
        self._line(f"for {i}, {x} in enumerate({r}):" if deeper else f"for {x} in {r}:")
        self.depth += 1
        self.loops += 1
        if not self.careful:
            self._copy_for(step, x)
        place = p
        if deeper:
            place = self._variable("p")
            self._line(f"{place} = {p} + ({i},)")
        self._emit(step, 0, x, k, place)
        self.loops -= 1
        self.depth = start

    def _key_by(self, step: Step, m: str, k: str | None, p: str | None) -> None:
        key = self._variable("k")
        told_apart = f"if type({key}) is not str and type({key}) is not int: {key} = lookup({key})"
        lines = [f"{key} = f{step.index}({m})", told_apart]
        if step.function is str and not self.careful:
            lines = [f"{key} = {m} if type({m}) is str else lookup(str({m}))"]
        if self.careful:
            self._guard(lines, step, m, k, p)
            self._emit(step, 0, m, key, p)
            self.depth -= 1
        else:
            for text in lines:
                self._line(text)
            self._emit(step, 0, m, key, p)

    def _choice(self, step: Step, m: str, k: str | None, p: str | None) -> None:
        """filter and branch."""
        start = self.depth
        chosen = f"f{step.index}({m})"
        if self.careful:
            c = self._variable("c")
            self._guard([f"{c} = True if {chosen} else False"], step, m, k, p)
            chosen = c
        self._line(f"if {chosen}:")
        self.depth += 1
        self._emit(step, 0, m, k, p)
        self.depth -= 1
        if step.kind is Kind.BRANCH:
            self._line("else:")
            self.depth += 1
            self._emit(step, 1, m, k, p)
        self.depth = start
