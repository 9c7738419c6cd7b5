"""SQLite: rows and their number in one transaction, and a table read as it grows."""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import holdfast as hf
from holdfast import sinks, sources, testing
from holdfast.connectors.contract import as_sink
from holdfast.connectors.polling import PollingReader
from holdfast.core.connector import Undecodable
from holdfast.core.errors import (
    ApplicationError,
    OutputExistsError,
    OutputShortError,
    ProcessingError,
    SinkError,
    UsageError,
)
from tests.cli.command import holdfast, last_line
from tests.connectors.killing import Killing
from tests.runtime.engine import run

ROWS = 2000
APP = """
import holdfast as hf


def total(order: dict[str, object], state: list[int]) -> dict[str, object]:
    state.append(1)
    return {"order": order["id"], "item": order["item"], "total": len(state)}


app = hf.Application("shop")
totals = app.source(hf.sources.SQLite("shop.db", "orders")).key_by(lambda order: order["id"] % 5).stateful(
    total, state=list
)
totals.sink(hf.sinks.SQLite("out.db", "totals", ["order", "item", "total"]), name="all")
totals.map(lambda row: (row["item"], row["order"])).sink(
    hf.sinks.SQLite("out.db", "latest", ["item", "order"], key=["item"]), name="latest"
)
"""


def sql(path: Path, *statements: str, rows: Any = ()) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements[:-1]:
            connection.execute(statement)
        if rows:
            connection.executemany(statements[-1], rows)
        else:
            connection.execute(statements[-1])


def select(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop.db"
    sql(path, "CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, item TEXT, price REAL, note BLOB)")
    return path


def add(path: Path, count: int, start: int = 1) -> None:
    rows = [(f"item {n}", n / 2, bytes([n % 256])) for n in range(start, start + count)]
    sql(path, "INSERT INTO orders (item, price, note) VALUES (?, ?, ?)", rows=rows)


def take(source: sources.SQLite, count: int, offset: object = None) -> tuple[list[Any], object]:
    reader = source.open("orders", offset)
    found: list[Any] = []
    while len(found) < count:
        block = reader.read(7, 300)
        assert block is not None
        found += source.decode(block.raw)
    after = reader.offset_after(count)
    reader.close()
    return found[:count], after


# --- the sink


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store.db"
    sql(path, "CREATE TABLE counts (word TEXT UNIQUE, n)")
    return path


def opened(path: Path, owner: str = "owner", **options: Any) -> sinks.SQLite:
    sink = sinks.SQLite(path, "counts", ["word", "n"], **options)
    sink.claim(owner)
    assert sink.resume("0", None) == 0
    return sink


def test_the_sink_keeps_the_contract_while_it_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    sql(path, "CREATE TABLE texts (text TEXT)")
    testing.check_sink(
        lambda: sinks.SQLite(path, "texts", ["text"]),
        [(f"output {n}",) for n in range(200)],
        read=lambda: select(path, "SELECT text FROM texts ORDER BY rowid"),
        kills=10,
    )


def test_an_output_is_a_dict_or_a_sequence_and_comes_back_as_it_was(store: Path) -> None:
    sink = opened(store)
    values = [None, True, 7, -(1 << 63), 0.1, math.inf, "ü\0\n", b"\0\xff", "x" * 3_000_000]
    outputs: list[Any] = [(f"w{n}", value) for n, value in enumerate(values)]
    outputs[2] = {"n": 7, "word": "w2"}
    outputs[3] = list(outputs[3])
    sink.write("0", 1, [sink.encode(output) for output in outputs])
    sink.close()
    assert select(store, "SELECT word, n FROM counts ORDER BY rowid") == [(f"w{n}", v) for n, v in enumerate(values)]


@pytest.mark.parametrize(
    ("output", "complaint"),
    [
        (("a",), "there are 2 columns, the output has 1 values"),
        ({"word": "a"}, "the columns are word, n; the output has"),
        ({"word": "a", "n": 1, "x": 1}, "the columns are word, n"),
        ("ab", "a row is a dict, a list or a tuple, not str"),
        (("a", 1 << 63), "64 bits"),
        (("a", math.nan), "NaN"),
        (("a", "\ud800"), "surrogates"),
        (("a", date(2026, 1, 1)), "SQLite holds None, bool, int, float, str and bytes, not date"),
    ],
)
def test_what_is_no_row_is_an_error_of_the_step(output: Any, complaint: str) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError), match=complaint):
        sinks.SQLite("x.db", "counts", ["word", "n"]).encode(output)


