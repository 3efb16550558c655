"""The Arrow schema of every table on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIME = pa.timestamp("us", tz="UTC")

#: One row for each record of an input. Exactly one of `text` and `error` is null; `meta` is a JSON object.
DOCUMENTS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("uri", pa.string()),
        pa.field("title", pa.string()),
        pa.field("text", pa.string()),
        pa.field("license", pa.string()),
        pa.field("created_at", _TIME),
        pa.field("fetched_at", _TIME),
        pa.field("origin", pa.string(), nullable=False),
        pa.field("meta", pa.string(), nullable=False),
        pa.field("error", pa.string()),
    ]
)

#: What rules, `prefer` and `where` may use of a document: everything but its text.
DOCUMENT_COLUMNS = tuple(name for name in DOCUMENTS.names if name != "text")

#: Verified pairs. The part `copies` links each copy, exact or of an equal signature (`id_b`), to the first of its group
#: (`id_a`): its smallest id, or a document from outside of the run. The parts `near` link documents that stand for
#: their groups. `against` is the entry of `dedup.against` that `id_a` is of, null where it is a document of the run.
PAIRS = pa.schema(
    [
        pa.field("id_a", pa.string(), nullable=False),
        pa.field("id_b", pa.string(), nullable=False),
        pa.field("similarity", pa.float32(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("against", pa.string()),
        pa.field("row_a", pa.int64(), nullable=False),
        pa.field("row_b", pa.int64(), nullable=False),
    ]
)

#: Pairs of documents that share a band of their signatures, as `curation.dedup.candidates` numbers them, kept until
#: they are verified; and numbers of single documents.
CANDIDATES = pa.schema([pa.field("pair", pa.uint64(), nullable=False)])

#: Signatures of candidates, partition by partition: `curation.dedup.scattered`.
SCATTERED = pa.schema([pa.field("minhash", pa.binary(), nullable=False)])

#: Pairs that were compared, and how similar they are: `curation.dedup.compared`.
COMPARED = pa.schema(
    [
        pa.field("pair", pa.uint64(), nullable=False),
        pa.field("similarity", pa.float64(), nullable=False),
    ]
)

#: The distinct shingles of candidates, sorted little-endian uint64, kept until the pairs are verified.
SHINGLES = pa.schema(
    [
        pa.field("shingle_count", pa.int32(), nullable=False),
        pa.field("shingles", pa.binary(), nullable=False),
    ]
)

#: The rules that hit each document, before duplicates are looked at (sidecar).
HITS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("reasons", pa.list_(pa.string()), nullable=False),
    ]
)

#: What becomes of each document (sidecar): null `duplicate_of` and `similarity` = no duplicate. `duplicate_in` is the
#: entry of `dedup.against` that `duplicate_of` is of, null where it is a document of the run.
VERDICTS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("keep", pa.bool_(), nullable=False),
        pa.field("reasons", pa.list_(pa.string()), nullable=False),
        pa.field("duplicate_of", pa.string()),
        pa.field("similarity", pa.float32()),
        pa.field("duplicate_in", pa.string()),
    ]
)

#: How often each document stands in the release (sidecar): `group` is null for a document that is not kept or in none;
#: `bytes` and `tokens` are those of its text as published, once.
BLEND = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("group", pa.string()),
        pa.field("copies", pa.int32(), nullable=False),
        pa.field("tokens", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
    ]
)

#: What the blend is chosen from (sidecar), before a budget is looked at: `limits` has a bit for each limit that counts
#: the document, `rank` comes before the hash in the order of its group and is empty for a fair sample.
GROUPS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("group", pa.string()),
        pa.field("limits", pa.int32(), nullable=False),
        pa.field("rank", pa.string(), nullable=False),
        pa.field("tokens", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
    ]
)

#: The tokens of each document's text as published, by a tokenizer.json (sidecar); null = not counted.
TOKENS = pa.schema([pa.field("id", pa.string(), nullable=False), pa.field("token_count", pa.int64())])

#: What is forgotten, in `TO/NAME/forgotten.parquet`: a row for each document, and for each address that was asked for.
#: `uri_sha256` is set where all that comes from the address is forgotten, `text_sha256` with the text's `text_bytes`
#: where it is known. `why`: asked, same text, near-duplicate or written from it; `request` is what asked for it.
TOMBSTONES = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("uri_sha256", pa.string()),
        pa.field("text_sha256", pa.string()),
        pa.field("text_bytes", pa.int64()),
        pa.field("why", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("at", _TIME, nullable=False),
        pa.field("request", pa.string(), nullable=False),
    ]
)

#: What was asked of an endpoint, and what came of it: `curation.endpoint.ledger`. `money` is in parts of 1e-12.
LEDGER = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("kind", pa.string()),
        pa.field("model", pa.string(), nullable=False),
        pa.field("request", pa.string(), nullable=False),
        pa.field("reserved_at", _TIME, nullable=False),
        pa.field("settled_at", _TIME),
        pa.field("answer", pa.string()),
        pa.field("finish_reason", pa.string()),
        pa.field("error", pa.string()),
        pa.field("requests", pa.int64(), nullable=False),
        pa.field("input_tokens", pa.int64(), nullable=False),
        pa.field("output_tokens", pa.int64(), nullable=False),
        pa.field("money", pa.int64(), nullable=False),
    ]
)

#: What a model (`classifiers.labelling`) or a person (`classifiers.by_hand`) said of sampled documents. Exactly one of
#: `label` and `error` is null.
LABELS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("uri", pa.string()),
        pa.field("group", pa.string()),
        pa.field("text", pa.string(), nullable=False),
        pa.field("label", pa.int8()),
        pa.field("points", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("error", pa.string()),
        pa.field("answer", pa.string()),
        pa.field("score", pa.float32()),
        pa.field("strategy", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("parameters", pa.string(), nullable=False),
        pa.field("rubric", pa.string(), nullable=False),
        pa.field("rubric_sha256", pa.string(), nullable=False),
        pa.field("input_tokens", pa.int64(), nullable=False),
        pa.field("output_tokens", pa.int64(), nullable=False),
        pa.field("cost", pa.float64(), nullable=False),
    ]
)

_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))

#: What is to be written, a request a row, in the order in which it is asked: `curation.textbooks.planning`.
#: A slot is a document that is wanted; its first request has `is_spare` false, those that follow it stand in for it.
PLAN = pa.schema(
    [
        pa.field("number", pa.int64(), nullable=False),
        pa.field("slot", pa.int64(), nullable=False),
        pa.field("is_spare", pa.bool_(), nullable=False),
        pa.field("round", pa.int64(), nullable=False),
        pa.field("cell", pa.string(), nullable=False),
        pa.field("curriculum", pa.string(), nullable=False),
        pa.field("subject", pa.string(), nullable=False),
        pa.field("unit", pa.string(), nullable=False),
        pa.field("topic", pa.string(), nullable=False),
        pa.field("audience", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("template", pa.string(), nullable=False),
        pa.field("style", pa.string(), nullable=False),
        pa.field("nouns", pa.list_(pa.string()), nullable=False),
        pa.field("verbs", pa.list_(pa.string()), nullable=False),
        pa.field("adjectives", pa.list_(pa.string()), nullable=False),
        pa.field("features", pa.list_(pa.string()), nullable=False),
        pa.field("seed_id", pa.string()),
        pa.field("seed_source", pa.string()),
        pa.field("seed_uri", pa.string()),
        pa.field("seed_text", pa.string()),
        pa.field("messages", _MESSAGES, nullable=False),
        pa.field("tokens", pa.int32(), nullable=False),
        pa.field("max_tokens", pa.int32(), nullable=False),
        pa.field("checks", pa.string(), nullable=False),
    ]
)

#: The columns of a release's shards; columns that the recipe asks for follow.
SHARD = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("uri", pa.string()),
        pa.field("title", pa.string()),
        pa.field("license", pa.string()),
        pa.field("created_at", _TIME),
        pa.field("tokens", pa.int64(), nullable=False),
    ]
)

#: A span of a document's text that a signal found: bytes of UTF-8, `end` not included.
SPANS = pa.list_(pa.struct([("start", pa.int32()), ("end", pa.int32())]))

#: What only the whole corpus tells of each document, by the signal whose sidecars it is made of (a sidecar each), and
#: the column of that signal that it is made of.
CORPUS: dict[str, dict[str, pa.DataType]] = {
    "contamination": {"contamination_document_count": pa.int32()},
    "lines": {"shared_line_ratio": pa.float32(), "shared_lines": SPANS},
}
CORPUS_FROM = {"contamination": "contamination_items", "lines": "line_hashes"}


def score_column(name: str) -> str:
    """The column of a classifier: `education_score`; the name of a signal may hold a hyphen, a column does not."""
    return f"{name.replace('-', '_')}_score"


def rank_column(name: str) -> str:
    """The corpus column that is made of it: `education_rank`."""
    return f"{name.replace('-', '_')}_rank"


def corpus_columns(signals: Mapping[str, Mapping[str, pa.DataType]]) -> dict[str, dict[str, pa.DataType]]:
    """The corpus columns of a workspace by signal: those of `CORPUS`, and a rank for each that is a score and no more.

    >>> corpus_columns({"education": {"education_score": pa.float32()}, "length": {"byte_count": pa.int64()}})
    {'education': {'education_rank': DataType(float)}}
    """
    found = {name: columns for name, columns in CORPUS.items() if CORPUS_FROM[name] in signals.get(name, {})}
    for name, columns in signals.items():
        if dict(columns) == {score_column(name): pa.float32()}:
            found[name] = {rank_column(name): pa.float32()}
    return found


#: How many documents of a host have a line, and sets of numbers that go with it, kept until the columns are written:
#: `curation.corpus.lines`.
LINE_COUNTS = pa.schema(
    [
        pa.field("place", pa.uint64(), nullable=False),
        pa.field("host", pa.int64(), nullable=False),  # not uint64, which is never written as a dictionary
        pa.field("documents", pa.int64(), nullable=False),
    ]
)
LINE_SETS = pa.schema([pa.field("number", pa.uint64(), nullable=False)])


def sidecar(columns: dict[str, pa.DataType]) -> pa.Schema:
    """The schema of a signal's sidecar: the id, then its columns, none of them null."""
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            *(pa.field(name, kind, nullable=False) for name, kind in columns.items()),
        ]
    )


def against(columns: dict[str, pa.DataType]) -> pa.Schema:
    """The schema of documents from outside of the run: what their corpus calls each, and the signature's columns."""
    return sidecar(columns).insert(1, pa.field("uri", pa.string()))
