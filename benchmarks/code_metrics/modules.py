"""The modules of a package in a checkout, parsed."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mogface_batch.errors import InputError

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Module:
    """One file of the package."""

    path: Path
    """Relative to the package."""
    text: str
    tree: ast.Module

    @property
    def line_count(self) -> int:
        """Lines of the file, blank ones and comments included."""
        return len(self.text.splitlines())

    @property
    def size_bytes(self) -> int:
        """Size of the file as UTF-8."""
        return len(self.text.encode())

    def list_functions(self) -> Iterator[FunctionNode]:
        """Yield all functions: of the module, of classes, and nested ones."""
        for node in ast.walk(self.tree):
            if isinstance(node, FunctionNode):
                yield node


def read_modules(root: Path, package: str) -> list[Module]:
    """Return the modules of a package in a checkout, sorted by path.

    Raises:
        InputError: There is no such package, or a file does not parse.
    """
    folder = root / package
    if not (folder / "__init__.py").is_file():
        raise InputError(f"{root} has no package {package}.")
    modules = []
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        try:
            modules.append(Module(path.relative_to(folder), text, ast.parse(text)))
        except SyntaxError as error:
            raise InputError(f"{path} does not parse: {error}.") from None
    return modules
