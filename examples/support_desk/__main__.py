"""`python -m examples.support_desk`: the example's commands."""

import argparse
import sys
from pathlib import Path

from .decider import NearestExamples
from .evaluation import evaluate
from .labelled import LabelledError, read_labelled

_DATA = Path(__file__).parent / "data"


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 2 when a file cannot be used."""
    options = _parser().parse_args(arguments)
    try:
        _evaluate(options.train, options.tickets, options.limit)
    except LabelledError as problem:
        print(f"support_desk: {problem}", file=sys.stderr)
        return 2
    return 0


def _evaluate(train: Path, tickets: Path, limit: int | None) -> None:
    examples = read_labelled(train)
    messages = read_labelled(tickets, limit=limit)
    with NearestExamples(examples) as decider:
        print(f"Decided by {decider.method}.")
        print(f"{len(examples)} examples in {len(decider.categories)} categories, {train}")
        print(f"{len(messages)} messages, {tickets}\n")
        print(" surest  messages  right  confidence from")
        for row in evaluate(decider, messages).table():
            print(f"{row.share:7.0%}{row.messages:10}{row.accuracy:7.1%}{row.floor:17.3f}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="support_desk", description="A support desk that runs on Interlock."
    )
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("evaluate", help="measure the offline decider")
    command.add_argument(
        "--train", type=Path, default=_DATA / "train.csv", help="labelled examples (text,category)"
    )
    command.add_argument(
        "--tickets", type=Path, default=_DATA / "tickets.csv", help="labelled messages to decide"
    )
    command.add_argument("--limit", type=int, help="decide only so many messages")
    return parser


if __name__ == "__main__":
    sys.exit(main())
