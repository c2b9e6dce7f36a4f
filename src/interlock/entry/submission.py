"""Starting a run from JSON: the same for the API and the command line.

The input is read by the JSON rules of the agent's declared type, and every wrong field is named
before a run exists.
"""

from __future__ import annotations

import json
from typing import Any

from interlock.errors import InvalidInputError
from interlock.orchestrator.client import Client, Started
from interlock.orchestrator.start import StartOptions

__all__ = ["submit"]


async def submit(client: Client, agent: str, value: Any, options: StartOptions) -> Started:
    """Start a run of `agent` with an input that came as JSON.

    Raises `NotFoundError`, `InvalidInputError`, `PayloadTooLargeError`, `NotRecordableError` and
    `IdempotencyConflictError`; then nothing was started. Repeatable with an idempotency key.
    """
    declared = client.agent(agent)
    label = f"the input of agent {agent!r}"
    try:
        text = json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"{label} holds half a surrogate pair, which is no text."
        ) from error
    checked = declared.input.decode(text, label)
    return await client.start_encoded(declared, declared.input.encode(checked, label), options)
