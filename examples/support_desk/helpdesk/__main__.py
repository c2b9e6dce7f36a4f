"""`python -m examples.support_desk.helpdesk serve|stop --home DIRECTORY`."""

import argparse
import sys
from pathlib import Path

from .process import find_running
from .server import serve
from .tracker import TrackerError


def main(arguments: list[str] | None = None) -> int:
    """Serve the help desk until it is told to stop, or stop it; 2 when that cannot be done."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except ModuleNotFoundError as missing:
        remedy = "install what the example needs: pip install 'interlock[example]'"
        print(f"helpdesk: {missing}; {remedy}", file=sys.stderr)
        return 2
    except (TrackerError, OSError) as problem:
        print(f"helpdesk: {problem}", file=sys.stderr)
        return 2
    return 0


def _serve(options: argparse.Namespace) -> None:
    serve(options.home.absolute(), options.port, options.ready_file)


def _stop(options: argparse.Namespace) -> None:
    running = find_running(options.home)
    if running is None:
        print(f"No help desk is served from {options.home}.")
        return
    running.stop()
    print(f"The help desk at {running.url} has ended.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="helpdesk", description="A Roundup tracker for the support desk."
    )
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("serve", help="serve the tracker, creating it the first time")
    command.set_defaults(command=_serve)
    command.add_argument("--home", type=Path, required=True, help="the tracker's directory")
    command.add_argument("--port", type=int, default=0, help="0, the default, takes any free port")
    command.add_argument("--ready-file", type=Path, help="written once requests are answered")
    command = commands.add_parser("stop", help="end the process that serves the tracker")
    command.set_defaults(command=_stop)
    command.add_argument("--home", type=Path, required=True, help="the tracker's directory")
    return parser


if __name__ == "__main__":
    sys.exit(main())
