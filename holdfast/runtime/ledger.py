"""What a data directory durably knows about its application, and whether the application given may go on with it.

Invariant: an output file is written down here before it is created, so a file that stands and is not written down is
somebody else's. The record is put in one transaction before anything else happens at a first start.
Code may change where nothing is to be replayed: a replay with other code could contradict what was delivered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from holdfast.core import schema
from holdfast.core.application import Application
from holdfast.core.connector import partitions_of_sink
from holdfast.core.errors import (
    CodeChangedError,
    DataDirectoryError,
    OutputExistsError,
    UsageError,
)
from holdfast.core.steps import Step
from holdfast.runtime.fingerprint import Fingerprint, changed, fingerprint
from holdfast.storage.state import State

APPLICATION = "application"
STARTED_FROM = "started-from"  # the checkpoint that the last start began with


@dataclass(slots=True)
class Ledger:
    """The record as it stands on the disk."""

    name: str
    partitions: list[tuple[str, str]] = field(default_factory=list)  # (source's name, partition), by number; grows only
    outputs: list[str] = field(default_factory=list)  # absolute paths of files that are ours
    code: Fingerprint = field(default_factory=dict)
    states: dict[str, Any] = field(default_factory=dict)  # stateful step's name -> description of its state
    sinks: dict[str, int] = field(default_factory=dict)  # sink's name -> number of its partitions, 0 where it has none
    stored_names: dict[str, str] = field(default_factory=dict)  # stateful step's name -> that of its entities, for ever
    files: dict[str, str] = field(default_factory=dict)  # path of an output -> name of the sink that writes it
    gone: list[str] = field(default_factory=list)  # names of sinks that were taken out

    @classmethod
    def read(cls, state: State) -> Ledger | None:
        """Return the record, or None where nothing was started yet."""
        stored = state.get_meta(APPLICATION)
        if stored is None:
            return None
        fields = cast("dict[str, Any]", stored)
        partitions = [(source, partition) for source, partition in fields["partitions"]]
        sinks = fields.get("sinks", {})  # unknown to earlier versions, whose sinks had no partitions
        stored_names = fields.get("stored-names", {name: name for name in fields["states"]})  # unknown earlier, too
        own = fields["name"], partitions, fields["outputs"], fields["code"], fields["states"], sinks, stored_names
        return cls(*own, files=fields.get("files", {}), gone=fields.get("gone", []))

    def put(self, state: State) -> None:
        """Make the record durable."""
        fields = {
            "name": self.name,
            "partitions": [list(pair) for pair in self.partitions],
            "outputs": self.outputs,
            "code": self.code,
            "states": self.states,
            "sinks": self.sinks,
            "stored-names": self.stored_names,
            "files": self.files,
            "gone": self.gone,
        }
        state.put_meta(APPLICATION, fields)


@dataclass(frozen=True, slots=True)
class Entry:
    """How an application was let in: what to run with, and what the user should know."""

    partitions: list[tuple[str, str]]
    notes: list[str]
    stored_names: dict[str, str]  # stateful step's name -> the name that its entities are stored under


def stored_names_in(state: State) -> dict[str, str]:
    """By the name of the stateful step, the name that its entities are stored under; empty before the first start."""
    ledger = Ledger.read(state)
    return {} if ledger is None else ledger.stored_names


def enter(
    app: Application,
    state: State,
    *,
    sources: Sequence[Step],
    sinks: Sequence[Step],
    stateful: Sequence[Step],
    may_contradict: bool,
    accept_code: bool,
) -> Entry:
    """Let the application go on with what `state` knows, and write down what is new; raises where it may not.

    `may_contradict` says that work is to be done again whose outputs may have been delivered.
    """
    stored = Ledger.read(state)
    found = [(step.name, partition) for step in sources for partition in step.source.partitions()]
    ledger = stored if stored is not None else Ledger(app.name, list(found))
    before = repr(ledger) if stored is not None else ""
    _check_name(app, ledger)
    notes = _check_partitions(ledger, found)
    _check_states(ledger, stateful)
    _check_sinks(ledger, sinks)
    digests = fingerprint(app)
    if stored is not None and may_contradict and not accept_code:
        _check_code(ledger, digests)
    ledger.code = digests
    ledger.stored_names = _stored_names(ledger, stateful)
    ledger.states = {step.name: describe(step) for step in stateful}
    notes += _note_gone(ledger, sinks)
    ledger.files |= {path: step.name for step in sinks for path in output_paths([step])}
    ledger.sinks |= {step.name: partitions_of_sink(step.sink) or 0 for step in sinks}
    ledger.outputs += _new_outputs(ledger, sinks, found)
    if repr(ledger) != before:
        ledger.put(state)
    return Entry(ledger.partitions, notes, ledger.stored_names)


def refuse_outputs(sources: Sequence[Step], sinks: Sequence[Step]) -> None:
    """Raise for what would be refused at a first start, before anything is made on the disk."""
    found = [(step.name, partition) for step in sources for partition in step.source.partitions()]
    _new_outputs(Ledger(""), sinks, found)


def refuse_missing_folders(sinks: Sequence[Step]) -> None:
    """Raise where an output can't be created on this machine; folders are not made, a misspelt one would be too.

    Only a sink in partitions makes the folder that these share.
    """
    for path in output_paths([step for step in sinks if partitions_of_sink(step.sink) is None]):
        if not Path(path).parent.is_dir():
            raise UsageError(f"output file {path!r} can't be created: its folder is missing")


def describe(step: Step) -> Any:
    """Return what is known of a stateful step's state."""
    return schema.describe(step.state_factory)


