"""The outputs that a world is judged by: each is shown a history that is wrong in one place."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from holdfast.chaos.counters import Counters
from holdfast.chaos.outputs import FileOutput, ForgetfulOutput, NumberedOutput, Output, Violation
from holdfast.core.errors import NonDeterminismError, OutputShortError
from holdfast.storage.memory_disk import MemoryDisk

REFERENCE = [b"one\n", b"two\n", b"three\n"]


def image(value: object) -> bytes:
    assert isinstance(value, bytes)
    return value


def file_output() -> Output:
    return FileOutput(MemoryDisk().file("output"), Counters())


def numbered_output() -> Output:
    return NumberedOutput(image, Counters())


def forgetful_output() -> Output:
    return ForgetfulOutput(image, Counters())


KINDS = [file_output, numbered_output, forgetful_output]
MakeOutput = Callable[[], Output]


def write(output: Output, first: int, *values: bytes) -> None:
    output.begin(first, len(values), values)
    output.finish()


def filled(make: MakeOutput, *values: bytes) -> Output:
    output = make()
    output.open(None, 0)
    for number, value in enumerate(values, 1):
        write(output, number, value)
    return output


@pytest.mark.parametrize("make", KINDS)
def test_an_output_equal_to_the_reference_passes(make: MakeOutput) -> None:
    filled(make, *REFERENCE).check(REFERENCE, whole=True)


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize(
    "values",
    [
        [b"one\n", b"three\n"],
        [b"one\n", b"two\n", b"two\n", b"three\n"],
        [b"two\n", b"one\n", b"three\n"],
        [b"one\n", b"two\n", b"three\n", b"four\n"],
        [b"one\n", b"two\n", b"3\n"],
    ],
    ids=["lost", "doubled", "swapped", "more", "changed"],
)
def test_a_wrong_output_is_told_from_a_prefix_too(make: MakeOutput, values: list[bytes]) -> None:
    output = filled(make, *values)

    with pytest.raises(Violation):
        output.check(REFERENCE, whole=True)
    with pytest.raises(Violation):
        output.check(REFERENCE, whole=False)


@pytest.mark.parametrize("make", KINDS)
def test_a_short_output_is_a_prefix_and_no_more(make: MakeOutput) -> None:
    output = filled(make, *REFERENCE[:2])

    output.check(REFERENCE, whole=False)
    with pytest.raises(Violation):
        output.check(REFERENCE, whole=True)


@pytest.mark.parametrize("make", KINDS)
def test_outputs_given_again_must_be_the_same(make: MakeOutput) -> None:
    output = filled(make, *REFERENCE)
    output.open(None, 0)
    write(output, 1, b"one\n")
    with pytest.raises((Violation, NonDeterminismError)):
        write(output, 2, b"TWO\n")


@pytest.mark.parametrize("make", KINDS)
def test_outputs_with_a_gap_are_refused(make: MakeOutput) -> None:
    output = filled(make, b"one\n")
    with pytest.raises((Violation, AssertionError)):
        write(output, 3, b"three\n")


@pytest.mark.parametrize("make", KINDS)
def test_a_checkpoint_that_counts_more_than_there_is_is_refused(make: MakeOutput) -> None:
    with pytest.raises((Violation, OutputShortError)):
        filled(make, b"one\n").open((100, 0), 9)


def test_what_a_file_has_is_certain_until_its_machine_loses_power() -> None:
    file = MemoryDisk().file("output")
    output = filled(lambda: FileOutput(file, Counters()), b"one\n")
    token = output.token()
    assert output.is_certain(token)

    file.power_loss(Random(1))

    assert not output.is_certain(token)
    assert output.is_certain(output.token())


def test_a_torn_write_leaves_a_prefix_that_is_compared_and_completed() -> None:
    disk = MemoryDisk()
    output = FileOutput(disk.file("output"), Counters())
    output.open(None, 0)
    write(output, 1, b"one\n")
    output.begin(2, 2, (b"two\n", b"three\n"))
    output.tear(Random(1))
    disk.crash(Random(3))
    output.check(REFERENCE, whole=False)

    output.open(None, 0)
    write(output, 1, *REFERENCE)
    output.check(REFERENCE, whole=True)
