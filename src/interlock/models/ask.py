"""`ask`: a Pydantic AI agent answers inside of a run, and a person where it cannot.

The agent is used as it is. Its loop executes in the run's own code; each request to a model and
each call of a tool is recorded once, so that after a crash the loop goes on where it stopped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

from pydantic import ValidationError
from pydantic_ai import Agent, capture_run_messages
from pydantic_ai.exceptions import (
    ModelAPIError,
    UnexpectedModelBehavior,
    UsageLimitExceeded,
)
from pydantic_ai.messages import ModelMessage, UserContent
from pydantic_ai.models import Model
from pydantic_ai.usage import UsageLimits

from interlock.base.codec import describe
from interlock.clock import Clock
from interlock.contract import Contract
from interlock.errors import (
    AskFailedError,
    BudgetExhaustedError,
    DeclarationError,
    LoopFoundError,
    ModelFailedError,
)
from interlock.models.answers import answer_of
from interlock.models.asking import Asking
from interlock.models.conversations import Earlier, earlier, history_rules_of, remember
from interlock.models.durability import CURRENT, Durability
from interlock.models.nested import refuse_nested
from interlock.models.operations import Operations, PersonAnswer
from interlock.models.registry import Candidate, ModelRegistry
from interlock.models.said import Said, last_text
from interlock.models.sealing import revealed_messages
from interlock.models.toolset import GovernedToolset
from interlock.tools.tool import Tool

__all__ = ["Asked", "Asker", "Question"]

_CHOICES: Final = ("retry", "answer", "give_up")
_MOST_REQUESTS: Final = 100
# Code may make an agent for each run; those that were used last are kept.
_MOST_BOUND: Final = 200
_BoundKey = tuple[int, tuple[tuple[str, int], ...]]


@dataclass(frozen=True, kw_only=True)
class Question:
    """What an agent is asked.

    `output`: the type of the answer, the agent's own where it is None. `context` are passages or
    other texts that the answer is to rest on. `tools` are declared tools that it may call beside
    its own. `conversation` names what was said before. `escalate` tells whether a
    person is asked when no usable answer comes; else the code gets the error.
    """

    prompt: str | Sequence[UserContent]
    output: Any = None
    context: Sequence[Any] = ()
    tools: Sequence[Tool[..., Any]] = ()
    deps: Any = None
    conversation: str | None = None
    name: str = "ask"
    escalate: bool = True

    def asked(self) -> str | Sequence[UserContent]:
        """The prompt as the model sees it: with its context."""
        if not self.context:
            return self.prompt
        numbered = (f"[{i}] {_text(item)}" for i, item in enumerate(self.context, 1))
        passages = "Rest your answer on these passages:\n" + "\n\n".join(numbered)
        if isinstance(self.prompt, str):
            return f"{self.prompt}\n\n{passages}"
        return [*self.prompt, passages]

    def shown(self) -> str:
        """The prompt for a person."""
        if isinstance(self.prompt, str):
            return self.prompt
        return "\n".join(part if isinstance(part, str) else "(a file)" for part in self.prompt)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """An answer. `messages` is all that was said for it; `by` names the person who gave it."""

    output: Any
    messages: Sequence[ModelMessage] = ()
    by: str = ""


@dataclass(frozen=True)
class _Problem:
    kind: str
    sentence: str
    details: Any = None
    # Writes that were made in vain, by tool: what a new try may make again.
    made: Mapping[str, int] = field(default_factory=dict[str, int])

    def warning(self) -> str:
        """What a person has to know before the agent tries again; empty where there is nothing."""
        if not self.made:
            return ""
        writes = ", ".join(f"{tool} ({times})" for tool, times in sorted(self.made.items()))
        return (
            f" It has made these writes already ({writes}): it goes on from there and is told so, "
            "but may make them again."
        )


class Asker:
    """Asks agents, for all runs of one executor.

    A run brings the contract that it began under; an agent without one gets the defaults.
    `contracts` are the present ones, which say how each provider may be called. `models` are those
    that the application has registered by name.
    """

    def __init__(
        self,
        clock: Clock,
        contracts: Mapping[str, Contract],
        models: Mapping[str, Model] | None = None,
    ) -> None:
        self._defaults: dict[str, Contract] = {}
        self._registry = ModelRegistry(clock, list(contracts.values()), models or {})
        self._governed: dict[tuple[int, str], Agent[Any, Any]] = {}
        self._bound: dict[_BoundKey, tuple[Agent[Any, Any], Durability]] = {}

    def _default(self, agent: str) -> Contract:
        """What holds for an agent without a contract."""
        found = self._defaults.get(agent)
        if found is None:
            found = self._defaults[agent] = Contract(agent=agent)
        return found

    def refuse_unpriced(self, contract: Contract) -> None:
        """Raise `DeclarationError` for a model that a budget in USD could not hold anything for."""
        for name in contract.model.names() if contract.budgets.limit_money() else ():
            for candidate in self._registry.asked(self._registry.named(name)):
                if self._registry.price(contract, candidate) is None:
                    raise DeclarationError(
                        f"the contract of agent {contract.agent!r} has a budget in USD, and nobody "
                        f"says what model {candidate.name!r} costs. Give its price under `prices` "
                        "in the contract (USD per million tokens of input and of output)."
                    )

    async def ask(
        self, operations: Operations, agent: Agent[Any, Any], question: Question
    ) -> Asked:
        """Have the agent answer.

        Raises `AskFailedError` (or one of its kinds) when no usable answer came and no person gave
        one, and `DeclarationError` for an agent that cannot be governed.
        """
        contract = operations.contract or self._default(operations.agent)
        self._checked(contract, agent)
        candidates = self._candidates(contract, agent)
        before = await self._earlier(operations, contract, candidates, question)
        said = Said(history=before.messages, prompt=question.asked())
        made = Counter[str]()
        while True:
            asking = self._asking(
                operations, contract, candidates, agent, question.name, said.messages()
            )
            problem, asked = await self._once(asking, agent, candidates, question, said)
            if asked is None:
                if not question.escalate:
                    raise _failed(problem)
                made.update(asking.made)
                told = replace(problem, made=dict(made))
                decided = await _by_a_person(operations, contract, agent, question, told)
                if isinstance(decided, str):
                    said = said.tried_again(decided)
                    continue
                asked = replace(decided, messages=said.answered(decided, operations.now_us()))
            if question.conversation is not None:
                messages, summary = asked.messages, before.summary
                if asking.vault is not None:  # Handles are the run's own.
                    messages = revealed_messages(messages, asking.vault)
                    summary = summary and summary._replace(
                        text=asking.vault.reveal_value(summary.text)
                    )
                await remember(operations, question.conversation, messages, summary)
            return asked

    def _asking(
        self,
        operations: Operations,
        contract: Contract,
        candidates: Sequence[Candidate],
        agent: Agent[Any, Any],
        name: str,
        history: Sequence[ModelMessage] = (),
    ) -> Asking:
        return Asking(
            operations,
            contract,
            self._registry,
            candidates,
            agent=agent,
            name=name,
            history=history,
        )

    async def _earlier(
        self,
        operations: Operations,
        contract: Contract,
        candidates: Sequence[Candidate],
        question: Question,
    ) -> Earlier:
        if question.conversation is None:
            return Earlier(())
        writer = Agent(candidates[0].model, name="summary")

        async def summarise(prompt: str) -> str:
            asking = self._asking(
                operations, contract, candidates, writer, f"{question.name}.summary"
            )
            asked = Question(prompt=prompt, output=str, name="summary")
            told = Said(prompt=prompt)
            problem, summary = await self._once(asking, writer, candidates, asked, told)
            if summary is None:
                raise _failed(problem)
            return str(summary.output)

        return await earlier(
            operations, question.conversation, history_rules_of(contract), summarise
        )

    def _candidates(self, contract: Contract, agent: Agent[Any, Any]) -> list[Candidate]:
        named = contract.model.names()
        if named:
            return self._registry.asked(*(self._registry.named(name) for name in named))
        model = agent.model
        if isinstance(model, str):
            return self._registry.asked(self._registry.named(model))
        if isinstance(model, Model):
            return self._registry.asked(self._registry.of(model))
        raise DeclarationError(
            f"agent {agent.name!r} has no model. Give it one, or name one in the contract "
            f"(model.name) of {contract.agent!r}."
        )

    def _checked(self, contract: Contract, agent: Agent[Any, Any]) -> None:
        """Refuse what cannot be governed. Looked at once, since reading functions takes a while."""
        key = (id(agent), contract.hash)
        if key not in self._governed:
            refuse_nested(agent, contract)
            self._governed[key] = agent  # Kept, so that its id is not given to another.
            if len(self._governed) > _MOST_BOUND:
                del self._governed[next(iter(self._governed))]

    def _durability(self, agent: Agent[Any, Any], candidates: Sequence[Candidate]) -> Durability:
        key = (id(agent), tuple((one.name, id(one.model)) for one in candidates))
        found = self._bound.pop(key, None)
        if found is None:
            models = {candidate.name: candidate.model for candidate in candidates}
            made = Durability(models=models, name=agent.name or "agent")
            # The agent is kept with it, so that its id is not given to another.
            found = (agent, cast("Durability", made.for_agent(agent)))
        self._bound[key] = found  # Last, as the one that was used last.
        if len(self._bound) > _MOST_BOUND:
            del self._bound[next(iter(self._bound))]
        return found[1]

    async def _once(
        self,
        asking: Asking,
        agent: Agent[Any, Any],
        candidates: Sequence[Candidate],
        question: Question,
        said: Said,
    ) -> tuple[_Problem, Asked | None]:
        toolsets = [GovernedToolset(question.tools)] if question.tools else []
        # An agent that others ask too brings the capability along.
        carries = Durability.from_agent(agent) is not None
        token, captured = CURRENT.set(asking), list[ModelMessage]()
        try:
            with capture_run_messages() as captured:
                result = await agent.run(
                    said.prompt,
                    output_type=question.output,
                    deps=question.deps,
                    message_history=list(said.messages()) or None,
                    model=None if carries else candidates[0].model,
                    capabilities=[] if carries else [self._durability(agent, candidates)],
                    toolsets=toolsets,
                    retries={"output": asking.contract.output.attempts - 1},
                    usage_limits=UsageLimits(request_limit=_most_requests(asking.contract)),
                )
            said.take(result.all_messages())
            return _Problem("", ""), Asked(output=result.output, messages=said.new())
        except BudgetExhaustedError as error:
            error.so_far = last_text(captured)
            raise
        except LoopFoundError as error:
            problem = _Problem("loop", error.message, error.fields["loop"])
        except ModelFailedError as error:
            problem = _Problem("model", error.message)
        except UsageLimitExceeded as error:
            problem = _Problem("requests", f"the agent asks for ever: {error}")
        except (UnexpectedModelBehavior, ModelAPIError) as error:
            problem = _Problem("output", _with_cause(error))
        finally:
            CURRENT.reset(token)
        said.take(captured)
        return problem, None


def _most_requests(contract: Contract) -> int:
    """What the contract says; else a budget that counts the calls asks when they are used up."""
    said = contract.loops.requests
    return said or max(_MOST_REQUESTS, contract.budgets.run.model_calls or 0)


def _text(item: Any) -> str:
    text = getattr(item, "text", None)
    return text if isinstance(text, str) else str(item)


def _with_cause(error: Exception) -> str:
    cause = error.__cause__
    text = str(error)
    if isinstance(cause, ValidationError):
        return f"{text}: {describe(cause)}"
    return text if cause is None else f"{text}: {cause}"


def _failed(problem: _Problem) -> AskFailedError:
    if problem.kind == "loop":
        return LoopFoundError(problem.sentence, loop=problem.details)
    if problem.kind == "model":
        return ModelFailedError(problem.sentence)
    return AskFailedError(problem.sentence)


async def _by_a_person(
    operations: Operations,
    contract: Contract,
    agent: Agent[Any, Any],
    question: Question,
    problem: _Problem,
) -> Asked | str:
    """A person's answer, or the note with which the agent is to try again.

    A value that does not fit ends nothing: the person is told why, and asked again.
    """
    kind: Any = agent.output_type if question.output is None else question.output
    told = problem
    while True:
        answer = await _ask_person(operations, contract, question, told)
        if answer.choice == "retry":
            return answer.note
        if answer.choice != "answer":
            raise _failed(problem)
        try:
            return Asked(output=answer_of(kind, answer.value), by=answer.by)
        except ValidationError as error:
            why = f"The value that {answer.by or 'a person'} gave does not fit: {describe(error)}."
            told = replace(problem, sentence=f"{problem.sentence} {why}")


async def _ask_person(
    operations: Operations, contract: Contract, question: Question, problem: _Problem
) -> PersonAnswer:
    return await operations.ask_person(
        "ask",
        {
            "question": f"Agent {operations.agent!r} could not answer: {problem.sentence} Let it "
            "try again (your note is told to it), answer yourself (the value is the answer), or "
            f"give up?{problem.warning()}",
            "made": dict(problem.made),
            "asked": question.shown(),
            "problem": problem.kind,
            "details": problem.details,
        },
        to=contract.output.escalate_to or "",
        choices=_CHOICES,
        due_us=None,
    )
