"""`mcp.yaml`: which servers there are, and what we say of each of their tools.

    servers:
      files:
        command: npx
        args: ["-y", "@modelcontextprotocol/server-filesystem", "/srv/files"]
        tools:
          read_text_file: {effect: read}
          write_file: {effect: write, recovery: repeatable, destinations: [path]}

What a tool does, how it recovers and who answers for it stands here, and never in what its server
says of it. A tool that does not stand here is not offered.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from interlock.contract.located import Located
from interlock.contract.tree import Section, read_tree
from interlock.errors import DeclarationError
from interlock.tools.effects import Autonomy, EffectClass
from interlock.tools.mcp.reference import is_reference

__all__ = ["OAuthTerms", "ServerTerms", "ToolTerms", "read_terms", "tool_name"]

Protocol = Literal["auto", "2026-07-28", "2025-11-25"]
NotMade = Literal["is_error", "rejected", "input_required"]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Url = Annotated[str, Field(pattern=r"^https?://[^\s/@]+(/\S*)?$")]
ServerName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,39}$")]

# What every provider of models takes as the name of a tool.
_TOOL_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_SAID: Final = {
    "extra_forbidden": "there is no such field",
    "missing": "it is needed",
}


class _Terms(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


class ToolTerms(_Terms):
    """What we say of one tool of a server.

    The fields mean what those of `interlock.tools.tool.Tool` and `interlock.tools.terms.Standing`
    do. `name` is what it is called here, else SERVER_TOOL. `timeout_seconds` bounds one call, the
    connection excepted. `key_argument` is the argument that carries the effect key; nobody sees it.
    `not_made` says which answers of a write mean that it was certainly not made: `is_error` (the
    tool itself reports an error), `rejected` (the server knows no such tool, or refuses its
    arguments), `input_required` (the server asks for more first). Without it they leave the outcome
    unknown.
    """

    effect: EffectClass
    recovery: Literal["key", "repeatable", "never"] | None = None
    name: str = Field(default="", alias="as")
    version: str = "1"
    owner: str = ""
    autonomy: Autonomy = "act"
    destinations: tuple[str, ...] = ()
    resource: tuple[str, ...] = ()
    amount: str | None = None
    trusted: bool = False
    sensitive: tuple[str, ...] = ()
    key_argument: str | None = None
    not_made: tuple[NotMade, ...] = ()
    timeout_seconds: Seconds | None = None
    settle_seconds: Annotated[float, Field(ge=0, le=86_400)] = 0
    attempts: Annotated[int, Field(ge=1, le=20)] = 3
    pause_seconds: Annotated[float, Field(ge=0, le=3_600)] = 1

    @model_validator(mode="after")
    def _of_writes(self) -> ToolTerms:
        if self.effect == "read" and self.not_made:
            raise ValueError("not_made is for tools that write: a read may always be repeated")
        return self


def _check_reference(name: str, value: str) -> None:
    if not is_reference(value):
        raise ValueError(f"{name} is a secret: refer to it by env:NAME or file:PATH")


class OAuthTerms(_Terms):
    """Client credentials (RFC 6749, section 4.4), for the authorization server `issuer` alone.

    The client proves who it is by `client_secret`, or by what it signs with `private_key` (PEM) and
    `algorithm` (RFC 7523, section 2.2).
    """

    issuer: Url
    client_id: str
    client_secret: str | None = None
    private_key: str | None = None
    algorithm: Literal["RS256", "ES256", "EdDSA"] = "RS256"
    scope: str | None = None
    method: Literal["client_secret_basic", "client_secret_post"] = "client_secret_basic"

    @model_validator(mode="after")
    def _one_proof(self) -> OAuthTerms:
        proofs = {"client_secret": self.client_secret, "private_key": self.private_key}
        given = {name: value for name, value in proofs.items() if value is not None}
        if len(given) != 1:
            raise ValueError("it needs either a client_secret or a private_key")
        for name, value in given.items():
            _check_reference(name, value)
        return self


class ServerTerms(_Terms):
    """One server: a program that is started (`command`), or an address (`url`).

    `cwd` is where it is started, from the folder of the file; `log` is the file that its standard
    error is appended to, else that is dropped. A value of `env` and `headers` may be `env:NAME` or
    `file:PATH`; `token` and the secrets of `oauth` have to be. `timeout_seconds` bounds a call of
    its tools, `connect_seconds` getting a connection and the list of its tools. `recheck_seconds`:
    how old that list may be when a tool is called.
    """

    command: str | None = None
    args: tuple[str, ...] = ()
    env: dict[str, str] = Field(default_factory=dict[str, str])
    cwd: str = "."
    log: str | None = None
    url: Url | None = None
    headers: dict[str, str] = Field(default_factory=dict[str, str])
    token: str | None = None
    oauth: OAuthTerms | None = None
    protocol: Protocol = "auto"
    timeout_seconds: Seconds = 30
    connect_seconds: Seconds = 30
    recheck_seconds: Seconds = 300
    max_answer_bytes: Annotated[int, Field(ge=1_000, le=100_000_000)] = 4_000_000
    tools: dict[str, ToolTerms] = Field(default_factory=dict[str, ToolTerms])

    @model_validator(mode="after")
    def _one_way(self) -> ServerTerms:
        if (self.command is None) == (self.url is None):
            raise ValueError("a server has either a command or a url")
        for name in (
            ("args", "env", "log") if self.command is None else ("headers", "token", "oauth")
        ):
            if getattr(self, name):
                way = "url" if self.command is None else "command"
                raise ValueError(f"{name} is not for a server with a {way}")
        if self.token is not None and self.oauth is not None:
            raise ValueError("token and oauth exclude each other")
        if self.token is not None:
            _check_reference("token", self.token)
        if self.token or self.oauth or self.headers:
            for name, url in {"url": self.url, "issuer": self.oauth and self.oauth.issuer}.items():
                if url and not _is_private(url):
                    raise ValueError(f"{name} is not https, and secrets go to it")
        return self


def _is_private(url: str) -> bool:
    """Whether nobody on the way can read along."""
    host = urlsplit(url).hostname or ""
    return url.startswith("https:") or host in ("localhost", "::1") or host.startswith("127.")


class _File(_Terms):
    servers: dict[ServerName, ServerTerms]


def read_terms(path: Path) -> dict[str, ServerTerms]:
    """Read the file. Raises `DeclarationError` with a line for everything that is wrong."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DeclarationError(f"{path}: it cannot be read: {error}.") from error
    if not text.strip():
        raise DeclarationError(f"{path}: it is empty; it needs `servers:` with at least one.")
    tree = read_tree(text, str(path))
    if tree.findings:
        lines = [f"{each.where()}: {each.sentence()}" for each in tree.findings]
        raise DeclarationError("\n".join(lines))
    if not isinstance(tree.root, Section):
        raise DeclarationError(f"{path}: it needs `servers:` with at least one.")
    located = Located(tree.root, str(path))
    try:
        servers = _File.model_validate(located.value()).servers
    except ValidationError as error:
        raise DeclarationError("\n".join(_lines(error, located))) from error
    _check_names(path, servers)
    return servers


