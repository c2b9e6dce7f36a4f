"""The HTTP API as one ASGI application in front of a running executor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from interlock.entry.auth import Authenticator
from interlock.entry.budgets import budgets_router
from interlock.entry.door import Door
from interlock.entry.health import health_router
from interlock.entry.inbox import effects_router, inbox_router
from interlock.entry.openapi import describe_api
from interlock.entry.problem import error_response, problem_response
from interlock.entry.resource import resource_router
from interlock.entry.runs import runs_router
from interlock.entry.service import Service
from interlock.errors import InterlockError

if TYPE_CHECKING:
    from interlock.entry.mcp_server import McpGateway

__all__ = ["build_api", "guarded_api"]

_MCP_PATH: Final = "/mcp"
_PLACES: Final = {"body": "", "query": "query.", "path": "path.", "header": "header."}
_BY_STATUS: Final = {404: "no_such_path", 405: "method_not_allowed", 400: "malformed_request"}


def guarded_api(
    service: Service,
    hosts: Iterable[str],
    authenticator: Authenticator | None = None,
    gateway: McpGateway | None = None,
) -> ASGIApp:
    """The API behind its door. `hosts`: the names that a request may ask for."""
    api = build_api(service, authenticator)
    if gateway is not None:
        api.router.routes.append(Route(_MCP_PATH, endpoint=gateway))
    return Door(api, hosts=hosts, clock=service.clock, authenticator=authenticator)


def build_api(service: Service, authenticator: Authenticator | None = None) -> FastAPI:
    """The API without its door: for that, and for reading its description."""
    api = FastAPI(
        title="Interlock",
        version="1",
        openapi_url="/openapi.json",
        # Their pages would load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
    )
    api.state.service = service
    routers = (runs_router, inbox_router, effects_router, budgets_router, health_router)
    for router in routers:
        api.include_router(router())
    if authenticator is not None and authenticator.tokens is not None:
        api.include_router(resource_router(authenticator.tokens.terms))
    api.exception_handler(InterlockError)(_interlock_error)
    api.exception_handler(RequestValidationError)(_invalid_request)
    api.exception_handler(HTTPException)(_http_error)
    api.exception_handler(Exception)(_unforeseen)
    describe_api(api)
    return api


def _operation_id(route: APIRoute) -> str:
    return f"{route.tags[0]}_{route.name.strip('_')}"


async def _interlock_error(request: Request, error: InterlockError) -> Response:
    service: Service = request.app.state.service
    service.stop_if_failed()
    return error_response(error)


async def _invalid_request(_request: Request, error: RequestValidationError) -> Response:
    problems = [_wrong_field(found) for found in error.errors()]
    said = "; ".join(f"{item['field']}: {item['problem']}" for item in problems)
    return problem_response(
        "invalid_input", f"The request does not fit: {said}.", {"problems": problems}
    )


def _wrong_field(found: dict[str, Any]) -> dict[str, str]:
    """One wrong field by its name, without its value."""
    place, *path = found["loc"]
    field = _PLACES.get(str(place), f"{place}.") + ".".join(str(part) for part in path)
    return {"field": field.rstrip(".") or "(whole)", "problem": str(found["msg"])}


async def _http_error(request: Request, error: HTTPException) -> Response:
    code = _BY_STATUS.get(error.status_code, "malformed_request")
    detail = {
        "no_such_path": "There is nothing at this path; /openapi.json lists what there is.",
        "method_not_allowed": f"This path does not take {request.method}.",
    }.get(code, "The request is malformed.")
    return problem_response(code, detail, headers=error.headers)


async def _unforeseen(_request: Request, _error: Exception) -> Response:
    # The door logs it: the answer says nothing of the inside.
    return problem_response("internal", "The server's log says what failed.")
