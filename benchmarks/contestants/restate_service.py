# pyright: basic, reportMissingImports=false
"""The Restate service of ten steps; :mod:`restate_steps` serves it with hypercorn."""

from __future__ import annotations

import restate

from benchmarks.load import STEP_RESULT, STEPS_PER_RUN

service = restate.Service("bench")


async def one_step() -> str:
    return STEP_RESULT


@service.handler()
async def run(context: restate.Context, number: int) -> int:
    for index in range(STEPS_PER_RUN):
        await context.run_typed(f"step{index}", one_step)
    return number


app = restate.app([service])