def _lines(error: ValidationError, located: Located) -> list[str]:
    lines: list[str] = []
    for one in error.errors(include_url=False, include_input=False):
        place = located.place(one["loc"])
        said = _SAID.get(one["type"]) or one["msg"].removeprefix("Value error, ")
        field = ".".join(map(str, one["loc"])) or "the file"
        lines.append(f"{located.file}:{place.line}:{place.column}: {field}: {said}")
    return lines


def _check_names(path: Path, servers: dict[str, ServerTerms]) -> None:
    """Give each tool a name that models may call, and none twice."""
    taken: dict[str, str] = {}
    for server, terms in servers.items():
        for tool, said in terms.tools.items():
            name, place = tool_name(server, tool, said), f"servers.{server}.tools.{tool}"
            if not _TOOL_NAME.fullmatch(name):
                raise DeclarationError(
                    f"{path}: {place}: {name!r} is no name for a tool: up to 64 letters, digits, "
                    "- and _. Give it one with `as: NAME`."
                )
            if name in taken:
                raise DeclarationError(
                    f"{path}: {place}: {taken[name]} is called {name!r} too. Give one of them "
                    "another name with `as: NAME`."
                )
            taken[name] = place


def tool_name(server: str, tool: str, terms: ToolTerms) -> str:
    """What a server's tool is called here."""
    return terms.name or re.sub(r"[./]", "_", f"{server}_{tool}")
