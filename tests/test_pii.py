"""The signal `pii` against independent arithmetic, hostile text, real text, and in a whole run; its cases are data."""

from __future__ import annotations

import gzip
import ipaddress
import json
import re
import string
import time
from email.parser import HeaderParser
from email.utils import getaddresses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.signals import pii
from curation.signals.batch import Batch

if TYPE_CHECKING:
    from collections.abc import Callable

    from curation.run import Run

CASES = [
    json.loads(line)
    for line in (Path(__file__).parent / "cases" / "pii.jsonl").read_text(encoding="utf-8").splitlines()
]
KINDS = tuple(name for name in pii.COLUMNS if name != "pii")


def found(text: str) -> dict[str, list[str]]:
    """What of each kind stands in a text; kinds without any are left out."""
    raw = text.encode()
    kinds = {name: [raw[slice(*span)].decode() for span in find(raw)] for name, find in pii._FINDERS.items()}
    return {name: texts for name, texts in kinds.items() if texts}


def counted(texts: list[str]) -> dict[str, int]:
    """How much of each kind all documents hold."""
    answers = pii.measure(Batch(pa.array(texts, pa.string())))
    return {name: int(sum(answers[name])) for name in KINDS}


def cut(text: str) -> str:
    """A text with "…" where something was found."""
    (spans,) = pii.measure(Batch(pa.array([text], pa.string())))["pii"].to_pylist()
    raw = text.encode()
    for span in reversed(spans):
        raw = raw[: span["start"]] + "…".encode() + raw[span["end"] :]
    return raw.decode()


# Arithmetic


def spell(text: str) -> int:
    """A text as a number, letters as 10 to 35: what ISO 7064 divides by 97."""
    return int("".join(str(string.digits.find(sign) if sign.isdigit() else ord(sign) - 55) for sign in text))


@given(data=st.data(), country=st.sampled_from(sorted(pii._IBAN_LENGTHS)), spaced=st.booleans())
@settings(max_examples=150, deadline=None)
def test_ibans(data: st.DataObject, country: str, spaced: bool) -> None:
    """In every country an IBAN with the right check digits is found, and one with another digit is not."""
    size = pii._IBAN_LENGTHS[country] - 4
    account = data.draw(st.text(string.ascii_uppercase + string.digits, min_size=size, max_size=size))
    iban = f"{country}{98 - spell(f'{account}{country}00') % 97:02}{account}"
    place = data.draw(st.integers(2, 3))
    wrong = f"{iban[:place]}{(int(iban[place]) + 1) % 10}{iban[place + 1 :]}"

    def written(text: str) -> str:
        return " ".join(re.findall(".{1,4}", text)) if spaced else text

    assert found(f"IBAN {written(iban)}, thanks").get("iban_count") == [written(iban)]
    assert "iban_count" not in found(f"IBAN {written(wrong)}, thanks")


@given(
    start=st.sampled_from(["4", "51", "55", "2221", "2720", "6011", "65", "62", "3528", "34", "37", "36", "305"]),
    filler=st.text(string.digits, min_size=16, max_size=16),
    separator=st.sampled_from(["", " ", "-"]),
)
@settings(max_examples=150, deadline=None)
def test_cards(start: str, filler: str, separator: str) -> None:
    """A number of an issuer with the right last digit is found however it is grouped, with another last digit not."""
    length = {"34": 15, "37": 15, "36": 14, "305": 14}.get(start, 16)
    digits = (start + filler)[: length - 1]

    def right(number: str) -> bool:
        total = 0
        for place, digit in enumerate(map(int, reversed(number))):
            total += digit if place % 2 == 0 else digit * 2 - 9 * (digit > 4)
        return total % 10 == 0

    def written(number: str) -> str:
        groups = (4, 4, 4, 4) if length == 16 else (4, 6, length - 10)
        ends = [sum(groups[: n + 1]) for n in range(len(groups))]
        return separator.join(number[end - size : end] for end, size in zip(ends, groups, strict=True))

    for last in string.digits:
        number = written(digits + last)
        assert found(f"card: {number}.").get("card_count", []) == [number] * right(digits + last)


@given(number=st.integers(0, 2**32 - 1) | st.integers(0, 11 << 24))
@settings(max_examples=400, deadline=None)
def test_ipv4(number: int) -> None:
    """An address counts if the standard library has it routed on the internet and it does not look like a version."""
    address = ipaddress.IPv4Address(number)
    wanted = address.is_global and not address.is_multicast and not address.is_reserved
    wanted &= not str(address).endswith(".0") and (address.packed[0] > 9 or address.packed[1] > 9)
    if address not in ipaddress.ip_network("192.0.0.0/24"):  # of which Python's versions think differently
        assert found(f"from {address}: hello") == ({"ip_count": [str(address)]} if wanted else {})


@given(number=st.integers(0x2 << 124, (0x4 << 124) - 1))
@settings(max_examples=200, deadline=None)
def test_ipv6(number: int) -> None:
    """So does one of the block that is given out, in its short and in its long form."""
    address = ipaddress.IPv6Address(number)
    kept = ("2001::/23", "2001:db8::/32", "3fff::/20")
    wanted = not any(address in ipaddress.ip_network(network) for network in kept)
    for text in (str(address), address.exploded):
        assert found(f"from [{text}]:443, hello") == ({"ip_count": [text]} if wanted else {})


