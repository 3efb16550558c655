"""Deduplication beside its peers: `CURATE_DATA=… python -m benchmarks.dedup [SECTION…]`; `--help` lists the options.

- `signatures`: what signing costs us and datatrove, Daft, datasketch, Rensa and text-dedup, on the same documents, in
  turns;
- `job`: from text to verdicts on the same documents, as commands: ours, and datatrove's four steps;
- `quality`: which of all pairs become candidates, beside what the formula promises, and whether what is removed was
  similar; the similarities are computed from all pairs, in plain Python and one SQL query;
- `incremental`: what one input more costs beside twenty, and whether the verdicts are those of a run from nothing;
- `crowd`: one page very often.

MB are 10^6 bytes of UTF-8, CPU time is that of all threads and processes together.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import peer
from benchmarks.dedup.commands import cost, ours_until_judge
from benchmarks.dedup.crowd import crowd
from benchmarks.dedup.incremental import incremental
from benchmarks.signals.measuring import megabytes, mixed, texts_of, write_sample
from curation import kernels
from curation.dedup.signatures import SEED, Signatures, probability, shingles
from curation.measure import PIECE_BYTES
from curation.recipe import Dedup
from curation.signals.batch import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from plain.shingles import grams, jaccard, similarities  # noqa: E402  # the plain definitions

#: Bounds of the classes in which pairs are counted.
BOUNDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
#: Long enough for a figure of ours: the sample is signed again and again for so many seconds of CPU.
_LEAST_SECONDS = 1.0
#: Sets of permutations over which candidates are averaged.
_SEEDS = 100

DEDUP = Dedup()


def main() -> None:
    """Run the sections that are asked for, print what they say."""
    sections = {"signatures": signatures, "job": job, "quality": quality, "incremental": incremental, "crowd": crowd}
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dedup", description=(__doc__ or "").split(":")[0])
    parser.add_argument("sections", nargs="*", choices=[*sections, []], metavar="SECTION", help=", ".join(sections))
    parser.add_argument("--repeats", type=int, default=3, help="rounds of `signatures`, and of ours in `job` (3)")
    parser.add_argument("--sample-mb", type=float, default=6, help="what is signed by all (6)")
    parser.add_argument("--documents", type=int, default=5000, help="documents of `job` and `quality` (5000)")
    peer.add_options(parser)
    parser.add_argument("--own-environment", help="make the environment in which `job` runs ours here, or find it")
    options = parser.parse_args()
    machine = f"{os.cpu_count()} cores ({platform.machine()}), load {os.getloadavg()[0]:.1f}"
    shape = f"{DEDUP.bands} x {DEDUP.rows}, {DEDUP.ngram} words a shingle"
    print(f"{datetime.now(UTC):%Y-%m-%d}, {machine}, Python {platform.python_version()}, {shape}")
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.sections or sections:
            print(f"… {name}", file=sys.stderr)
            sections[name](options, Path(scratch))
            sys.stdout.flush()


def signer() -> Signatures:
    """Signatures of the recipe's defaults."""
    return Signatures(DEDUP.ngram, DEDUP.bands, DEDUP.rows)


def signatures(options: argparse.Namespace, scratch: Path) -> None:
    """Signing the same documents, in turns: ours, and each peer's."""
    executable, peers = peer.deduplicating(options, scratch)
    sample = scratch / "sample.parquet"
    write_sample(sample, options.sample_mb)
    texts = texts_of(sample)
    size = megabytes(texts)
    given = scratch / "given.parquet"
    pq.write_table(pa.concat_tables([with_ours(text) for text in texts]), given)
    rounds: dict[str, list[float]] = {}
    works = ours(texts)
    for number in range(options.repeats):
        for name, work in works.items():
            rounds.setdefault(f"curate, {name}", []).append(seconds_of(work))
        for name in peers:
            print(f"… round {number + 1} of {options.repeats}: {name}", file=sys.stderr)
            for way, seconds in told(executable, name, given, passes=1 if name in SLOW else 5).items():
                rounds.setdefault(f"{name}, {way}", []).append(seconds)
    found = {name: statistics.median(seconds) for name, seconds in rounds.items()}
    least = found["curate, from the text"]
    print(f"\nsample: {sum(map(len, texts)):,} documents of every source, {size:.1f} MB, medians of {options.repeats}")
    print(f"{'':46}   CPU s  MB/s a core  times ours")
    for name, seconds in found.items():
        print(f"{name:46} {seconds:7.3f} {size / seconds:12.2f} {seconds / least:11.1f}")
    whole(executable, [name for name in peers if name == "daft"])


#: Peers that take seconds where the others take a tenth.
SLOW = ("datatrove", "datasketch", "text-dedup")


