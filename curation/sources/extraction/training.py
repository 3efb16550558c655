"""Training a model of blocks from pages with gold text, so that the same pages give the same file, byte for byte.

Three steps, each of which learns from what the one before says of pages that it was not trained on: what single tokens
of classes, ids and text say (logistic regression), trees over what is known of a block, and fewer trees over what the
first ones said of its surroundings. What scores mean is learned in the same way.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from hashlib import blake2b
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from curation.dedup.rows import distinct
from curation.errors import UsageError
from curation.kernels.markup import ELEMENT, NAME, PARENT, TAG
from curation.kernels.trees import MOST_LEAVES, STEPS
from curation.sources.extraction import gold as golds
from curation.sources.extraction import page as pages
from curation.sources.extraction.model import Forest, Model, together
from curation.sources.extraction.rendering import render

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from curation.sources.extraction.gold import Gold
    from curation.sources.extraction.page import Blocks


_MOST_WEIGHT = 3.0
#: Short blocks are what a reader stumbles over: with 1 more of them are kept for nothing, at the same F1.
_MORE_WORDS = 6.0
#: Of a page's gold text must be found on it for the page to be learned from.
_LEAST_COVERAGE = 0.5
#: What a block counts at least in which a string stands that was named as part of the main text, or as none of it.
_NAMED = 0.15


class Settings(BaseModel):
    """What decides a model besides its pages."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(0, ge=0, lt=2**31)
    #: Parts, by domain, of which each is judged by what the others taught.
    folds: int = Field(4, ge=2, le=20)
    #: Domains that a token must stand in: fewer of them know a site, not the web.
    min_groups: int = Field(4, ge=1)
    #: Strength of the penalty on what tokens say.
    penalty: float = Field(1.0, gt=0)
    trees: int = Field(200, ge=1)
    leaves: int = Field(20, ge=2, le=MOST_LEAVES)
    rate: float = Field(0.07, gt=0)
    min_rows: int = Field(40, ge=1)
    #: Of the second forest, which has less to learn: with 200 it is wrong more often than the first alone.
    last_trees: int = Field(60, ge=1)
    #: The probability that a block must have in any case to be kept.
    least: float = Field(0.1, ge=0, lt=1)
    #: Words of a block, on a page of running text, for which the bound is halfway to certainty.
    doubt: float = Field(5.0, ge=0)
    #: Of the F1 to be expected, to the power of 1.5: the probability from which on blocks are kept.
    share: float = Field(0.7, gt=0, le=1)


@dataclass(slots=True)
class Example:
    """A page as it is learned from: which of its blocks are main text, and how much each counts.

    `coverage` is the share of the gold text that is found on the page.
    """

    gold: Gold
    blocks: Blocks
    wanted: NDArray[np.bool_]
    weight: NDArray[np.float64]
    coverage: float
    tokens: tuple[NDArray[np.uint64], NDArray[np.int32], NDArray[np.int8]]


def example(gold: Gold) -> Example | None:
    """What a page teaches, None for one that cannot be read.

    A block is main text if half of its words are aligned with the gold text.

    Blocks count by their words, and `_MORE_WORDS` each, as a share of the gold text's, nearly as F1 counts them; but
    none for more than all of it, and all of a page for no more than three times that. Those with a string that the gold
    names as main text, or as none, count for `_NAMED` at least.
    """
    blocks = pages.read(gold.page)
    if blocks is None:
        return None
    texts = blocks.texts()
    counts, hits, size = golds.found(texts, gold.text)
    weight = np.minimum((counts + _MORE_WORDS) / max(size, 30), 1.0)
    weight *= min(1.0, 3.0 / weight.sum()) if len(weight) else 1.0
    coverage = float(hits.sum() / max(size, 1))
    wanted = hits * 2 >= np.maximum(counts, 1)
    for place, text in enumerate(texts if gold.inside or gold.outside else ()):
        line = " ".join(text.split())
        if any(one in line for one in (gold.inside if wanted[place] else gold.outside)):
            weight[place] = max(weight[place], _NAMED)
    return Example(gold, blocks, wanted, weight, coverage, _tokens(blocks))


