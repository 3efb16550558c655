"""Exact counts, tokenised releases and a tokenizer of one's own: the same tokens wherever one looks."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from curation import pipeline, tokenised, tokenizing
from curation.cli import cli
from curation.engine import LocalEngine
from curation.errors import CurationError, RecipeError
from curation.forget import Asked, forget
from curation.recipe import load
from curation.releases import Release, latest, verify
from curation.run import release_place

tokenizers = pytest.importorskip("tokenizers")

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3_servers import S3Server

    from curation.run import Run

WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "mat",
    "naïve",
    "Ünïcödé",
    "日本語",
    "x" * 40,
    "\n",
    "mail me@acme-corp.com now <|endoftext|> then",
]
SOURCES = {
    name: [{"text": f"{name} " + " ".join(WORDS[n % 12 :] * (1 + n % 3)), "uri": f"{name}{n:02d}"} for n in range(24)]
    for name in ("web", "notes")
}
PLAIN = "[dedup]\nenabled = false\n"


def trained(path: Path, vocabulary: int = 400) -> Any:
    """A tokenizer.json, made here."""
    known = tokenizers.Tokenizer(tokenizers.models.BPE())
    known.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    known.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=["<pad>", "<|endoftext|>"], show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    known.train_from_iterator([row["text"] for rows in SOURCES.values() for row in rows], trainer)
    known.enable_truncation(5)  # which is not for counting
    known.enable_padding(length=64)
    known.save(str(path))
    known.no_truncation()
    known.no_padding()
    known.encode_special_tokens = True  # what looks like one in a text is text
    return known


def blended(run: Run) -> pa.Table:
    """What the blend says of each document, with its text."""
    tables = []
    for part in run.parts:
        table = run.work.blend.read(part)
        texts = run.work.documents.read(part, ["uri", "text"])
        tables.append(table.append_column("uri", texts["uri"]).append_column("text", texts["text"]))
    return pa.concat_tables(tables)


def test_counts_are_the_tokenizers(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """Of what is kept, each text's own, without tokens at its beginning or end, truncation or padding."""
    known = trained(tmp_path / "tok.json")
    rule = '[rules]\nshort = "word_count < 12"\n'
    run = tiny(SOURCES, PLAIN + rule + '[blend]\ntokenizer = "tok.json"\n', until="blend")
    counted = 0
    for row in blended(run).to_pylist():
        if row["group"] is not None:
            assert row["tokens"] == len(known.encode(row["text"], add_special_tokens=False).ids)
            counted += 1
        else:
            assert row["tokens"] == 0
    assert 0 < counted < 48


