"""PostgreSQL: rows and their number in one transaction, a table read as it grows, and a server that comes and goes."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import pytest

import holdfast as hf
from holdfast import testing
from holdfast.connectors.contract import as_sink
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
from tests.connectors import postgres_server
from tests.connectors.killing import Killing
from tests.connectors.postgres_server import Server

pytestmark = pytest.mark.skipif(bool(postgres_server.missing()), reason=postgres_server.missing() or "there is one")

ROWS = 1500
APP = """
import holdfast as hf


def total(order: dict[str, object], state: list[int]) -> tuple[object, object, int]:
    state.append(1)
    return order["id"], order["item"], len(state)


SERVER = {server!r}
app = hf.Application("shop")
totals = app.source(hf.sources.PostgreSQL(SERVER, "orders")).key_by(lambda order: order["id"] % 5).stateful(
    total, state=list
)
totals.sink(hf.sinks.PostgreSQL(SERVER, "totals", ["id", "item", "total"]), name="all")
totals.map(lambda row: (row[0] % 5, row[2])).sink(
    hf.sinks.PostgreSQL(SERVER, "latest", ["rest", "total"], key=["rest"]), name="latest"
)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres_server.server() as made:
        yield made


@pytest.fixture
def shop(server: Server) -> Iterator[Server]:
    server.sql("CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, item text, price numeric)")
    server.sql("CREATE TABLE totals (at serial PRIMARY KEY, id bigint, item text, total int)")
    server.sql("CREATE TABLE latest (rest int PRIMARY KEY, total int)")
    yield server
    server.sql("DROP TABLE orders, totals, latest")
    server.sql("DROP TABLE IF EXISTS holdfast_sinks")


@pytest.fixture
def counts(server: Server) -> Iterator[Server]:
    server.sql("CREATE TABLE counts (word text UNIQUE, n int)")
    yield server
    server.sql("DROP TABLE counts")
    server.sql("DROP TABLE IF EXISTS holdfast_sinks")


def add(server: Server, count: int, start: int = 1) -> None:
    rows = [(f"item {n}",) for n in range(start, start + count)]
    server.sql("INSERT INTO orders (item) VALUES (%s)", *rows, many=True)


def sink_of(server: Server, owner: str = "owner", **options: Any) -> Any:
    sink = hf.sinks.PostgreSQL(server.conninfo(), "counts", ["word", "n"], **options)
    sink.claim(owner)
    return sink


def opened(server: Server, owner: str = "owner", **options: Any) -> Any:
    sink = sink_of(server, owner, **options)
    assert sink.resume("0", None) == 0
    return sink


def take(source: Any, count: int, offset: object = None) -> tuple[list[Any], object]:
    reader = source.open(source.table, offset)
    found: list[Any] = []
    while len(found) < count:
        block = reader.read(7, 300)
        assert block is not None
        found += source.decode(block.raw)
    after = reader.offset_after(count)
    reader.close()
    return found[:count], after


# --- the sink


def test_the_sink_keeps_the_contract_while_it_is_killed(server: Server) -> None:
    server.sql("CREATE TABLE texts (at serial, text text)")
    testing.check_sink(
        lambda: hf.sinks.PostgreSQL(server.conninfo(), "texts", ["text"]),
        [(f"output {n}",) for n in range(300)],
        read=lambda: server.sql("SELECT text FROM texts ORDER BY at"),
        kills=10,
    )


def test_values_come_into_columns_of_their_types(server: Server) -> None:
    columns = {
        "a": "bool", "b": "bigint", "c": "float8", "d": "text", "e": "bytea", "f": "numeric", "g": "date",
        "h": "timestamptz", "i": "uuid", "j": "jsonb", "k": "text[]", "l": "interval", "m": "numeric",
    }  # fmt: skip
    server.sql(f"CREATE TABLE kinds ({', '.join(f'{name} {kind}' for name, kind in columns.items())})")
    row: dict[str, Any] = {
        "a": True, "b": -(1 << 63), "c": 0.1, "d": "ü\n'\"\\ 🙂" + "x" * 2_000_000, "e": b"\0\xff",
        "f": Decimal("1.50"), "g": date(2026, 2, 28),
        "h": datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2))),
        "i": UUID(int=7), "j": {"n": [1, None, {"ü": True}]}, "k": ["a", "b\"c"], "l": timedelta(days=3, seconds=1),
        "m": 1 << 80,
    }  # fmt: skip
    sink = hf.sinks.PostgreSQL(server.conninfo(), "kinds", list(columns), name="kinds")
    sink.resume("0", None)
    nothing = dict.fromkeys(columns)
    sink.write("0", 1, [sink.encode(row), sink.encode(nothing)])
    sink.close()
    found = server.sql("SELECT * FROM kinds")
    assert found == [tuple(row.values()), tuple(nothing.values())]
    server.sql("DROP TABLE kinds, holdfast_sinks")