def test_a_key_lets_a_row_take_the_place_of_the_one_before(store: Path) -> None:
    sink = opened(store, key=["word"])
    sink.write("0", 1, [("a", 1), ("b", 1), ("a", 2)])
    sink.close()
    assert select(store, "SELECT word, n FROM counts ORDER BY word") == [("a", 2), ("b", 1)]


def test_a_row_that_the_table_refuses_leaves_nothing_of_its_transaction(store: Path) -> None:
    sink = opened(store)
    sink.write("0", 1, [("a", 1)])
    with pytest.raises(SinkError, match=r"does not take output 3: UNIQUE constraint failed: counts\.word"):
        sink.write("0", 2, [("b", 1), ("a", 2)])
    assert sink.resume("0", None) == 1
    sink.write("0", 2, [("b", 1)])
    sink.close()
    assert select(store, "SELECT word FROM counts") == [("a",), ("b",)]


def test_outputs_of_another_data_directory_are_refused_and_nothing_is_written(store: Path) -> None:
    sink = opened(store)
    sink.write("0", 1, [("a", 1)])
    sink.close()
    other = sinks.SQLite(store, "counts", ["word", "n"])
    other.claim("a stranger")
    with pytest.raises(OutputExistsError, match="DELETE FROM holdfast_sinks WHERE sink = 'counts'"):
        other.resume("0", None)
    other.close()
    opened(store, "a stranger", name="second").close()


def change(store: Path, statement: str) -> None:
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute(statement)


def test_what_a_process_writes_that_was_given_up_for_dead_stands_once(store: Path) -> None:
    zombie = opened(store)
    heir = opened(store)
    zombie.write("0", 1, [("a", 1), ("b", 1)])  # it was stopped in the middle of that

    heir.write("0", 1, [("a", 1)])
    heir.write("0", 2, [("b", 1), ("c", 1)])
    zombie.write("0", 3, [("c", 1)])
    zombie.write("0", 4, [("d", 1)])

    heir.close()
    zombie.close()
    assert select(store, "SELECT word FROM counts") == [("a",), ("b",), ("c",), ("d",)]
    assert select(store, "SELECT number FROM holdfast_sinks") == [(4,)]


def test_a_sink_whose_outputs_went_or_became_a_strangers_is_not_written(store: Path) -> None:
    sink = opened(store)
    sink.write("0", 1, [("a", 1), ("b", 1)])
    change(store, "UPDATE holdfast_sinks SET number = 1")
    with pytest.raises(SinkError, match="has 1 outputs; 2 were written"):
        sink.write("0", 3, [("c", 1)])
    change(store, "UPDATE holdfast_sinks SET owner = 'a stranger'")
    with pytest.raises(SinkError, match="somebody else writes outputs of sink 'counts'"):
        sink.write("0", 3, [("c", 1)])
    sink.close()


def test_a_table_that_lost_outputs_is_refused(store: Path) -> None:
    with pytest.raises(OutputShortError, match="has 0 outputs; at the checkpoint 3"):
        as_sink(sinks.SQLite(store, "counts", ["word", "n"])).open(None, 3, False)


@pytest.mark.parametrize(
    ("table", "columns", "key", "complaint"),
    [
        ("count", ["word", "n"], [], "has no table 'count': create it first"),
        ("counts", ["word", "m"], [], "has no column 'm', only word, n"),
        ("counts", ["word", "n"], ["n"], "ON CONFLICT clause does not match any PRIMARY KEY or UNIQUE constraint"),
    ],
)
def test_a_wrong_table_column_or_key_is_refused_at_the_start(
    table: str, columns: list[str], key: list[str], complaint: str, store: Path
) -> None:
    sink = sinks.SQLite(store, table, columns, key=key)
    with pytest.raises(UsageError, match=complaint):
        sink.resume("0", None)
    sink.close()


