"""A pandas query over an inventory table, from a notebook parameter: conditions only, nothing that can act.

``DataFrame.query`` reaches Python's attributes and calls, and takes a result that is no condition for row
labels. So the text is read as a syntax tree first and everything that is not on a short list is refused.
"""

from __future__ import annotations

import ast
import warnings

import pandas as pd

from pumphouse.errors import SelectionError
from pumphouse.near import did_you_mean

QUERY_CHARACTERS = 2000
STR_METHODS = ("contains", "startswith", "endswith", "match", "fullmatch", "lower", "upper", "strip", "len")

_NODES: tuple[type[ast.AST], ...] = (
    *(ast.Expression, ast.Name, ast.Load, ast.Constant, ast.List, ast.Tuple),
    *(ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.Invert, ast.USub),
    *(ast.BinOp, ast.BitAnd, ast.BitOr, ast.Add, ast.Sub, ast.Mult, ast.Div),
    *(ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn),
)
_REMEDY = (
    'compare columns with values, e.g. status == "ACTIVE" and ram_mib <= 2048 and name.str.contains("web")'
    ' and created_at < "2014-06-01T00:00Z".'
)


def matching(table: pd.DataFrame, query: str) -> pd.Series[bool]:
    """For which rows the query is true; ``<NA>`` counts as not true.

    Allowed are columns and the index by name, literals, comparisons, ``in``, ``and``/``or``/``not``,
    arithmetic, and ``column.str.<method>(literals)`` for the methods in :data:`STR_METHODS`.

    :raises SelectionError: the query holds anything else, names no column or an unknown one, cannot be
        evaluated, or is no condition.
    """
    _check(table, query)
    try:
        with warnings.catch_warnings():
            # "\d" inside quotes is what people write in a regular expression; Python means to warn about it
            warnings.simplefilter("ignore")
            result = table.eval(query, engine="python", parser="pandas")
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SelectionError(f"The query {query!r} cannot be evaluated: {reason}.", remedy=_REMEDY) from error
    # what is not boolean would be taken for row labels, and choose something else
    if (
        not isinstance(result, pd.Series)
        or not pd.api.types.is_bool_dtype(result.dtype)
        or not result.index.equals(table.index)
    ):
        raise SelectionError(f"The query {query!r} is not a condition on each row.", remedy=_REMEDY)
    return result.fillna(value=False).astype(bool)


def _check(table: pd.DataFrame, query: str) -> None:
    if len(query) > QUERY_CHARACTERS or len(query.splitlines()) != 1:
        raise _refused(query, f"it must be one line of at most {QUERY_CHARACTERS} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(query.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _refused(query, "it is not a condition in pandas' language (@ and backticks are not allowed)") from error
    allowed: list[ast.AST] = []
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _is_text_call(node):
            allowed += [node, node.func, node.func.value, *node.keywords]  # type: ignore[attr-defined]
        elif isinstance(node, ast.Call):
            raise _refused(query, f"the only calls are column.str.method(literals) with {', '.join(STR_METHODS)}")
        elif isinstance(node, ast.Name):
            names.add(node.id)
        elif node not in allowed and not isinstance(node, _NODES):
            raise _refused(query, f"{type(node).__name__} has no place in it")
    columns = {*map(str, table.columns), *([str(table.index.name)] if table.index.name is not None else [])}
    if not names:
        raise _refused(query, "it names no column")
    if unknown := sorted(names - columns):
        hint = did_you_mean(unknown[0], sorted(columns))
        raise _refused(query, f"the table has no column {', '.join(unknown)}{hint}")


def _is_text_call(node: ast.Call) -> bool:
    method = node.func
    return (
        isinstance(method, ast.Attribute)
        and method.attr in STR_METHODS
        and isinstance(method.value, ast.Attribute)
        and method.value.attr == "str"
        and isinstance(method.value.value, ast.Name)
        and all(isinstance(value, ast.Constant) for value in (*node.args, *(word.value for word in node.keywords)))
    )


def _refused(query: str, why: str) -> SelectionError:
    return SelectionError(f"The query {query[:200]!r} is not allowed: {why}.", remedy=_REMEDY)
