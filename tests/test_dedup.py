"""Signatures are datasketch's, candidates come as their formula says, pairs are verified, and the best copy stays."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import random
import shutil
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasketch import MinHash, MinHashLSH
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from plain.hashing import hashed

from curation import compare, copies, dataset, pull
from curation.compare import COPIES, pair_parts
from curation.dedup import candidates, scattered, signatures, survivors, verifying
from curation.dedup.signatures import Signatures, probability, shingles
from curation.dedup.survivors import Copies, Graph, Near, choose
from curation.engine import LocalEngine
from curation.kernels import folding, grouping
from curation.run import Run
from curation.signals.batch import Batch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEXTS = (
    "The tide rises and falls twice a day because the moon pulls at the water of the sea.",
    "Ein Satz über Straßen und Bäume, mit Umlauten; und noch einer, der etwas länger ist als der erste.",
    "潮水每天涨落两次因为月亮吸引海水",
    "น้ำขึ้นน้ำลงวันละสองครั้งเพราะดวงจันทร์",
    "يرتفع المد وينخفض مرتين في اليوم بسبب جاذبية القمر للبحر",
    "word " * 300,
    " ".join(map(str, range(70_000))),  # more shingles than are held at once
    "two words",
)


def measured(*texts: str | None, ngram: int = 5, bands: int = 14, rows: int = 8) -> dict[str, list[Any]]:
    """What the signal gives for these texts."""
    columns = Signatures(ngram, bands, rows).measure(Batch(pa.array(texts, pa.string())))
    return {
        name: list(values.to_pylist() if isinstance(values, pa.Array) else values) for name, values in columns.items()
    }


def hashes(text: str, ngram: int) -> list[int]:
    """The hashes of the shingles of a text."""
    return [int(value) for value in shingles(Batch(pa.array([text])), ngram)[1]]


def sketch(signature: bytes) -> MinHash:
    """Our signature as datasketch's."""
    values = np.frombuffer(signature, "<u4")
    return MinHash(len(values), seed=signatures.SEED, scheme="affine32", hashvalues=values.astype(np.uint32))


def grams(text: str, ngram: int = 5) -> set[tuple[str, ...]]:
    """The word n-grams of a text of plain lower-case words; of a shorter one all its words."""
    words = text.split()
    width = min(ngram, len(words))
    return {tuple(words[start : start + width]) for start in range(len(words) - width + 1)} if words else set()


def jaccard(a: str, b: str, ngram: int = 5) -> float:
    """The Jaccard similarity of two such texts."""
    first, second = grams(a, ngram), grams(b, ngram)
    return len(first & second) / len(first | second)


# signatures


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
@pytest.mark.parametrize(("ngram", "bands", "rows"), [(5, 14, 8), (1, 3, 4), (13, 64, 4)])
def test_a_signature_is_datasketch_s(text: str, ngram: int, bands: int, rows: int) -> None:
    """Bit for bit its MinHash with the scheme affine32 and seed 1, over the lower half of each shingle's hash."""
    oracle = MinHash(bands * rows, seed=1, scheme="affine32", hashfunc=int)
    oracle.update_batch({value % 2**32 for value in hashes(text, ngram)})
    columns = measured(text, ngram=ngram, bands=bands, rows=rows)
    assert columns["minhash"] == [np.asarray(oracle.hashvalues).astype("<u4").tobytes()]
    assert len(columns) == 3 + bands


def test_a_shingle_s_hash_is_a_polynomial_of_its_words() -> None:
    """The definition, in Python's own integers."""
    words = ["one", "two", "three", "four", "five", "six", "seven"]
    expected = []
    for start in range(3):
        value = 0
        for word in words[start : start + 5]:
            value = (value * 0x9E3779B97F4A7C15 + hashed(word.encode())) % 2**64
        expected.append(value ^ value >> 32)
    assert hashes(" ".join(words), 5) == expected
    assert len(set(hashes("a b a c b a", 2))) == 4  # (a, b), (b, a), (a, c), (c, b): the order counts


def test_datasketch_s_index_reads_our_signatures() -> None:
    """Its LSH with our bands and rows finds for each document just those that share one of our band columns."""
    random.seed(4)
    texts = [words(200) for _ in range(30)]
    texts += [changed(text, 0.01 * (number % 6)) for number, text in enumerate(texts)]
    columns = measured(*texts)
    index = MinHashLSH(num_perm=112, params=(14, 8))
    for number, signature in enumerate(columns["minhash"]):
        index.insert(number, sketch(signature))
    found = 0
    for number, signature in enumerate(columns["minhash"]):
        ours = {
            other for other in range(len(texts))
            if any(columns[band][other] == columns[band][number] for band in signatures.band_columns(14))
        }  # fmt: skip
        assert set(index.query(sketch(signature))) == ours
        found += len(ours) > 1
    assert found >= 30


