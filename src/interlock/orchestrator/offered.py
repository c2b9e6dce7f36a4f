"""Tools that are offered to an agent that is not ours: each of its calls is a run.

The run's agent is `mcp:<client>`. Its code is the one call, so policies, approvals, the effect
protocol and the journal are those of every run, and a call is shown and explained like one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from interlock.contract.contract import Contract
from interlock.contract.grounding import GroundingTerms
from interlock.contract.masking import MaskingTerms
from interlock.errors import DeclarationError, NotFoundError
from interlock.orchestrator.agent import Agent, declare_agent
from interlock.tools.tool import Tool

if TYPE_CHECKING:
    from interlock.orchestrator.run import Run

__all__ = ["LOCAL_CLIENT", "RESERVED_PREFIX", "Offer", "OfferedCall", "make_offer"]

# Whoever calls where nobody is asked who they are: this machine's own programs.
LOCAL_CLIENT: Final = "local"
# Names of tools that the gateway itself adds.
RESERVED_PREFIX: Final = "interlock_"
_PREFIX: Final = "mcp:"


class OfferedCall(BaseModel):
    """The input of such a run: which tool, with which arguments."""

    model_config = ConfigDict(extra="forbid")

    tool: str
    arguments: dict[str, Any] = Field(default_factory=dict[str, Any])


class Offer:
    """What one client may call: the tools by name, and the agent whose runs its calls are."""

    def __init__(self, client: str, tools: Mapping[str, Tool[..., Any]], agent: Agent) -> None:
        self.client = client
        self.tools = MappingProxyType(dict(tools))
        self.agent = agent

    @property
    def writes(self) -> bool:
        """Whether any of the tools changes something outside."""
        return any(tool.writes for tool in self.tools.values())


def agent_name(client: str) -> str:
    """The name of a client's agent; a `/` in the client's is written `%2F`."""
    return _PREFIX + client.replace("%", "%25").replace("/", "%2F")


def make_offer(
    client: str, tools: Sequence[Tool[..., Any]], contracts: Mapping[str, Contract]
) -> Offer:
    """Check an offer and build it. Raises `DeclarationError`.

    A contract of the client's agent adds values that are always good destinations, and what is
    sensitive.
    """
    by_name = {tool.name: tool for tool in tools}
    name = agent_name(client)
    reserved = [tool for tool in by_name if tool.startswith(RESERVED_PREFIX)]
    if not client or not tools or len(by_name) != len(tools) or reserved:
        raise DeclarationError(
            f"the offer to client {client!r}: name the client and one tool at least, each once, "
            f"none of whose names begins with {RESERVED_PREFIX!r}; it has "
            f"{[tool.name for tool in tools]}."
        )
    contract = contracts.get(name) or Contract(agent=name)
    if contract.masking.handles:
        raise DeclarationError(
            f"the contract of {name!r} has masking.handles: an agent that is not ours gets what "
            "its tools answer, so there would be nothing to take its handles back. Leave it out."
        )

    async def call(run: Any, asked: Any) -> Any:
        return await _call(run, by_name, asked)

    call.__annotations__ = {"run": Any, "asked": OfferedCall, "return": Any}

    def terms_of(contract: Contract) -> tuple[MaskingTerms, GroundingTerms]:
        # What a foreign agent wrote into its arguments is no ground for where something goes.
        grounding = GroundingTerms(input=(), values=contract.grounding.values)
        return _masking(contract.masking, tools), grounding

    masking, grounding = terms_of(contract)
    agent = declare_agent(call, name=name, masking=masking, grounding=grounding, terms_of=terms_of)
    return Offer(client, by_name, agent)


async def _call(run: Run, tools: Mapping[str, Tool[..., Any]], asked: OfferedCall) -> Any:
    tool = tools.get(asked.tool)
    if tool is None:  # It was offered when the run began.
        raise NotFoundError(f"tool {asked.tool!r} is not offered any more.", tool=asked.tool)
    result = await run.call(tool, **asked.arguments)
    # By the rules of the tool's own type, which this agent's does not know.
    return tool.result.plain(result, f"the result of tool {tool.name!r}")


def _masking(terms: MaskingTerms, tools: Sequence[Tool[..., Any]]) -> MaskingTerms:
    """What views hide of input and result: whatever one of the tools calls sensitive."""
    paths = [path for tool in tools for path in tool.sensitive]
    inputs = [f"input.arguments{path[4:]}" for path in paths if path.partition(".")[0] == "args"]
    results = [path for path in paths if path.partition(".")[0] == "result"]
    every = tuple(dict.fromkeys((*terms.sensitive, *inputs, *results)))
    return terms.model_copy(update={"sensitive": every})