def part_of(group: str, parts: int, salt: str) -> int:
    """Which part the pages of a domain are in: always the same."""
    return int.from_bytes(blake2b(f"{salt} {group}".encode(), digest_size=8).digest()) % parts


def train(examples: list[Example], settings: Settings | None = None) -> Model:
    """A model trained on all of these; UsageError where they are too few."""
    settings = settings or Settings()
    usable = [one for one in examples if len(one.wanted) and one.coverage >= _LEAST_COVERAGE]
    parts = [part_of(one.gold.group, settings.folds, f"fold {settings.seed}") for one in usable]
    if len(set(parts)) < settings.folds:
        raise UsageError(f"{len(usable)} pages with gold text are too few", remedy="give more, of more domains")
    usable = _balanced(usable)
    known: dict[int, tuple[NDArray[np.float32], NDArray[np.int32]]] = {}
    for part in range(settings.folds):
        keys, weights = _learn_tokens(
            [one for one, other in zip(usable, parts, strict=True) if other != part], settings
        )
        for place, (one, other) in enumerate(zip(usable, parts, strict=True)):
            if other == part:
                known[place] = pages.table(one.blocks, keys, weights)
    tables = [known[place][0] for place in range(len(usable))]
    scores = _out_of_fold(usable, tables, parts, settings, settings.trees)
    wide = [
        pages.second_table(one.blocks, table, known[place][1], score)
        for place, (one, table, score) in enumerate(zip(usable, tables, scores, strict=True))
    ]
    seconds = _out_of_fold(usable, wide, parts, settings, settings.last_trees)
    both = [
        together(one.blocks, known[place][1], first, second)
        for place, (one, first, second) in enumerate(zip(usable, scores, seconds, strict=True))
    ]
    keys, weights = _learn_tokens(usable, settings)
    return Model(
        keys,
        weights,
        _grow(usable, tables, settings, settings.trees),
        _grow(usable, wide, settings, settings.last_trees),
        _meaning(usable, both),
        settings.share,
        settings.least,
        settings.doubt,
    )


def _balanced(examples: list[Example]) -> list[Example]:
    """The pages of rare kinds count for more, at most `_MOST_WEIGHT` times as much as those of the most frequent."""
    counts = Counter(one.gold.kind for one in examples)
    most = max(counts.values())
    factors = {kind: min(_MOST_WEIGHT, (most / count) ** 0.5) for kind, count in counts.items()}
    return [replace(one, weight=one.weight * factors[one.gold.kind]) for one in examples]


def _out_of_fold(
    examples: list[Example], tables: list[NDArray[np.float32]], parts: list[int], settings: Settings, trees: int
) -> list[NDArray[np.float64]]:
    """The scores of each page by trees that grew on the other parts."""
    scores: dict[int, NDArray[np.float64]] = {}
    for part in range(settings.folds):
        inside = [place for place, other in enumerate(parts) if other != part]
        forest = _grow([examples[place] for place in inside], [tables[place] for place in inside], settings, trees)
        scores |= {place: forest.score(tables[place]) for place, other in enumerate(parts) if other == part}
    return [scores[place] for place in range(len(examples))]


def _grow(examples: list[Example], tables: list[NDArray[np.float32]], settings: Settings, trees: int) -> Forest:
    try:
        lightgbm = import_module("lightgbm")
    except ModuleNotFoundError:
        raise UsageError("lightgbm is not installed", remedy="pip install 'curate[extractor]'") from None
    weight = np.concatenate([one.weight for one in examples])
    rows = lightgbm.Dataset(
        np.vstack(tables),
        np.concatenate([one.wanted for one in examples]).astype(np.float64),
        weight=weight * len(weight) / weight.sum(),
    )
    asked = {
        "objective": "binary", "learning_rate": settings.rate, "num_leaves": settings.leaves,
        "min_data_in_leaf": settings.min_rows, "feature_fraction": 0.3, "bagging_fraction": 0.7, "bagging_freq": 1,
        "lambda_l2": 5.0, "seed": settings.seed + 1, "num_threads": 1, "deterministic": True, "force_col_wise": True,
        "max_bin": 63, "verbose": -1,
    }  # fmt: skip
    grown = lightgbm.train(asked, rows, trees).dump_model()["tree_info"]
    return _planted(grown, tables[0].shape[1])