@pytest.mark.parametrize(
    ("output", "complaint"),
    [
        (("a",), "there are 2 columns, the output has 1 values"),
        (("a\0", 1), "NUL character"),
        (("a", {"x": "\0"}), "JSON with a NUL"),
        (("a", "\ud800"), "surrogates"),
        (("a", {1, 2}), "lists of these, and dicts as JSON, not set"),
    ],
)
def test_what_is_no_row_is_an_error_of_the_step(output: Any, complaint: str, server: Server) -> None:
    with pytest.raises((TypeError, ValueError), match=complaint):
        sink_of(server).encode(output)


def test_a_key_lets_a_row_take_the_place_of_the_one_before(counts: Server) -> None:
    sink = opened(counts, key=["word"])
    sink.write("0", 1, [("a", 1), ("b", 1), ("a", 2)])
    sink.close()
    assert counts.sql("SELECT word, n FROM counts ORDER BY word") == [("a", 2), ("b", 1)]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [(("a", 2), 'duplicate key value violates unique constraint "counts_word_key"'), (("x", "many"), "integer")],
)
def test_a_row_that_the_table_refuses_leaves_nothing_of_its_transaction(
    row: Any, complaint: str, counts: Server
) -> None:
    sink = opened(counts)
    sink.write("0", 1, [("a", 1)])
    with pytest.raises(SinkError, match=rf"does not take output 3: .*{complaint}"):
        sink.write("0", 2, [("b", 1), row, ("c", 1)])
    assert sink.resume("0", None) == 1
    sink.write("0", 2, [("b", 1)])
    sink.close()
    assert counts.sql("SELECT word FROM counts ORDER BY word") == [("a",), ("b",)]


def test_outputs_of_another_data_directory_are_refused(counts: Server) -> None:
    sink = opened(counts)
    sink.write("0", 1, [("a", 1)])
    sink.close()
    other = sink_of(counts, "a stranger")
    with pytest.raises(OutputExistsError, match="DELETE FROM holdfast_sinks WHERE sink = 'counts'"):
        other.resume("0", None)
    other.close()


def test_outputs_that_another_transaction_brought_meanwhile_are_left_out(counts: Server) -> None:
    slow, fast = opened(counts), opened(counts)
    fast.write("0", 1, [("a", 1), ("b", 1)])
    slow.write("0", 1, [("a", 1), ("b", 1), ("c", 1)])
    fast.close()
    slow.close()
    assert counts.sql("SELECT word FROM counts ORDER BY word") == [("a",), ("b",), ("c",)]


def test_a_transaction_that_is_still_on_its_way_is_waited_for(counts: Server) -> None:
    import psycopg

    opened(counts).close()
    with psycopg.connect(counts.conninfo()) as late:
        late.execute("UPDATE holdfast_sinks SET number = 1")
        late.execute("INSERT INTO counts VALUES ('a', 1)")
        answers: list[int] = []
        heir = sink_of(counts)
        thread = threading.Thread(target=lambda: answers.append(heir.resume("0", None)))
        thread.start()
        while not counts.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
            assert not answers
    thread.join(30)
    heir.close()
    assert answers == [1]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_a_server_that_is_restarted_is_gone_on_with(how: int, counts: Server) -> None:
    sink = opened(counts)
    sink.write("0", 1, [("a", 1)])
    counts.stop(how)
    starter = threading.Timer(0.3, counts.start)
    starter.start()
    sink.write("0", 2, [("b", 1)])
    starter.join()
    counts.restart(how)
    sink.write("0", 3, [("c", 1)])
    sink.close()
    assert counts.sql("SELECT word FROM counts ORDER BY word") == [("a",), ("b",), ("c",)]


def test_a_server_that_stays_away_ends_patience_with_one_line(counts: Server) -> None:
    sink = opened(counts, patience=0.2)
    counts.stop()
    try:
        with pytest.raises(SinkError, match=r"table 'counts' could not be written for 0\.2 s: "):
            sink.write("0", 1, [("a", 1)])
    finally:
        counts.start()
    assert counts.sql("SELECT word FROM counts") == []


