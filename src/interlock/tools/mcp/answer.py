"""What a tool of an MCP server answers, as the plain JSON that a run gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from interlock.tools.mcp.failure import InputRequiredError, ToolReportedError

if TYPE_CHECKING:
    from mcp_types import CallToolResult, InputRequiredResult

__all__ = ["value_of"]

_LONGEST_REPORT: Final = 2_000


def value_of(result: CallToolResult | InputRequiredResult, tool: str) -> Any:
    """The structured content, where there is some; else the text; else the list of contents.

    Raises `ToolReportedError` and `InputRequiredError`.
    """
    from mcp_types import CallToolResult

    if not isinstance(result, CallToolResult):
        raise InputRequiredError(
            f"{tool} asks for more before it goes on (input_required), which nobody here answers."
        )
    if result.is_error:
        raise ToolReportedError(f"{tool} reports an error: {_report(result)}")
    if result.structured_content is not None:
        return result.structured_content
    return _content(result)


def _content(result: CallToolResult) -> Any:
    from mcp_types import TextContent

    texts = [each.text for each in result.content if isinstance(each, TextContent)]
    if len(texts) == len(result.content):
        return "\n".join(texts)
    return [
        each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in result.content
    ]


def _report(result: CallToolResult) -> str:
    content = _content(result)
    text = content if isinstance(content, str) else f"{len(result.content)} contents"
    if len(text) > _LONGEST_REPORT:
        text = f"{text[:_LONGEST_REPORT]} … ({len(text):,} characters)"
    return text or "(without a word)"
