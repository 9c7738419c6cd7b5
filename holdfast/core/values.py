"""Values and their images: `encode` and `decode`.

A value is lowered to what msgpack knows, by the exact type of each part (`Codec.lowerers`), and packed; an
image is unpacked, where a hook makes the leaves, and lifted. Both walks use at most two Python frames per
level.
Invariant: decode(encode(v)) equals v, with the same type at every level and the same order of dicts; whatever
can't come back like that is refused, and every malformed image is a DamagedError. The same value gives the
same bytes in every process: sets are sorted by the images of their elements. Being the same object twice is
not part of a value.
Not here: columns of many entities (columns), instances of classes (objects).
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgpack

from holdfast.core.classes import Kind, shape_of
from holdfast.core.errors import DamagedError, ValueTypeError
from holdfast.core.leaves import LEAF_LOWERERS, NATIVE_TYPES, lift_leaf
from holdfast.core.objects import (
    Builder,
    Lowerer,
    check_depth,
    instance_lowerer,
    lift_enum,
    lift_flag,
    object_builder,
)
from holdfast.core.refusal import Refusal
from holdfast.core.types import TypeRegistry
from holdfast.core.wire import DEPTH_MAX, WIRE_ATOMS, Form, Leaf, extension, pack, unpack, unpacker_of

# Forms with payloads of their own that are kept for the next image; as a rule one per class and set of
# attributes.
_BUILDERS_MAX: Final = 4096

# What unpacking leaves to be lifted. A Timestamp is never ours.
_OPEN: Final = frozenset({list, dict, Builder, msgpack.Timestamp})

_FACTORIES: Final[dict[str, type]] = {cls.__name__: cls for cls in NATIVE_TYPES if cls is not type(None)}


def encode(value: object, registry: TypeRegistry) -> bytes:
    """The image of a value; ValueTypeError, naming the place inside, if it is none."""
    return codec_of(registry).encode(value)


def decode(image: bytes | memoryview, registry: TypeRegistry) -> object:
    """The value of an image; DamagedError if it is malformed or names a class that this application lacks."""
    return codec_of(registry).decode(image)


def cut_images(images: bytes, start: int, size: int, *, together: int) -> int:
    """Where the whole groups of `together` images end that begin at `start` and take up to `size` bytes; behind one."""
    unpacker = unpacker_of(images[start:], msgpack.ExtType)
    length = 0
    while start + length < len(images):
        for _ in range(together):
            unpacker.skip()
        end = int(unpacker.tell())
        if length and end > size:
            break
        length = end
        if length >= size:
            break
    return start + length


def codec_of(registry: TypeRegistry) -> Codec:
    """The registry's codec, made on first use."""
    codec: Codec | None = registry.codec
    if codec is None:
        codec = registry.codec = Codec(registry)
    return codec


class _Lowerers(dict[type, Lowerer]):
    """Lowerers by exact type; those of classes are made when the class is first met."""

    def __init__(self, codec: Codec) -> None:
        super().__init__(codec.native_lowerers())
        self._codec = codec

    def __missing__(self, cls: type) -> Lowerer:
        lowerer = self[cls] = instance_lowerer(cls, self._codec)
        return lowerer


