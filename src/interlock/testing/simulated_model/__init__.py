"""A model to test agents against: a real HTTP server with a script, which misbehaves on demand.

It speaks the OpenAI chat-completions protocol on the loopback, so an agent reaches it through its
provider's real client. See docs/design/simulated-model.md.
"""

from interlock.testing.simulated_model.condition import When
from interlock.testing.simulated_model.ledger import Entry, Ledger, Totals, read_ledger
from interlock.testing.simulated_model.message import Message
from interlock.testing.simulated_model.misbehaviour import Misbehaviour
from interlock.testing.simulated_model.model import SimulatedModel
from interlock.testing.simulated_model.reply import Reply, ToolCall, Usage
from interlock.testing.simulated_model.request import Request, ToolResult
from interlock.testing.simulated_model.scenario import Rule, Scenario
from interlock.testing.simulated_model.scenario_file import parse_scenario, read_scenario
from interlock.testing.simulated_model.token_count import token_count

__all__ = [
    "Entry",
    "Ledger",
    "Message",
    "Misbehaviour",
    "Reply",
    "Request",
    "Rule",
    "Scenario",
    "SimulatedModel",
    "ToolCall",
    "ToolResult",
    "Totals",
    "Usage",
    "When",
    "parse_scenario",
    "read_ledger",
    "read_scenario",
    "token_count",
]
