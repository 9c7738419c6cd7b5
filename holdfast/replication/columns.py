"""stub"""
from __future__ import annotations
from typing import Any
import msgpack
from holdfast.core.columns import decode_column, encode_column
from holdfast.core.positions import Column
from holdfast.core.types import TypeRegistry


def pack_column(column: Column, registry: TypeRegistry) -> bytes:
    """."""
    packed: bytes = msgpack.packb([encode_column(column.keys, registry), encode_column(column.messages, registry), encode_column(column.positions, registry)])
    return packed


def unpack_column(packed: bytes, registry: TypeRegistry) -> Column:
    """."""
    c = Column()
    k, m, p = msgpack.unpackb(packed)
    c.keys = decode_column(k, registry)
    c.messages = decode_column(m, registry)
    c.positions = decode_column(p, registry)
    return c
