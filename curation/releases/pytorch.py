"""A release's rows as a dataset of PyTorch, which need not be installed for anything else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.utils.data import IterableDataset, get_worker_info  # type: ignore[import-not-found,unused-ignore]

if TYPE_CHECKING:
    from curation.releases.reading import Reader


class Rows(IterableDataset):  # type: ignore[misc,unused-ignore]
    """What a reader reads, shared by the workers of a data loader.

    Each iteration begins at the beginning; torchdata's `StatefulDataLoader` keeps the state of each worker and gives it
    back.
    """

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self.reader = reader

    def __iter__(self) -> Any:
        worker = get_worker_info()
        return self.reader.split(worker.id, worker.num_workers) if worker else self.reader.split(0, 1)
