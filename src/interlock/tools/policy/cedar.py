"""The one place that talks to Cedar's engine (`cedarpy`), with types of our own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import cedarpy

__all__ = [
    "Answer",
    "Entities",
    "PolicySet",
    "Schema",
    "decide",
    "entities",
    "parse",
    "policy_set",
    "problems",
    "schema",
]

PolicySet = cedarpy.PolicySet
Schema = cedarpy.Schema
Entities = cedarpy.Entities

# The library's own signatures leave its containers untyped.
_CEDAR: Final[Any] = cedarpy


class Answer(NamedTuple):
    """Cedar's: whether it is allowed, the ids of the policies that decided, and what failed."""

    allowed: bool
    reasons: list[str]
    errors: list[str]


def parse(text: str) -> tuple[list[dict[str, Any]], bool]:
    """Policies in Cedar's JSON form, and whether templates are among them. Raises `ValueError`."""
    parsed = json.loads(_CEDAR.policies_to_json_str(text))
    return list(parsed["staticPolicies"].values()), bool(parsed["templates"])


def policy_set(policies: Mapping[str, Mapping[str, Any]]) -> PolicySet:
    """A set of policies in their JSON form, by the ids that answers name them by."""
    body = {"templates": {}, "staticPolicies": dict(policies), "templateLinks": list[Any]()}
    return PolicySet.from_json_str(json.dumps(body))


def schema(declared: Mapping[str, Any]) -> Schema:
    """A schema from its JSON form."""
    return Schema.from_json_str(json.dumps(declared))


def problems(text: str, against: Schema) -> Iterable[str]:
    """What is wrong with one policy, as Cedar says it."""
    for error in _CEDAR.validate_policies(text, against).errors:
        yield error.error.removeprefix("for policy `policy0`, ")


def entities(action: str, groups: Iterable[str]) -> Entities:
    """What Cedar knows beside a request: the groups that an action is in, and nothing else."""
    parents = [{"type": "Action", "id": group} for group in groups]
    uid = {"type": "Action", "id": action}
    known: Entities = _CEDAR.Entities.from_json_str(
        json.dumps([{"uid": uid, "attrs": {}, "parents": parents}])
    )
    return known


def decide(request: Mapping[str, Any], policies: PolicySet, known: Entities) -> Answer:
    """Cedar's answer to a request. Raises `ValueError` for one that it cannot read."""
    result = _CEDAR.is_authorized(dict(request), policies, known)
    told = result.diagnostics
    return Answer(result.allowed, list(told.reasons), [str(error) for error in told.errors])