def test_a_missing_database_and_one_that_is_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is missing"):
        sinks.SQLite(tmp_path / "none.db", "t", ["a"]).resume("0", None)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "text.db").write_text("no database" * 100)
    sink = sinks.SQLite(tmp_path / "text.db", "t", ["a"])
    with pytest.raises(UsageError, match="file is not a database"):
        sink.resume("0", None)
    sink.close()
    with pytest.raises(UsageError, match="file is not a database"):
        sources.SQLite(tmp_path / "text.db", "t").partitions()


@pytest.mark.parametrize(
    "options",
    [
        {"table": "", "columns": ["a"]},
        {"table": "t", "columns": "ab"},
        {"table": "t", "columns": []},
        {"table": "t", "columns": ["a", "a"]},
        {"table": "t", "columns": ["a"], "key": ["b"]},
    ],
)
def test_wrong_options_of_the_sink_are_refused_when_it_is_made(options: Any) -> None:
    with pytest.raises(ApplicationError):
        sinks.SQLite("x.db", **options)


def test_odd_names_are_names_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "odd.db"
    sql(path, 'CREATE TABLE "a""b; DROP" ("x y" TEXT PRIMARY KEY, "select" INT)')
    sink = sinks.SQLite(path, 'a"b; DROP', ["x y", "select"], key=["x y"])
    sink.resume("0", None)
    sink.write("0", 1, [("'; --", 1), ("'; --", 2)])
    sink.close()
    source = sources.SQLite(path, 'a"b; DROP', "select")
    assert source.partitions() == ['a"b; DROP']
    assert take(source, 1)[0] == [{"x y": "'; --", "select": 2}]


# --- the source


def test_rows_come_in_the_order_of_the_rising_column_and_new_ones_when_they_are_there(shop: Path) -> None:
    add(shop, 50)
    source = sources.SQLite(shop, "orders", poll=0.001)
    assert source.live
    found, offset = take(source, 50)
    assert found[0] == {"id": 1, "item": "item 1", "price": 0.5, "note": b"\x01"}
    assert [row["id"] for row in found] == list(range(1, 51))
    thread = threading.Timer(0.05, lambda: add(shop, 3, 51))
    thread.start()
    assert [row["id"] for row in take(source, 3, offset)[0]] == [51, 52, 53]
    thread.join()


def test_the_source_keeps_the_contract(shop: Path) -> None:
    add(shop, 60)
    testing.check_source(lambda: sources.SQLite(shop, "orders", columns=["item"]), records=60)


def test_an_empty_table_is_waited_at_until_it_is_closed(shop: Path) -> None:
    reader = sources.SQLite(shop, "orders").open("orders", None)
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(reader.read(64, 1000)))
    thread.start()
    reader.close()
    thread.join(10)
    assert answers == [None]


def test_huge_rows_come_one_by_one_and_whole(shop: Path) -> None:
    sql(shop, "INSERT INTO orders (item) VALUES (?)", rows=[("x" * 2_000_000,), ("y",), ("z" * 2_000_000,)])
    found, _ = take(sources.SQLite(shop, "orders"), 3)
    assert [len(row["item"]) for row in found] == [2_000_000, 1, 2_000_000]


def test_text_that_is_not_utf8_is_an_undecodable_record_and_the_next_row_comes(shop: Path) -> None:
    sql(shop, "INSERT INTO orders (item) VALUES (CAST(X'ff41' AS TEXT))")
    add(shop, 1)
    found, _ = take(sources.SQLite(shop, "orders", columns=["id", "item"]), 2)
    assert isinstance(found[0], Undecodable)
    assert "not UTF-8" in str(found[0].error)
    assert b"'id': 1" in found[0].raw
    assert found[1] == {"id": 2, "item": "item 1"}


@pytest.mark.parametrize("ahead", [0, 1, 15, 16, 17, 48])
def test_two_rows_with_one_value_of_the_rising_column_are_an_error(ahead: int, tmp_path: Path) -> None:
    path = tmp_path / "twins.db"
    sql(path, "CREATE TABLE t (at INT)", "INSERT INTO t VALUES (?)", rows=[(n,) for n in (*range(ahead), 99, 99)])
    reader = sources.SQLite(path, "t", "at").open("t", None)
    with pytest.raises(ProcessingError, match="two rows with the value 99"):
        read_on(reader, ahead + 2)
    reader.close()


def read_on(reader: PollingReader, times: int) -> None:
    for _ in range(times):
        reader.read(64, 1000)


