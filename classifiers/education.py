"""The signal `education`: how much a reader learns from a document, as a fastText model judges it.

The shipped model is for English; its card is classifiers/models/education.md, and docs/classifier.md tells how to
train another. A recipe may have more of its kind, each with a model and a name of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from classifiers import model as models
from classifiers import text
from curation.schema import score_column

if TYPE_CHECKING:
    from collections.abc import Mapping

    from curation.signals.batch import Batch


class Settings(BaseModel):
    """The keys of `[signals.education]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field("default", description='"default" or the path of a model file')

    @field_validator("model")
    @classmethod
    def _placed(cls, model: str, info: ValidationInfo) -> str:
        """A relative path is taken from the folder `base` of the validation's context, else from the current one."""
        base = (info.context or {}).get("base")
        return model if model == "default" or base is None else str(Path(base) / Path(model).expanduser())


@dataclass(frozen=True)
class Education:
    """The signal with its model; small to send to another process, which loads the model itself."""

    path: Path
    VERSION: str
    name: str = "education"

    @property
    def COLUMNS(self) -> Mapping[str, pa.DataType]:  # noqa: N802
        """The score, after the name."""
        return {score_column(self.name): pa.float32()}

    def measure(self, batch: Batch) -> dict[str, Any]:
        """For each text its score from 0 to 5, rounded to 1e-4; 0 without a word that the model knows."""
        return {score_column(self.name): models.score(self.path, batch.data, batch.bounds)}


@dataclass(frozen=True)
class Named:
    """What stands for a signal's module where `[signals.NAME]` names a model: a classifier `NAME_score`."""

    name: str

    Settings: ClassVar[type[Settings]] = Settings

    @property
    def __name__(self) -> str:
        """As a module has it."""
        return f"{__name__}.{self.name}"

    def load(self, settings: Any) -> Education:
        """The signal for these settings."""
        return load(settings, self.name)


def load(settings: Settings, name: str = "education") -> Education:
    """The signal for these settings; `UsageError` if the model file is not there.

    Its version holds the first 16 digits of the file's SHA-256: another model is another signal.
    """
    path = models.DEFAULT if settings.model == "default" else Path(settings.model).expanduser().absolute()
    return Education(path, f"2.{text.VERSION}+{models.digest(path)[:16]}", name)
