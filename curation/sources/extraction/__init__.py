"""The engine `blocks`: a page is cut into blocks, of which a small model keeps some; it was trained on gold texts.

`page` makes the blocks and what is known of them, `model` scores them, `rendering` writes those kept as text or
Markdown, `metadata` reads what the page says of itself, `claims` what it says of its text, `offers` knows what a shop
says on all of its pages. `gold`, `training` and `figures` are for who trains a model.
"""

from pathlib import Path

#: Raised when the same page and model give another text or other metadata.
VERSION = 4
#: The model that is shipped; its card lies beside it.
SHIPPED = Path(__file__).parent / "models" / "blocks.npz"


def path_of(name: str) -> Path:
    """The file of the model that a recipe's `extract.model` names."""
    return SHIPPED if name == "default" else Path(name)