def test_each_document_is_counted_once(
    tiny: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A looser rule counts what is new, a stricter one nothing; another tokenizer everything."""
    trained(tmp_path / "tok.json")
    seen: list[int] = []
    real = tokenizing.Tokenizer.count

    def counting(self: Any, texts: list[str]) -> list[int]:
        seen.append(len(texts))
        return real(self, texts)

    monkeypatch.setattr(tokenizing.Tokenizer, "count", counting)

    class Inline:
        """The engine's stand-in, in this process."""

        def map(self, function: Callable[[Any], Any], items: list[Any], **_: Any) -> list[Any]:
            return [function(item) for item in items]

    monkeypatch.setattr("curation.engine.LocalEngine.map", Inline.map)
    more = PLAIN + '[rules]\nshort = "word_count < {}"\n[blend]\ntokenizer = "tok.json"\n'
    kept = {}
    for words in (12, 20, 3, 12):
        seen.clear()
        run = tiny(SOURCES, more.format(words), until="blend")
        kept[words] = run.figures["judge"]["sources"]
        if words in (12, 20):
            first = sum(source["kept"] for source in kept[words].values())
            assert sum(seen) == (first if words == 12 and len(kept) == 1 else 0)
        else:
            now = sum(source["kept"] for source in kept[3].values())
            assert sum(seen) == now - sum(source["kept"] for source in kept[12].values()) > 0
    trained(tmp_path / "tok.json", 300)
    seen.clear()
    tiny(SOURCES, more.format(12), until="blend")
    assert sum(seen) == sum(source["kept"] for source in kept[12].values())


def released(run: Run) -> tuple[Release, dict[str, Any], Path]:
    """The latest release, its manifest and its folder."""
    release = latest(release_place(run.recipe), run.recipe.name)
    assert release is not None
    manifest = release.manifest()
    assert manifest is not None
    return release, manifest, Path(release.path)


PII = "signals.pii.enabled=true"
TOKENISED = (
    PLAIN + '[edit]\nreplace = ["pii"]\n'
    '[blend]\ntokens = 5_000\ntokenizer = "tok.json"\n[[blend.group]]\nname = "all"\nwhere = "true"\nshare = 1.0\n'
    'max_copies = 3\n[release]\ntokenised = true\nshard_bytes = 3000\n'
)  # fmt: skip


def test_a_numpy_loop_reads_what_tokenising_the_parquet_gives(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """Document by document in the same order, each with its end; by the flat array and by the index."""
    known = trained(tmp_path / "tok.json")
    run = tiny(SOURCES, TOKENISED, PII)
    release, manifest, folder = released(run)
    assert len(manifest["shards"]) > 1
    told = manifest["tokenised"]
    assert (told["dtype"], told["end_of_document"], told["end_id"]) == ("uint16", "<|endoftext|>", 1)
    assert told["vocabulary"] == known.get_vocab_size()
    replaced = 0
    for shard in manifest["shards"]:
        rows = pq.read_table(folder / shard["path"], columns=["text", "tokens"])
        entry = shard["tokenised"]
        flat = np.memmap(folder / entry["path"], dtype=told["dtype"], mode="r")
        want = [known.encode(text, add_special_tokens=False).ids for text in rows["text"].to_pylist()]
        assert flat.tolist() == [token for ids in want for token in (*ids, 1)]
        assert rows["tokens"].to_pylist() == [len(ids) for ids in want]
        dtype, sizes, starts = tokenised.read_index((folder / entry["index_path"]).read_bytes())
        assert (dtype, len(sizes)) == (told["dtype"], shard["rows"])
        for ids, size, start in zip(want, sizes, starts, strict=True):
            begin = start // flat.itemsize
            assert flat[begin : begin + size].tolist() == [*ids, 1]
        assert (entry["tokens"], entry["documents"]) == (len(flat), shard["rows"])
        replaced += sum("me@acme-corp.com" not in text and "now" in text for text in rows["text"].to_pylist())
        assert (flat == 1).sum() == shard["rows"]  # the texts that say <|endoftext|> do not end there
    assert replaced  # the counts are of the text as published
    assert verify(release) == []
    assert (folder / "tokenizer.json").read_bytes() == (tmp_path / "tok.json").read_bytes()
    assert manifest["tokenizer"] == f"sha256:{hashlib.sha256((tmp_path / 'tok.json').read_bytes()).hexdigest()}"


def test_the_index_is_megatrons(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """Read field by field as Megatron's reader does: magic, version, type, counts, sizes, pointers, documents."""
    trained(tmp_path / "tok.json")
    _, manifest, folder = released(tiny(SOURCES, TOKENISED, PII))
    entry = manifest["shards"][0]["tokenised"]
    data = (folder / entry["index_path"]).read_bytes()
    assert data[:9] == b"MMIDIDX\x00\x00"
    assert int.from_bytes(data[9:17], "little") == 1
    assert data[17] == 8  # uint16
    sequences, documents = (int.from_bytes(data[at : at + 8], "little") for at in (18, 26))
    sizes = np.frombuffer(data, np.int32, sequences, 34)
    pointers = np.frombuffer(data, np.int64, sequences, 34 + sizes.nbytes)
    bounds = np.frombuffer(data, np.int64, documents, 34 + sizes.nbytes + pointers.nbytes)
    assert pointers.tolist() == [2 * sum(sizes[:n].tolist()) for n in range(sequences)]
    assert bounds.tolist() == list(range(sequences + 1))
    assert len(data) == 34 + sizes.nbytes + pointers.nbytes + bounds.nbytes


def test_pytorch_reads_the_same(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """A tensor over the file, where PyTorch is there."""
    torch = pytest.importorskip("torch")
    known = trained(tmp_path / "tok.json")
    _, manifest, folder = released(tiny(SOURCES, TOKENISED, PII))
    shard = manifest["shards"][0]
    flat = torch.from_file(
        str(folder / shard["tokenised"]["path"]), dtype=torch.uint16, size=shard["tokenised"]["tokens"]
    )
    texts = pq.read_table(folder / shard["path"], columns=["text"])["text"].to_pylist()
    assert flat.tolist() == [token for text in texts for token in (*known.encode(text).ids, 1)]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("flip", "tokens/train-00000.bin: its sha256 is not the manifest's"),
        ("cut", "tokens/train-00000.idx: its sha256 is not the manifest's"),
        ("remove", "tokens/train-00000.bin: missing"),
        ("more", "tokens/train-00099.bin: not in the manifest"),
        ("tokenizer", "tokenizer.json: its sha256 is not the manifest's"),
    ],
)
def test_verify_sees_changed_tokens(tiny: Callable[..., Run], tmp_path: Path, change: str, fault: str) -> None:
    """A flipped byte, a cut index, a missing and an additional file, another tokenizer."""
    trained(tmp_path / "tok.json")
    release, _, folder = released(tiny(SOURCES, TOKENISED, PII))
    binary, index = folder / "tokens/train-00000.bin", folder / "tokens/train-00000.idx"
    if change == "flip":
        binary.write_bytes(bytes([binary.read_bytes()[0] ^ 1]) + binary.read_bytes()[1:])
    elif change == "cut":
        index.write_bytes(index.read_bytes()[:-8])
    elif change == "remove":
        binary.unlink()
    elif change == "more":
        (folder / "tokens/train-00099.bin").write_bytes(b"")
    else:
        (folder / "tokenizer.json").write_text("{}")
    assert verify(release) == [fault]


def test_the_same_bytes_again(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """Another release of the same documents has the same tokens; without `tokenised` there are none."""
    trained(tmp_path / "tok.json")
    _, first, folder = released(tiny(SOURCES, TOKENISED, PII, "release.version=2026.01.01"))
    _, second, other = released(tiny(SOURCES, TOKENISED, PII, "release.version=2026.01.02", "release.to=elsewhere"))
    for one, two in zip(first["shards"], second["shards"], strict=True):
        assert one["tokenised"] == two["tokenised"]
        assert (folder / one["tokenised"]["path"]).read_bytes() == (other / two["tokenised"]["path"]).read_bytes()
    release, third, folder = released(tiny(SOURCES, TOKENISED, PII, "release.tokenised=false", "release.to=third"))
    assert third["tokenised"] is None
    assert not (folder / "tokens").exists()
    assert verify(release) == []


def test_what_is_forgotten_leaves_the_tokens_too(tiny: Callable[..., Run], tmp_path: Path, engine: LocalEngine) -> None:
    """The derived release verifies, and its tokens are those of its Parquet."""
    known = trained(tmp_path / "tok.json")
    _, before, _ = released(tiny(SOURCES, TOKENISED, PII))
    done = forget(load(tmp_path / "recipe.toml", (PII,)), Asked(("web03",), None, "asked"), engine)
    release = latest(release_place(load(tmp_path / "recipe.toml")), "tiny")
    assert release is not None
    manifest, folder = release.manifest() or {}, Path(release.path)
    assert (release.version, verify(release)) == (done["published"]["version"], [])
    assert 0 < manifest["derived"]["rows"] == before["rows"] - manifest["rows"]
    for shard in manifest["shards"]:
        texts = pq.read_table(folder / shard["path"], columns=["text"])["text"].to_pylist()
        want = [known.encode(text, add_special_tokens=False).ids for text in texts]
        assert np.fromfile(folder / shard["tokenised"]["path"], "uint16").tolist() == [
            token for ids in want for token in (*ids, 1)
        ]
        _, sizes, _ = tokenised.read_index((folder / shard["tokenised"]["index_path"]).read_bytes())
        assert sizes.tolist() == [len(ids) + 1 for ids in want]


def test_ids_of_more_than_two_bytes() -> None:
    """From 65,536 tokens on ids are int32, and read as uint32 they are the same."""
    assert [tokenised.dtype_of(n) for n in (1, 65_536, 65_537, 200_000)] == ["uint16", "uint16", "int32", "int32"]


@given(st.lists(st.integers(0, 100_000), max_size=20), st.booleans())
def test_an_index_says_what_was_written(sizes: list[int], wide: bool) -> None:
    """Sizes and starts, and nothing of a broken one."""
    writer = tokenised.TokenWriter.__new__(tokenised.TokenWriter)
    writer.dtype, writer.sizes = "int32" if wide else "uint16", sizes
    data = writer.index()
    dtype, found, starts = tokenised.read_index(data)
    assert (dtype, found.tolist()) == (writer.dtype, sizes)
    assert starts.tolist() == [sum(sizes[:n]) * (4 if wide else 2) for n in range(len(sizes))]
    for broken in (data[:-1], data + b"x", b"?" + data[1:], data[:20]):
        with pytest.raises(ValueError, match=r"index"):
            tokenised.read_index(broken)


# what is no tokenizer


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a tokenizer.json"),
        (b"\xff\xfe", "not a tokenizer.json"),
        (b"{}", "not a tokenizer.json"),
        (b'{"model_max_length": 512}', "not a tokenizer.json"),
        (b'{"version": "1.0", "model": {"type": "Nothing"}}', "not a tokenizer.json"),
        (None, "No such file"),
    ],
)
def test_a_broken_tokenizer_stops_before_anything(
    tiny: Callable[..., Run], tmp_path: Path, content: bytes | None, said: str
) -> None:
    """In one line, with the remedy, and nothing is read."""
    if content is not None:
        (tmp_path / "tok.json").write_bytes(content)
    with pytest.raises(RecipeError, match=said) as caught:
        tiny(SOURCES, PLAIN + '[blend]\ntokenizer = "tok.json"\n')
    assert "tok.json" in str(caught.value)
    assert "tokenizer" in str(caught.value.remedy)
    assert not list(tmp_path.glob("work/*/documents"))


def test_an_end_that_the_tokenizer_does_not_know(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """One that is named and not there, and none that is usual."""
    trained(tmp_path / "tok.json")
    with pytest.raises(RecipeError, match='knows not "<end>"'):
        tiny(SOURCES, TOKENISED, PII, "release.end_of_document=<end>")
    data = json.loads((tmp_path / "tok.json").read_text())
    data["added_tokens"] = [token for token in data["added_tokens"] if token["content"] != "<|endoftext|>"]
    data["model"]["vocab"]["<other>"] = data["model"]["vocab"].pop("<|endoftext|>")
    (tmp_path / "tok.json").write_text(json.dumps(data))
    with pytest.raises(RecipeError, match=r"knows none of <\|endoftext\|>, "):
        tiny(SOURCES, TOKENISED, PII)
    run = tiny(SOURCES, TOKENISED, PII, "release.end_of_document=<other>")
    assert released(run)[1]["tokenised"]["end_of_document"] == "<other>"


def test_tokens_need_a_tokenizer(tiny: Callable[..., Run]) -> None:
    """An estimate has none; an end without them is a fault as well."""
    with pytest.raises(RecipeError, match=r"release\.tokenised: there are no tokens to write: blend\.tokenizer is an"):
        tiny(SOURCES, "[release]\ntokenised = true\n")
    with pytest.raises(RecipeError, match=r"release\.end_of_document: it stands in tokenised releases only"):
        tiny(SOURCES, '[release]\nend_of_document = "x"\n')


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Said with how to install it."""
    tokenizing.loaded.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(CurationError, match="needs the library tokenizers") as caught:
        tokenizing.loaded(b"{}")
    assert caught.value.remedy == "pip install 'curate[tokenizer]'"


# training


def test_a_tokenizer_of_ones_own(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """Trained on what the blend chose: any text round-trips, the same bytes again, and a run can use it."""
    tiny(SOURCES, PLAIN, until="blend")
    recipe = tmp_path / "recipe.toml"
    for name in ("one.json", "two.json"):
        words = ["tokenizer", "train", str(recipe), "--out", str(tmp_path / name), "--vocabulary", "300", "--json"]
        done = CliRunner().invoke(cli, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        told = json.loads(done.stdout)
    assert (told["vocabulary"], told["documents"]) == (300, 48)
    assert told["bytes"] == sum(len(row["text"].encode()) for rows in SOURCES.values() for row in rows)
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    known = tokenizers.Tokenizer.from_file(str(tmp_path / "one.json"))
    for text in ("Any text: 日本語, \x00, 🎉 and naïve.", "", "   "):
        assert known.decode(known.encode(text).ids) == text
    assert known.token_to_id("<|endoftext|>") == 0
    run = tiny(SOURCES, PLAIN + '[blend]\ntokenizer = "one.json"\n[release]\ntokenised = true\n')
    assert verify(released(run)[0]) == []


def test_training_needs_a_blend(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """A run that did not come to it is not enough."""
    tiny(SOURCES, PLAIN, until="judge")
    words = ["tokenizer", "train", str(tmp_path / "recipe.toml"), "--out", str(tmp_path / "x.json")]
    with pytest.raises(CurationError, match="there is no blend yet") as caught:
        CliRunner().invoke(cli, words, catch_exceptions=False)
    assert "--until blend" in str(caught.value.remedy)


def test_what_a_kill_left_is_made_again(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """Tokens without their Parquet shard are what a kill leaves: the next run writes both, the same bytes."""
    trained(tmp_path / "tok.json")
    _, manifest, folder = released(tiny(SOURCES, TOKENISED, PII))
    first = {file.name: file.read_bytes() for file in (folder / "tokens").iterdir()}
    (tmp_path / "releases/tiny/latest.json").unlink()
    for name in ("manifest.json", "README.md", manifest["shards"][0]["path"]):
        (folder / name).unlink()
    (folder / "tokens/train-00000.bin").write_bytes(b"half")
    (folder / "tokens/train-00000.idx").unlink()
    release, again, folder = released(tiny(SOURCES, TOKENISED, PII))
    assert again["shards"] == manifest["shards"]
    assert {file.name: file.read_bytes() for file in (folder / "tokens").iterdir()} == first
    assert verify(release) == []


def test_tokens_in_s3(
    tiny: Callable[..., Run], tmp_path: Path, moto: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release in a bucket has the same files as one in a folder, and verifies."""
    trained(tmp_path / "tok.json")
    _, manifest, folder = released(tiny(SOURCES, TOKENISED, PII))
    for name, value in moto.environment().items():
        monkeypatch.setenv(name, value)
    engine = LocalEngine(2)  # whose workers know the server
    with engine:
        to = f"release.to=s3://{moto.bucket}/releases"
        run = pipeline.run(load(tmp_path / "recipe.toml", (PII, to)), engine)
    release = latest(release_place(run.recipe), "tiny")
    assert release is not None
    there = release.manifest()
    assert there is not None
    assert there["shards"] == manifest["shards"]
    assert verify(release) == []
    for shard in there["shards"]:
        for path in (shard["tokenised"]["path"], shard["tokenised"]["index_path"]):
            assert release.storage.read(f"{release.folder}/{path}") == (folder / path).read_bytes()