def whole(executable: str, peers: list[str]) -> None:
    """Sign the whole mixed file, where we and the peer are fast enough."""
    texts = texts_of(mixed())
    size = megabytes(texts)
    print(f"\nwhole file: {sum(map(len, texts)):,} documents, {size:.1f} MB, once")
    found = {f"curate, {name}": seconds_of(work) for name, work in ours(texts).items()}
    found |= {
        f"{name}, {way}": seconds
        for name in peers
        for way, seconds in told(executable, name, mixed(), passes=1).items()
    }
    for name, seconds in found.items():
        print(f"{name:46} {seconds:7.3f} {size / seconds:12.2f}")


def ours(texts: list[pa.Array]) -> dict[str, Callable[[], Any]]:
    """What we do with the texts, their kernels loaded."""
    signal = signer()
    given = [hashed(batch) for batch in pieces(texts)]

    def sign(hashes: Any, bounds: Any) -> None:
        kernels.minhash.signatures(hashes, bounds, DEDUP.ngram, DEDUP.bands, DEDUP.rows, SEED)

    works: dict[str, Callable[[], Any]] = {
        "from the text": lambda: [sign(*hashed(batch)) for batch in pieces(texts)],
        "with the hash that exact copies share": lambda: [signal.measure(batch) for batch in pieces(texts)],
        "its hashes of words given": lambda: [sign(*one) for one in given],
    }
    signal.measure(Batch(pa.array(["One sentence. Another one."])))
    return works


def pieces(texts: list[pa.Array]) -> Iterator[Batch]:
    """The texts as the stage measures them: as many at once as the processor's caches hold."""
    for text in texts:
        yield from Batch(text).pieces(PIECE_BYTES)


def hashed(batch: Batch) -> tuple[Any, Any]:
    """Hashes of the words of all texts, and where each text's begin."""
    words = batch.word_spans
    return kernels.folding.word_hashes(batch.data, batch.bounds, words), words.bounds


def seconds_of(work: Callable[[], Any]) -> float:
    """CPU seconds for all the texts once."""
    began, passes = time.process_time(), 0
    while not passes or time.process_time() - began < _LEAST_SECONDS:
        work()
        passes += 1
    return (time.process_time() - began) / passes


def with_ours(text: pa.Array) -> pa.Table:
    """The texts with what peers may be given of ours: shingles' hashes, and signatures to compare with."""
    batch = Batch(text)
    bounds, hashes = shingles(batch, DEDUP.ngram)
    lists = pa.LargeListArray.from_arrays(pa.array(bounds), pa.array(hashes))
    return pa.table({"text": text, "shingles": lists, "minhash": signer().measure(batch)["minhash"]})


def told(executable: str, name: str, path: Path, passes: int) -> dict[str, float]:
    """CPU seconds of each way that a peer signs the documents."""
    shape = [str(number) for number in (DEDUP.bands, DEDUP.rows, DEDUP.ngram, passes)]
    command = [executable, str(HERE / "peer_signatures.py"), name, str(path), *shape]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def write_documents(target: Path, documents: int) -> None:
    """Real documents of all sources, chosen so that those stay together whose ids end alike: editions of one page.

    Where all are asked for it is the file as it lies there.
    """
    if documents >= pq.read_metadata(mixed()).num_rows:
        shutil.copyfile(mixed(), target)
        return
    duckdb.execute(f"""
        COPY (
            SELECT id, text FROM '{mixed()}'
            ORDER BY md5(regexp_extract(id, '[^/]*$')), id LIMIT {documents}
        ) TO '{target}' (FORMAT parquet)
    """)


def write_reversed(target: Path, documents: int) -> None:
    """Real documents whose words stand in reverse order: as long, of the same words, and near to no real one.

    Without those that are the same then. There may be fewer than are asked for.
    """
    duckdb.execute(f"""
        COPY (
            SELECT id || ' reversed' AS id, reversed AS text, source FROM (
                SELECT *, array_to_string(list_reverse(string_split(text, ' ')), ' ') AS reversed
                FROM read_parquet('{mixed()}', file_row_number = true)
            ) WHERE reversed <> text ORDER BY file_row_number LIMIT {documents}
        ) TO '{target}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 4096)
    """)


