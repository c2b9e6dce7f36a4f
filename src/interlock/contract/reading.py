"""Reading contracts: from a text, a file, a folder.

Everything that is wrong with a file is found at once, and each finding names its line and column,
the field, what was found and what is allowed. `examine` answers the findings, warnings among them;
the others raise them as one `ContractError` and leave warnings to `interlock check`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import ValidationError

from interlock.contract.contract import Contract
from interlock.contract.doubts import doubts
from interlock.contract.finding import Finding, Place, contract_error, in_order
from interlock.contract.judging import judge
from interlock.contract.located import Located
from interlock.contract.tree import MAX_CHARACTERS, Section, read_tree

__all__ = [
    "Examination",
    "contract_files",
    "duplicates",
    "examine",
    "examine_file",
    "load_contract",
    "load_contracts",
    "parse_contract",
]

_SUFFIXES: Final = (".yaml", ".yml")
_MAX_BYTES: Final = 4 * MAX_CHARACTERS


class Examination(NamedTuple):
    """What a file says, and everything that can be said about it.

    `contract` is None exactly when a finding is an error. `agent_place` is where the file names its
    agent.
    """

    file: str
    contract: Contract | None
    findings: tuple[Finding, ...]
    agent_place: Place | None = None


def examine(text: str, *, file: str = "<text>") -> Examination:
    """Everything there is to say about a contract's YAML. Never raises for any text."""
    tree = read_tree(text, file)
    if tree.root is None:
        return Examination(file, None, tree.findings)
    if not isinstance(tree.root, Section):
        problem = "a contract is a mapping of fields"
        finding = Finding(
            code="wrong_value",
            file=file,
            place=tree.root.place,
            problem=problem,
            allowed="at least agent: NAME",
        )
        return Examination(file, None, in_order((*tree.findings, finding)))
    located = Located(tree.root, file)
    try:
        contract = Contract.model_validate(located.value())
    except ValidationError as error:
        return Examination(file, None, in_order((*tree.findings, *judge(error, located))))
    if tree.findings:
        return Examination(file, None, in_order(tree.findings))
    found = in_order(doubts(contract, located))
    return Examination(file, contract, found, located.place(("agent",)))


def examine_file(path: Path) -> Examination:
    """Everything there is to say about a contract file, also that it cannot be read."""
    file = str(path)
    try:
        with path.open("rb") as stream:
            body = stream.read(_MAX_BYTES + 1)
        text = body.decode("utf-8-sig")
    except OSError as error:
        problem = f"it cannot be read: {error.strerror or error}"
        return Examination(file, None, (Finding(code="unreadable", file=file, problem=problem),))
    except UnicodeDecodeError as error:
        return Examination(file, None, (_not_utf8(file, error),))
    return examine(text, file=file)


def _not_utf8(file: str, error: UnicodeDecodeError) -> Finding:
    before = error.object[: error.start].decode("utf-8", "replace")
    place = Place(before.count("\n") + 1, len(before) - before.rfind("\n"))
    problem = f"byte 0x{error.object[error.start]:02x} is no UTF-8"
    return Finding(
        code="not_yaml", file=file, place=place, problem=problem, allowed="text in UTF-8"
    )


def parse_contract(text: str, *, file: str = "<text>") -> Contract:
    """Read a contract from YAML. `file` is what errors call it.

    Raises `ContractError` with everything that is wrong.
    """
    return _sound(examine(text, file=file))


def load_contract(path: str | Path) -> Contract:
    """Read a contract file. Raises `ContractError`, also when the file cannot be read."""
    return _sound(examine_file(Path(path)))


def _sound(examined: Examination) -> Contract:
    if examined.contract is None:
        raise contract_error(examined.findings)
    return examined.contract


def load_contracts(folder: str | Path) -> dict[str, Contract]:
    """The contracts of a folder's `*.yaml` and `*.yml` files, by agent, in the files' order.

    Hidden files and folders inside are not looked at. Raises `ContractError` with everything that
    is wrong with any of them; two files for one agent are an error that names both.
    """
    examined = [examine_file(path) for path in contract_files(Path(folder))]
    errors = [
        finding
        for finding in (*(each for one in examined for each in one.findings), *duplicates(examined))
        if finding.severity == "error"
    ]
    if errors:
        raise contract_error(in_order(errors))
    return {one.contract.agent: one.contract for one in examined if one.contract is not None}


def contract_files(folder: Path) -> list[Path]:
    """A folder's contract files by name. Raises `ContractError` when it is no readable folder."""
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        problem = f"the folder cannot be read: {error.strerror or error}"
        finding = Finding(code="unreadable", file=str(folder), problem=problem)
        raise contract_error([finding]) from error
    return [path for path in inside if path.suffix in _SUFFIXES and not path.name.startswith(".")]


def duplicates(examined: Sequence[Examination]) -> Iterator[Finding]:
    """A finding for every file whose agent an earlier file has a contract for."""
    first: dict[str, Examination] = {}
    for one in examined:
        if one.contract is None:
            continue
        agent = one.contract.agent
        earlier = first.setdefault(agent, one)
        if earlier is not one:
            problem = f"{earlier.file} is a contract of agent {agent!r} too"
            yield Finding(
                code="duplicate_agent",
                file=one.file,
                place=one.agent_place,
                field="agent",
                problem=problem,
                found=agent,
                allowed="one contract for an agent",
            )
