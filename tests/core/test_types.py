"""Types: a tag leads back to its class, or nothing is written."""

from __future__ import annotations

import enum
import functools
import sys
import threading
import types
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import pytest

from holdfast.core import types as types_module
from holdfast.core.errors import DamagedError, UsageError, ValueTypeError
from holdfast.core.types import TypeRegistry, collect, register
from holdfast.core.values import decode, encode
from tests.core.value_domain import Color, Point, Total


@pytest.fixture(autouse=True)
def registrations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registrations of one test only."""
    monkeypatch.setattr(types_module, "_by_type", {})
    monkeypatch.setattr(types_module, "_by_name", {})


@pytest.fixture
def module() -> Iterator[types.ModuleType]:
    """A module of an application."""
    made = types.ModuleType("application_under_test")
    sys.modules[made.__name__] = made
    yield made
    del sys.modules[made.__name__]


def define(module: types.ModuleType, source: str, name: str | None = None) -> None:
    """Run a module's source as if it were imported under a name."""
    module.__dict__["__name__"] = name or module.__name__
    exec("from __future__ import annotations\nfrom dataclasses import dataclass\n" + source, module.__dict__)


def test_a_class_at_the_top_of_a_module_is_found_by_its_module() -> None:
    registry = TypeRegistry()
    assert registry.tag(Total) == "Total"
    assert registry.hints() == {"Total": Total.__module__}
    assert TypeRegistry(hints=registry.hints()).find("Total") is Total


def test_the_same_application_under_another_module_name_reads_the_data(module: types.ModuleType) -> None:
    source = "@dataclass\nclass Sum:\n    n: int = 0\ndef count(word: str, state: Sum) -> None: ...\n"
    define(module, source)
    writer = TypeRegistry(collect([module.count], []))
    image = encode(module.Sum(3), writer)
    sys.modules["started_as_main"] = started = types.ModuleType("started_as_main")
    try:
        define(started, source)
        reader = TypeRegistry(collect([started.count], []), hints=writer.hints())
        assert decode(image, reader) == started.Sum(3)
        assert encode(started.Sum(3), reader) == image
        assert reader.hints() == {"Sum": "started_as_main"}
    finally:
        del sys.modules["started_as_main"]


def test_data_never_causes_an_import() -> None:
    assert "turtledemo.forest" not in sys.modules
    with pytest.raises(DamagedError, match=r"no class 'Tree'; it was stored from module 'turtledemo"):
        TypeRegistry(hints={"Tree": "turtledemo.forest"}).find("Tree")
    assert "turtledemo.forest" not in sys.modules


@pytest.mark.parametrize(
    "tag", ["", "path", "os.path", "environ", "Popen.__init__", "Nothing", "a.b.c", "__doc__"]
)
def test_a_tag_that_names_no_class_finds_nothing(tag: str) -> None:
    with pytest.raises(DamagedError):
        TypeRegistry(hints={tag: "os"}).find(tag)


def test_two_classes_of_one_name_are_refused_with_both_named(module: types.ModuleType) -> None:
    define(module, "@dataclass\nclass Total:\n    n: int = 0\n")
    for registry in (TypeRegistry([Total, module.Total]), TypeRegistry([module.Total]), TypeRegistry()):
        if not registry._known:
            registry.tag(Total)
        with pytest.raises(ValueTypeError) as caught:
            encode([Total(1), module.Total(1)], registry)
        message = str(caught.value)
        assert "tests.core.value_domain.Total" in message
        assert "application_under_test.Total" in message
        assert "hf.register(" in message


def test_a_name_of_its_own_ends_the_conflict(module: types.ModuleType) -> None:
    define(module, "@dataclass\nclass Total:\n    n: int = 0\n")
    register(module.Total, name="billing total")
    registry = TypeRegistry([Total, module.Total])
    values = [Total(1), module.Total(2)]
    assert decode(encode(values, registry), TypeRegistry([module.Total, Total])) == values
    assert registry.tag(module.Total) == "billing total"


def test_nested_classes_are_found(module: types.ModuleType) -> None:
    define(module, "class Outer:\n    @dataclass\n    class Inner:\n        n: int = 0\ndef step(x): ...\n")
    image = encode(module.Outer.Inner(1), TypeRegistry())
    assert decode(image, TypeRegistry(collect([module.step], []))) == module.Outer.Inner(1)


