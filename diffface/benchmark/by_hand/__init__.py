"""What an expert writes with a library itself: derivatives, and how to watch the library."""

from diffface.benchmark.by_hand.library import Example, Library, library_tools, register

__all__ = ["Example", "Library", "library_tools", "register"]