def output_paths(sinks: Sequence[Step]) -> list[str]:
    """Return the files of these sinks as absolute paths; two sinks with one file are refused."""
    absolute: list[str] = []
    owners: dict[Path, str] = {}
    for step in sinks:
        for path in step.sink.paths():
            other = owners.setdefault(Path(path).resolve(), step.name)
            if other != step.name:
                raise UsageError(f"sinks {other!r} and {step.name!r} both write {path}; give each its own file")
            absolute.append(str(Path(path).absolute()))
    return absolute


def _check_name(app: Application, ledger: Ledger) -> None:
    if ledger.name != app.name:
        raise DataDirectoryError(
            f"the data directory belongs to the application {ledger.name!r}, not to {app.name!r}; "
            "give this one its own with --data"
        )


def _check_partitions(ledger: Ledger, found: list[tuple[str, str]]) -> list[str]:
    known = set(ledger.partitions)
    there = set(found)
    sources = {source for source, _ in found}
    for source, partition in ledger.partitions:
        if source not in sources:
            raise CodeChangedError(
                f"the source {source!r} was removed or renamed, but the data directory holds what was read of it; "
                f"name it again with name={source!r}, or start anew with --fresh"
            )
        if (source, partition) not in there:
            raise UsageError(f"the input {partition} of source {source!r} is missing; it was there at the first start")
    added = sources - {source for source, _ in ledger.partitions}
    if added:
        raise CodeChangedError(
            f"the source {min(added)!r} is new, but the order of the inputs was fixed at the first start; "
            "start anew with --fresh, or give the application another data directory with --data"
        )
    return [
        f"note: {partition} of source {source!r} was not there at the first start and is not read"
        for source, partition in found
        if (source, partition) not in known
    ]


def _check_states(ledger: Ledger, stateful: Sequence[Step]) -> None:
    lines: list[str] = []
    current = {_former_name(ledger, step): step for step in stateful}
    for name, old in ledger.states.items():
        if name not in current:
            lines.append(f"step {name!r}: removed or renamed (a renamed one says was={name!r})")
            continue
        step = current[name]
        new = describe(step)
        lines += [f"state of step {step.name!r}: {line}" for line in schema.changes(old, new)]
    if lines:
        raise CodeChangedError(
            f"the application's state changed in a way that the stored entities can't follow: {'; '.join(lines)}"
        )