# Hostile text


HOSTILE = [
    "a", "@", "a@", "a@b.", "a@b.co ", "%", "'@", "a.", "1", "1.", "81.2.69.142.", "4", "4111 ", "+", "+1", "+1 ",
    "+1(", ":", ":a:", "1:2:", "2a02::1:", "A", "AA00", "GB29", "GB29 ", "AB12 CDEF ", "-",
    "-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----\n" + "A" * 39 + "\n", "-----BEGIN PRIVATE KEY----- -",
    "ghp_", "xoxb-",
    "eyJ", "eyJ.", "eyJ-.", "eyJaaaaaaaaaa.", "eyJaaaaaaaaaa.eyJaaaaaaaaaa ", "github_pat_", "sk_live_", "version ",
]  # fmt: skip


@pytest.mark.parametrize("unit", HOSTILE)
def test_time_is_linear(unit: str) -> None:
    """Four times the text takes about four times the time: no pattern goes over it again and again."""
    pii._suffixes()

    def seconds(size: int) -> float:
        batch = Batch(pa.array([(unit * (size // len(unit) + 1))[:size]], pa.string()))
        started = time.process_time()
        pii.measure(batch)
        return time.process_time() - started

    small, large = min(seconds(50_000) for _ in range(3)), seconds(200_000)
    assert large < 0.1 + 10 * small


PIECE = st.sampled_from(
    ["jo", "@", ".", "com", "no-such-company.com", "example.com", "+", "44", "0", "20 7946 0958", "81.2.69.142", "::",
     ":", "2a02", "DE89370400440532013000", "4111 1111 1111 1111", "-----BEGIN PRIVATE KEY-----",
     "AKIAFICTIONALKEY1234", "eyJ", " ", "\n", "-", "(", ")", "é", "漢", "😀", "\u00a0", "\0", "a" * 70, "1" * 20]
)  # fmt: skip


@given(text=st.lists(PIECE, max_size=25).map("".join))
@settings(max_examples=300, deadline=None)
def test_spans_and_counts_agree(text: str) -> None:
    """There are as many spans as are counted, apart and on the bounds of characters, and each was found."""
    answers = pii.measure(Batch(pa.array([text], pa.string())))
    (spans,) = answers["pii"].to_pylist()
    assert len(spans) == sum(int(answers[name][0]) for name in KINDS)
    raw, everything = text.encode(), {one for texts in found(text).values() for one in texts}
    before = 0
    for span in spans:
        assert before <= span["start"] < span["end"]
        assert raw[span["start"] : span["end"]].decode() in everything
        before = span["end"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_nothing_is_left(case: dict[str, Any]) -> None:
    """What is cut out leaves a text in which nothing is found."""
    assert not any(counted([cut(case["text"])]).values())


# Runs and real text


def test_a_recipe_cuts_it_out(tiny: Callable[..., Run]) -> None:
    """`remove = ["pii"]` publishes the text without it; a rule drops the document that leaks a key."""
    contact = "Please write to jo@no-such-company.com or call +44 20 7946 0958 before noon on any day of the week."
    leak = "Here is what the settings hold, do not show it to anyone else: AKIAFICTIONALKEY1234 in the first line."
    run = tiny(
        {"web": [{"text": contact}, {"text": leak}]},
        '[edit]\nremove = ["pii"]\n[rules]\nleaks = "key_count > 0"\n'
        '[blend]\n[[blend.group]]\nname = "all"\nwhere = "true"',
        "signals.pii.enabled=true",
    )
    (shard,) = Path(run.recipe.base).rglob("train-*.parquet")
    texts = pq.read_table(shard, columns=["text"])["text"].to_pylist()
    assert texts == [contact.replace("jo@no-such-company.com", "").replace("+44 20 7946 0958", "")]


@pytest.mark.data
def test_textbooks_hold_none(data: Path) -> None:
    """15 MB of textbooks, full of numbers, hold none of it."""
    assert not any(counted(pq.read_table(data / "textbooks" / "openstax.parquet")["text"].to_pylist()).values())


@pytest.mark.data
def test_senders_of_real_mails_are_found(data: Path) -> None:
    """Of the addresses that Python's own parser reads in the heads of mails, those that can exist are found."""
    asked = missed = 0
    with gzip.open(data / "lowquality" / "spamassassin.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            raw = json.loads(line)["raw"]
            head = HeaderParser().parsestr(raw)
            boxes = {box for _, box in getaddresses(map(str, head.get_all("From", [])))}
            for box in boxes:
                if re.fullmatch(r"[\w.+-]+@[\w.-]+\.(?:com|net|org|edu|de|ie|uk)", box, re.ASCII):
                    asked += 1
                    missed += box not in found(f"From: {box}\n").get("email_count", [])
    assert asked > 800
    assert missed <= asked // 100
