"""`App`: the agents and tools of one application, and how it is executed.

app = App("support", store="sqlite:///support.db")

@app.agent("triage")
async def triage(run: Run, ticket: Ticket) -> Triage: ...

async with app.executor() as executor:
    handle = await executor.start("triage", ticket)
    print(await handle.result())
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypedDict, TypeVar, overload

from pydantic import BaseModel

from interlock.base.failure import read_failure
from interlock.clock import Clock, SystemClock, ThreadPool, Threads
from interlock.errors import DeclarationError, RunFailedError, StorageError
from interlock.journal import Journal, open_store
from interlock.journal.checkpoint import CheckpointLog
from interlock.journal.journal import Mode
from interlock.journal.location import database_path
from interlock.journal.lock import ExecutorLock
from interlock.journal.rows import RunRow
from interlock.journal.store import Store
from interlock.orchestrator.agent import Agent, declare_agent
from interlock.orchestrator.client import Client
from interlock.orchestrator.collector import rarer_collections
from interlock.orchestrator.executor import Executor, ExecutorOptions, Lease
from interlock.orchestrator.gateway import Gateway
from interlock.orchestrator.offered import Offer, make_offer
from interlock.orchestrator.start import StartOptions
from interlock.tools.effects import Autonomy, EffectClass, Recovery
from interlock.tools.masking.logs import mask_logs
from interlock.tools.terms import Standing
from interlock.tools.tool import Tool, declare_tool

if TYPE_CHECKING:
    from pydantic_ai import Agent as PydanticAgent
    from pydantic_ai.models import Model

    from interlock.contract import Contract, GroundingTerms, MaskingTerms
    from interlock.models.ask import Asker
    from interlock.orchestrator.run import Run
    from interlock.tools.masking.vault import Vault
    from interlock.tools.mcp import McpServers

__all__ = ["App", "LocalExecutor", "RunHandle", "ToolDeclaration"]

P = ParamSpec("P")
T = TypeVar("T")
AgentFunction = TypeVar("AgentFunction", bound=Callable[..., Awaitable[Any]])
_LEASE_SECONDS = 3600.0
_CHECKPOINT_SECONDS = 30.0
_log = logging.getLogger("interlock")


class _AgentTerms(TypedDict, total=False):
    masking: MaskingTerms
    grounding: GroundingTerms


class ToolDeclaration(Protocol):
    """What `@app.tool(…)` does with an async or a synchronous function."""

    @overload
    def __call__(self, function: Callable[P, Awaitable[T]], /) -> Tool[P, T]: ...

    @overload
    def __call__(self, function: Callable[P, T], /) -> Tool[P, T]: ...

    def __call__(self, function: Callable[..., Any], /) -> Tool[..., Any]:
        """Declare the function as a tool."""
        ...


class App:
    """Agents and tools under one name, and the store that their runs live in.

    `store` is a URL: `sqlite:///relative.db` or `sqlite:////absolute.db`. `version` names the code:
    it is recorded with every run. `contracts` is a folder of contracts, one for each agent that has
    one; `models` are models by the names that contracts may use beside Pydantic AI's own.
    `policies` is a folder of Cedar policies, and of `people.yaml`, which says who holds which role;
    with it no tool is called that no policy permits. `mcp` is a file that declares tools of MCP
    servers (see `interlock.tools.mcp`); they are in `tools` like the others.
    """

    def __init__(
        self,
        name: str,
        *,
        store: str = "sqlite:///interlock.db",
        version: str = "0",
        contracts: str | Path | None = None,
        models: Mapping[str, Model] | None = None,
        policies: str | Path | None = None,
        mcp: str | Path | None = None,
    ) -> None:
        self.name = name
        self.store = store
        self.version = version
        self.policies = None if policies is None else Path(policies)
        self.contracts: dict[str, Contract] = {}
        self.offers: dict[str, Offer] = {}
        self._runner: asyncio.Runner | None = None
        self.models = dict(models or {})
        if contracts is not None:
            from interlock.contract import load_contracts

            self.contracts.update(load_contracts(contracts))
        self.agents: dict[str, Agent] = {}
        self.tools: dict[str, Tool[..., Any]] = {}
        self.mcp: McpServers | None = None
        if mcp is not None:
            from interlock.tools.mcp import load_servers

            self.mcp = load_servers(mcp)
            self.tools.update((tool.name, tool) for tool in self.mcp.tools())

    def agent(
        self,
        name: str,
        *,
        version: str = "1",
        state: type[BaseModel] | None = None,
        concurrency: int | None = None,
    ) -> Callable[[AgentFunction], AgentFunction]:
        """Declare an agent: an async function of a `Run` and its input.

        Input, output and `state` are checked by their types. `concurrency` limits how many of its
        runs execute at once. Raises `DeclarationError`.
        """

        def declare(function: AgentFunction) -> AgentFunction:
            if name in self.agents:
                raise DeclarationError(f"agent {name!r} is declared twice in app {self.name!r}.")
            self.agents[name] = declare_agent(
                function,
                name=name,
                version=version,
                state=state,
                concurrency=concurrency,
                **_terms(self.contracts.get(name)),
            )
            return function

        return declare

    def tool(
        self,
        name: str | None = None,
        *,
        effect: EffectClass,
        recovery: Recovery | None = None,
        lookup: Callable[..., Any] | None = None,
        version: str = "1",
        timeout: timedelta = timedelta(seconds=30),
        settle: timedelta = timedelta(0),
        not_made: tuple[type[Exception], ...] = (),
        refused: tuple[type[Exception], ...] = (),
        attempts: int = 3,
        pause: timedelta = timedelta(seconds=1),
        sensitive: tuple[str, ...] = (),
        owner: str = "",
        autonomy: Autonomy = "act",
        destinations: tuple[str, ...] = (),
        resource: tuple[str, ...] = (),
        unique_by: tuple[str, ...] = (),
        amount: str | None = None,
        dry_run: Callable[..., Any] | None = None,
        draft: Tool[..., Any] | None = None,
        trusted: bool = False,
    ) -> ToolDeclaration:
        """Declare a tool; what the parameters mean say `interlock.tools.tool.Tool` and, from
        `owner` on, `interlock.tools.terms.Standing`.

        A tool that writes must say how it recovers from an unknown outcome. Raises
        `DeclarationError`.
        """
        standing = Standing(
            owner=owner,
            autonomy=autonomy,
            destinations=destinations,
            resource=resource,
            unique_by=unique_by,
            amount=amount,
            dry_run=dry_run,
            draft=draft,
            trusted=trusted,
        )

        def declare(function: Callable[..., Any]) -> Tool[..., Any]:
            tool = declare_tool(
                function,
                name=name,
                effect=effect,
                recovery=recovery,
                lookup=lookup,
                version=version,
                timeout=timeout,
                settle=settle,
                not_made=not_made,
                refused=refused,
                attempts=attempts,
                pause=pause,
                sensitive=sensitive,
                standing=standing,
            )
            if tool.name in self.tools:
                raise DeclarationError(
                    f"tool {tool.name!r} is declared twice in app {self.name!r}."
                )
            self.tools[tool.name] = tool
            return tool

        return declare

    def deploy(
        self,
        agent: PydanticAgent[Any, Any],
        contract: str | Path | Contract | None = None,
        *,
        name: str | None = None,
        tools: Sequence[Tool[..., Any]] = (),
        deps: Callable[[Run], Any] | None = None,
        version: str = "1",
        concurrency: int | None = None,
    ) -> str:
        """Make an existing Pydantic AI agent an agent of this application, as it is.

        Its runs take a text, or an object with `prompt`, `conversation` and (where the agent
        declares dependencies) `deps`, and answer what the agent answers. `contract` is a file or a
        `Contract`; it names the agent. `tools` are declared tools that it may call beside its own
        functions. `deps` makes its dependencies for a run, again after a restart; without it they
        come with the input. Answers the agent's name. Raises `DeclarationError` or `ContractError`.
        """
        from interlock.contract import Contract, load_contract
        from interlock.orchestrator.deployed import deployed_function

        if isinstance(contract, (str, Path)):
            contract = load_contract(Path(contract))
        named = name or (contract.agent if contract else agent.name)
        if not named:
            raise DeclarationError(
                "an agent without a name cannot be deployed: Agent(name=…), or app.deploy(name=…)."
            )
        if contract is not None and contract.agent != named:
            raise DeclarationError(
                f"agent {named!r} cannot have the contract of agent {contract.agent!r}."
            )
        function = deployed_function(agent, named, tools, deps)
        found = contract or self.contracts.get(named) or Contract(agent=named)
        if named not in self.agents:
            self.contracts[named] = found
        self.agent(named, version=version, concurrency=concurrency)(function)
        return named

    def check(self, clock: Clock) -> None:
        """Raise `DeclarationError` where contracts, agents and models do not go together."""
        if not self.contracts:
            return
        from interlock.contract import contradictions
        from interlock.tools.autonomy import autonomy_problems

        wrong = list(contradictions(self.contracts, self.agents))
        for contract in self.contracts.values():
            wrong += autonomy_problems(contract, self.tools)
        if wrong:
            raise DeclarationError("\n".join(wrong))
        limited = [one for one in self.contracts.values() if one.budgets.limit_money()]
        if any(contract.model.names() for contract in limited):
            asker = self.asker(clock)
            for contract in limited:
                asker.refuse_unpriced(contract)

    def offer(self, client: str, *tools: Tool[..., Any]) -> str:
        """Offer tools over MCP to an agent that is not ours, and to nobody else.

        `client` is the name of its API key, or the client of its OAuth token; `local` is whoever
        calls where nobody is asked who they are. Each call is a run of agent `mcp:<client>`, which
        is answered: policies and a contract may name it. Raises `DeclarationError`.
        """
        offer = make_offer(client, tools, self.contracts)
        if offer.agent.name in self.agents:
            raise DeclarationError(f"client {client!r} is offered tools twice: name them at once.")
        self.agents[offer.agent.name] = offer.agent
        self.offers[client] = offer
        return offer.agent.name

    def asker(self, clock: Clock) -> Asker:
        """What asks models for the runs of one executor."""
        from interlock.models.ask import Asker

        return Asker(clock, self.contracts, self.models)

    def gateway(self, policies: Path | None = None) -> Gateway:
        """What every call of a tool passes: the policies, read anew. Raises `PolicyError`.

        `policies`: another folder than the application's, to look at what it would say.
        """
        folder = policies or self.policies
        if folder is None:
            return Gateway()
        from interlock.orchestrator.gateway import load_gateway

        functions = {
            name: "read" if terms.effect == "read" else "write"
            for contract in self.contracts.values()
            for name, terms in contract.tools.items()
        }
        return load_gateway(folder, self.tools.values(), self.agents, functions)

    @asynccontextmanager
    async def executor(
        self,
        options: ExecutorOptions | None = None,
        *,
        clock: Clock | None = None,
        mode: Mode = "split",
        grace: timedelta = timedelta(seconds=30),
    ) -> AsyncGenerator[LocalExecutor]:
        """Execute this app's runs here until the block ends, then drain for at most `grace`.

        Raises `StorageLockedError` when another process executes the runs of this store, and
        `StorageError` when the store stops.
        """
        mask_logs()
        used = clock or SystemClock()
        vault = self._vault(used)
        store = open_store(self.store, used)
        lock = ExecutorLock(database_path(self.store))
        release = lock.release
        try:
            lock.acquire()
            with rarer_collections():
                local = LocalExecutor(
                    self,
                    store,
                    used,
                    ThreadPool(),
                    _LockLease(lock),
                    options,
                    mode=mode,
                    vault=vault,
                )
                # A write that is left in its thread may still act: nobody may recover it before.
                release = partial(local.executor.acting.when_none, lock.release)
                async with local.running(grace), _checkpoints(self.store, used, local.threads):
                    yield local
        finally:
            release()
            store.close()
            if vault is not None:
                vault.close()

    def _vault(self, clock: Clock) -> Vault | None:
        """The vault, where a contract asks for handles. Raises `VaultError` without a key."""
        if not any(contract.masking.handles for contract in self.contracts.values()):
            return None
        from interlock.tools.masking.vault import open_vault

        return open_vault(database_path(self.store), os.environ, clock)

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[Client]:
        """Start runs and write to them from a process that executes none."""
        clock = SystemClock()
        store = open_store(self.store, clock)
        journal = Journal(store, mode="inline")
        try:
            yield Client(journal, clock, self.agents, self.version)
            await journal.close()
        finally:
            store.close()

    def run(self, agent: str, input: Any = None) -> Any:
        """Execute one run to its end, in a script. Raises `RunFailedError` when it fails."""

        async def execute() -> Any:
            async with self.executor() as executor:
                return await (await executor.start(agent, input)).result()

        # One loop for all calls: clients of models and tools belong to the loop that used them.
        if self._runner is None:
            self._runner = asyncio.Runner()
            # Not by a finalizer, which the collector may call while another loop is running.
            atexit.register(self._runner.close)
        return self._runner.run(execute())


def _terms(contract: Contract | None) -> _AgentTerms:
    if contract is None:
        return {}
    return {"masking": contract.masking, "grounding": contract.grounding}


@asynccontextmanager
async def _checkpoints(location: str, clock: Clock, threads: Threads) -> AsyncGenerator[None]:
    """Sign the heads of all streams every half minute, and at the end."""
    log = CheckpointLog(database_path(location), clock)

    def write() -> None:
        # On a connection of its own: it reads all events since the last checkpoint, in a thread.
        with closing(open_store(location, clock, create=False)) as store:
            log.write(store)

    async def keep_writing() -> None:
        while True:
            await asyncio.sleep(_CHECKPOINT_SECONDS)
            await _reported(threads.run(asyncio.get_running_loop(), write))

    task = asyncio.create_task(keep_writing())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        await _reported(threads.run(asyncio.get_running_loop(), write))


async def _reported(writing: asyncio.Future[None]) -> None:
    # The journal is not harmed, and the next checkpoint covers what this one did not.
    try:
        await writing
    except (OSError, StorageError) as error:
        _log.error("no checkpoint was written: %s", error)


class _LockLease:
    """On SQLite the right to act is an operating-system lock: held, or lost for good."""

    def __init__(self, lock: ExecutorLock) -> None:
        self._lock = lock

    def remaining_seconds(self) -> float:
        return _LEASE_SECONDS if self._lock.held() else 0.0


class RunHandle:
    """A run that was started here."""

    def __init__(self, executor: LocalExecutor, run: str, agent: Agent, *, created: bool) -> None:
        self.id = run
        self.created = created
        self._executor = executor
        self._agent = agent

    async def row(self) -> RunRow:
        """Wait until the run is finished or parked, and answer its row."""
        return (await self._executor.executor.when_ended(self.id)).row

    async def result(self) -> Any:
        """The run's result. Raises `RunFailedError` when it failed, was cancelled or is parked."""
        row, body = await self._executor.executor.when_ended(self.id)
        return _result(row, body, self._agent)