def test_short_documents_are_one_shingle() -> None:
    """Fewer words than the n-gram: alike when all words are."""
    columns = measured("Two words.", "two WORDS!", "words two", "two", "")
    assert columns["minhash"][0] == columns["minhash"][1] != columns["minhash"][2]
    assert len({columns["text_hash"][row] for row in range(5)}) == 5
    assert columns["minhash"][3]


def test_without_words_there_is_no_signature_and_no_candidate() -> None:
    """Punctuation, an error's null and an empty text share no band, but equal texts are exact copies."""
    columns = measured("!!! ---", "…", None, "", "  ", "!!!  ---")
    assert columns["minhash"] == [b""] * 6
    assert all(columns[band] == [0] * 6 for band in signatures.band_columns(14))
    assert columns["text_hash"][0] == columns["text_hash"][5] != columns["text_hash"][1]
    assert columns["text_hash"][2:5] == ["", "", ""]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("A  b\nc", "a b c", True), ("Straße", "STRASSE", True), ("é", "e\u0301", True), ("a\u00a0b", "a b", True),
     ("a b", "ab", False), ("a.", "a", False), ("ﬁ", "fi", True), ("İ", "i", False)],
)  # fmt: skip
def test_what_exact_copies_have_in_common(one: str, other: str, same: bool) -> None:
    """Case, white space and composed letters make no difference; all else does."""
    first, second = measured(one, other)["text_hash"]
    assert (first == second) is same


@given(st.lists(st.text() | st.none(), min_size=1, max_size=6), st.integers(0, 6), st.sampled_from([8, 1 << 19]))
@settings(max_examples=50, deadline=None)
def test_any_text_has_its_columns_however_a_batch_is_cut(texts: list[str | None], cut: int, together: int) -> None:
    """Never a null, never an error, the same alone as beside others, however many are normalised in one go."""
    with patch.object(folding, "_TOGETHER", together):
        whole = measured(*texts, bands=2, rows=3)
    first, second = measured(*texts[:cut], bands=2, rows=3), measured(*texts[cut:], bands=2, rows=3)
    for name, values in whole.items():
        assert None not in values
        assert values == first[name] + second[name]
    hashes = [hashes_of(text, minhash) for text, minhash in zip(texts, whole["minhash"], strict=True)]
    assert list(zip(whole["text_hash"], whole["signature_hash"], strict=True)) == hashes


def hashes_of(text: str | None, minhash: bytes) -> tuple[str, int]:
    """The text hash and the signature hash of a text with this signature of six values, by hashlib."""
    normal = folding.normalised(text or "").encode()
    whole = hashlib.blake2b((minhash or b"\xff" * 24) + normal, digest_size=16).hexdigest()
    signature = hashlib.blake2b(minhash, digest_size=16).digest()[:8]
    return whole if normal else "", int.from_bytes(signature, "little") | 1 if minhash else 0


# candidates and verifying


def words(count: int) -> str:
    """So many random words."""
    return " ".join(f"w{random.randrange(5_000)}" for _ in range(count))  # noqa: S311


def changed(text: str, share: float) -> str:
    """The text with this share of its words replaced."""
    return " ".join(f"n{random.randrange(10**9)}" if random.random() < share else word for word in text.split())  # noqa: S311


def rows(*texts: str) -> list[dict[str, str]]:
    """A record for each text, whose uri is its number."""
    return [{"text": text, "uri": str(number)} for number, text in enumerate(texts)]


def uris(run: Run) -> dict[str, int]:
    """The number of each document by its id."""
    tables = [run.work.documents.read(part, ["id", "uri"]) for part in run.parts]
    return {row["id"]: int(row["uri"]) for table in tables for row in table.to_pylist()}


def pairs(run: Run, kind: str) -> dict[tuple[int, int], float]:
    """The pairs of this kind by their documents' numbers, with their similarity."""
    number = uris(run)
    found = {}
    for part in pair_parts(run.work):
        for row in run.work.pairs.read(part).to_pylist():
            assert row["id_a"] < row["id_b"]
            if row["kind"] == kind:
                a, b = sorted((number[row["id_a"]], number[row["id_b"]]))
                found[a, b] = row["similarity"]
    return found


