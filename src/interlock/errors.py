"""Every error that Interlock raises, in one tree, ordered by who has to act.

Each error has a stable `code` (the HTTP API answers with the same one, RFC 9457), a message that
names the thing, the reason and the remedy, and `fields` with the identifiers in typed form.

    InterlockError
    ├── UsageError                   the caller corrects the call
    │   ├── InvalidInputError        a value does not fit the declared type
    │   ├── DeclarationError         an agent or tool is declared wrongly
    │   ├── ContractError            a contract file does not say what it may say
    │   ├── PolicyError              a policy cannot be read or does not fit the tools
    │   ├── NotFoundError            no such agent, run, inbox task, effect
    │   ├── IdempotencyConflictError the same key with another input
    │   ├── PayloadTooLargeError     a recorded value is over the limit
    │   ├── NotRecordableError       a value cannot be written as JSON
    │   ├── ForbiddenInRunError      a timer, socket or thread in a run's code
    │   ├── UnknownPriceError        nobody said what a model costs
    │   └── ConflictError            the thing is not in a state that allows this
    ├── OutcomeError                 a run's code decides what to do
    │   ├── StepFailedError          a step failed for good
    │   ├── EffectFailedError        an effect was certainly not made
    │   │   └── NotAllowedError      a policy or a person did not allow a call
    │   ├── ChildFailedError         a child run did not complete
    │   ├── PlanFailedError          a plan was not accepted, or a step of it failed
    │   ├── AskFailedError           a model gave no answer that could be used
    │   │   ├── ModelFailedError     no model answered
    │   │   ├── LoopFoundError       a model went round in circles
    │   │   └── BudgetExhaustedError a budget would not cover what the model wanted
    │   └── RunFailedError           a run that somebody waits for did not complete
    ├── NotEntitledError             a person may not decide what they want to decide
    ├── RefusedError                 a guard of the journal refused a commit
    ├── StorageError                 an operator acts; nothing acknowledged is lost
    │   ├── StorageFullError         no space is left
    │   ├── StorageLockedError       another process holds the store
    │   ├── StorageCorruptError      the file or the chain is damaged
    │   ├── StorageVersionError      the database is newer than this code
    │   └── StorageFailedError       the disk failed; the process stops
    ├── VaultError                   the vault's key is missing, or not the one it was
    ├── BodyErasedError              a recorded body was erased and is needed
    └── ReplayMismatchError          the code and the journal disagree; the run is parked
"""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = [
    "AskFailedError",
    "BodyErasedError",
    "BudgetExhaustedError",
    "ChildFailedError",
    "ConflictError",
    "ContractError",
    "DeclarationError",
    "EffectFailedError",
    "ForbiddenInRunError",
    "IdempotencyConflictError",
    "InterlockError",
    "InvalidInputError",
    "LoopFoundError",
    "ModelFailedError",
    "NotAllowedError",
    "NotEntitledError",
    "NotFoundError",
    "NotRecordableError",
    "OutcomeError",
    "PayloadTooLargeError",
    "PlanFailedError",
    "PolicyError",
    "RefusedError",
    "ReplayMismatchError",
    "RunFailedError",
    "StepFailedError",
    "StorageCorruptError",
    "StorageError",
    "StorageFailedError",
    "StorageFullError",
    "StorageLockedError",
    "StorageVersionError",
    "UnknownPriceError",
    "UsageError",
    "VaultError",
]


class InterlockError(Exception):
    """The root of all errors of Interlock.

    `code` is stable across versions. `fields` holds identifiers, never payloads or secrets.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.message = message
        self.fields: dict[str, Any] = fields


class UsageError(InterlockError):
    """The caller made a mistake and can correct it."""

    code = "usage"


class InvalidInputError(UsageError):
    """A value does not fit its declared type; `fields["problems"]` lists every wrong field."""

    code = "invalid_input"


class DeclarationError(UsageError):
    """An agent or a tool is declared in a way that cannot work."""

    code = "invalid_declaration"


class ContractError(UsageError):
    """A contract cannot be read or is wrong; `fields["findings"]` lists everything that is.

    Each finding has `severity`, `code`, `file`, `line` and `column` (from 1; null where the whole
    file is meant), `field`, `problem`, `found`, `allowed` and `suggestions`. The message has a line
    for each.
    """

    code = "invalid_contract"


class PolicyError(UsageError):
    """A policy cannot be read, is wrong, or does not fit the application's tools and agents.

    The message has a line for each problem, with its file and line.
    """

    code = "invalid_policy"


class NotFoundError(UsageError):
    """There is no such agent, run, inbox task or effect."""

    code = "not_found"


class IdempotencyConflictError(UsageError):
    """An idempotency key was used before with another input."""

    code = "idempotency_conflict"


class PayloadTooLargeError(UsageError):
    """A value to be recorded is larger than the limit."""

    code = "payload_too_large"


class NotRecordableError(UsageError):
    """A value to be recorded cannot be written as JSON."""

    code = "not_recordable"


class ForbiddenInRunError(UsageError):
    """A run's code reached for a timer, socket, process or thread of the host."""

    code = "forbidden_in_run"