class Codec:
    """How the values of one application are encoded and decoded."""

    def __init__(self, registry: TypeRegistry) -> None:
        self.registry = registry
        self.lowerers: dict[type, Lowerer] = _Lowerers(self)
        self.columns: dict[type, Any] = {}  # belongs to columns: how it splits instances of a class
        self._builders: dict[int, dict[bytes, object]] = {code: {} for code in (*Form, Leaf.ENUM)}
        for form, build in _BUILDS.items():
            self._builders[form][b""] = Builder(build)

    def encode(self, value: object) -> bytes:
        """The image of a value."""
        try:
            return pack(self.lowerers[type(value)](value, 0))
        except (Refusal, RecursionError, ValueError) as error:
            raise _refused(error) from error.__cause__

    def encode_behind(self, atoms: list[object], value: object) -> bytes:
        """The images of a few atoms and of a value, one after the other, in one go; at most 15 of them."""
        try:
            # The image of a short list is a byte that says so, and then what is in it.
            return pack([*atoms, self.lowerers[type(value)](value, 1)])[1:]
        except (Refusal, RecursionError, ValueError) as error:
            raise _refused(error) from error.__cause__

    def decode(self, image: bytes | memoryview) -> Any:
        """The value of an image."""
        try:
            raw = unpack(image, self.hook)
            return self.lift(raw, 0) if type(raw) in _OPEN else raw
        except (DamagedError, MemoryError):
            raise
        except Exception as error:  # whatever damage makes constructors, hashes and users' decoders raise
            raise DamagedError("value", f"the image can't be decoded: {error!r}") from error

    def decode_all(self, images: bytes) -> list[Any]:
        """The values of images that stand one after the other. One that is torn at the end is left out: count them."""
        try:
            return [
                self.lift(raw, 0) if type(raw) in _OPEN else raw for raw in unpacker_of(images, self.hook)
            ]
        except (DamagedError, MemoryError):
            raise
        except Exception as error:  # as in decode
            raise DamagedError("value", f"the images can't be decoded: {error!r}") from error

    def hook(self, code: int, payload: bytes) -> object:
        """What an extension stands for."""
        known = self._builders.get(code)
        if known is None:
            return (
                lift_leaf(code, payload)
                if code != Leaf.FLAG
                else lift_flag(self.registry, *self._inner(payload))
            )
        found = known.get(payload)
        if found is None:
            found = self._meet(code, payload)
            if len(known) < _BUILDERS_MAX:
                known[payload] = found
        return found

    def _inner(self, payload: bytes) -> Any:
        return unpack(payload, lift_leaf)

    def _meet(self, code: int, payload: bytes) -> object:
        """A form or member that is seen for the first time."""
        description = self._inner(payload)
        if code == Leaf.ENUM:
            return lift_enum(self.registry, *description)
        if code == Form.DEQUE:
            return Builder(_deque_build(description))
        if code == Form.DEFAULT_DICT:
            return Builder(self._default_dict_build(*description))
        return object_builder(Form(code), description, self.registry)

    def lift(self, raw: Any, depth: int) -> Any:
        """Make the value of what was unpacked, in place where it can."""
        if depth >= DEPTH_MAX:
            raise DamagedError("value", f"nested deeper than {DEPTH_MAX} levels")
        if type(raw) is list:
            builder = raw[0] if raw else None
            if type(builder) is Builder:
                del raw[0]
            if not _OPEN.isdisjoint(map(type, raw)):
                for index, item in enumerate(raw):
                    if type(item) in _OPEN:
                        raw[index] = self.lift(item, depth + 1)
            return builder.build(raw) if type(builder) is Builder else raw
        if type(raw) is not dict or not WIRE_ATOMS.issuperset(map(type, raw)):
            raise DamagedError("value", f"a {type(raw).__name__} stands where it can't")
        if not _OPEN.isdisjoint(map(type, raw.values())):
            for key, item in raw.items():
                if type(item) in _OPEN:
                    raw[key] = self.lift(item, depth + 1)
        return raw

    def native_lowerers(self) -> dict[type, Lowerer]:
        """How instances of the built-in value types are lowered."""
        lowerers: dict[type, Lowerer] = dict.fromkeys(WIRE_ATOMS, _lower_atom)
        lowerers |= {leaf: _depthless(lower) for leaf, lower in LEAF_LOWERERS.items()}
        lowerers |= {list: self.lower_list, dict: self._lower_dict, defaultdict: self._lower_default_dict}
        lowerers |= {tuple: self._lower_tuple, deque: self._lower_deque}
        lowerers[OrderedDict] = self._mapping_lowerer(extension(Form.ORDERED_DICT, b""))
        lowerers[Counter] = self._mapping_lowerer(extension(Form.COUNTER, b""))
        lowerers[set] = self._set_lowerer(extension(Form.SET, b""))
        lowerers[frozenset] = self._set_lowerer(extension(Form.FROZENSET, b""))
        return lowerers

    def lower_list(self, value: Iterable[object], depth: int) -> list[object]:
        """Lower the elements of a list or tuple."""
        check_depth(depth)
        if WIRE_ATOMS.issuperset(map(type, value)):
            return value if type(value) is list else [*value]
        lowerers = self.lowerers
        lowered: list[object] = []
        try:
            for item in value:
                kind = type(item)
                lowered.append(item if kind in WIRE_ATOMS else lowerers[kind](item, depth + 1))
        except Refusal as refusal:
            refusal.step(len(lowered))
            raise
        return lowered

    def lower_values(
        self, values: Iterable[tuple[object, object]], depth: int, *, attributes: bool = False
    ) -> list[object]:
        """Lower the values of (name, value) pairs; the names are for messages only."""
        lowerers = self.lowerers
        lowered: list[object] = []
        name: object = None
        try:
            for name, item in values:  # noqa: B007 - the message names it
                kind = type(item)
                lowered.append(item if kind in WIRE_ATOMS else lowerers[kind](item, depth + 1))
        except Refusal as refusal:
            refusal.step(name, attribute=attributes)
            raise
        return lowered

    def _lower_tuple(self, value: tuple[object, ...], depth: int) -> object:
        if depth < DEPTH_MAX and WIRE_ATOMS.issuperset(map(type, value)):  # most tuples: spared a list and a call
            return [_TUPLE_FORM, *value]
        return [_TUPLE_FORM, *self.lower_list(value, depth)]

    def _lower_deque(self, value: deque[object], depth: int) -> object:
        return [extension(Form.DEQUE, pack(value.maxlen)), *self.lower_list(value, depth)]

    def _lower_dict(self, value: dict[object, object], depth: int) -> object:
        check_depth(depth)
        if not WIRE_ATOMS.issuperset(map(type, value)):
            return [_DICT_FORM, *self._lower_items(value, depth)]
        if WIRE_ATOMS.issuperset(map(type, value.values())):
            return value
        return dict(zip(value, self.lower_values(value.items(), depth), strict=True))

    def _lower_items(self, value: dict[object, object], depth: int) -> list[object]:
        """The keys, then the values."""
        return [*self.lower_list(list(value), depth), *self.lower_values(value.items(), depth)]

    def _mapping_lowerer(self, form: object) -> Lowerer:
        def lower(value: dict[object, object], depth: int) -> object:
            if value.__dict__:
                raise Refusal(
                    f"a {type(value).__name__} with attributes: {', '.join(map(str, value.__dict__))}"
                )
            check_depth(depth)
            return [form, *self._lower_items(value, depth)]

        return lower

    def _lower_default_dict(self, value: defaultdict[object, object], depth: int) -> object:
        check_depth(depth)
        factory: Any = value.default_factory
        description: list[object] = []
        if isinstance(factory, type):
            native = factory in NATIVE_TYPES
            if not native and shape_of(factory).kind is not Kind.REFUSED:
                try:
                    description = [None, self.registry.tag(factory)]
                except ValueTypeError as error:
                    raise Refusal(f"as default_factory of a defaultdict: {error}") from None
            elif native and factory is not type(None):
                description = [factory.__name__]
        if factory is not None and not description:
            raise Refusal(
                f"the default_factory of a defaultdict must be None or a class of values, not {factory!r}"
            )
        return [extension(Form.DEFAULT_DICT, pack(description)), *self._lower_items(value, depth)]

    def _default_dict_build(
        self, native: str | None = None, tag: str | None = None
    ) -> Callable[[list[Any]], object]:
        factory = None
        if native is not None:
            factory = _FACTORIES[native]
        elif tag is not None:
            factory = self.registry.find(tag)
        return lambda items: defaultdict(factory, _dict(items))

    def _set_lowerer(self, form: object) -> Lowerer:
        def lower(value: set[object], depth: int) -> object:
            check_depth(depth)
            lowered = []
            for item in value:
                try:
                    lowered.append(self.lowerers[type(item)](item, depth + 1))
                except Refusal as refusal:
                    refusal.step(item)
                    raise
            # The order of a set depends on the process; the image of its elements does not.
            lowered.sort(key=pack)
            return [form, *lowered]

        return lower