def test_a_database_that_is_held_is_asked_again_for_a_while(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.connectors.sqlite_source._BUSY_SECONDS", 0.01)
    add(shop, 1)
    with closing(sqlite3.connect(shop, isolation_level=None, check_same_thread=False)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        reader = sources.SQLite(shop, "orders", patience=0.2).open("orders", None)
        with pytest.raises(ProcessingError, match=r"could not be read for 0\.2 s: database is locked"):
            reader.read(1, 1000)
        reader.close()
        threading.Timer(0.3, lambda: holder.execute("COMMIT")).start()
        assert take(sources.SQLite(shop, "orders"), 1)[0][0]["id"] == 1


@pytest.mark.parametrize(
    ("table", "rising", "columns", "complaint"),
    [
        ("order", "id", None, "has no table 'order'"),
        ("orders", "number", None, "has no column 'number'"),
        ("orders", "id", ["items"], "has no column 'items'"),
    ],
)
def test_a_wrong_table_or_column_of_the_source_is_refused(
    table: str, rising: str, columns: Any, complaint: str, shop: Path
) -> None:
    with pytest.raises(UsageError, match=complaint):
        sources.SQLite(shop, table, rising, columns=columns).partitions()


@pytest.mark.parametrize(
    "options",
    [{"table": ""}, {"table": "t", "columns": "ab"}, {"table": "t", "columns": []}, {"table": "t", "poll": 0}],
)
def test_wrong_options_of_the_source_are_refused_when_it_is_made(options: Any) -> None:
    with pytest.raises(ApplicationError):
        sources.SQLite("x.db", **options)


def test_a_reader_lets_go_of_its_connection_in_the_thread_that_reads(shop: Path) -> None:
    reader = sources.SQLite(shop, "orders").open("orders", None)
    assert isinstance(reader, PollingReader)
    thread = threading.Thread(target=lambda: reader.read(1, 1))
    thread.start()
    reader.close()
    thread.join(10)
    assert not thread.is_alive()
    assert reader.read(1, 1) is None


# --- through the engine


def orders() -> Iterator[tuple[str, int]]:
    for number in range(500):
        yield f"word {number}", number


def test_a_fresh_data_directory_does_not_take_the_rows_of_another_for_its_own(store: Path, tmp_path: Path) -> None:
    def build() -> hf.Application:
        app = hf.Application("counts")
        app.source(hf.sources.Memory(orders())).sink(hf.sinks.SQLite(store, "counts", ["word", "n"]))
        return app

    assert run(build(), tmp_path / "data").error is None
    assert run(build(), tmp_path / "data").finished_before
    outcome = run(build(), tmp_path / "other")
    assert isinstance(outcome.error, OutputExistsError)
    assert select(store, "SELECT count(*) FROM counts") == [(500,)]


def test_through_the_command_every_row_comes_out_once_while_the_run_is_killed(shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.db"
    (tmp_path / "app.py").write_text(APP)
    sql(out, 'CREATE TABLE totals ("order" INT, item TEXT, total INT)')
    sql(out, 'CREATE TABLE latest (item PRIMARY KEY, "order")')
    killing = Killing(
        tmp_path,
        feed=lambda start, end: add(shop, end - start, start + 1),
        progress=lambda: int(select(out, "SELECT count(*) FROM totals")[0][0]),
        total=ROWS,
    )
    killing.survive(kills=6)

    expected = [(n, f"item {n}", (n - 1) // 5 + 1) for n in range(1, ROWS + 1)]
    found = select(out, "SELECT * FROM totals ORDER BY rowid")
    assert [(order, item) for order, item, _ in found] == [(order, item) for order, item, _ in expected]
    assert sorted(total for *_, total in found) == sorted(total for *_, total in expected)
    assert select(out, "SELECT count(*) FROM latest") == [(ROWS,)]


def test_a_wrong_table_is_one_clear_line_and_code_2(shop: Path, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP.replace('"orders"', '"order"'))
    done = holdfast(tmp_path, "run", "app.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert "has no table 'order': create it first" in last_line(done.stderr)
    (tmp_path / "app.py").write_text(APP)
    done = holdfast(tmp_path, "run", "app.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert "database 'out.db' is missing" in last_line(done.stderr)
