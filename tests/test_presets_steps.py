"""The steps from our words and sentences to another tokenizer's, by which benchmarks/presets finds causes."""

# ruff: noqa: RUF001 — full-width marks are meant where they stand

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain import text as units

from benchmarks.presets import steps

NONE, ALL = frozenset(), frozenset(steps.WORDS)
RUN = st.text(st.sampled_from("aé9'’-—/.=>_#%我日\u0301\x1c"), min_size=1, max_size=8)

#: Text, spaCy's tokens of it, the one step by which they differ from our words.
DIFFERENCES = (
    ("Stop, now", "Stop|,|now", "single marks"),
    ("a # b", "a|#|b", "single marks"),
    ("a ## b", "a|#|#|b", "rows of marks"),
    ("* * *", "*|*|*", "rows of marks"),
    ("wait... what", "wait|...|what", "rows of marks"),
    ("can't", "ca|n't", "contractions"),
    ("it’s", "it|’s", "contractions"),
    ("cannot", "can|not", "contractions"),
    ("5km", "5|km", "units"),
    ("Mr. X", "Mr.|X", "edges"),
    ("C++ -5", "C++|-5", "edges"),
    ("我有一个", "我有一个", "scripts"),
    ("你好。再见", "你好。再见", "scripts"),
    ("กิน ข้าว", "กิน|ข้าว", "scripts"),
)
#: Text, tokens, the step that divides a word, the marks then left over: words only by another step.
DIVISIONS = (
    ("e-mail", "e|-|mail", "hyphens", "e|mail"),
    ("1990—2000", "1990|—|2000", "hyphens", "1990|2000"),
    ("text/plain", "text|/|plain", "inner marks", "text|plain"),
    ("end.Next", "end|.|Next", "inner marks", "end|Next"),
    ("a=b", "a|=|b", "inner marks", "a|b"),
)
#: A line, where spaCy's sentences begin, how many are ours, the step by which they differ.
SENTENCES = (
    ("Well... no.", (0,), 2, "ellipses"),
    ("Well… no.", (0,), 2, "ellipses"),
    ("See Ala. 443.", (0,), 2, "abbreviations"),
    (". then this.", (0, 2), 1, "wordless pieces"),
    ("This. !", (0, 6), 1, "wordless pieces"),
    ("end.Next one.", (0, 4), 1, "other ends"),
)


def words(text, tokens, taken):
    """The words of a text with these tokens when these steps are taken."""
    return steps.words(steps.divided(text, tokens), frozenset(taken))


@pytest.mark.parametrize(("text", "tokens", "step"), DIFFERENCES)
def test_one_step_leads_from_our_words_to_theirs(text, tokens, step) -> None:
    """Without the step the words are ours whatever else is taken, with it they are the tokens."""
    assert words(text, tokens.split("|"), {step}) == tokens.split("|")
    assert words(text, tokens.split("|"), ALL - {step}) == units.words(text)


@pytest.mark.parametrize(("text", "tokens", "step", "parts"), DIVISIONS)
def test_what_divides_a_word_is_no_word_by_itself(text, tokens, step, parts) -> None:
    """A word is divided at a mark by one step, and the mark is a word by another."""
    assert words(text, tokens.split("|"), {step}) == parts.split("|")
    assert words(text, tokens.split("|"), ALL - {step}) == [text]
    assert words(text, tokens.split("|"), {step, "single marks"}) == tokens.split("|")


@given(st.lists(st.lists(RUN, min_size=1, max_size=3), max_size=8), st.sets(st.sampled_from(sorted(ALL))))
def test_steps_lead_from_ours_to_any_tokens(runs, taken) -> None:
    """However a text was divided: no step gives our words, all give the tokens, some give pieces in the same order."""
    text = " ".join("".join(pieces) for pieces in runs)
    tokens = [token for pieces in runs for piece in pieces for token in piece.split()]
    assert words(text, tokens, NONE) == units.words(text)
    assert words(text, tokens, ALL) == tokens
    letters = "".join(words(text, tokens, taken))
    assert [c for c in letters if c.isalnum()] == [c for c in text if c.isalnum()]


@pytest.mark.parametrize(("line", "starts", "ours", "step"), SENTENCES)
def test_one_step_leads_from_our_sentences_to_theirs(line, starts, ours, step) -> None:
    """The count is ours without the step, and theirs with it."""
    spans = list(zip(starts, [*starts[1:], len(line)], strict=True))
    assert len(units.sentences(line)) == ours
    assert steps.sentence_count(line, spans, frozenset({step})) == len(starts)
    assert steps.sentence_count(line, spans, frozenset(steps.SENTENCES) - {step}) == ours
