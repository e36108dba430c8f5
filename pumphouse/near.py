"""Names that were probably meant: one way for every message about a name that nobody has."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str], *, most: int = 3) -> str:
    """A hint to put behind a name that is not known: `` (did you mean 'projects'?)``; empty where none is near.

    :param most: how many names are offered at most, the nearest first.
    """
    names = dict.fromkeys(known)
    folded = {one.casefold(): one for one in names}
    close = difflib.get_close_matches(name.casefold(), folded, n=most)
    return f" (did you mean {' or '.join(repr(folded[one]) for one in close)}?)" if close else ""
