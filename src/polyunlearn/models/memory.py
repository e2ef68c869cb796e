"""This process's memory: the most it held, and giving back what it no longer uses."""

import ctypes
import resource
import sys

import psutil
import torch


def peak_rss_bytes() -> int:
    """The most memory that this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def peak_bytes() -> int:
    """The most memory that models took in this process so far: a CUDA device's, as PyTorch allots it, where there is one, else the process's own."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else peak_rss_bytes()


def free_bytes() -> int:
    """What is free for a model: a CUDA device's memory where there is one, else what the machine has available."""
    return torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else psutil.virtual_memory().available


def give_back_cached() -> None:
    """Give back what was freed, and what PyTorch keeps of a CUDA device's memory for later, which no other process can take."""
    give_back_freed()
    torch.cuda.empty_cache()  # Nothing, where there is no such device.


def give_back_freed() -> None:
    """Give memory that was freed back to the system, where the C library can be told to (glibc).

    Batches are of ever other lengths, so what one frees seldom fits the next, and a long run would come to hold far more than any part of it needs.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim:
            trim(0)