def test_pairs_are_found_as_often_as_the_formula_says(tiny: Callable[..., Run]) -> None:
    """Against every pair compared by brute force: none too many, similarities exact, as many as 18 x 6 should find."""
    random.seed(1)
    bases = [words(120) for _ in range(150)]
    texts = bases + [changed(text, 0.002 * (number % 30)) for number, text in enumerate(bases)]
    run = tiny(
        {"s": rows(*texts)}, '[dedup]\nprefer = "word_count"\nverify = "exact"\nsimilarity = 0.6', until="compare"
    )
    exact, near = pairs(run, "exact"), pairs(run, "near")
    alike = {pair: value for pair in itertools.combinations(range(len(texts)), 2)
             if (value := jaccard(texts[pair[0]], texts[pair[1]])) >= 0.6}  # fmt: skip
    assert set(exact) == {pair for pair in alike if texts[pair[0]] == texts[pair[1]]}
    apart = {pair: value for pair, value in alike.items() if pair not in exact}
    assert len(exact) >= 5
    assert len(apart) >= 100
    assert set(near) <= set(apart)
    assert all(abs(near[pair] - apart[pair]) < 1e-6 for pair in near)
    expected = sum(probability(value, 18, 6) for value in apart.values())
    assert (
        abs(len(near) - expected)
        < 4 * sum(probability(value, 18, 6) * (1 - probability(value, 18, 6)) for value in apart.values()) ** 0.5 + 1
    )
    assert {pair for pair, value in apart.items() if value >= 0.9} <= set(near)


def test_signatures_estimate_the_similarity(tiny: Callable[..., Run]) -> None:
    """Verified by signature: the share of equal permutations, as datasketch has it, near the Jaccard similarity."""
    random.seed(2)
    bases = [words(300) for _ in range(20)]
    texts = bases + [changed(text, 0.02) for text in bases]
    run = tiny({"s": rows(*texts)}, until="compare")
    near = pairs(run, "near")
    assert len(near) > 10
    minhashes = [sketch(signature) for signature in measured(*texts, bands=18, rows=6)["minhash"]]
    for (a, b), similarity in near.items():
        assert similarity >= 0.75
        assert similarity == pytest.approx(minhashes[a].jaccard(minhashes[b]))
        assert abs(similarity - jaccard(texts[a], texts[b])) < 0.2


def test_short_texts_and_other_scripts_are_compared(tiny: Callable[..., Run]) -> None:
    """Two words are near those two words otherwise written, and Chinese is near Chinese."""
    chinese = "潮水每天涨落两次因为月亮吸引海水地球自转所以每天有两次高潮和两次低潮这就是潮汐的原因"
    run = tiny(
        {"s": rows("Two words.", "two words", "other words", chinese, f"{chinese}。", "!!!", "...")}, until="compare"
    )
    assert pairs(run, "near") == {(0, 1): 1.0, (3, 4): 1.0}
    assert pairs(run, "exact") == {}


