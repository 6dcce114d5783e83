"""Generated code that writes its results into arrays which are given, in place of new ones.

Knows: how inductor's generated code allocates what it returns.
Must not know: what the code computes.
"""

import re
from collections.abc import Callable
from typing import Any

_RETURNED = re.compile(r"\s*return \((.*)\)")


def writing_into(
    body: str, call: Callable[..., Any], places: tuple[int, ...]
) -> Callable[..., Any] | None:
    """The generated function with one more argument for each of the results at ``places``.

    Parameters
    ----------
    body : str
        Lines of the function, which run kernels on memory of their own and return some of it.
    call : callable
        The function itself.
    places : tuple of int
        Which results go into arrays that come as further arguments.

    Returns
    -------
    callable or None
        None where the memory of a result is not allocated in one line for it alone.
    """
    lines = body.rstrip().split("\n")
    returned = _RETURNED.fullmatch(lines[-1])
    if returned is None:
        return None
    results = returned[1].replace(",", " ").split()
    for place in places:
        line = _allocation(lines, results[place])
        if line is None:
            return None
        indent, name = re.match(r"(\s*)(\w+)", lines[line]).groups()  # type: ignore[union-attr]
        lines[line] = f"{indent}{name} = o{place}"
    head = f"def call(args, {', '.join(f'o{place}' for place in places)}):"
    scope = dict(call.__globals__)
    exec("\n".join([head, *lines]), scope)  # noqa: S102 - inductor's own text
    written: Callable[..., Any] = scope["call"]
    return written


def _allocation(lines: list[str], name: str) -> int | None:
    """The line that allocates the memory of ``name``, which other names may have had before."""
    for i in reversed(range(len(lines))):
        if re.fullmatch(rf"\s*{name} = empty_strided_cpu\(.*\)", lines[i]):
            return i
        handed = re.fullmatch(rf"\s*{name} = (\w+); del \w+\s*(#.*)?", lines[i])
        if handed is not None:
            name = handed[1]
        elif re.match(rf"\s*{name} = ", lines[i]):
            return None
    return None
