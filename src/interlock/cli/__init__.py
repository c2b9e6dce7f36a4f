"""The command line: `interlock`. Everything it does works with a server up or down.

`app` is the typer application, `main` the program's entry point. Heavy libraries load when a
command needs them.
"""

from interlock.cli.program import app, main

__all__ = ["app", "main"]
