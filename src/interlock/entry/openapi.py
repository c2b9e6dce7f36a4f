"""The API's description (OpenAPI 3.1), with the problems that every path may answer."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from interlock.entry.auth import is_open
from interlock.entry.problem import MEDIA_TYPE, STATUSES, Problem

__all__ = ["describe_api"]

_SUMMARY: Final = "Start, follow and steer runs of agents; answer their questions."
_REFERENCE: Final = "#/components/schemas/{model}"
_TAGS: Final = (
    ("runs", "Start runs, follow them, and send them messages."),
    ("inbox", "Questions that runs have for people."),
    ("effects", "Writes in other systems, and what became of them."),
    ("budgets", "What may be spent, and letting more be spent."),
    ("health", "For whoever watches the process."),
)
_KEY_PARAMETER: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A repeat with the same key changes nothing; quoted or bare.",
    "schema": {"type": "string", "maxLength": 257},
    "example": '"8e03978e-40d5-43dd-bc93-6894a57f9324"',
}
_SCHEMES: Final = {
    "apiKey": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key (`ilk_…`) that `interlock key new` has made.",
    },
    "token": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An OAuth token of the issuer that the server trusts.",
    },
}
# Either; and nothing, where the server asks nobody who they are.
_SECURITY: Final[list[dict[str, list[str]]]] = [{"apiKey": []}, {"token": []}, {}]
_KEYED: Final = ("/runs", "/cancel", "/retry", "/signals/{name}", "/resolution", "/raise")


def describe_api(api: FastAPI) -> None:
    """Have `/openapi.json` answer our description instead of the framework's own."""

    def description() -> dict[str, Any]:
        if api.openapi_schema is None:
            api.openapi_schema = _described(api)
        return api.openapi_schema

    api.openapi = description


def _described(api: FastAPI) -> dict[str, Any]:
    schema = get_openapi(
        title=api.title,
        version=api.version,
        openapi_version=api.openapi_version,
        summary=_SUMMARY,
        routes=api.routes,
        tags=[{"name": name, "description": text} for name, text in _TAGS],
        separate_input_output_schemas=api.separate_input_output_schemas,
    )
    schemas = schema["components"]["schemas"]
    for framework_own in ("HTTPValidationError", "ValidationError"):
        schemas.pop(framework_own, None)
    schemas["Problem"] = Problem.model_json_schema(ref_template=_REFERENCE)
    schema["components"]["securitySchemes"] = _SCHEMES
    schema["security"] = _SECURITY
    schema["components"]["responses"] = {"Problem": _problem()}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            if is_open(path):
                operation["security"] = []
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = {"$ref": "#/components/responses/Problem"}
            if method == "post" and path.endswith(_KEYED):
                operation.setdefault("parameters", []).append(_KEY_PARAMETER)
    return schema


def _problem() -> dict[str, Any]:
    example = {
        "type": "urn:interlock:problem:not_found",
        "title": STATUSES["not_found"][1],
        "status": STATUSES["not_found"][0],
        "detail": "no run 'run_01' in this store.",
        "code": "not_found",
        "fields": {"run": "run_01"},
    }
    return {
        "description": "What went wrong (RFC 9457). Codes: " + ", ".join(sorted(STATUSES)),
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": _REFERENCE.format(model="Problem")},
                "example": example,
            }
        },
    }
