"""An application is built without I/O, and mistakes are refused with a sentence that names the step."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast import sinks, sources
from holdfast.core.application import Application
from holdfast.core.context import Context
from holdfast.core.errors import ApplicationError
from holdfast.core.pipeline import Pipeline
from holdfast.core.plan import Plan
from holdfast.core.steps import Kind, Port
from holdfast.core.streams import KeyedStream, Stream
from holdfast.core.types import TypeRegistry


def new_stream() -> Stream[str]:
    return Application("test").source(sources.Memory(["a"]))


def new_keyed() -> KeyedStream[str]:
    return new_stream().key_by(str)


def application_of(stream: Stream[Any] | KeyedStream[Any]) -> Application:
    return stream._application


def count(message: str, state: list[str]) -> int:
    state.append(message)
    return len(state)


def count_with_ctx(message: str, state: list[str], ctx: Context) -> int:
    return len(state)


# --- names


@pytest.mark.parametrize("name", ["word-count", "a", "x" * 100, "with space", "größe", "v1.2", "_"])
def test_names_fit_for_a_folder_are_accepted(name: str) -> None:
    assert Application(name).name == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "a/b", "a\\b", "a\0b", "a\nb", " a", "a ", "a.", "a:b", "x" * 101, "\ud800", 7, None],
)
def test_other_names_are_refused(name: Any) -> None:
    with pytest.raises(ApplicationError):
        Application(name)


def test_sources_and_sinks_are_numbered_among_their_kind_from_the_second_on() -> None:
    app = Application("test")
    for name in (None, "named", None):
        app.source(sources.Memory([1]), name=name).sink(sinks.Memory(), name=name)
    assert [step.name for step in app.sources] == ["source", "named", "source-3"]
    assert [step.name for step in app.sinks] == ["sink", "named", "sink-3"]


def test_sinks_for_dead_letters_only_are_numbered_after_all_others() -> None:
    """So that giving on_error= to a step never renames the sink of an output."""
    app = Application("test", on_error=sinks.Memory())
    stream = app.source(sources.Memory(["a"]))
    stream.map(str, on_error=sinks.Memory()).sink(sinks.Memory())
    app.check()
    assert [step.name for step in app.sinks] == ["sink", "sink-2", "sink-3"]
    assert [step.index for step in app.steps] == list(range(len(app.steps)))
    mapping = app.steps[1]
    assert app.on_error is app.sinks[1]
    assert mapping.on_error is app.sinks[2]
    assert app.sinks[0].on_error is app.on_error


def test_a_sink_given_twice_is_one_step() -> None:
    app, sink = Application("test"), sinks.Memory()
    stream = app.source(sources.Memory(["a"]), on_error=sink)
    stream.sink(sink)
    stream.map(str).sink(sink)
    app.check()
    (step,) = app.sinks
    assert step.upstream == (Port(0), Port(2))
    assert app.sources[0].on_error is step
    assert app.sources[0].consumers == ([1, 2],)


def test_a_sink_given_twice_cannot_have_two_names_or_rules() -> None:
    stream, sink = new_stream(), sinks.Memory()
    stream.sink(sink, name="first")
    stream.sink(sink, name="first")
    with pytest.raises(ApplicationError, match=r"first.*give name= once"):
        stream.sink(sink, name="second")
    with pytest.raises(ApplicationError, match=r"first.*give it once"):
        stream.sink(sink, on_error="skip")


def test_repeated_recovery_ids_are_refused() -> None:
    app = Application("test")
    keyed = app.source(sources.Memory(["a"])).key_by(str)
    keyed.stateful(count, state=list).sink(sinks.Memory(), name="sink-2")
    with pytest.raises(ApplicationError, match=r"'count'.*another stateful step has this name already; give name="):
        keyed.stateful(count, state=list)
    with pytest.raises(ApplicationError, match=r"'source'.*another source"):
        app.source(sources.Memory(["a"]), name="source")
    with pytest.raises(ApplicationError, match=r"'sink-2'.*another sink"):
        keyed.sink(sinks.Memory())
    keyed.stateful(count, state=list, name="count again")


def test_a_stateful_lambda_needs_a_name() -> None:
    keyed = new_keyed()
    with pytest.raises(ApplicationError, match=r"lambda has no name.*give name="):
        keyed.stateful(lambda message, state: None, state=list)
    with pytest.raises(ApplicationError, match="lambda has no name"):
        keyed.stateful(functools.partial(lambda extra, message, state: None, 1), state=list)
    keyed.stateful(lambda message, state: None, state=list, name="named")
    assert application_of(keyed).stateful_steps[0].name == "named"


def test_labels_of_other_steps_are_readable_and_differ() -> None:
    stream = new_stream().map(str.lower).map(str.lower).map(lambda word: word).filter(bool).map(lambda word: word)
    stream.merge(stream)
    names = [step.name for step in application_of(stream).steps]
    assert names == ["source", "lower", "lower-2", "map", "bool", "map-2", "merge"]


def test_old_names_must_be_free() -> None:
    keyed = new_keyed()
    keyed.stateful(count, state=list, was="old").sink(sinks.Memory())
    keyed.stateful(count, state=list, name="other", was="old").sink(sinks.Memory())
    with pytest.raises(ApplicationError, match=r"'other'.*was='old'"):
        application_of(keyed).check()
    keyed = new_keyed()
    keyed.stateful(count, state=list).sink(sinks.Memory())
    keyed.stateful(count, state=list, name="other", was="count")
    with pytest.raises(ApplicationError, match=r"'other'.*was='count'"):
        application_of(keyed).check()
    with pytest.raises(ApplicationError, match=r"'third'.*was=''"):
        new_keyed().stateful(count, state=list, name="third", was="")


# --- the application as a whole


def test_building_does_no_io(tmp_path: Path) -> None:
    app = Application("test", on_error=sinks.JsonLines(str(tmp_path / "letters")))
    app.source(sources.TextFile(str(tmp_path / "none"))).sink(sinks.TextFile(str(tmp_path / "out")))
    app.check()
    assert list(tmp_path.iterdir()) == []


def test_incomplete_applications_are_refused() -> None:
    app = Application("test")
    with pytest.raises(ApplicationError, match="has no source"):
        app.check()
    stream = app.source(sources.Memory([1]))
    stream.map(str)
    with pytest.raises(ApplicationError, match="has no sink"):
        app.check()
    app.source(sources.Memory([1]), name="unread")
    stream.sink(sinks.Memory())
    with pytest.raises(ApplicationError, match="'unread': nothing reads this source"):
        app.check()


def test_a_complete_application_does_not_change() -> None:
    stream = new_stream()
    stream.sink(sinks.Memory())
    app = application_of(stream)
    app.check()
    app.check()
    with pytest.raises(ApplicationError, match="is complete"):
        stream.map(str)
    with pytest.raises(ApplicationError, match="is complete"):
        stream.sink(sinks.Memory())
    with pytest.raises(ApplicationError, match="is complete"):
        stream.sink(app.sinks[0].sink)
    assert len(app.steps) == 2


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "10"])
def test_a_limit_of_entities_is_a_positive_int(limit: Any) -> None:
    with pytest.raises(ApplicationError, match="entities_in_memory"):
        Application("test", entities_in_memory=limit)


@pytest.mark.parametrize("on_error", ["ignore", None, 3, sinks.Memory])
def test_an_application_has_one_of_the_rules_for_errors(on_error: Any) -> None:
    with pytest.raises(ApplicationError, match='must be "stop", "skip" or a sink'):
        Application("test", on_error=on_error)


def test_a_step_has_one_of_the_rules_for_errors() -> None:
    with pytest.raises(ApplicationError, match="step 'lower': on_error='stop it' must be"):
        new_stream().map(str.lower, on_error="stop it")


def test_a_sink_that_cannot_write_dead_letters_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ApplicationError, match="can't write a dead letter"):
        new_stream().map(str.lower, on_error=sinks.TextFile(str(tmp_path / "letters.txt")))


@pytest.mark.parametrize("thing", [None, "input.txt", sources.Memory, sinks.Memory(), 5])
def test_what_is_not_a_source_is_refused(thing: Any) -> None:
    with pytest.raises(ApplicationError, match="is not a source"):
        Application("test").source(thing)


@pytest.mark.parametrize("thing", [None, "output.txt", sinks.Memory, sources.Memory([1]), 5])
def test_what_is_not_a_sink_is_refused(thing: Any) -> None:
    with pytest.raises(ApplicationError, match="is not a sink"):
        new_stream().sink(thing)


def test_a_source_and_a_sink_of_the_users_own_are_accepted() -> None:
    class Numbers:
        def partitions(self) -> list[str]:
            return ["0"]

        def read(self, partition: str, offset: Any) -> Iterator[tuple[int, int]]:
            yield 1, 1

    class Table:
        def resume(self, partition: str, token: Any) -> int:
            return 0

        def write(self, partition: str, first_number: int, outputs: Any) -> None: ...

        def flush(self, partition: str) -> None: ...

    app = Application("test")
    app.source(Numbers()).sink(Table())
    app.check()


def test_merging_needs_streams_of_one_application_and_one_sort() -> None:
    stream, keyed = new_stream(), new_keyed()
    with pytest.raises(ApplicationError, match="belongs to application 'test'; merge streams of one"):
        stream.merge(new_stream())
    with pytest.raises(ApplicationError, match="nothing to merge with"):
        stream.merge()
    with pytest.raises(ApplicationError, match="is not a stream"):
        stream.merge([stream])  # type: ignore[arg-type]
    with pytest.raises(ApplicationError, match="one stream has keys and another has none"):
        stream.merge(stream.key_by(str))  # type: ignore[arg-type]
    assert isinstance(keyed.merge(keyed.filter(bool)), KeyedStream)


def test_keys_stay_until_a_stateful_step() -> None:
    keyed = new_keyed()
    yes, no = keyed.map(str).flat_map(list).filter(bool).branch(bool)
    assert isinstance(yes.merge(no), KeyedStream)
    assert isinstance(yes.stateful(count, state=list), Stream)
    flags = {step.kind: step.keyed for step in application_of(keyed).steps}
    assert flags[Kind.BRANCH]
    assert not flags[Kind.STATEFUL]
    assert not flags[Kind.SOURCE]


def test_a_refused_step_leaves_the_application_as_it_was() -> None:
    keyed = new_keyed()
    wrong: list[dict[str, Any]] = [
        {"state": []},
        {"state": list, "on_timer": 5},
        {"state": list, "on_error": "never"},
    ]
    for arguments in wrong:
        with pytest.raises(ApplicationError):
            keyed.stateful(count, **arguments)
    keyed.stateful(count, state=list).sink(sinks.Memory())
    application_of(keyed).check()
    assert [step.name for step in application_of(keyed).steps] == ["source", "str", "count", "sink"]


def test_whoever_can_be_answered_or_queried_needs_no_sink() -> None:
    answers = Application("answers")
    answers.source(sources.Memory([1])).map(str).reply()
    answers.check()
    keeps = Application("keeps")
    keeps.source(sources.Send()).key_by(str).stateful(tally, state=list)
    keeps.check()
    with pytest.raises(ApplicationError, match="no sink"):
        forgets = Application("forgets")
        forgets.source(sources.Memory([1])).key_by(str).stateful(tally, state=list)
        forgets.check()


def test_reply_steps_are_told_apart_and_keep_keys() -> None:
    app = Application("replies")
    keyed = app.source(sources.Memory([1])).reply().key_by(str).reply()
    keyed.stateful(tally, state=list)
    assert [step.name for step in app.steps if step.kind.value == "reply"] == ["reply", "reply-2"]


def test_a_stateful_step_cannot_have_the_name_of_a_system_step() -> None:
    app = Application("named")
    app.source(sources.Send(), name="orders").key_by(str).stateful(tally, state=list, name="$send:orders")
    with pytest.raises(ApplicationError, match="rename it"):
        Pipeline(Plan(app), [(0, "0")], TypeRegistry())


def tally(message: object, seen: list[object]) -> None:
    seen.append(message)