def test_registered_functions_encode_and_decode() -> None:
    register(Fraction, lambda value: (value.numerator, value.denominator), lambda parts: Fraction(*parts))
    registry = TypeRegistry()
    value = {"half": [Fraction(1, 2)], Fraction(2**70): Total(Fraction(3))}
    assert decode(encode(value, registry), TypeRegistry(hints={"Total": Total.__module__})) == value
    assert registry.hints()["Fraction"] == "fractions"


def test_a_registered_type_of_another_name_and_module_reads_the_same_data() -> None:
    register(Fraction, str, Fraction, name="ratio")
    image = encode(Fraction(1, 3), TypeRegistry())
    assert b"ratio" in image
    assert decode(image, TypeRegistry()) == Fraction(1, 3)


def test_failures_of_registered_functions_name_the_type() -> None:
    def fail(value: object) -> Any:
        raise RuntimeError("no")

    register(Fraction, fail, fail)
    with pytest.raises(
        ValueTypeError, match=r"value\[0\]: the encode function registered for Fraction failed"
    ):
        encode([Fraction(1)], TypeRegistry())
    register(Fraction, lambda value: threading.Lock(), fail)
    with pytest.raises(ValueTypeError, match="lock is not a value"):
        encode(Fraction(1), TypeRegistry())
    register(Fraction, lambda value: 1, fail)
    with pytest.raises(DamagedError, match="RuntimeError"):
        decode(encode(Fraction(1), TypeRegistry()), TypeRegistry())
    register(Fraction, lambda value: 1, lambda parts: parts)
    with pytest.raises(DamagedError, match="gave a int"):
        decode(encode(Fraction(1), TypeRegistry()), TypeRegistry())
    register(Fraction, lambda value: value, fail)
    with pytest.raises(ValueTypeError, match="nested deeper"):
        encode(Fraction(1), TypeRegistry())


def test_registering_wrongly_is_refused(module: types.ModuleType) -> None:
    with pytest.raises(UsageError, match="values already"):
        register(int, str, int)
    with pytest.raises(UsageError, match="go together"):
        register(Fraction, str)
    with pytest.raises(UsageError, match="or a name"):
        register(Fraction)
    register(Total, name="sum")
    define(module, "class Other: ...\n")
    with pytest.raises(UsageError, match=r"Other and tests\.core\.value_domain\.Total"):
        register(module.Other, name="sum")


def test_a_class_made_anew_takes_the_place_of_its_older_self(module: types.ModuleType) -> None:
    define(module, "class Money:\n    def __init__(self, n): self.n = n\n")
    older = module.Money
    register(older, lambda money: money.n, older)
    define(module, "class Money:\n    def __init__(self, n): self.n = n\n")
    register(module.Money, lambda money: money.n, module.Money)
    found: Any = decode(encode(module.Money(3), TypeRegistry()), TypeRegistry())
    assert found.n == 3
    with pytest.raises(ValueTypeError, match="both be stored as 'Money'"):
        encode(older(3), TypeRegistry())


@dataclass
class Leafage:
    color: Color


@dataclass
class Tree:
    leaves: list[Leafage]
    at: Point | None


class Pair(NamedTuple):
    tree: Tree


class Mode(enum.Enum):
    A = 1


class Service:
    def handle(self, message: Pair) -> Tree:
        raise NotImplementedError

    def __call__(self, message: str) -> Leafage:
        raise NotImplementedError


def test_classes_are_collected_from_annotations_and_modules() -> None:
    def function(message: dict[str, Pair]) -> None: ...

    for callable_ in (
        function,
        functools.partial(function),
        Service().handle,
        Service(),
        functools.lru_cache(function),
    ):
        assert {Pair, Tree, Leafage, Color, Point, Mode, Service, Total} <= collect([callable_], [])
    assert collect([], [Pair]) == {Pair, Tree, Leafage, Color, Point}


def test_what_is_not_a_value_of_the_user_is_not_collected() -> None:
    found = collect(
        [test_classes_are_collected_from_annotations_and_modules, str, len, Total], [int, threading.Event]
    )
    assert not any(
        cls.__module__.startswith(("holdfast", "builtins", "_pytest", "fractions")) for cls in found
    )
    assert Total in found


def test_annotations_for_type_checkers_only_do_no_harm() -> None:
    def function(message: Missing) -> Tree:  # type: ignore[name-defined]  # noqa: F821
        raise NotImplementedError

    assert Tree in collect([function], [])
