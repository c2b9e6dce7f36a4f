"""`python -m examples.support_desk.helpdesk serve|stop --home DIRECTORY`."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from .process import find_running
from .server import serve
from .tracker import TrackerError

Serve = Callable[[Path, int, Path | None], None]


def main_of(program: str, what: str, serve: Serve, arguments: list[str] | None = None) -> int:
    """Serve until it is told to stop, or stop it; 2 when that cannot be done.

    `what` is the service in words, such as `the help desk`.
    """
    options = _parser(program, what).parse_args(arguments)
    try:
        if options.command == "serve":
            serve(options.home.absolute(), options.port, options.ready_file)
        else:
            _stop(options.home, what)
    except ModuleNotFoundError as missing:
        remedy = "install what the example needs: pip install 'interlock[example]'"
        print(f"{program}: {missing}; {remedy}", file=sys.stderr)
        return 2
    except (TrackerError, OSError) as problem:
        print(f"{program}: {problem}", file=sys.stderr)
        return 2
    return 0


def _stop(home: Path, what: str) -> None:
    running = find_running(home)
    if running is None:
        print(f"No {what.removeprefix('the ')} is served from {home}.")
        return
    running.stop()
    print(f"{what.capitalize()} at {running.url} has ended.")


def _parser(program: str, what: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program, description=f"{what.capitalize()} of the support desk."
    )
    commands = parser.add_subparsers(required=True, dest="command")
    command = commands.add_parser("serve", help=f"serve {what}, making it the first time")
    command.add_argument("--home", type=Path, required=True, help="its directory")
    command.add_argument("--port", type=int, default=0, help="0, the default, takes any free port")
    command.add_argument("--ready-file", type=Path, help="written once requests are answered")
    command = commands.add_parser("stop", help=f"end the process that serves {what}")
    command.add_argument("--home", type=Path, required=True, help="its directory")
    return parser


if __name__ == "__main__":
    sys.exit(main_of("helpdesk", "the help desk", serve))
