"""Attention that can be differentiated twice."""

import threading

import torch

_SWITCHES = ("flash_sdp", "mem_efficient_sdp", "cudnn_sdp", "math_sdp")


class PlainAttention:
    """Lets `scaled_dot_product_attention` be a product, a softmax and a product in this scope.

    The fused kernels have neither a forward mode, nor a derivative of their backward pass, nor a
    batch. Which is taken is a setting of the process: the last thread that leaves puts it back.
    """

    _lock = threading.RLock()
    # How often each thread has entered.
    _depths: dict[int, int] = {}  # noqa: RUF012 - shared by all
    _before: tuple[bool, ...] = ()

    def __enter__(self) -> None:
        self.reach(self.depth() + 1)

    def __exit__(self, *_: object) -> None:
        self.reach(self.depth() - 1)

    @classmethod
    def depth(cls) -> int:
        """How often this thread has entered."""
        return cls._depths.get(threading.get_ident(), 0) if cls._depths else 0

    @classmethod
    def reach(cls, depth: int) -> None:
        """Enter or leave, until this thread has entered so often."""
        with cls._lock:
            if depth:
                cls._depths[threading.get_ident()] = depth
            else:
                cls._depths.pop(threading.get_ident(), None)
            if cls._depths and not cls._before:
                cls._before = tuple(_enabled(switch) for switch in _SWITCHES)
                for switch in _SWITCHES:
                    _enable(switch, switch == "math_sdp")
            elif cls._before and not cls._depths:
                for switch, was in zip(_SWITCHES, cls._before, strict=True):
                    _enable(switch, was)
                cls._before = ()


def _enabled(switch: str) -> bool:
    return bool(getattr(torch.backends.cuda, f"{switch}_enabled")())


def _enable(switch: str, on: bool) -> None:
    getattr(torch.backends.cuda, f"enable_{switch}")(on)
