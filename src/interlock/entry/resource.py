"""Where a caller gets a token for this server: protected resource metadata (RFC 9728)."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

from interlock.entry.auth import METADATA_PATH
from interlock.entry.auth_identity import ADMIN, RIGHTS
from interlock.entry.auth_tokens import TokenTerms

__all__ = ["resource_router"]


class ResourceMetadata(BaseModel):
    """Whose tokens this server takes, after RFC 9728, section 2."""

    resource: str = Field(description="the audience that a token has to be for")
    authorization_servers: list[str]
    scopes_supported: list[str]
    bearer_methods_supported: list[str] = ["header"]


def resource_router(terms: TokenTerms) -> APIRouter:
    """The metadata, at the well-known path and at that of each resource below it."""
    metadata = ResourceMetadata(
        resource=terms.audience,
        authorization_servers=[terms.issuer],
        scopes_supported=[f"{terms.roles_prefix}{role}" for role in (*RIGHTS, ADMIN)],
    )

    async def answer() -> ResourceMetadata:
        return metadata

    router = APIRouter(tags=["health"])
    for name, path in (
        ("resource", METADATA_PATH),
        ("resource_of", METADATA_PATH + "/{path:path}"),
    ):
        router.add_api_route(
            path, answer, name=name, response_model=ResourceMetadata, include_in_schema=False
        )
    return router
