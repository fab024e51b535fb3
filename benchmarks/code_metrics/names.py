"""How functions and local variables are named.

Functions of a package, nested ones and methods included; left out are names in double underscores, properties and class
methods, which are constructors. By the first word of a name, without leading underscores, a function

* *begins with a participle* where the word ends in -ed or -en, or is in `IRREGULAR_PARTICIPLES` (``told``,
  ``_sorted_rows``); not where it is also a base form (``need``, ``open_part``, ``put``, ``read_rows``);
* *begins with a verb* where the word is in `VERBS`, and not alone where it may be a noun (``count_rows``, but not
  ``count``); where it is in `PREDICATES` (``is_done``); and ``main``.

The share of the first is an exact figure of the rule; that of the second depends on the word list.

Local names are the parameters and variables of each function, each name once a function; ``self``, ``cls``, names
of nested functions and names that begin with an underscore are left out. Vague are those in `VAGUE_NAMES`.
"""

import ast
import symtable
from collections import Counter
from collections.abc import Iterator, Sequence

from benchmarks.code_metrics.modules import FunctionNode, Module
from benchmarks.code_metrics.words import (
    BASE_FORMS_IN_ED_OR_EN,
    IRREGULAR_PARTICIPLES,
    NOUNS_IN_ED_OR_EN,
    NOUNS_TOO,
    PREDICATES,
    VAGUE_NAMES,
    VERBS,
)

_NOT_WRITTEN = frozenset({"self", "cls", ".0"})
_SHORTEST_PARTICIPLE = 4


def list_function_names(modules: Sequence[Module]) -> list[str]:
    """Return the names that are judged, one for each function."""
    return [node.name for module in modules for node in module.list_functions() if is_judged(node)]


def begins_with_participle(name: str) -> bool:
    """Return whether the first word of a function's name is a past participle.

    >>> [begins_with_participle(name) for name in ("told", "_sorted_rows", "open_part", "need", "read_rows")]
    [True, True, False, False, False]
    """
    word = _split_first_word(name)
    if word in IRREGULAR_PARTICIPLES:
        return True
    is_regular = word.endswith(("ed", "en")) and len(word) >= _SHORTEST_PARTICIPLE
    return is_regular and word not in BASE_FORMS_IN_ED_OR_EN | NOUNS_IN_ED_OR_EN


def begins_with_verb(name: str) -> bool:
    """Return whether a function's name begins with a verb in its base form, or reads as a claim.

    >>> [begins_with_verb(name) for name in ("load_plan", "is_done", "count_rows", "count", "rows_left")]
    [True, True, True, False, False]
    """
    word = _split_first_word(name)
    if word in PREDICATES or name == "main":
        return True
    return word in VERBS and (word not in NOUNS_TOO or "_" in name.strip("_"))


def count_local_names(modules: Sequence[Module]) -> tuple[int, Counter[str]]:
    """Return how many local names there are, and how often each vague one occurs."""
    total, vague = 0, Counter[str]()
    for module in modules:
        table = symtable.symtable(module.text, str(module.path), "exec")
        for name in _list_local_names(table):
            total += 1
            if name in VAGUE_NAMES:
                vague[name] += 1
    return total, vague


def _split_first_word(name: str) -> str:
    return name.strip("_").split("_")[0].lower()


def is_judged(node: FunctionNode) -> bool:
    """Return whether a function's name must begin with a verb: not a property, a constructor or a special method."""
    if node.name.startswith("__") and node.name.endswith("__"):
        return False
    decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
    return not any(
        decorator == "classmethod" or "property" in decorator or decorator.endswith((".setter", ".deleter"))
        for decorator in decorators
    )


def _list_local_names(table: symtable.SymbolTable) -> Iterator[str]:
    if isinstance(table, symtable.Function):
        for symbol in table.get_symbols():
            is_variable = symbol.is_local() and not symbol.is_namespace() and not symbol.is_imported()
            name = symbol.get_name()
            if is_variable and name not in _NOT_WRITTEN and not name.startswith("_"):
                yield name
    for child in table.get_children():
        yield from _list_local_names(child)
