"""Hooks of the documentation site, for what it reads in another way than the forge.

* A link that leaves docs/ leads to the repository.
* A list needs no blank line before it.
* A pipe in code in a table is written with a backslash, and shown without.

The pages are also read on the forge, where a link such as `../SECURITY.md` works as it is. On the site it must lead
to the repository, and a file that does not exist is an error.
"""

import logging
import re
from pathlib import Path
from typing import Any

LOG = logging.getLogger("mkdocs.hooks")
LINK = re.compile(r"\]\((?P<path>(?:\.\./)+[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")
FENCE = re.compile(r"^\s*(```|~~~)")
CODE = re.compile(r"`[^`]+`")
ITEM = re.compile(r"^(\*|-|\d+\.) ")


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Return the text of a page as the site needs it."""
    return separate_lists(unescape_pipes(_lead_links_to_repository(markdown, page.file.abs_src_path, config)))


def _lead_links_to_repository(markdown: str, source: str, config: Any) -> str:
    docs, repository = Path(config.docs_dir), config.extra["repository"]

    def replace(match: re.Match[str]) -> str:
        target = (Path(source).parent / match["path"]).resolve()
        if target.is_relative_to(docs):
            return match[0]
        if not target.exists():
            LOG.warning("%s links to %s, which does not exist", source, match["path"])
        path = target.relative_to(docs.parent)
        return f"]({repository}/blob/main/{path.as_posix()}{match['anchor'] or ''})"

    return LINK.sub(replace, markdown)


def unescape_pipes(markdown: str) -> str:
    """Return the text with plain pipes in the code spans of tables."""
    return "\n".join(
        CODE.sub(lambda match: match[0].replace("\\|", "|"), line) if line.startswith("|") else line
        for line in markdown.splitlines()
    )


def separate_lists(markdown: str) -> str:
    """Return the text with a blank line between a paragraph and the list that follows it, as Python-Markdown needs it."""
    lines: list[str] = []
    in_code = in_list = False
    for line in markdown.splitlines():
        if FENCE.match(line):
            in_code = not in_code
        elif not in_code and ITEM.match(line):
            if not in_list and lines and lines[-1].strip():
                lines.append("")
            in_list = True
        elif not line.strip():
            in_list = False
        lines.append(line)
    return "\n".join(lines) + "\n"
