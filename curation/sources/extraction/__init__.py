"""The engine `blocks`: a page is cut into blocks, and a small model that was trained on pages with gold text keeps some.

`page` makes the blocks and what is known of them, `model` scores them, `rendering` writes those kept as text or Markdown,
`metadata` reads what the page says of itself. `gold`, `training` and `figures` are for those who train a model.
"""

#: Raised when the same page and model give another text or other metadata.
VERSION = 1
