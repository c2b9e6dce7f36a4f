"""Every error has an exit code, and the codes keep their meaning."""

from __future__ import annotations

import pytest

from interlock import errors
from interlock.cli.exit_code import FAILED, STORE, USAGE, exit_code
from interlock.errors import InterlockError

KINDS = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_ends_the_program_with_a_code_of_its_branch(kind: type[InterlockError]) -> None:
    code = exit_code(kind("it did not work"))
    if issubclass(kind, errors.StorageError):
        assert code == STORE
    elif kind in (errors.NotFoundError, errors.ConflictError):
        assert code == FAILED
    elif issubclass(kind, errors.UsageError):
        assert code == USAGE
    else:
        assert code == FAILED
