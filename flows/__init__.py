"""Prefect flows over the same stages that `curate run` walks."""