class UnknownPriceError(UsageError):
    """Neither the catalogue nor the contract says what a model costs: it is not called."""

    code = "unknown_price"


class ConflictError(UsageError):
    """The thing exists but is not in a state that allows what was asked."""

    code = "conflict"


class OutcomeError(InterlockError):
    """Work that a run's code asked for ended badly; the code decides what follows.

    `error_types` are the qualified names of the original exception's classes, most special first,
    so that a decision made on them is the same live and on replay.
    """

    code = "outcome"

    def __init__(self, message: str, *, error_types: tuple[str, ...] = (), **fields: Any) -> None:
        super().__init__(message, **fields)
        self.error_types = error_types

    def was(self, exception: type[BaseException]) -> bool:
        """Whether the original exception was an instance of `exception`."""
        return f"{exception.__module__}.{exception.__qualname__}" in self.error_types


class StepFailedError(OutcomeError):
    """A step failed after all its attempts."""

    code = "step_failed"


class EffectFailedError(OutcomeError):
    """An effect was certainly not made: the tool said so, or a person did."""

    code = "effect_failed"


class NotAllowedError(EffectFailedError):
    """A call was not made because no policy permits it, one forbids it, or a person said no.

    `fields["policies"]` names the policies that decided.
    """

    code = "not_allowed"


class ChildFailedError(OutcomeError):
    """A child run ended as failed or cancelled."""

    code = "child_failed"


class PlanFailedError(OutcomeError):
    """A plan was not accepted, or steps of it failed and no other plan was made.

    `results` are the results of the steps that are done, by id. `fields["reason"]` is `refused` (a
    valid plan was not found), `rejected` (a person said no) or `failed`; `fields["failed"]` and
    `fields["skipped"]` are ids of steps.
    """

    code = "plan_failed"

    def __init__(
        self, message: str, *, results: dict[str, Any] | None = None, **fields: Any
    ) -> None:
        super().__init__(message, **fields)
        self.results: dict[str, Any] = results or {}


class AskFailedError(OutcomeError):
    """A model gave no answer that could be used, and no person gave one either."""

    code = "ask_failed"


class ModelFailedError(AskFailedError):
    """No model answered: each of them failed, refused, or was left alone."""

    code = "model_failed"


class LoopFoundError(AskFailedError):
    """A model went round in circles; `fields["loop"]` shows the calls."""

    code = "loop_found"


class BudgetExhaustedError(AskFailedError):
    """A budget would not cover the next call, and a person said to finish without it.

    `so_far` is the last text that the model had said in the ask, where it had said one.
    """

    code = "budget_exhausted"
    so_far = ""


class RunFailedError(OutcomeError):
    """A run whose result was asked for ended as failed or cancelled, or is parked."""

    code = "run_failed"


class NotEntitledError(InterlockError):
    """A person may not decide this: others hold the role that is asked, as the message says."""

    code = "forbidden"


class RefusedError(InterlockError):
    """A guard refused a commit: nothing of that commit was written."""

    code = "refused"


class StorageError(InterlockError):
    """The store cannot go on. What was acknowledged is on disk."""

    code = "storage"


class StorageFullError(StorageError):
    """No space is left where the journal is stored."""

    code = "storage_full"


class StorageLockedError(StorageError):
    """Another process holds the store."""

    code = "storage_locked"


class StorageCorruptError(StorageError):
    """The database file is damaged."""

    code = "storage_corrupt"


class StorageVersionError(StorageError):
    """The database was written by a newer version of Interlock."""

    code = "storage_version"


class StorageFailedError(StorageError):
    """The disk reported an error; the process stops and the next start recovers."""

    code = "storage_failed"


class VaultError(InterlockError):
    """The vault cannot be opened: its key is not given, or is another one than it was."""

    code = "vault"


class BodyErasedError(InterlockError):
    """A run needs a recorded body that was erased."""

    code = "body_erased"


class ReplayMismatchError(InterlockError):
    """On replay a run's code did something else than its journal says."""

    code = "replay_mismatch"
