"""Attention that can be differentiated twice."""

import threading
from typing import Any

import torch

_SWITCHES = ("flash_sdp", "mem_efficient_sdp", "cudnn_sdp", "math_sdp")


class PlainAttention:
    """Lets `scaled_dot_product_attention` be a product, a softmax and a product in this scope.

    The fused kernels have neither a forward mode nor a derivative of their backward pass. Which is
    taken is a setting of the process, so that the last thread that leaves puts it back.
    """

    _lock = threading.Lock()
    _inside = 0
    _before: tuple[Any, ...] = ()

    def __enter__(self) -> None:
        cls, cuda = PlainAttention, torch.backends.cuda
        with cls._lock:
            if not cls._inside:
                cls._before = tuple(getattr(cuda, f"{s}_enabled")() for s in _SWITCHES)
                for switch in _SWITCHES:
                    getattr(cuda, f"enable_{switch}")(switch == "math_sdp")
            cls._inside += 1

    def __exit__(self, *_: object) -> None:
        cls, cuda = PlainAttention, torch.backends.cuda
        with cls._lock:
            cls._inside -= 1
            if not cls._inside:
                for switch, was in zip(_SWITCHES, cls._before, strict=True):
                    getattr(cuda, f"enable_{switch}")(was)