def test_a_connection_that_is_cut_again_and_again_loses_and_repeats_nothing(counts: Server) -> None:
    sink = opened(counts)
    ended = threading.Event()
    cuts = 0

    def cut() -> None:
        nonlocal cuts
        random = Random(1)
        while not ended.wait(random.uniform(0.0, 0.05)):
            cuts += len(
                counts.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'holdfast'")
            )

    thread = threading.Thread(target=cut)
    thread.start()
    number = 1
    while cuts < 15:
        rows = [(f"word {n}", n) for n in range(number, number + 20)]
        sink.write("0", number, rows)
        number += 20
    ended.set()
    thread.join()
    sink.close()
    assert counts.sql("SELECT n FROM counts ORDER BY n") == [(n,) for n in range(1, number)]


def test_a_table_that_lost_outputs_is_refused(counts: Server) -> None:
    sink = as_sink(sink_of(counts))
    with pytest.raises(OutputShortError, match="has 0 outputs; at the checkpoint 3"):
        sink.open(None, 3, False)
    sink.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("table", "columns", "key", "complaint"),
    [
        ("count", ["word", "n"], [], "has no table 'count': create it first"),
        ("public.count", ["word", "n"], [], r"has no table 'public\.count'"),
        ("counts", ["word", "m"], [], "has no column 'm', only word, n"),
        ("counts", ["word", "n"], ["n"], "no unique or exclusion constraint matching the ON CONFLICT"),
    ],
)
def test_a_wrong_table_column_or_key_is_refused_at_the_start(
    table: str, columns: list[str], key: list[str], complaint: str, counts: Server
) -> None:
    sink = hf.sinks.PostgreSQL(counts.conninfo(), table, columns, key=key)
    with pytest.raises(UsageError, match=complaint):
        sink.resume("0", None)
    sink.close()


@pytest.mark.parametrize("conninfo", ["dbname=none", "user=none"])
def test_a_wrong_database_or_user_is_refused_at_once(conninfo: str, server: Server) -> None:
    wrong = f"host={server.folder} user=test dbname=postgres {conninfo}"
    with pytest.raises(UsageError, match="does not exist"):
        hf.sinks.PostgreSQL(wrong, "t", ["a"]).resume("0", None)
    with pytest.raises(UsageError, match="does not exist"):
        hf.sources.PostgreSQL(wrong, "t").partitions()


def test_what_is_no_connection_string_is_refused_when_the_connector_is_made() -> None:
    with pytest.raises(ApplicationError, match="no connection string of PostgreSQL"):
        hf.sinks.PostgreSQL("nonsense", "t", ["a"])
    with pytest.raises(ApplicationError, match="no connection string of PostgreSQL"):
        hf.sources.PostgreSQL("port", "t")


# --- the source


def test_rows_come_in_the_order_of_their_numbers_and_new_ones_when_they_are_there(shop: Server) -> None:
    add(shop, 50)
    source = hf.sources.PostgreSQL(shop.conninfo(), "orders", poll=0.001)
    assert source.live
    found, offset = take(source, 50)
    assert found[0] == {"id": 1, "item": "item 1", "price": None}
    assert [row["id"] for row in found] == list(range(1, 51))
    timer = threading.Timer(0.05, lambda: add(shop, 3, 51))
    timer.start()
    assert [row["id"] for row in take(source, 3, offset)[0]] == [51, 52, 53]
    timer.join()


def test_the_source_keeps_the_contract(shop: Server) -> None:
    add(shop, 30)
    testing.check_source(
        lambda: hf.sources.PostgreSQL(shop.conninfo(), "public.orders", columns=["item"], poll=0.001), records=30
    )


def test_a_row_committed_late_is_not_passed_over_by_one_with_a_greater_number(shop: Server) -> None:
    import psycopg

    source = hf.sources.PostgreSQL(shop.conninfo(), "orders", poll=0.001)
    with psycopg.connect(shop.conninfo()) as late:
        add(shop, 1)
        late.execute("INSERT INTO orders (item) VALUES ('late')")
        add(shop, 1)
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.extend(take(source, 3)[0]), daemon=True)
        thread.start()
        thread.join(0.3)
        assert found == []
    thread.join(30)
    assert [row["item"] for row in found] == ["item 1", "late", "item 1"]


