"""Addresses: what users write, and which of them others can reach."""

from __future__ import annotations

import pytest

from holdfast.core.errors import UsageError
from holdfast.runtime.transport.addresses import Address, parse, refuse_open

SECRETS = (b"s" * 32,)


@pytest.mark.parametrize("text", ["127.0.0.1:0", "[::1]:4000", "localhost:65535", "example.org:1"])
def test_an_address_is_written_as_it_was_read(text: str) -> None:
    assert str(parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "4000", ":4000", "host", "host:", "host:-1", "host:65536", "host:x", "::1:4000", "host:१", "[]:1"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"HOST:PORT|brackets"):
        parse(text)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_secret(host: str) -> None:
    refuse_open(Address(host, 1), ())


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.0.0.1", "localhost.example.org", "example.org", "127.0.0.1.nip.io"]
)
def test_any_other_address_needs_one_and_the_error_says_how(host: str) -> None:
    refuse_open(Address(host, 1), SECRETS)
    with pytest.raises(UsageError, match="openssl rand -hex 32"):
        refuse_open(Address(host, 1), ())
