"""Tokens, words, lines, paragraphs and sentences; docs/text.md is the same in prose."""

# ruff: noqa: RUF001 — full-width marks and dashes are meant where they stand

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from plain import text as units

#: Arbitrary Unicode, with what the definitions turn on far more often than chance would have it.
TEXT = st.text(
    st.one_of(
        st.sampled_from("aZ9.!?…'\"()»“- \t\n\r\0_\u0301\u0e01\u0e31漢。！カーあ\u0964\u3000\u2028\u200b😀"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=60,
)


def category(character: str) -> str:
    """The major general category."""
    return unicodedata.category(character)[0]


def slow_tokens(text: str) -> list[str]:
    """The definition, a character at a time."""
    found: list[str] = []
    last = "white"  # what the last character belonged to: white space, a spaceless letter, or another token
    for character in text:
        if character in units.WHITE_SPACE:
            last = "white"
        elif any(a <= ord(character) <= b for a, b in units.SPACELESS) and (
            category(character) == "L" or ord(character) >= 0x20000
        ):
            found.append(character)
            last = "letter"
        elif (last == "letter" and category(character) == "M") or last == "other":
            found[-1] += character
        else:
            found.append(character)
            last = "other"
    return found


def slow_words(text: str) -> list[str]:
    """The definition, a character at a time."""
    found = []
    for token in slow_tokens(text):
        kept = [place for place, character in enumerate(token) if category(character) in "LNM"]
        if any(category(character) in "LN" for character in token):
            found.append(token[kept[0] : kept[-1] + 1])
    return found


def test_the_letters_and_numbers_of_re_are_those_of_unicode() -> None:
    """What is a word character to `re`, and no underscore, is L* or N*: what the words rest on."""
    for point in range(sys.maxunicode + 1):
        character = chr(point)
        assert bool(units._LETTER_OR_NUMBER.match(character)) == (category(character) in "LN"), hex(point)


def test_no_mark_or_closing_bracket_lies_outside_the_scanned_places() -> None:
    """The classes are complete: no mark, bracket or quote lies where `_characters` does not look."""
    for point in range(0x20000, sys.maxunicode + 1):
        if not 0xE0100 <= point < 0xE01F0:
            assert unicodedata.category(chr(point)) not in {"Mn", "Mc", "Me", "Pe", "Pf", "Pi"}, hex(point)


@given(TEXT)
@example("ก\u0e31\u0301ข 漢字abc\u0301字")
def test_tokens_are_those_of_the_slow_definition(text: str) -> None:
    """The regular expression says what the definition says."""
    assert units.tokens(text) == slow_tokens(text)


@given(TEXT)
def test_words_are_those_of_the_slow_definition(text: str) -> None:
    """Trimming and leaving out are what the definition says, and numbering them changes none."""
    assert units.words(text) == slow_words(text)
    distinct, numbers = units.numbered_words(text)
    assert [distinct[number] for number in numbers] == slow_words(text)
    assert len(set(distinct)) == len(distinct)


@given(TEXT)
def test_an_ascii_text_has_the_words_it_has_within_another(text: str) -> None:
    """The short cut for ASCII changes nothing."""
    text = text.encode("ascii", "ignore").decode()
    assert [*units.tokens(text), "é"] == units.tokens(text + " é")


@given(TEXT)
def test_line_spans_cut_whole_lines(text: str) -> None:
    """Spans are sorted, lie on character boundaries, hold each line with its break, and leave blank lines."""
    raw = text.encode()
    end_before = 0
    for line, start, end in units.line_spans(text):
        assert end_before <= start < end <= len(raw)
        assert raw[start:end].decode().strip(units.WHITE_SPACE) == line
        assert end == len(raw) or raw[end - 1 : end] in {b"\n", b"\r"}
        assert start == 0 or raw[start - 1 : start] in {b"\n", b"\r"}
        assert raw[end_before:start].decode().strip(units.WHITE_SPACE) == ""
        end_before = end
    assert [line for line, _, _ in units.line_spans(text)] == units.lines(text)


@given(TEXT)
def test_paragraphs_hold_every_line_once(text: str) -> None:
    """Nothing but blank lines is lost between lines and paragraphs."""
    assert [line for paragraph in units.paragraphs(text) for line in paragraph.split("\n")] == units.lines(text)


@given(TEXT)
def test_sentences_hold_every_word_once(text: str) -> None:
    """Every word of a text without half-cut tokens is in one sentence, in order."""
    joined = "".join(units.sentences(text))
    letters = [c for c in text if category(c) in "LN"]
    assert [c for c in joined if category(c) in "LN"] == letters


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("don't e-mail 3.14", ["don't", "e-mail", "3.14"]),
        ("“Quoted,” (she) said:", ["Quoted", "she", "said"]),
        ("naïve e\u0301te\u0301", ["naïve", "e\u0301te\u0301"]),
        ("— … *** ☃ 😀 \u0301", []),
        ("_snake_case_", ["snake_case"]),
        ("ราคา ๓๐ บาท", ["ร", "า", "ค", "า", "๓๐", "บ", "า", "ท"]),
        ("ភាសាខ្មែរ", ["ភា", "សា", "ខ្", "មែ", "រ"]),
        ("東京タワーは333m", ["東", "京", "タ", "ワ", "ー", "は", "333m"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("葛\U000e0100城", ["葛\U000e0100", "城"]),
        ("ｶﾞ", ["ｶ", "ﾞ"]),
        ("二〇二六年", ["二", "〇", "二", "六", "年"]),
        ("a\u00a0b\u3000c\u200bd", ["a", "b", "c\u200bd"]),
        ("\x00x\x00y\x00", ["x\x00y"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    """The cases of docs/text.md, and some more."""
    assert units.words(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four… Five...", ["One.", "Two!", "Three?", "Four…", "Five..."]),
        ("It is 3.14 or e.g. that", ["It is 3.14 or e.g.", "that"]),
        ("“Go!” he said. (Really?) Yes", ["“Go!”", "he said.", "(Really?)", "Yes"]),
        ("Er sagte: „Nein.“ Dann ging er.", ["Er sagte: „Nein.“", "Dann ging er."]),
        ("他说：“好。”我走了！真的？", ["他说：“好。”", "我走了！", "真的？"]),
        ("好。“再见。”", ["好。", "“再见。”"]),
        ("３．１４です。", ["３．１４です。"]),
        ("هل تعرف؟ نعم، أعرف۔", ["هل تعرف؟", "نعم، أعرف۔"]),
        ("यह है। वह भी॥ ठीक", ["यह है।", "वह भी॥", "ठीक"]),
        ("Title\n\nA line\nbroken in two. Next", ["Title", "A line\nbroken in two.", "Next"]),
        ("!!! ... ?", []),
        ("", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    """The cases of docs/text.md, and some more."""
    assert units.sentences(text) == expected


@pytest.mark.parametrize(
    "text", ["." * 200_000 + "a", ".)" * 100_000 + "a", "[" * 200_000, "\u0e01" + "\u0e31" * 200_000]
)
def test_no_text_takes_quadratic_time(text: str) -> None:
    """Long runs of one kind of character are read once: a quadratic reading of these would take minutes."""
    assert units.words(text)[-1:] != [""]
    assert len(units.sentences(text)) <= 1
    assert len(units.lines(text)) == 1
