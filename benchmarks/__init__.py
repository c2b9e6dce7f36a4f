"""Benchmarks: fixed workloads, the peers beside us in the same run, ratios instead of bare figures.

``python -m benchmarks`` compares ten-step runs; ``waiting``, ``crash_many``, ``chaos`` and
``growth`` are further scenarios (``python -m benchmarks.NAME``). docs/benchmarks.md describes
them.
"""
