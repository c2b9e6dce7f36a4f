"""`python -m examples.support_desk.helpdesk serve --home DIRECTORY`."""

import argparse
import sys
from pathlib import Path

from .server import serve
from .tracker import TrackerError


def main(arguments: list[str] | None = None) -> int:
    """Serve the help desk until it is told to stop; 2 when it cannot be served."""
    options = _parser().parse_args(arguments)
    try:
        serve(options.home.absolute(), options.port, options.ready_file)
    except ModuleNotFoundError as missing:
        remedy = "install what the example needs: pip install 'interlock[example]'"
        print(f"helpdesk: {missing}; {remedy}", file=sys.stderr)
        return 2
    except (TrackerError, OSError) as problem:
        print(f"helpdesk: {problem}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="helpdesk", description="A Roundup tracker for the support desk."
    )
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("serve", help="serve the tracker, creating it the first time")
    command.add_argument("--home", type=Path, required=True, help="the tracker's directory")
    command.add_argument("--port", type=int, default=0, help="0, the default, takes any free port")
    command.add_argument("--ready-file", type=Path, help="written once requests are answered")
    return parser


if __name__ == "__main__":
    sys.exit(main())
