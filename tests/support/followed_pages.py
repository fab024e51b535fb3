"""Copies of the package in which a page of docs/ that adds something has been followed."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FILE = re.compile(r"<!-- file: (\S+) -->\n```python\n(.*?)```\n", re.DOTALL)
_LINE = re.compile(r"<!-- line in: (\S+), after: (.*?) -->\n```python\n(.*?)```\n", re.DOTALL)


def follow_page(page: str, folder: Path) -> None:
    """Copy the package into a folder, write the files that the page shows, and insert its lines."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    shutil.copytree(
        ROOT / "mogface_batch", folder / "mogface_batch", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name, code in _FILE.findall(text):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(code, encoding="utf-8")
    for name, anchor, code in _LINE.findall(text):
        before = (folder / name).read_text(encoding="utf-8")
        assert before.count(f"{anchor}\n") == 1, f"{name} does not have the line {anchor!r} once"
        (folder / name).write_text(before.replace(f"{anchor}\n", f"{anchor}\n{code}"), encoding="utf-8")
    assert text.count("```python\n") == len(_FILE.findall(text)) + len(_LINE.findall(text))


def run_followed(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command of the copied package."""
    return subprocess.run(
        [sys.executable, "-m", "mogface_batch", *arguments],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
