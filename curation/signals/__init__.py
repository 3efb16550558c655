"""What is measured of a document: one module a signal, listed in `SIGNALS`.

A signal is a module, or an object where a model or settings must be held, with

- `VERSION`: raised when the same text gives another answer (an object with a model puts the model's hash in it);
- `COLUMNS`: column name to Arrow type; every name is unique over all signals;
- `measure(batch) -> dict`: for each column one value a row (a list, a numpy or an Arrow array), never null.

A module whose signal has settings defines `Settings` (a frozen pydantic model: the keys of `[signals.NAME]`) and
`load(settings)`, which returns the object and must be cheap: models are loaded at the first `measure`.
"""
