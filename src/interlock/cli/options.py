"""The options that several commands share, with one meaning everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

from interlock.config import APP_VARIABLE, DEFAULT_STORE, STORE_VARIABLE

__all__ = ["AppSpec", "AsJson", "By", "Limit", "Reveal", "RunId", "StoreUrl"]

StoreUrl = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help=f"The journal; else {STORE_VARIABLE}, else the app's, else {DEFAULT_STORE}.",
    ),
]
AppSpec = Annotated[
    str | None,
    typer.Option(
        "--app",
        metavar="MODULE:APP",
        envvar=APP_VARIABLE,
        help="The application: a Python module and the name of its App.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
By = Annotated[
    str | None,
    typer.Option("--by", metavar="NAME", help="Who does it, for the journal; else your login."),
]
Limit = Annotated[
    int, typer.Option("--limit", min=1, max=10_000, metavar="N", help="How many at most.")
]
Reveal = Annotated[
    bool,
    typer.Option("--reveal", help="Show secrets and personal data as they are, not masked."),
]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.", show_default=False)]