def test_a_huge_bucket_is_not_compared_each_with_each(tiny: Callable[..., Run]) -> None:
    """Two thousand documents of one signature: few comparisons each, and what was left out is counted."""
    count = 2_000
    text = " ".join(f"word{number}" for number in range(30))
    began = time.monotonic()
    texts = rows(*(f"{text}{'.' * number}" for number in range(count)))
    run = tiny({"s": texts}, "", 'dedup.verify="exact"', "dedup.max_loss=1", until="judge")
    assert time.monotonic() - began < 20
    figures = run.figures["compare"]
    hubs, beside = candidates.HUBS, candidates.NEIGHBOURS
    most = count * (hubs + beside)
    assert most - (hubs + beside) ** 2 <= figures["candidates"] <= most
    assert figures["near"] == figures["candidates"]
    assert 18 * (count * (count - 1) // 2 - most) <= figures["not_compared"] < 18 * count * (count - 1) // 2
    assert figures["exact"] == 0
    verdicts = [row for part in run.parts for row in run.work.verdicts.read(part).to_pylist()]
    assert sum(row["keep"] for row in verdicts) == 1, "whoever was not compared with it"
    run = tiny({"s": texts}, until="compare")  # verified by signature they are copies of one, and need no comparison
    assert run.figures["compare"] == {
        "exact": 0,
        "near": count - 1,
        "candidates": 0,
        "not_compared": 0,
        "newly_compared": 0,
    }


def test_of_many_copies_of_a_page_one_stays(tiny: Callable[..., Run]) -> None:
    """Two thousand pages that differ in a word, most of which are never compared: each that goes is like a kept one."""
    random.seed(6)
    page = words(200).split()
    copies = []
    for number in range(2_000):
        place = random.randrange(len(page))  # noqa: S311
        copies.append(" ".join([*page[:place], f"x{number}", *page[place + 1 :]]))
    good = [words(200) for _ in range(10)]
    run = tiny({"s": rows(*copies, *good)}, "", 'dedup.verify="exact"', "dedup.max_loss=1", until="judge")
    texts, number = [*copies, *good], uris(run)
    verdicts = [row for part in run.parts for row in run.work.verdicts.read(part).to_pylist()]
    kept = sorted(number[row["id"]] for row in verdicts if row["keep"])
    assert len(kept) == 11
    assert kept[1:] == list(range(2_000, 2_010))
    for row in verdicts:
        if not row["keep"]:
            truth = jaccard(texts[number[row["id"]]], texts[number[row["duplicate_of"]]])
            assert 0.75 <= row["similarity"] <= truth + 1e-6
    assert run.figures["compare"]["candidates"] < 100 * len(texts)


def test_a_bucket_up_to_the_bound_is_compared_in_full(tiny: Callable[..., Run]) -> None:
    """Nothing is left out where each can be compared with each."""
    count = candidates.FULL_BUCKET
    text = " ".join(f"word{number}" for number in range(30))
    texts = rows(*(f"{text}{'.' * number}" for number in range(count)))
    run = tiny({"s": texts}, "", 'dedup.verify="exact"', until="compare")
    assert run.figures["compare"]["near"] == count * (count - 1) // 2
    assert run.figures["compare"]["not_compared"] == 0


def test_pairs_are_the_same_however_they_were_found(tiny: Callable[..., Run]) -> None:
    """A second run reads them; made again they are the same; other settings make them anew."""
    random.seed(3)
    base = words(100)
    texts = [base, f"{base} {words(6)}", base.upper(), changed(base, 0.5)]
    run = tiny({"s": rows(*texts)}, until="compare")
    before = (run.work.storage.read("pairs/copies/00000.parquet"), pairs(run, "near"))
    assert (pairs(run, "exact"), set(pairs(run, "near"))) in (({(0, 2): 1.0}, {(0, 1)}), ({(0, 2): 1.0}, {(1, 2)}))
    assert tiny({"s": rows(*texts)}, until="compare").figures["compare"]["exact"] == 1
    run.work.storage.remove("pairs")
    run = tiny({"s": rows(*texts)}, until="compare")
    assert (run.work.storage.read("pairs/copies/00000.parquet"), pairs(run, "near")) == before
    run = tiny({"s": rows(*texts)}, "", "dedup.similarity=1.0", until="compare")
    assert pairs(run, "near") == {}
    run = tiny({"s": rows(*texts)}, "", "dedup.enabled=false", until="judge")
    assert pair_parts(run.work) == {}
    assert run.figures["judge"]["sources"]["s"]["kept"] == 4


@pytest.mark.parametrize(("held", "partitions"), [(2, 20), (12, 6), (24, 3)])
def test_more_signatures_than_a_worker_holds(
    tiny: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, held: int, partitions: int
) -> None:
    """Pairs are verified partition by partition then, to the same similarities; also where too many hang together."""
    random.seed(12)
    bases = [words(60) for _ in range(25)]
    sources = {name: rows(*(changed(text, 0.02) for text in bases)) for name in ("a", "b", "c")}
    before = pairs(tiny(sources, "", "dedup.similarity=0.3", until="compare"), "near")
    tiny(sources, until="compare").work.storage.remove("pairs")
    tiny(sources, "", "dedup.enabled=false", until="compare").work.storage.remove("compared")
    monkeypatch.setattr(verifying, "held_at_once", lambda _: held)
    for module in (dataset, scattered):
        monkeypatch.setattr(module, "ROW_GROUP_ROWS", 3)
    monkeypatch.setattr(LocalEngine, "map", in_this_process)
    parted, found = grouping.parted, list[Any]()
    monkeypatch.setattr(grouping, "parted", lambda *given: found.append(parted(*given)) or found[-1])
    read, sizes = scattered.read, list[int]()

    def noted(work: Any, places: list[tuple[Any, range]], documents: int, values: int) -> Any:
        sizes.extend(len(groups) for _, groups in places)
        return read(work, places, documents, values)

    monkeypatch.setattr(scattered, "read", noted)
    run = tiny(sources, "", "dedup.similarity=0.3", until="compare")
    assert pairs(run, "near") == before
    of_pair, _ = found[0]
    assert run.figures["compare"]["newly_compared"] == len(of_pair) >= 40
    assert len(set(of_pair.tolist())) >= partitions
    assert (max(sizes) > 1) == (held == 24), "some partitions are several row groups of a part"
    assert not list(run.work.storage.files("scattered"))


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=60), st.integers(1, 12))
def test_what_hangs_together_is_one_partition(edges: list[tuple[int, int]], most: int) -> None:
    """No pair has its documents in two partitions, and a partition ends as soon as it has enough documents."""
    edges = sorted({(min(edge), max(edge)) for edge in edges if edge[0] != edge[1]}) or [(0, 1)]
    rows = np.array(sorted({row for edge in edges for row in edge}))
    numbers = np.array([one << 32 | other for one, other in edges], np.uint64)
    of_pair, of_row = (part.tolist() for part in grouping.parted(numbers, rows, 41, most))
    partition = dict(zip(rows.tolist(), of_row, strict=True))
    assert [partition[one] for one, _ in edges] == [partition[other] for _, other in edges] == of_pair
    clusters = {row: {row} for row in partition}
    for one, other in edges:
        union = clusters[one] | clusters[other]
        clusters |= dict.fromkeys(union, union)
    before = 0
    for row in sorted(partition):
        if row == min(clusters[row]):
            assert partition[row] == before // most
            before += len(clusters[row])


