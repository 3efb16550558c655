"""Addresses of pages, as pages give them."""

from __future__ import annotations

from urllib.parse import urlsplit

_MAX_ADDRESS = 2_000


def web_address(value: str | None) -> str | None:
    """A value without white space if it is an http(s) address of bearable length, else None."""
    url = "".join((value or "").split())
    return url if url and len(url) <= _MAX_ADDRESS and _is_web(url) else None


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)