def job(options: argparse.Namespace, scratch: Path) -> None:
    """From text to verdicts: `curate run --until judge`, and datatrove's four steps, with one worker each.

    Datatrove runs for a quarter of an hour, in which a machine may become faster or slower: half of the rounds of ours
    come before it, half after it. Where more documents are asked for than there are, they come again with their words
    in reverse order.
    """
    executable, python = peer.python(options, scratch), peer.ours(options, scratch)
    folder = scratch / "documents"
    folder.mkdir()
    write_documents(folder / "documents.parquet", options.documents)
    if (more := options.documents - pq.read_metadata(mixed()).num_rows) > 0:
        write_reversed(folder / "reversed.parquet", more)
    files = sorted(folder.iterdir())
    texts = [text for file in files for text in texts_of(file)]
    size, rows = megabytes(texts), sum(map(len, texts))
    del texts
    found, removed, inside = {}, {}, {}
    few = scratch / "few.parquet"
    write_documents(few, 10)
    cost(ours_until_judge(few, scratch / "first", "exact", python))  # kernels are compiled at the first run
    asked = {"signature": (folder, "signature"), "exact": (folder, "exact"), "ten documents": (few, "signature")}
    rounds: dict[str, list[tuple[float, float, float]]] = {name: [] for name in asked}
    theirs = scratch / "theirs"
    for number in range(options.repeats):
        if number == options.repeats // 2:
            found["datatrove"] = cost(datatrove_s(executable, folder, theirs))
        for name, (documents, verify) in asked.items():
            work = scratch / f"ours-{name}"
            shutil.rmtree(work, ignore_errors=True)
            rounds[name].append(cost(ours_until_judge(documents, work, verify, python)))
            removed[f"curate, {name}"] = len(gone(work))
            stages = json.loads((work / "run.json").read_text())["stages"]
            inside[name] = ", ".join(f"{stage} {figures['seconds']:.1f}" for stage, figures in stages.items())
    found = {
        f"curate, {name}": tuple(map(statistics.median, zip(*costs, strict=True))) for name, costs in rounds.items()
    } | found
    removed["datatrove"] = len(gone_of_datatrove(theirs))
    print(f"\nfrom text to verdicts: {rows:,} documents, {size:.1f} MB, one worker; datatrove once, ours by the median")
    print(f"{'':22} CPU s  clock s  MB of the largest process  removed  datatrove's CPU to this")
    for name, (cpu, wall, peak) in found.items():
        ratio = found["datatrove"][0] / cpu
        print(f"{name:20} {cpu:7.1f} {wall:8.1f} {peak:26.0f} {removed[name]:8,} {ratio:24.1f}")
    for name, costs in rounds.items():
        taken = [f"{cpu:.1f}" for cpu, _, _ in costs]
        before, after = taken[: options.repeats // 2], taken[options.repeats // 2 :]
        print(f"  CPU s of curate, {name}, in turns: {', '.join(before)}; after datatrove: {', '.join(after)}")
    for name, parts in inside.items():
        print(f"  stages of curate, {name}, clock s, the last time: {parts}")


def datatrove_s(executable: str, folder: Path, work: Path) -> list[str]:
    """The command that runs datatrove's four steps over a folder."""
    shape = [str(number) for number in (DEDUP.bands, DEDUP.rows, DEDUP.ngram)]
    return [executable, str(HERE / "datatrove_job.py"), str(folder), str(work), *shape]


def gone_of_datatrove(work: Path) -> list[str]:
    """The ids of the documents that datatrove removed."""
    files = sorted(work.glob("removed/*.parquet"))
    return [one for file in files for one in pq.read_table(file, columns=["id"])["id"].to_pylist()]


def gone(work: Path) -> list[tuple[str, str]]:
    """Of each document that we removed its URI, and that of the kept one it is said to be a copy of."""
    return duckdb.execute(f"""
        WITH documents AS (SELECT id, uri FROM '{work}/documents/**/*.parquet')
        SELECT goes.uri, stays.uri
        FROM '{work}/verdicts/**/*.parquet' v
        JOIN documents goes ON goes.id = v.id JOIN documents stays ON stays.id = v.duplicate_of
        ORDER BY ALL
    """).fetchall()


def quality(options: argparse.Namespace, scratch: Path) -> None:
    """Candidates and removed documents against the similarity of all pairs."""
    folder = Path(os.environ["CURATE_DATA"]).expanduser().resolve() / "textbooks"
    books = pq.read_table(folder / "openstax.parquet", columns=["id", "text"])
    listed = duckdb.execute(f"SELECT a, b, jaccard5 FROM '{folder}/near-duplicate-pairs.jsonl.gz'").fetchall()
    places = {one: place for place, one in enumerate(books["id"].to_pylist())}
    known = {tuple(sorted((places[a], places[b]))): similarity for a, b, similarity in listed}
    print(f"\n{len(books)} textbook modules, the {len(listed)} pairs that are listed")
    classes(known, books["text"].combine_chunks())
    own = [grams(text, DEDUP.ngram) for text in books["text"].to_pylist()]
    apart = [similarity - jaccard(own[a], own[b]) for (a, b), similarity in known.items() if similarity < 1]
    print(
        f"with our words those below 1 are less similar than listed: by {np.mean(apart):.3f}, at most {max(apart):.3f}"
    )

    place = scratch / "quality"
    place.mkdir()
    write_documents(place / "documents.parquet", options.documents)
    rows = pq.read_table(place / "documents.parquet")
    sets = [grams(text, DEDUP.ngram) for text in rows["text"].to_pylist()]
    similar = similarities(sets, BOUNDS[0])
    print(f"\n{len(rows):,} documents of every source, all pairs")
    classes(similar, rows["text"].combine_chunks())

    order = {one: number for number, one in enumerate(rows["id"].to_pylist())}
    removed: dict[str, set[int]] = {}
    named: dict[str, list[float]] = {}
    for verify in ("signature", "exact"):
        work = scratch / f"quality-{verify}"
        cost(ours_until_judge(place / "documents.parquet", work, verify))
        pairs = [(order[a], order[b]) for a, b in gone(work)]
        removed[verify] = {goes for goes, _ in pairs}
        named[verify] = [jaccard(sets[a], sets[b]) for a, b in pairs]
    theirs = scratch / "quality-datatrove"
    executable = peer.python(options, scratch)
    cost(datatrove_s(executable, place, theirs))
    removed["datatrove"] = {order[one] for one in gone_of_datatrove(theirs)}
    print(f"\n{'the same documents; verify =':46} signature      exact  datatrove")
    for title, figures in after(similar, removed).items():
        print(f"{title:45}" + "".join(f"{figure:11,}" for figure in figures))
    below = [sum(value < DEDUP.similarity for value in values) for values in named.values()]
    title = f"removed, and below {DEDUP.similarity} to the one it is a copy of"
    print(f"{title:45}" + "".join(f"{figure:11,}" for figure in below))

    shingles_of_theirs = scratch / "shingles.parquet"
    program, path = str(HERE / "datatrove_shingles.py"), str(place / "documents.parquet")
    cost([executable, program, path, str(shingles_of_theirs), str(DEDUP.ngram)])
    by_theirs = similarities(map(frozenset, pq.read_table(shingles_of_theirs)["shingles"].to_pylist()), BOUNDS[0])
    print("similar by datatrove's words:")
    for title, figures in list(after(by_theirs, removed).items())[1:]:
        print(f"{title:45}" + "".join(f"{figure:11,}" for figure in figures))


def after(similar: dict[tuple[int, int], float], removed: dict[str, set[int]]) -> dict[str, list[int]]:
    """How many documents each has removed, how well that is founded, and what it has left."""
    bound = DEDUP.similarity
    lines: dict[str, list[int]] = {}
    for goes in removed.values():
        best = dict.fromkeys(goes, 0.0)
        for (a, b), value in similar.items():
            for one, other in ((a, b), (b, a)):
                if one in goes and other not in goes:
                    best[one] = max(best[one], value)
        left = [value for pair, value in similar.items() if value >= bound and not goes & set(pair)]
        figures = {
            "removed": len(goes),
            "  all shingles equal to one that stays": sum(value == 1 for value in best.values()),
            f"  none that stays is as similar as {bound}": sum(value < bound for value in best.values()),
            f"pairs of {bound} and more that both stay": len(left),
        }
        for title, figure in figures.items():
            lines.setdefault(title, []).append(figure)
    return lines


def classes(known: dict[tuple[int, int], float], text: pa.Array) -> None:
    """Print for each class of similarity which share of the pairs became candidates, and which was to.

    Documents of one mould agree or differ together, so that one set of permutations says little about their class; the
    interval (95 %) is that of the mean over independent sets.
    """
    places = np.array(list(known))
    values = np.array(list(known.values()))
    hashes, bounds = hashed(Batch(text))
    found = np.zeros((_SEEDS, len(known)), bool)
    for number in range(_SEEDS):
        _, bands = kernels.minhash.signatures(hashes, bounds, DEDUP.ngram, DEDUP.bands, DEDUP.rows, SEED + number)
        found[number] = (bands[places[:, 0]] == bands[places[:, 1]]).any(axis=1)
    promised = np.array([probability(value, DEDUP.bands, DEDUP.rows) for value in known.values()])
    print(f"similarity      pairs  documents  our seed  promised  {_SEEDS} seeds (95 % interval)")
    for least, most in zip(BOUNDS, (*BOUNDS[1:], np.inf), strict=True):
        there = (values >= least) & (values < most)
        if not there.any():
            continue
        shares = found[:, there].mean(axis=1)
        mean, wide = shares.mean(), 1.96 * shares.std(ddof=1) / np.sqrt(_SEEDS)
        title = f"{least:.2f} to {most:.2f}" if most <= 1 else "1.00"
        count = f"{there.sum():8,} {len(np.unique(places[there])):10,}"
        interval = f"({max(0.0, mean - wide):.1%} to {min(1.0, mean + wide):.1%})"
        print(f"{title:12} {count} {shares[0]:9.1%} {promised[there].mean():9.1%} {mean:9.1%}  {interval}")


if __name__ == "__main__":
    main()