@pytest.mark.parametrize("verify", ["signature", "exact"])
def test_only_new_pairs_are_compared(tiny: Callable[..., Run], verify: str) -> None:
    """A source more, before or behind those that are there, one less, another threshold: as in a run from nothing."""
    random.seed(8)
    bases = [words(80) for _ in range(12)]
    sources = {name: rows(*(changed(text, 0.03) for text in bases)) for name in ("m", "b", "z")}
    asked: list[int] = []

    def pairs_of(names: str, *more: str) -> set[tuple[str, str, float]]:
        run = tiny({name: sources[name] for name in names}, "", f'dedup.verify="{verify}"', *more, until="compare")
        asked.append(run.figures["compare"]["newly_compared"])
        return {(row["id_a"], row["id_b"], row["similarity"])
                for part in pair_parts(run.work) for row in run.work.pairs.read(part).to_pylist()}  # fmt: skip

    one = pairs_of("m")
    two = pairs_of("bm")
    three = pairs_of("bmz", "dedup.similarity=0.8")
    assert one < two
    assert len(three) > len(one)
    assert pairs_of("bmz") >= three
    assert asked[3] == 0, "all of these were compared before"
    assert min(asked[1:3]) > 0
    assert pairs_of("bm") == two
    for names in ("bm", "bmz"):
        again = pairs_of(names)
        assert asked[-1] < sum(asked)
        run = tiny({name: sources[name] for name in names}, "", f'dedup.verify="{verify}"', until="compare")
        run.work.storage.remove("compared")
        run.work.storage.remove("pairs")
        assert pairs_of(names) == again, "the same from nothing"


@pytest.mark.data
def test_copies_among_real_textbooks(tiny: Callable[..., Run], data: Path) -> None:
    """Of the pairs of OpenStax modules that share 85 % of their 5-grams (computed exactly) none is missed."""
    with gzip.open(data / "textbooks/near-duplicate-pairs.jsonl.gz", "rt") as lines:
        known = [json.loads(line) for line in lines]
    table = pq.read_table(data / "textbooks/openstax.parquet", columns=["id", "text"]).to_pydict()
    text_of = dict(zip(table["id"], table["text"], strict=True))
    names = sorted({pair[side] for pair in known for side in "ab"})
    run = tiny({"s": rows(*(text_of[name] for name in names))}, until="compare")
    number = {name: place for place, name in enumerate(names)}
    exact, near = pairs(run, "exact"), pairs(run, "near")
    group = {place: place for place in number.values()}
    ids = {place: document for document, place in uris(run).items()}
    for a, b in exact:
        first, copy = sorted((a, b), key=ids.__getitem__)
        group[copy] = first
    wanted = [pair for pair in known if pair["jaccard5"] >= 0.85]
    assert len(wanted) >= 100
    missed = []
    for pair in wanted:
        a, b = sorted((group[number[pair["a"]]], group[number[pair["b"]]]))
        if a != b and (a, b) not in near:
            missed.append(pair)
    assert len(missed) <= 0.01 * len(wanted), missed
    assert not [pair for pair in missed if pair["exact"]]
    alike = {tuple(sorted((number[pair["a"]], number[pair["b"]]))): pair["jaccard5"] for pair in known}
    assert all(alike.get(pair, 0) > 0.5 for pair in near)


