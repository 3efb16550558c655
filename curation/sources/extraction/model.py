"""The model that keeps or drops blocks: plain arrays in one file, read by whoever has numpy and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from curation.errors import UsageError
from curation.kernels import trees
from curation.kernels.markup import PRE
from curation.sources.extraction import SHIPPED, claims, offers
from curation.sources.extraction import page as pages

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from curation.sources.extraction.page import Blocks


@dataclass(frozen=True, slots=True)
class Forest:
    """Trees as `kernels.trees.add_up` reads them: the questions of each column, and the leaves of each tree."""

    starts: NDArray[np.int32]
    bounds: NDArray[np.float64]
    owners: NDArray[np.int32]
    masks: NDArray[np.uint64]
    firsts: NDArray[np.int32]
    leaves: NDArray[np.float64]

    def score(self, table: NDArray[np.float32]) -> NDArray[np.float64]:
        """The sum of all trees for each row."""
        scores = np.empty(len(table), np.float64)
        trees.add_up(table, self.starts, self.bounds, self.owners, self.masks, self.firsts, self.leaves, scores)
        return scores


@dataclass(frozen=True, slots=True)
class Model:
    """What tokens say, and two forests, of which the second sees what the first said; their mean is a block's score.

    `probabilities` [trees.STEPS] are what scores mean; `share`, `least` and `doubt` as for `choose`.
    """

    keys: NDArray[np.uint64]
    weights: NDArray[np.float32]
    first: Forest
    second: Forest
    probabilities: NDArray[np.float64]
    share: float
    least: float
    doubt: float

    def score(self, blocks: Blocks) -> NDArray[np.float64]:
        """How much each block looks like main text; above 0: more likely than not."""
        known, alike = pages.table(blocks, self.keys, self.weights)
        first = self.first.score(known)
        return together(blocks, alike, first, self.second.score(pages.second_table(blocks, known, alike, first)))

    def keep(self, blocks: Blocks) -> NDArray[np.bool_]:
        """Which blocks are the main text: those that make the F1 to be expected high, by words, each text once."""
        scores = self.score(blocks)
        return once(blocks, scores, choose(blocks, scores, self.probabilities, self.share, self.least, self.doubt))


_LOWEST = -8.0  # that is told apart
_CODE_SHARE = 0.5
_LEAST_ONCE = 10


def together(
    blocks: Blocks, alike: NDArray[np.int32], first: NDArray[np.float64], second: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The score by both forests: the second knows more, the first errs less where it has seen little.

    What the page itself says is a review of its product scores lowest, and so do a shop's terms: few pages have any,
    too few to learn it from.
    """
    is_none = claims.reviews(blocks.claimed, alike)
    if blocks.is_offer:
        is_none |= offers.terms(blocks)
    return np.where(is_none, _LOWEST, (first + second) / 2)


def choose(
    blocks: Blocks, scores: NDArray[np.float64], probabilities: NDArray[np.float64], share: float, least: float,
    doubt: float,
) -> NDArray[np.bool_]:  # fmt: skip
    """The blocks whose probability is at least `least`, and high enough for the F1 to be expected of the page.

    That is `share` * F1^1.5: what is unsure is dropped from a page that the model knows well, and kept of another. On a
    page of running text it is halfway from there to 1 for a block of `doubt` words, and nearer to 1 for shorter ones: a
    reader stumbles over each block, however few its words are. Code, which has few words where it has much to say, is
    kept from `_CODE_SHARE` * F1^1.5 on.
    """
    chosen = np.empty(len(scores), np.uint8)
    sizes = np.ascontiguousarray(blocks.local[:, 1])
    trees.choose(scores, sizes, probabilities, share, least, doubt, chosen)
    is_code = blocks.page.blocks[:, PRE] > 0
    if is_code.any():
        trusted = np.empty(len(scores), np.uint8)
        trees.choose(scores, sizes, probabilities, min(share, _CODE_SHARE), least, 0.0, trusted)
        chosen[is_code] = trusted[is_code]
    return chosen.view(np.bool_)


def once(blocks: Blocks, scores: NDArray[np.float64], chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The chosen blocks without those that say what another one says, but the best of them: the first of equal scores.

    A text stands twice on a page where it is folded up, shown on small screens only, or the post that all others quote.
    Blocks of fewer than `_LEAST_ONCE` words may say the same, and so may code.
    """
    rows = np.flatnonzero(chosen & (blocks.local[:, 1] >= _LEAST_ONCE) & (blocks.page.blocks[:, PRE] == 0))
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    firsts = np.unique(blocks.whole[rows], return_index=True)[1]
    found = chosen.copy()
    found[rows] = False
    found[rows[firsts]] = True
    return found


def save(model: Model, path: Path) -> None:
    """Write a model; the same model is the same file, byte for byte."""
    arrays: dict[str, Any] = {
        "keys": model.keys, "weights": model.weights, "probabilities": model.probabilities,
        "share": np.float64(model.share), "least": np.float64(model.least), "doubt": np.float64(model.doubt),
        "names": np.array([*pages.NAMES, *pages.SECOND]),
    }  # fmt: skip
    for name, forest in (("first", model.first), ("second", model.second)):
        arrays |= {f"{name}_{field.name}": getattr(forest, field.name) for field in fields(Forest)}
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


@cache
def load(path: Path = SHIPPED) -> Model:
    """The model in a file; UsageError if it is none, or one of other columns than this version measures."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        names = arrays["names"].tolist()
    except (OSError, ValueError, BadZipFile, KeyError, TypeError) as error:  # an archive of others, or one array
        raise UsageError(f"{path}: not a model of blocks: {error}", remedy="curate extractor train") from None
    if names != [*pages.NAMES, *pages.SECOND]:
        raise UsageError(f"{path}: trained by another version, on other columns", remedy="curate extractor train")
    first, second = (
        Forest(*(arrays[f"{name}_{field.name}"] for field in fields(Forest))) for name in ("first", "second")
    )
    return Model(
        arrays["keys"],
        arrays["weights"],
        first,
        second,
        arrays["probabilities"],
        float(arrays["share"]),
        float(arrays["least"]),
        float(arrays["doubt"]),
    )