def _planted(grown: list[dict[str, Any]], columns: int) -> Forest:
    """Trees of LightGBM as a forest; leaves are numbered from the left, where a column is at most the bound."""
    questions: list[tuple[int, float, int, int]] = []
    firsts: list[int] = []
    leaves: list[float] = []

    def plant(node: dict[str, Any], tree: int) -> int:
        """The leaves under a node, a bit each."""
        if "leaf_value" in node:
            leaves.append(node["leaf_value"])
            return 1 << (len(leaves) - 1 - firsts[tree])
        left = plant(node["left_child"], tree)
        questions.append((node["split_feature"], node["threshold"], tree, left ^ (2**64 - 1)))
        return left | plant(node["right_child"], tree)

    for tree, one in enumerate(grown):
        firsts.append(len(leaves))
        plant(one["tree_structure"], tree)
    questions.sort()
    asked, bounds, owners, masks = zip(*questions, strict=True) if questions else ((), (), (), ())
    starts = np.searchsorted(np.array(asked, np.int64), np.arange(columns + 1))
    return Forest(
        starts.astype(np.int32), np.array(bounds, np.float64), np.array(owners, np.int32), np.array(masks, np.uint64),
        np.array(firsts, np.int32), np.array(leaves, np.float64),
    )  # fmt: skip