_TUPLE_FORM: Final = extension(Form.TUPLE, b"")
_DICT_FORM: Final = extension(Form.DICT, b"")


def _refused(error: Exception) -> ValueTypeError:
    """What is told of a value that has no image."""
    if isinstance(error, Refusal):
        return ValueTypeError(error.message())
    if isinstance(error, RecursionError):
        return ValueTypeError(f"value: nested too deep for the stack (at most {DEPTH_MAX} levels)")
    return ValueTypeError(f"value: too large for an image: {error}")  # of msgpack: longer than 32 bits can say


def _lower_atom(value: object, depth: int) -> object:
    return value


def _depthless(lower: Callable[[Any], object]) -> Lowerer:
    return lambda value, depth: lower(value)


def _dict(items: list[Any]) -> dict[Any, Any]:
    """A dict of as many keys, then as many values."""
    count, odd = divmod(len(items), 2)
    made = dict(zip(items[:count], items[count : 2 * count], strict=True))
    if odd or len(made) != count:
        raise DamagedError("value", "the keys of a dict are not all different")
    return made


def _counter(items: list[Any]) -> Counter[Any]:
    counter: Counter[Any] = Counter()
    # Not through the constructor, which adds the counts up.
    dict.update(counter, _dict(items))
    return counter


def _set(items: list[Any]) -> set[Any]:
    made = set(items)
    if len(made) != len(items):
        raise DamagedError("value", "the elements of a set are not all different")
    return made


def _deque_build(length_max: int | None) -> Callable[[list[Any]], object]:
    def build(items: list[Any]) -> object:
        if length_max is not None and (type(length_max) is not int or len(items) > length_max):
            raise DamagedError("value", f"a deque of {len(items)} elements, of at most {length_max!r}")
        return deque(items, length_max)

    return build


def _stray_columns(items: list[Any]) -> object:
    raise DamagedError("value", "columns stand where a value should")


_BUILDS: Final[dict[Form, Callable[[list[Any]], object]]] = {
    Form.COLUMNS: _stray_columns,
    Form.TUPLE: tuple,
    Form.DICT: _dict,
    Form.ORDERED_DICT: lambda items: OrderedDict(_dict(items)),
    Form.COUNTER: _counter,
    Form.SET: _set,
    Form.FROZENSET: lambda items: frozenset(_set(items)),
}
