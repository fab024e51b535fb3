"""Writes the table of error codes in docs/output.md: python -m mogface_batch.output.reference."""

import sys
from collections.abc import Iterator

from mogface_batch.errors import ErrorCode
from mogface_batch.schema import Status


def render_error_codes() -> str:
    """Return the Markdown table of all error codes in the output table, by status."""
    return "\n".join(_render_lines())


def _render_lines() -> Iterator[str]:
    yield "| `status` | `error_code` | meaning | tried again by `retry=transient` |"
    yield "|---|---|---|---|"
    for status in (*(status for status in Status if status is not Status.OK), Status.OK):
        for code in ErrorCode:
            if status in code.statuses:
                is_retried = status is Status.FETCH_FAILED and code.is_transient
                yield f"| `{status}` | `{code}` | {code.meaning} | {'yes' if is_retried else 'no'} |"


if __name__ == "__main__":
    sys.stdout.write(render_error_codes() + "\n")