def test_many_writers_at_once_lose_no_row(shop: Server) -> None:
    import psycopg

    def write(seed: int) -> None:
        random, pause = Random(seed), threading.Event()
        with psycopg.connect(shop.conninfo()) as connection:
            for _ in range(60):
                connection.execute("INSERT INTO orders (item) VALUES (%s)", (f"of {seed}",))
                pause.wait(random.uniform(0.0, 0.004))
                if random.random() < 0.2:
                    connection.rollback()
                else:
                    connection.commit()

    writers = [threading.Thread(target=write, args=(seed,)) for seed in range(4)]
    source = hf.sources.PostgreSQL(shop.conninfo(), "orders", poll=0.0005)
    reader = source.open("orders", None)
    found: list[Any] = []

    def read() -> None:
        while (block := reader.read(64, 1000)) is not None:
            rows: list[Any] = source.decode(block.raw)
            found.extend(row["id"] for row in rows)

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    expected = [number for (number,) in shop.sql("SELECT id FROM orders ORDER BY id")]
    deadline = time.monotonic() + 30
    while len(found) < len(expected) and time.monotonic() < deadline:
        time.sleep(0.005)
    reader.close()
    reading.join(30)
    assert found == expected


def test_values_that_are_none_and_text_that_is_not_utf8_are_undecodable_records(server: Server) -> None:
    server.sql("CREATE DATABASE loose ENCODING 'SQL_ASCII' TEMPLATE template0")
    server.sql("CREATE TABLE odd (id serial, t text, r int4range, at timestamptz)", database="loose")
    server.sql("INSERT INTO odd (t) VALUES (convert_from('\\xff41', 'SQL_ASCII')), ('ä')", database="loose")
    server.sql("INSERT INTO odd (r, at) VALUES ('[1,2)', NULL), (NULL, '2026-01-01 12:00+02')", database="loose")
    found, _ = take(hf.sources.PostgreSQL(server.conninfo("loose"), "odd"), 4)
    assert isinstance(found[0], Undecodable)
    assert "not UTF-8" in str(found[0].error)
    assert found[1] == {"id": 2, "t": "ä", "r": None, "at": None}
    assert isinstance(found[2], Undecodable)
    assert "what is no value" in str(found[2].error)
    assert found[3]["at"] == datetime(2026, 1, 1, 10, tzinfo=UTC)
    server.sql("DROP DATABASE loose")


def test_a_restarted_server_is_asked_again_until_patience_ends(shop: Server) -> None:
    add(shop, 1)
    source = hf.sources.PostgreSQL(shop.conninfo(), "orders", patience=0.2)
    reader = source.open("orders", None)
    assert reader.read(1, 100) is not None
    shop.restart(signal.SIGINT)
    add(shop, 1, 2)
    assert reader.read(1, 100) is not None
    shop.stop()
    try:
        with pytest.raises(ProcessingError, match=r"table 'orders' could not be read for 0\.2 s"):
            reader.read(1, 100)
    finally:
        shop.start()
        reader.close()


@pytest.mark.parametrize(
    ("table", "rising", "columns", "complaint"),
    [
        ("order", "id", None, "has no table 'order'"),
        ("orders", "number", None, "has no column 'number'"),
        ("orders", "id", ["items"], "has no column 'items'"),
    ],
)
def test_a_wrong_table_or_column_of_the_source_is_refused(
    table: str, rising: str, columns: Any, complaint: str, shop: Server
) -> None:
    with pytest.raises(UsageError, match=complaint):
        hf.sources.PostgreSQL(shop.conninfo(), table, rising, columns=columns).partitions()


# --- through the command


def test_every_row_comes_out_once_through_kills_and_restarts_of_the_server(shop: Server, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP.format(server=shop.conninfo()))
    restarts = 0

    def progress() -> int:
        return int(shop.sql("SELECT count(*) FROM totals")[0][0])

    def feed(start: int, end: int) -> None:
        nonlocal restarts
        add(shop, end - start, start + 1)
        if start % 250 == 0:  # while the run goes on
            shop.restart(signal.SIGQUIT if restarts % 2 else signal.SIGINT)
            restarts += 1

    Killing(tmp_path, feed=feed, progress=progress, total=ROWS).survive(kills=4)

    found = shop.sql("SELECT id, item, total FROM totals ORDER BY at")
    totals = dict.fromkeys(range(5), 0)
    rows = shop.sql("SELECT id, item FROM orders ORDER BY id")
    for (number, name), (order, item, total) in zip(rows, found, strict=True):
        totals[order % 5] += 1
        assert (order, item, total) == (number, name, totals[order % 5])
    assert sorted(shop.sql("SELECT rest, total FROM latest")) == list(totals.items())
    assert restarts == 6


def test_a_missing_driver_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "psycopg.py").write_text("raise ImportError('no such driver')\n")
    (tmp_path / "app.py").write_text(APP.format(server="dbname=x"))
    done = holdfast(tmp_path, "run", "app.py", PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert last_line(done.stderr).endswith(
        "PostgreSQL needs the driver psycopg (no such driver): pip install 'holdfast[postgres]'"
    )
