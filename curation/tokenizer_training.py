"""Training a tokenizer on what a blend chose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from curation import tokenizing
from curation.errors import CurationError, StorageError
from curation.publish import published_texts
from curation.pull import parts_there
from curation.run import workspace
from curation.storage import open_storage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from curation.dataset import Part, Workspace
    from curation.recipe import Recipe


class _Texts:
    """The texts of a blend, each as often as it stands there, and how much that was."""

    def __init__(self, recipe: Recipe, work: Workspace, parts: list[Part]) -> None:
        self.recipe, self.work, self.parts = recipe, work, parts
        self.documents = self.bytes = 0

    def __iter__(self) -> Iterator[list[str]]:
        for part in self.parts:
            copies = self.work.blend.read(part, ["copies"])["copies"].to_numpy()
            for rows, table in published_texts(self.work, self.recipe, part, copies > 0):
                texts = table["text"].to_pylist()
                self.documents += len(texts)
                for times in np.unique(copies[rows]):
                    mine = [text for text, count in zip(texts, copies[rows], strict=True) if count == times]
                    for _ in range(times):
                        self.bytes += sum(len(text.encode()) for text in mine)
                        yield mine


def train(recipe: Recipe, out: Path, vocabulary: int) -> dict[str, Any]:
    """Write a byte-level BPE of at most so many tokens; what it was trained on.

    Raises `StorageError` where the last run did not come to its blend.
    """
    try:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers  # noqa: PLC0415
    except ImportError as error:
        raise CurationError(
            "training a tokenizer needs the library tokenizers", remedy="pip install 'curate[tokenizer]'"
        ) from error
    work, _ = workspace(recipe)
    parts = list(parts_there(recipe, work))
    if not parts or any(work.blend.footer(part) is None for part in parts):
        raise StorageError(
            f"{work.storage}: there is no blend yet", remedy=f"run it first: curate run {recipe.shown} --until blend"
        )
    texts = _Texts(recipe, work, parts)
    known = Tokenizer(models.BPE())
    known.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    known.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=[tokenizing.ENDS[0]], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    known.train_from_iterator(iter(texts), trainer)
    if not texts.documents:
        raise StorageError(f"{work.storage}: no document is in the blend", remedy=f"curate report {recipe.shown}")
    data = known.to_str(pretty=True).encode()
    with open_storage(str(out.absolute().parent)).writing(out.name) as stream:
        stream.write(data)
    tokenizer = tokenizing.loaded(data, str(out))
    sample = next(iter(_Texts(recipe, work, [part for part in parts if _any(work, part)])))
    tokens = sum(tokenizer.count(sample)) or 1
    return {
        "path": str(out), "vocabulary": tokenizer.vocabulary, "documents": texts.documents, "bytes": texts.bytes,
        "bytes_a_token": round(sum(len(text.encode()) for text in sample) / tokens, 4),
    }  # fmt: skip


def _any(work: Workspace, part: Part) -> bool:
    return bool((work.blend.read(part, ["copies"])["copies"].to_numpy() > 0).any())