def _former_name(ledger: Ledger, step: Step) -> str:
    """The name that the step had at the last start, or that it has now where it is new."""
    return step.was if step.was is not None and step.was in ledger.states else step.name


def _stored_names(ledger: Ledger, stateful: Sequence[Step]) -> dict[str, str]:
    """Keep the stored names of the steps that are known, and give the new ones names that no other step has.

    What is stored is never written anew for a new name: a step goes by the first name that it had. Who has that name
    later is another step, and its entities must not be taken for those of the first.
    """
    stored_names: dict[str, str] = {}
    taken = set(ledger.stored_names.values())
    for step in stateful:
        former = _former_name(ledger, step)
        if former in ledger.stored_names:
            stored_names[step.name] = ledger.stored_names[former]
            continue
        name, number = step.name, 1
        while name in taken:
            number += 1
            name = f"{step.name}#{number}"
        taken.add(name)
        stored_names[step.name] = name
    return stored_names


def _check_sinks(ledger: Ledger, sinks: Sequence[Step]) -> None:
    for step in sinks:
        if step.name in ledger.gone:
            raise CodeChangedError(
                f"the sink {step.name!r} was taken out at an earlier start, and what it would have been given since is "
                "missing in its output: give it another name and another output, or start anew with --fresh"
            )
        _check_files(ledger, step)
        known, partitions = ledger.sinks.get(step.name), partitions_of_sink(step.sink) or 0
        if known is not None and known != partitions:
            raise CodeChangedError(
                f"the sink {step.name!r} has {_parts(partitions)} now and was started with {_parts(known)}, which hold "
                f"its outputs by number; give it {f'partitions={known}' if known else 'one file'} again, "
                "or start anew with --fresh"
            )


def _check_files(ledger: Ledger, step: Step) -> None:
    """A sink counts its outputs by its name: under another one it would begin again, in the middle of its file."""
    for path in output_paths([step]):
        owner = ledger.files.get(path, step.name)
        if owner != step.name:
            raise CodeChangedError(
                f"the output file {path} holds what the sink {owner!r} has written, and the sink {step.name!r} is to "
                f"write it now; name it name={owner!r} as before (sinks without names are called by their order), "
                "give it another file, or start anew with --fresh"
            )


def _note_gone(ledger: Ledger, sinks: Sequence[Step]) -> list[str]:
    """Write down which sinks were taken out: their outputs are not numbered on, so they can't come back."""
    taken_out = sorted(set(ledger.sinks) - {step.name for step in sinks} - set(ledger.gone))
    ledger.gone += taken_out
    return [
        f"note: the sink {name!r} was taken out; what it has written stays, and it can't come back under this name"
        for name in taken_out
    ]


def _parts(partitions: int) -> str:
    return f"{partitions} partition{'s' * (partitions > 1)}" if partitions else "no partitions"


def _check_code(ledger: Ledger, digests: Fingerprint) -> None:
    lines = changed(ledger.code, digests)
    if lines:
        raise CodeChangedError(
            f"the code changed since the last start ({', '.join(lines)}) while there is work to be done again that was "
            "delivered already; either run that code once more until it ends or is stopped with Ctrl-C, "
            "or do the work again with the code as it is now: --accept-code"
        )


def _new_outputs(ledger: Ledger, sinks: Sequence[Step], found: list[tuple[str, str]]) -> list[str]:
    """The outputs that are not ours yet, after making sure that they can become so."""
    new = []
    for path in output_paths(sinks):
        for source, partition in found:
            if Path(partition).exists() and Path(path).exists() and Path(partition).samefile(path):
                raise UsageError(f"{path} is an input of source {source!r} and can't be an output as well")
        if path in ledger.outputs:
            continue
        if Path(path).is_dir():
            raise UsageError(f"the output {path} is a folder; give the sink the path of a file")
        if Path(path).exists():
            raise OutputExistsError(
                f"the output file {path} exists and this data directory did not write it; "
                "move it away, or give the sink another path"
            )
        new.append(path)
    return new
