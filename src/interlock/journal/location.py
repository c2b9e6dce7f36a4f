"""Where a journal is: URLs and paths."""

from __future__ import annotations

import os
from urllib.parse import unquote

from interlock.errors import InvalidInputError

__all__ = ["database_path"]

_SCHEME = "sqlite:///"


def database_path(location: str | os.PathLike[str]) -> str:
    """The path of the SQLite file that a URL or a plain path means.

    `sqlite:///relative.db` is relative to the working directory, `sqlite:////absolute.db` is not;
    percent escapes are decoded in URLs only. Raises `InvalidInputError` for anything else.
    """
    text = os.fspath(location)
    if text.startswith(_SCHEME):
        path = unquote(text.removeprefix(_SCHEME))
    elif "://" in text or text.startswith(("sqlite:", "file:")):
        raise InvalidInputError(
            f"The store {_without_password(text)!r} is not supported. Use 'sqlite:///file.db' "
            "(relative), 'sqlite:////folder/file.db' (absolute) or a plain path.",
        )
    else:
        path = text
    if not path or path.startswith(":") or "\0" in path or (path is not text and "?" in path):
        raise InvalidInputError(
            f"The store {text!r} names no file. A journal lives in a file, never in memory: use "
            "'sqlite:///file.db' or a plain path.",
        )
    return path


def _without_password(url: str) -> str:
    """A URL as it may stand in an error: without what comes before the host."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if rest else url
