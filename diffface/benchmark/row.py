"""What was measured of one operator by one backend at one size."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Measurement:
    """One operator, by one backend, of one function, at one size. All times are in seconds.

    A number that could not be measured is None.

    Attributes
    ----------
    problem, size : str
        The function's name, and its size as one would type it: ``"1000x10x25"``.
    operator, backend, strategy : str
        What was prepared, by whom, and how it runs; see ``Prepared.strategy``.
    inputs : int
        How many numbers it is differentiated by.
    preparation, first_call : float
        Time to prepare, and of the first call after that.
    time, time_low, time_high : float
        Of a prepared call, its result waited for: median and quartiles.
    by_hand, by_hand_first : float
        Median time of the same written by hand in that framework, and of its first call, which
        compiles it where the framework does.
    ratio, ratio_low, ratio_high : float
        Prepared over written by hand, paired round by round: median and quartiles.
    function, over_function : float
        Median time of the function alone, prepared in the same framework, and the time of the
        derivative over that.
    unprepared : float
        Time of an unprepared call.
    break_even : float
        After how many calls the preparation has paid for itself, compared with unprepared ones;
        None if it never does.
    evaluations : int
        How often a prepared call evaluates the function's Python code.
    error : float
        Largest deviation from the reference, relative to the largest number in it; None if there
        is no reference, or one of another size.
    checked : str
        Where the reference comes from: ``"given"``, ``"agreed"`` (the median of the backends that
        are exact), ``"Richardson"`` (extrapolated differences), or ``""`` if there was none.
    rounds : int
        How often the calls were timed.
    flags : tuple of str
        What a careful reader should know before using the figures; see ``FLAGS``.
    notes : str
        The same in sentences.
    """

    problem: str
    size: str
    operator: str
    backend: str
    inputs: int
    strategy: str = ""
    preparation: float | None = None
    first_call: float | None = None
    time: float | None = None
    time_low: float | None = None
    time_high: float | None = None
    by_hand: float | None = None
    by_hand_first: float | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    function: float | None = None
    over_function: float | None = None
    unprepared: float | None = None
    break_even: float | None = None
    evaluations: int | None = None
    error: float | None = None
    checked: str = ""
    rounds: int = 0
    flags: tuple[str, ...] = ()
    notes: str = ""


def break_even(preparation: float, unprepared: float, prepared: float) -> float | None:
    """After how many calls a preparation has paid for itself, if it ever does."""
    saved = unprepared - prepared
    return preparation / saved if saved > 0 else None