def corpus_of_copies() -> dict[str, list[dict[str, str]]]:
    """Four sources of pages of which many are near, exact or many times over the same."""
    random.seed(11)
    bases = [words(60) for _ in range(10)]
    page = words(60)
    sources = {}
    for name in "abcd":
        texts = [changed(base, random.choice([0.0, 0.01, 0.02])) for base in random.choices(bases, k=14)]  # noqa: S311
        texts += [f"{page} {name}{number}" for number in range(8)]
        sources[name] = [{"text": text, "uri": f"{name}{number}"} for number, text in enumerate(texts)]
    return sources


ALL_MAY_GO = '[dedup]\nprefer = "word_count desc"\nmax_loss = 1.0\n'


def verdicts(run: Run) -> list[tuple[str, bool, str | None, float | None]]:
    """What became of each document, in the order of their ids."""
    rows = [row for part in run.parts for row in run.work.verdicts.read(part).to_pylist()]
    return sorted((row["id"], row["keep"], row["duplicate_of"], row["similarity"]) for row in rows)


def in_this_process(_: LocalEngine, function: Callable[[Any], Any], items: list[Any], **__: object) -> list[Any]:
    """As `LocalEngine.map`, without workers, which would not see what a test sets."""
    return [function(item) for item in items]


@pytest.fixture(scope="module")
def as_it_comes() -> dict[str, Any]:
    """What the first run of each way to verify gave."""
    return {}


