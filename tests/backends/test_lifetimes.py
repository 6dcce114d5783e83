"""Lifetimes of the values of a small program, worked out by hand."""

import pytest

from diffface.backends.recording.lifetimes import Lifetimes

# Each value: its operands, and whether it is computed into memory of its own.
PROGRAM: dict[str, tuple[tuple[str, ...], bool]] = {
    "x": ((), False),
    "a": (("x",), True),
    "view": (("a",), False),
    "b": (("a", "x"), True),
    "c": (("b", "view"), True),
    "d": (("c", "c"), True),
    "e": (("x",), True),
    "either": (("d", "e", "x"), False),
    "f": (("either", "d"), True),
}


def lifetimes(results: tuple[str, ...] = ("f",), keeps: str = "") -> Lifetimes[str]:
    return Lifetimes(
        [*PROGRAM],
        lambda value: PROGRAM[value][0],
        lambda value: PROGRAM[value][1],
        results,
        lambda value: value == keeps,
    )


@pytest.mark.parametrize(
    ("x", "at", "answer"),
    [
        ("x", "e", False),  # an input
        ("a", "b", False),  # its view is read later
        ("b", "c", True),
        ("view", "c", False),  # a view itself
        ("c", "d", True),  # as both operands
        ("d", "f", False),  # another operand may lie there
    ],
)
def test_may_overwrite(x: str, at: str, answer: bool) -> None:
    assert lifetimes().may_overwrite(x, at) is answer


def test_a_result_is_not_overwritten() -> None:
    assert not lifetimes(("f", "b")).may_overwrite("b", "c")


def test_a_view_that_is_a_result_keeps_its_memory() -> None:
    assert not lifetimes(("f", "view")).may_overwrite("a", "b")
    assert not lifetimes(("f", "view")).may_overwrite("a", "c")


def test_what_a_stranger_has_seen_is_not_private() -> None:
    kept = lifetimes(keeps="c")
    assert not kept.may_overwrite("b", "c")
    assert not kept.is_private("b")
    assert not kept.is_private("a")  # its view was seen
    assert kept.is_private("d")
    assert not kept.is_private("x")


def test_last_use_is_of_the_value_itself() -> None:
    lives = lifetimes()
    assert lives.is_last_use("a", "b")  # though its view is read by c
    assert lives.is_last_use("view", "c")
    assert not lives.is_last_use("x", "e")


def test_a_long_chain_of_views() -> None:
    n = 20_000
    lives = Lifetimes(range(n), lambda i: (i - 1,) if i else (), lambda i: i == 1, results=(n - 1,))
    assert lives.memory(n - 1) == lives.memory(1)
    assert not lives.may_overwrite(1, 2)
