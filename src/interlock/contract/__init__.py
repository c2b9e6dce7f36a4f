"""The contract: one YAML file that says what an agent may do, read and checked.

`Contract` is the value, `load_contract`, `load_contracts` and `parse_contract` read it, `examine`
tells everything that can be said about a file, `contract_schema` is for editors, `summary` for
people.
"""

from interlock.contract.budgets import Budget, Budgets
from interlock.contract.contract import Contract
from interlock.contract.conversation import ConversationTerms
from interlock.contract.finding import Finding, Place
from interlock.contract.grounding import GroundingTerms
from interlock.contract.loops import LoopTerms
from interlock.contract.masking import MaskingTerms
from interlock.contract.model import ModelTerms, Price
from interlock.contract.output import OutputTerms
from interlock.contract.provider import ProviderTerms
from interlock.contract.reading import (
    Examination,
    examine,
    examine_file,
    load_contract,
    load_contracts,
    parse_contract,
)
from interlock.contract.shape import contract_schema
from interlock.contract.together import contradictions
from interlock.contract.tool import ToolTerms

__all__ = [
    "Budget",
    "Budgets",
    "Contract",
    "ConversationTerms",
    "Examination",
    "Finding",
    "GroundingTerms",
    "LoopTerms",
    "MaskingTerms",
    "ModelTerms",
    "OutputTerms",
    "Place",
    "Price",
    "ProviderTerms",
    "ToolTerms",
    "contract_schema",
    "contradictions",
    "examine",
    "examine_file",
    "load_contract",
    "load_contracts",
    "parse_contract",
]
