"""What the Python code says that inductor generates around its kernels.

Knows: how that code allocates memory, and what it returns.
Must not know: what the kernels compute.
"""

import re
from collections.abc import Callable
from typing import Any

# Lines of generated code that only allocate, run a kernel on memory, and give memory back
_HARMLESS = re.compile(
    r"""\s*(
        | [\w, ]+=\ args
        | args\.clear\(\)
        | \w+\ =\ empty_strided_cpu\(.*\)
        | \w+\ =\ reinterpret_tensor\(.*\)
        | \w+\ =\ \w+
        | cpp_fused\w*\([\w, ]*\)
        | del\ \w+
        | return\ \(.*\)
    )(;\ del\ \w+)?\s*(\#.*)?""",
    re.VERBOSE,
)

_RETURNED = re.compile(r"\s*return \((.*)\)")


def returns_apart(source: str) -> bool:
    """Whether generated code surely returns buffers of its own, no two in the same memory.

    Inductor shares equal expressions, copies among them, and so returns one buffer twice.
    """
    body = _body(source)
    _, _, returned = body.rpartition("return (")
    names = re.findall(r"\b(?:arg|buf|primals_)\w*", returned)
    is_view = re.search(r"\w+ = reinterpret_tensor\((?!.*; del )", body)
    return bool(names) and not (
        is_view or len(names) != len(set(names)) or any(n[:3] != "buf" for n in names)
    )


def calls_torch(source: str) -> bool:
    """Whether generated code calls operations of torch besides its own kernels."""
    body = _body(source)
    return not body or not all(map(_HARMLESS.fullmatch, body.split("\n")))


def writing_into(
    source: str, call: Callable[..., Any], places: tuple[int, ...]
) -> Callable[..., Any] | None:
    """The generated function with one more argument for each of the results at ``places``.

    Parameters
    ----------
    source : str
        The generated module; its function must return apart and not call torch.
    call : callable
        The function itself.
    places : tuple of int
        Which results go into arrays that come as further arguments.

    Returns
    -------
    callable or None
        None where the memory of a result is not allocated in one line for it alone.
    """
    lines = _body(source).rstrip().split("\n")
    returned = _RETURNED.fullmatch(lines[-1])
    if returned is None:
        return None
    results = [result.strip() for result in returned[1].rstrip(", ").split(",")]
    if not all(map(str.isidentifier, results)):
        return None
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


def _body(source: str) -> str:
    """Return the lines of the generated function, or nothing if they are not found."""
    _, _, body = source.partition("    def call(self, args):\n")
    return body.partition("\nrunner = ")[0]