@settings(
    max_examples=8, deadline=None, phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(
    order=st.permutations("abcd"), part_rows=st.sampled_from([4, 9, 1000]), pairs_a_task=st.sampled_from([1, 7, 1000]),
    held_bytes=st.sampled_from([800, 1_800, 1 << 20]),
    verify=st.sampled_from(["signature", "exact"]),
)  # fmt: skip
def test_copies_are_the_same_for_any_parts_tasks_and_order(
    as_it_comes: dict[str, Any], tiny: Callable[..., Run], tmp_path: Path, order: list[str], part_rows: int,
    pairs_a_task: int, held_bytes: int, verify: str,
) -> None:  # fmt: skip
    """However sources are ordered, parts and tasks are cut and bands are passed through, the verdicts are the same.

    Also where the keys of a band, 88 at most, take several turns, read again for each or kept.
    """
    shutil.rmtree(tmp_path / "work", ignore_errors=True)
    sources = corpus_of_copies()
    with (
        patch.object(pull, "PART_ROWS", part_rows),
        patch.object(compare, "_PAIRS_A_TASK", pairs_a_task),
        patch.object(compare, "_DOCUMENTS_A_TASK", 5 * pairs_a_task),
        patch.object(compare, "_NAMED_A_TASK", 3 * pairs_a_task),
        patch.object(candidates, "_HELD_BYTES", held_bytes),
        patch.multiple(candidates, FULL_BUCKET=6, HUBS=2, NEIGHBOURS=2),
        patch.object(LocalEngine, "map", in_this_process),
    ):
        run = tiny({name: sources[name] for name in order}, ALL_MAY_GO, f'dedup.verify="{verify}"', until="judge")
    found = verdicts(run)
    assert sum(row[2] is not None for row in found) >= 40
    assert run.figures["compare"]["not_compared"] > 0, "some band has more documents than are compared each with each"
    assert len(run.parts) >= 4 * -(-22 // part_rows)
    assert found == as_it_comes.setdefault(verify, found)


@pytest.mark.parametrize("verify", ["signature", "exact"])
def test_copies_are_the_same_for_any_workers(tiny: Callable[..., Run], tmp_path: Path, verify: str) -> None:
    """What workers find together is what one process finds."""
    sources = corpus_of_copies()
    found = []
    for is_little in (True, False):
        with patch.object(Run, "is_little", is_little):
            found.append(verdicts(tiny(sources, ALL_MAY_GO, f'dedup.verify="{verify}"', until="judge")))
        shutil.rmtree(tmp_path / "work")
    assert found[0] == found[1]


# who stays


@st.composite
def corpora(draw: st.DrawFn) -> tuple[list[tuple[str, str]], list[tuple[str, str, float]], dict[str, int]]:
    """Exact groups, verified pairs between their firsts, and a rank of the documents that passed the rules."""
    count = draw(st.integers(1, 12))
    names = [f"d{number:02d}" for number in range(count)]
    group_of = [draw(st.integers(0, count - 1)) for _ in names]
    members = defaultdict(list)
    for name, group in zip(names, group_of, strict=True):
        members[group].append(name)
    firsts = sorted(group[0] for group in members.values())
    exact = [(group[0], name) for group in members.values() for name in group[1:]]
    possible = list(itertools.combinations(firsts, 2))
    chosen = draw(st.lists(st.sampled_from(possible), unique=True)) if possible else []
    near = [(a, b, draw(st.sampled_from([0.75, 0.8, 0.9, 1.0]))) for a, b in chosen]
    passed = draw(st.lists(st.sampled_from(names), unique=True))
    return exact, near, {name: place for place, name in enumerate(passed)}


def chosen(
    exact: list[tuple[str, str]],
    near: list[tuple[str, str, float]],
    rank: dict[str, int],
    least: float = 0.75,
    stay: int = 0,
) -> dict[str, tuple[str, float]]:
    """Who goes, each with the kept one and how similar they are."""
    names = sorted({*rank, *(name for pair in exact for name in pair), *(name for a, b, _ in near for name in (a, b))})
    node = {name: place for place, name in enumerate(names)}
    graph = Graph(
        len(names),
        Copies(numbers(node, [a for a, _ in exact]), numbers(node, [b for _, b in exact])),
        Near(
            numbers(node, [a for a, _, _ in near]), numbers(node, [b for _, b, _ in near]),
            np.array([value for *_, value in near], np.float32),
        ),
        numbers(node, sorted(rank, key=rank.__getitem__)), stay,
    )  # fmt: skip
    found = zip(*choose(graph, least), strict=True)
    return {names[goes]: (names[kept], pytest.approx(value, abs=1e-6)) for goes, kept, value in found}


def numbers(node: dict[str, int], names: list[str]) -> np.ndarray[Any, np.dtype[np.int32]]:
    """The nodes of these names."""
    return np.array([node[name] for name in names], np.int32)


@settings(max_examples=500, deadline=None)
@given(corpora(), st.randoms())
def test_whoever_goes_has_a_verified_copy_that_stays(
    corpus: tuple[list[tuple[str, str]], list[tuple[str, str, float]], dict[str, int]], chance: random.Random
) -> None:
    """Promise 7, and the rest of what `choose` says of itself, on any graph."""
    exact, near, rank = corpus
    gone = chosen(exact, near, rank)
    first = {name: name for name in rank} | {copy: group for group, copy in exact}
    verified: dict[tuple[str, str], float] = {}
    for a, b, value in near:
        verified[a, b] = verified[b, a] = value

    def similarity(one: str, other: str) -> float | None:
        group, beside = first.get(one, one), first.get(other, other)
        return 1.0 if group == beside else verified.get((group, beside))

    def follows(one: str, other: str) -> float:
        """How similar two must be, by what one third document was compared with both."""
        group, beside = first.get(one, one), first.get(other, other)
        return max((verified.get((group, hub), -1) + verified.get((hub, beside), -1) - 1 for hub in firsts), default=-1)

    firsts = {name for pair in verified for name in pair}
    kept = set(rank) - set(gone)
    assert set(gone) <= set(rank), "what a rule dropped takes no part"
    for name, (other, value) in gone.items():
        assert other in kept
        if first.get(name, name) != first.get(other, other):
            best = min(rank[member] for member in rank if first[member] == first[name])
            better = [member for member in kept if rank[member] < best]
            direct = max((similarity(name, member) or 0 for member in better), default=0)
            assert value == (direct or max(follows(name, member) for member in better))
            assert direct or similarity(name, other) is None
        else:
            assert value == 1
    for one, other in itertools.combinations(kept, 2):
        assert similarity(one, other) is None, "two that were verified alike both stay"
    for one in rank:  # of two that are alike and nothing else the better one stays
        others = [other for other in rank if other != one and (similarity(one, other) or follows(one, other)) > 0.7499]
        if all(rank[one] < rank[other] for other in others):
            assert one in kept
    chance.shuffle(exact)
    chance.shuffle(near)
    names = list(rank)
    chance.shuffle(names)
    turned = [(b, a, value) if chance.random() < 0.5 else (a, b, value) for a, b, value in near]
    again = chosen(exact, turned, {name: rank[name] for name in names})
    assert {name: (other, value.expected) for name, (other, value) in again.items()} == gone


def test_a_chain_of_copies_keeps_both_ends() -> None:
    """C is like b, but b went for a: c stays, since nothing that stays is like it."""
    assert chosen([], [("a", "b", 0.8), ("b", "c", 0.8)], {"a": 0, "b": 1, "c": 2}) == {"b": ("a", 0.8)}
    assert set(chosen([], [("a", "b", 0.8), ("b", "c", 0.8)], {"b": 0, "a": 1, "c": 2})) == {"a", "c"}


def test_the_more_similar_then_the_better_is_named() -> None:
    """Of several kept copies."""
    near = [("a", "z", 0.8), ("b", "z", 0.86), ("c", "z", 0.86)]
    assert chosen([], near, {"a": 0, "c": 1, "b": 2, "z": 3}) == {"z": ("c", 0.86)}


def test_one_goes_where_a_third_proves_it() -> None:
    """Two that were not compared, each 0.9 and more like a third: 1 - similarity is a distance."""
    near = [("a", "hub", 0.95), ("b", "hub", 0.9), ("c", "hub", 0.75)]
    assert chosen([], near, {"a": 0, "b": 1, "c": 2}) == {"b": ("a", 0.85)}, "though the hub was dropped by a rule"
    assert set(chosen([], near, {"a": 0, "b": 1, "c": 2}, least=0.9)) == set()
    assert set(chosen([], near, {"a": 0, "b": 1, "c": 2}, least=0.7)) == {"b", "c"}


@pytest.mark.parametrize("held", [10_000, 700])
def test_of_a_crowd_stays_what_is_like_none_that_stays(
    tiny: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    """Of thousands of versions of a page the same stay as if each were compared with each, though few pairs were.

    Also where the crowd has more signatures than are held; and no pair is asked for twice.
    """
    random.seed(9)
    page = words(100).split()
    versions = [" ".join([*page[:place], f"n{number}", *page[place + 1 :]])
                for number in range(2_000) for place in [number * 7 % 100]]  # fmt: skip
    sources = {"s": rows(*versions, *(words(100) for _ in range(10)))}
    recipe = """[dedup]\nprefer = "uri desc"\nmax_loss = 1"""
    monkeypatch.setattr(copies, "_LOOKS", 0)
    few = tiny(sources, recipe, until="judge").figures["judge"]["sources"]["s"]["kept"]
    monkeypatch.undo()
    run = tiny(sources, recipe, until="compare")
    run.work.storage.remove("verdicts")
    to_ask, asked = survivors.to_ask, list[Any]()
    monkeypatch.setattr(survivors, "to_ask", lambda *given: asked.append(to_ask(*given)) or asked[-1])
    monkeypatch.setattr(copies, "_AT_A_LOOK", 4_000)
    monkeypatch.setattr(verifying, "held_at_once", lambda _: held)
    run = tiny(sources, recipe, until="judge")
    every = np.sort(np.concatenate([[look.one, look.other] for look in asked], axis=1), axis=0)
    assert sum(len(look.nodes) > 0 for look in asked) >= 2
    assert len(np.unique(every, axis=1).T) == len(every.T)
    number = uris(run)
    signatures, kept = {}, set()
    for part in run.parts:
        for row in run.work.signal("signature").read(part, ["id", "minhash"]).to_pylist():
            signatures[number[row["id"]]] = np.frombuffer(row["minhash"], "<u4")
        for row in run.work.verdicts.read(part).to_pylist():
            if row["keep"]:
                kept.add(number[row["id"]])
            else:
                alike = np.mean(signatures[number[row["id"]]] == signatures[number[row["duplicate_of"]]])
                assert alike >= row["similarity"] - 1e-6 >= 0.75 - 1e-6
    stays: list[int] = []
    for one in sorted(signatures, key=str, reverse=True):
        beside = np.array([signatures[other] for other in stays] or [np.zeros(108)])
        if (beside == signatures[one]).mean(axis=1).max() < 0.75:
            stays.append(one)
    assert kept == set(stays) >= set(range(2_000, 2_010))
    assert few > len(stays)


def test_the_best_of_a_run_s_copies_stays(tiny: Callable[..., Run]) -> None:
    """Of three versions of a text the longest that no rule hits stays, and the others name it."""
    random.seed(5)
    base = words(150)
    texts = [base, f"{base} {words(20)}", f"{base} {words(24)}", words(150)]
    run = tiny({"s": rows(*texts)}, '[rules]\nmarked = "word_count = 174"', until="judge")
    number = uris(run)
    verdicts = {number[row["id"]]: row for part in run.parts for row in run.work.verdicts.read(part).to_pylist()}
    assert {place: row["keep"] for place, row in verdicts.items()} == {0: False, 1: True, 2: False, 3: True}
    assert number[verdicts[0]["duplicate_of"]] == 1
    assert 0.75 <= verdicts[0]["similarity"] < 1
    assert (verdicts[2]["reasons"], verdicts[2]["duplicate_of"]) == (["marked"], None)
    assert run.figures["judge"]["sources"]["s"] == {
        "documents": 4, "errors": 0, "dropped": 1, "duplicates": 1, "kept": 2, "rules": {"marked": 1},
    }  # fmt: skip


def test_the_exact_pairs_come_last() -> None:
    """The part of exact pairs is the sign that all pairs are there."""
    assert str(COPIES) == "copies/00000"