class LocalExecutor:
    """An executor and a client on one store in this process."""

    def __init__(
        self,
        app: App,
        store: Store,
        clock: Clock,
        threads: Threads,
        lease: Lease,
        options: ExecutorOptions | None = None,
        *,
        mode: Mode = "split",
        vault: Vault | None = None,
    ) -> None:
        app.check(clock)
        self.app = app
        self.store = store
        self.journal = Journal(store, mode=mode)
        self.threads = threads
        self.execution: asyncio.Task[None] | None = None
        self.executor = Executor(
            journal=self.journal,
            clock=clock,
            threads=threads,
            lease=lease,
            agents=app.agents,
            options=options or ExecutorOptions(),
            code_version=app.version,
            asker=lambda: app.asker(clock),
            gateway=app.gateway(),
            contracts=app.contracts,
            vault=vault,
        )
        self.client = Client(self.journal, clock, app.agents, app.version, self.executor)

    @asynccontextmanager
    async def running(self, grace: timedelta) -> AsyncGenerator[None]:
        """Execute until the block ends; then drain for at most `grace`, and leave the rest."""
        task = self.execution = asyncio.create_task(self.executor.run())
        try:
            yield
        finally:
            self.executor.drain()
            done, _ = await asyncio.wait({task}, timeout=grace.total_seconds())
            if not done:
                self.executor.stop()
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            if self.app.mcp is not None:
                await self.app.mcp.close()
            self.threads.close()
            if self.journal.failure is None:
                await self.journal.close()
        if not task.cancelled():
            task.result()

    async def start(
        self,
        agent: str,
        input: Any = None,
        options: StartOptions | None = None,
    ) -> RunHandle:
        """Start a run (see `Client.start`)."""
        started = await self.client.start(agent, input, options)
        return RunHandle(self, started.run, self.client.agent(agent), created=started.created)

    def result_of(self, row: RunRow, agent: Agent) -> Any:
        """A finished run's result. Raises `RunFailedError` unless it completed."""
        entry = self.store.entry(row.result_position) if row.result_position is not None else None
        return _result(row, entry.body if entry is not None else None, agent)


def _result(row: RunRow, body: bytes | None, agent: Agent) -> Any:
    if row.state == "completed":
        return agent.output.decode(body or b"null", f"the result of run {row.id}")
    failure = read_failure(body)
    why = failure.sentence() if failure.message else row.reason
    raise RunFailedError(
        f"run {row.id} of agent {row.agent!r} is {row.state}: {why}",
        error_types=failure.types,
        run=row.id,
        state=row.state,
    )
