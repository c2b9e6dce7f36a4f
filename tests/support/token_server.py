"""A small OAuth server for tests: `python -m tests.support.token_server PORT`.

It knows one client, `interlock` with the secret `s3cret-words`, and gives it tokens (RFC 6749,
section 4.4). With LIFE, they live so many seconds. What it was asked it notes in TOKENS.
"""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import sys
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

TOKENS = Path(os.environ["TOKENS"])
CLIENT = base64.b64encode(b"interlock:s3cret-words").decode()


def note(line: str) -> None:
    """Write down what was asked."""
    with TOKENS.open("a") as noted:
        noted.write(f"{line}\n")


def application(issuer: str) -> Starlette:
    """The two addresses that client credentials need."""

    async def metadata(request: Request) -> JSONResponse:
        return JSONResponse(
            {
                "issuer": issuer,
                "token_endpoint": f"{issuer}/token",
                "authorization_endpoint": f"{issuer}/authorize",
                "response_types_supported": ["code"],
                "grant_types_supported": ["client_credentials"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            }
        )

    async def token(request: Request) -> JSONResponse:
        form = await request.form()
        note(f"{form.get('grant_type')} {form.get('scope')} {form.get('resource')}")
        if request.headers.get("authorization") != f"Basic {CLIENT}":
            return JSONResponse({"error": "invalid_client"}, status_code=401)
        number = len(TOKENS.read_text().splitlines())
        life = int(os.environ.get("LIFE", "3600"))
        return JSONResponse(
            {"access_token": f"good-{number}", "token_type": "Bearer", "expires_in": life}
        )

    return Starlette(
        routes=[
            Route("/.well-known/oauth-authorization-server", metadata),
            Route("/token", token, methods=["POST"]),
        ]
    )


def main() -> None:
    """Serve until killed."""
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    port = listener.getsockname()[1]
    sys.stdout.write(f"{port}\nserving\n")
    sys.stdout.flush()
    config = uvicorn.Config(application(f"http://127.0.0.1:{port}"), log_level="error")
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


if __name__ == "__main__":
    main()
