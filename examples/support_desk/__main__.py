"""`python -m examples.support_desk`: the example's commands."""

import argparse
import os
import sys
from pathlib import Path

from interlock import InterlockError

from .agent import DEFAULT_FLOOR
from .decider import OFFLINE, NearestExamples
from .demo import demo
from .desk_model import DeskModelError
from .evaluation import evaluate
from .handbook import HandbookError
from .helpdesk import HelpDeskError, TrackerError
from .home import DEFAULT_HOME, MODEL_VARIABLE, TICKETS, TRAIN, HomeError
from .labelled import LabelledError, read_labelled

_UNUSABLE = (
    LabelledError,
    HandbookError,
    HomeError,
    DeskModelError,
    TrackerError,
    HelpDeskError,
    InterlockError,
)


def main(arguments: list[str] | None = None) -> int:
    """Run a command.

    1 when the demo left something undone or did it twice, 2 when it cannot be done, 130 when it was
    interrupted.
    """
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except (*_UNUSABLE, OSError) as problem:
        print(f"support_desk: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("support_desk: interrupted; the same command goes on from here", file=sys.stderr)
        return 130


def _demo(options: argparse.Namespace) -> int:
    sound = demo(
        train=options.train,
        tickets=options.tickets,
        limit=options.limit,
        floor=options.floor,
        home=options.home,
        model=os.environ.get(MODEL_VARIABLE) or OFFLINE,
    )
    return 0 if sound else 1


def _evaluate(options: argparse.Namespace) -> int:
    examples = read_labelled(options.train)
    messages = read_labelled(options.tickets, limit=options.limit)
    with NearestExamples(examples) as decider:
        print(f"Decided by {decider.method}.")
        print(f"{len(examples)} examples in {len(decider.categories)} categories, {options.train}")
        print(f"{len(messages)} messages, {options.tickets}\n")
        print(" surest  messages  right  confidence from")
        for row in evaluate(decider, messages).table():
            print(f"{row.share:7.0%}{row.messages:10}{row.accuracy:7.1%}{row.floor:17.3f}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="support_desk", description="A support desk that runs on Interlock."
    )
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("evaluate", help="measure the offline decider")
    command.set_defaults(command=_evaluate)
    _add_messages(command)
    command = commands.add_parser("demo", help="let the agent work on messages, and count")
    command.set_defaults(command=_demo)
    _add_messages(command)
    command.add_argument(
        "--home", type=Path, help=f"where the desk and the journal live; {DEFAULT_HOME} if absent"
    )
    command.add_argument(
        "--floor",
        type=_floor,
        default=DEFAULT_FLOOR,
        help="decisions less sure than this, 0 to 1, go to a person (default: %(default)s)",
    )
    return parser


def _add_messages(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--train", type=Path, default=TRAIN, help="labelled examples (text,category)"
    )
    command.add_argument("--tickets", type=Path, default=TICKETS, help="labelled messages")
    command.add_argument("--limit", type=int, help="only so many messages")


def _floor(text: str) -> float:
    floor = float(text)
    if not 0 <= floor <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return floor


if __name__ == "__main__":
    sys.exit(main())
