"""`curate tokenizer`: train one on what the blend chose."""

from __future__ import annotations

import json
from pathlib import Path

import click

from curation.cli.options import JSON, RECIPE, SET, WORK


@click.group(short_help="Train a tokenizer of your own.")
def tokenizer() -> None:
    """Train a tokenizer on the text of a blend, for exact counts and tokenised releases."""


@tokenizer.command("train")
@RECIPE
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The file to write.")
@click.option("--vocabulary", default=16_384, show_default=True, type=click.IntRange(257, 10**6),
              help="How many tokens it has at most.")  # fmt: skip
@SET
@WORK
@JSON
def tokenizer_train(
    recipe: Path, out: Path, vocabulary: int, overrides: tuple[str, ...], work: str | None, as_json: bool
) -> None:
    """Train a tokenizer.json on the texts that RECIPE's last run chose, as published and as often as they stand there.

    Byte-level BPE: any text is its tokens and nothing is unknown. `<|endoftext|>` is token 0.

    Example: curate tokenizer train my-textbook/recipe.toml --out tokenizer.json --vocabulary 2000
    """
    from curation.recipe import load
    from curation.tokenizer_training import train

    told = train(load(recipe, overrides, work=work), out, vocabulary)
    if as_json:
        click.echo(json.dumps(told, indent=1))
        return
    click.echo(
        f"{out}: {told['vocabulary']:,} tokens, from {told['documents']:,} documents, {told['bytes']:,} bytes; "
        f"{told['bytes_a_token']:.2f} bytes a token there"
    )
    click.echo(f'use it:  tokenizer = "{out.name}" under [blend], with the file beside the recipe')