def _meaning(examples: list[Example], scores: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """How likely a block of each score is main text, on pages that were not trained on: a logistic curve."""
    score = np.concatenate(scores)
    sign = np.concatenate([one.wanted for one in examples]) * 2.0 - 1
    weight = np.concatenate([one.weight for one in examples])
    columns = np.stack([score, np.ones_like(score)], axis=1)
    slope, shift = _logistic(columns, sign, weight, 1e-6)
    steps = (np.arange(STEPS) + 0.5) * 16 / STEPS - 8
    return np.asarray(np.round(1 / (1 + np.exp(-(slope * steps + shift))), 6))


# Tokens ---------------------------------------------------------------------------------------------------------------

_SLOTS = 4  # near, far, text, heading
_SLOT_BITS = np.uint64(2)


def _tokens(blocks: Blocks) -> tuple[NDArray[np.uint64], NDArray[np.int32], NDArray[np.int8]]:
    """The tokens that bear on each block: their hashes, the block of each, and how it stands to it (`_SLOTS`).

    As `kernels.blocks.measure` adds them up: near are the block's element and its parent, far all around those.
    """
    page = blocks.page
    of_element: list[list[int]] = [[] for _ in range(len(page.elements))]
    for token, element in zip(page.tokens.tolist(), page.token_elements.tolist(), strict=True):
        of_element[element].append(token)
    parents, tags = page.elements[:, PARENT].tolist(), page.elements[:, NAME].tolist()
    far: list[list[int]] = [of_element[0]]
    is_heading = [False]
    for element in range(1, len(parents)):
        far.append(far[parents[element]] + of_element[element])
        is_heading.append(TAG["h1"] <= tags[element] <= TAG["h6"] or is_heading[parents[element]])
    texts: list[list[int]] = [[] for _ in range(len(page.blocks))]
    for word, block in zip(blocks.words.tolist(), blocks.word_blocks.tolist(), strict=True):
        texts[block].append(word)
    hashes: list[int] = []
    rows: list[int] = []
    slots: list[int] = []
    heading: list[int] = []
    for block, element in enumerate(page.blocks[:, ELEMENT].tolist()):
        parent = max(0, parents[element])
        grand = max(0, parents[parent])
        near = of_element[element] + (of_element[parent] if element else [])
        around = far[grand] if parent else of_element[0]
        for slot, found in enumerate((near, around, texts[block], heading)):
            hashes += found
            rows += [block] * len(found)
            slots += [slot] * len(found)
        if is_heading[element]:
            heading = texts[block]
    return np.array(hashes, np.uint64) >> _SLOT_BITS << _SLOT_BITS, np.array(rows, np.int32), np.array(slots, np.int8)


def _learn_tokens(examples: list[Example], settings: Settings) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
    """Hashes of tokens in order, and what each says in each slot."""
    sparse = import_module("scipy.sparse")
    in_groups: dict[str, list[NDArray[np.uint64]]] = {}
    for one in examples:
        in_groups.setdefault(one.gold.group, []).append(distinct(_slotted(one)))
    slotted, counts = np.unique(
        np.concatenate([distinct(np.concatenate(found)) for found in in_groups.values()]), return_counts=True
    )
    slotted = slotted[counts >= settings.min_groups]
    rows, columns, start = [], [], 0
    for one in examples:
        tokens = _slotted(one)
        at = np.minimum(np.searchsorted(slotted, tokens), len(slotted) - 1)
        is_known = slotted[at] == tokens
        rows.append(one.tokens[1][is_known] + start)
        columns.append(at[is_known])
        start += len(one.wanted)
    row, column = np.concatenate(rows), np.concatenate(columns)
    matrix = sparse.csr_matrix((np.ones(len(row)), (row, column)), shape=(start, len(slotted)))
    matrix = sparse.hstack([matrix, np.ones((start, 1))]).tocsr()
    sign = np.concatenate([one.wanted for one in examples]) * 2.0 - 1
    weight = np.concatenate([one.weight for one in examples])
    learned = _logistic(matrix, sign, weight, settings.penalty)[:-1]
    keys = distinct(slotted >> _SLOT_BITS << _SLOT_BITS)
    found = np.zeros((len(keys), _SLOTS), np.float32)
    found[np.searchsorted(keys, slotted >> _SLOT_BITS << _SLOT_BITS), slotted & np.uint64(_SLOTS - 1)] = learned
    return keys, found


def _slotted(one: Example) -> NDArray[np.uint64]:
    """The tokens of a page, with their slots in the lowest bits, which hashes of tokens leave free."""
    return one.tokens[0] | one.tokens[2].astype(np.uint64)


def _logistic(
    matrix: Any, sign: NDArray[np.float64], weight: NDArray[np.float64], penalty: float
) -> NDArray[np.float64]:
    """The coefficients of a logistic regression; the last one, the intercept, is not penalised."""
    optimize = import_module("scipy.optimize")
    free = np.ones(matrix.shape[1])
    free[-1] = 0

    def loss(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = (matrix @ at) * sign
        slope = -weight * sign / (1 + np.exp(margin))
        value = float((weight * np.logaddexp(0, -margin)).sum() + 0.5 * penalty * (free * at * at).sum())
        return value, np.asarray(matrix.T @ slope + penalty * free * at)

    start = np.zeros(matrix.shape[1])
    return np.asarray(optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 80}).x)


def is_held_out(gold: Gold, parts: int) -> bool:
    """Whether a page's domain is the one in so many that is not trained on; never with 0."""
    return parts > 0 and part_of(gold.group, parts, "held") == 0


def cross_validate(pages_of: list[Gold], settings: Settings, parts: int) -> list[str]:
    """The main text of each page as a model finds it that was trained on other domains: as many models as parts.

    Nothing of a model, what its scores mean neither, depends on a page that it judges.
    """
    examples = [example(gold) for gold in pages_of]
    texts = [""] * len(pages_of)
    for part in range(parts):
        outside = [part_of(gold.group, parts, "dev") == part for gold in pages_of]
        inside = [one for one, is_outside in zip(examples, outside, strict=True) if one and not is_outside]
        model = train(inside, settings)
        for place, (one, is_outside) in enumerate(zip(examples, outside, strict=True)):
            if one and is_outside:
                texts[place] = render(one.blocks, model.keep(one.blocks))
    return texts
