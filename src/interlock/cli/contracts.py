"""`interlock check`, `contract show` and `contract schema`: contracts before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli.exit_code import FAILED
from interlock.cli.options import AsJson
from interlock.cli.output import print_json, print_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.contract import Contract, Examination, Finding

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command and the group."""
    app.command("check")(_check)
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    group.callback()(_contract)
    group.command("show")(_show)
    group.command("schema")(_schema)
    app.add_typer(group, name="contract")


# Checking.


def _check(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH", help="Contract files, or folders of them.", show_default=False
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Check contracts: everything that is wrong with each, and what is doubtful.

    Ends with 0 when all of them are valid, with or without warnings, and 1 when one is not.
    """
    from interlock.contract.finding import in_order
    from interlock.contract.reading import duplicates

    examined, missing = _examined(paths)
    inside = (finding for one in examined for finding in one.findings)
    findings = in_order((*missing, *inside, *duplicates(examined)))
    errors = sum(finding.severity == "error" for finding in findings)
    if as_json:
        print_json(_checked(examined, findings, valid=not errors))
    else:
        _print_checked(len(examined), findings, errors)
    if errors:
        raise typer.Exit(FAILED)


def _examined(paths: Sequence[Path]) -> tuple[list[Examination], list[Finding]]:
    """Each file once, and findings about the folders themselves."""
    from interlock.contract.finding import Finding
    from interlock.contract.reading import contract_files, examine_file

    files: dict[Path, None] = {}
    missing: list[Finding] = []
    for path in paths:
        inside = contract_files(path) if path.is_dir() else [path]
        files |= dict.fromkeys(inside)
        if not inside:
            problem = "there is no contract in this folder"
            allowed = "files named *.yaml or *.yml"
            missing.append(
                Finding(code="no_contract", file=str(path), problem=problem, allowed=allowed)
            )
    return [examine_file(file) for file in files], missing


def _checked(
    examined: Sequence[Examination], findings: Sequence[Finding], *, valid: bool
) -> dict[str, Any]:
    contracts = [
        {"file": one.file, "agent": one.contract.agent, "hash": one.contract.hash}
        for one in examined
        if one.contract is not None
    ]
    return {
        "valid": valid,
        "files": [one.file for one in examined],
        "contracts": contracts,
        "findings": [finding.as_json() for finding in findings],
    }


def _print_checked(files: int, findings: Sequence[Finding], errors: int) -> None:
    for finding in findings:
        print_line(f"{finding.where()}: {finding.severity}: {finding.sentence()}")
    warnings = len(findings) - errors
    print_line(
        f"{_many(files, 'contract')}: {_many(errors, 'error')}, {_many(warnings, 'warning')}"
    )


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


# Showing.


def _contract() -> None:
    """Show a contract in plain words, or what a contract may say."""


def _show(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="The contract's file.", show_default=False)
    ],
    as_json: AsJson = False,
) -> None:
    """Show in plain words what an agent may do: what it spends, which tools, which model."""
    from interlock.contract import load_contract

    contract = load_contract(path)
    if as_json:
        print_json({"hash": contract.hash, "contract": contract.as_json()})
    else:
        _print_contract(contract)


def _print_contract(contract: Contract) -> None:
    from interlock.contract.summary import summary

    print_line(f"Agent {contract.agent}")
    for chapter in summary(contract):
        print_line()
        print_line(chapter.heading)
        for sentence in chapter.sentences:
            print_line(f"  {sentence}")
    print_line()
    print_line(f"Contract {contract.hash}")


def _schema() -> None:
    """Print the JSON Schema of contracts, for editors."""
    from interlock.contract import contract_schema

    print_json(contract_schema())
