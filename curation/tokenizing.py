"""How many tokens a text has: by an estimate, or exactly by a Hugging Face `tokenizer.json`; and its tokens themselves.

The `tokenizers` library is imported where a `tokenizer.json` is used, and nothing else is fetched or run: a
`tokenizer.json` is data.
"""

from __future__ import annotations

import hashlib
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from curation.errors import CurationError, RecipeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from curation.recipe import Recipe

#: What ends a document in tokenised releases where the recipe does not say: the first of these that a tokenizer knows.
ENDS = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|eos|>", "[EOS]", "<|im_end|>")
#: Bytes of a token where none was counted: what is not kept, beside an exact count of what is.
GUESS = 4
#: Bytes of text that are tokenised at once.
BATCH_BYTES = 4 * 1024 * 1024


def is_estimate(tokenizer: str) -> bool:
    """Whether tokens are counted by bytes.

    >>> is_estimate("bytes/4"), is_estimate("tokenizer.json")
    (True, False)
    """
    return re.fullmatch(r"bytes/[1-9]\d*", tokenizer) is not None


def bytes_a_token(tokenizer: str) -> int:
    """The bytes that count as a token, of what is not counted exactly.

    >>> bytes_a_token("bytes/3"), bytes_a_token("tokenizer.json")
    (3, 4)
    """
    return int(tokenizer.removeprefix("bytes/")) if is_estimate(tokenizer) else GUESS


def is_tokenizer(tokenizer: str) -> bool:
    """Whether a recipe may say this: an estimate, a path to JSON, or the hash that manifests have."""
    return is_estimate(tokenizer) or re.fullmatch(r".*[^/]\.json|sha256:[0-9a-f]{64}", tokenizer) is not None


def identity(tokenizer: str, base: Path) -> str:
    """What the counts depend on: the estimate, or the hash of the file.

    Raises `RecipeError` where the file is not there.
    """
    if is_estimate(tokenizer) or tokenizer.startswith("sha256:"):
        return tokenizer
    return f"sha256:{hashlib.sha256(read(tokenizer, base)).hexdigest()}"


def software() -> str:
    """The library that counts."""
    from importlib.metadata import version  # noqa: PLC0415

    return f"tokenizers-{version('tokenizers')}"


def of(recipe: Recipe) -> Tokenizer:
    """The recipe's tokenizer.

    Raises `RecipeError` where the file is missing or none, `CurationError` where the library is not installed.
    """
    return loaded(read(recipe.blend.tokenizer, recipe.base), str(recipe.base / recipe.blend.tokenizer))


def check(recipe: Recipe) -> None:
    """Raise where the recipe's tokenizer cannot be used, or does not know the token that is to end documents."""
    if not is_estimate(recipe.blend.tokenizer):
        tokenizer = of(recipe)
        if recipe.release.tokenised:
            tokenizer.end(recipe.release.end_of_document)


def read(tokenizer: str, base: Path) -> bytes:
    """The file; `RecipeError` where it is not there."""
    path = base / Path(tokenizer).expanduser()
    if tokenizer.startswith("sha256:"):
        raise RecipeError(
            f"blend.tokenizer: {tokenizer} is the hash of a tokenizer.json",
            remedy="name the file: a release of it has it as tokenizer.json",
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise RecipeError(
            f"blend.tokenizer: {path}: {error.strerror}",
            remedy="name a tokenizer.json, or train one: curate tokenizer train RECIPE --out tokenizer.json",
        ) from error


@lru_cache(maxsize=2)
def loaded(data: bytes, name: str = "tokenizer.json") -> Tokenizer:
    """The tokenizer that a `tokenizer.json` holds.

    Raises `RecipeError` where it holds none, `CurationError` where the library is not installed.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the workers are what runs beside each other
    try:
        from tokenizers import Tokenizer as Known  # noqa: PLC0415
    except ImportError as error:
        raise CurationError(
            "a tokenizer.json needs the library tokenizers", remedy="pip install 'curate[tokenizer]'"
        ) from error
    try:
        known = Known.from_str(data.decode("utf-8"))
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        raise RecipeError(
            f"blend.tokenizer: {name}: not a tokenizer.json of the library tokenizers: {said}",
            remedy="take the file tokenizer.json of a model, saved by `tokenizer.save` or `save_pretrained`",
        ) from error
    known.no_truncation()
    known.no_padding()
    known.encode_special_tokens = True  # a text that says <|endoftext|> does not end there
    return Tokenizer(known, name)


class Tokenizer:
    """Texts to tokens, none added at their beginning or end, in batches.

    What looks like a special token in a text is text: no document can end another, or play another's part.
    """

    def __init__(self, known: Any, name: str) -> None:
        self._known, self._name = known, name

    @property
    def vocabulary(self) -> int:
        """One more than the largest id."""
        return max(self._known.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    def end(self, wanted: str | None) -> tuple[str, int]:
        """The token that ends a document, and its id; `RecipeError` where it is not known."""
        for token in (wanted,) if wanted is not None else ENDS:
            number = self._known.token_to_id(token)
            if number is not None:
                return token, number
        what = f'"{wanted}"' if wanted is not None else f"none of {', '.join(ENDS)}"
        raise RecipeError(
            f"release.end_of_document: {self._name} knows {'not ' if wanted is not None else ''}{what}",
            remedy='name a token of its vocabulary: end_of_document = "…"',
        )

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """The tokens of each text."""
        found: list[NDArray[np.int64]] = []
        start = size = 0
        for place, text in enumerate(texts):
            size += len(text)
            if size >= BATCH_BYTES or place == len(texts) - 1:
                batch = self._known.encode_batch_fast(list(texts[start : place + 1]), add_special_tokens=False)
                found += [np.array(one.ids, dtype=np.int64) for one in batch]
                start, size = place + 1, 0
        return found

    def count(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has."""
        return [len(tokens) for tokens in self.encode(texts)]
