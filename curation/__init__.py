"""Turns raw web and internal text into the textbook a language model learns from."""

__version__ = "0.1.0"
