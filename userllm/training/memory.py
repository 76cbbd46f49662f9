"""Peak memory of a run, and an allocator that does not hand pages back between steps."""

import ctypes
import gc
import platform
import sys
from contextlib import suppress
from pathlib import Path

import torch

_MMAP_MAX, _TRIM_THRESHOLD, _TOP_PAD = -4, -1, -2


def forget_peak_memory() -> None:
    """Start a new measurement, so that a sweep's run is not charged for the one before it.

    Only Linux can: elsewhere the peak is that of the process since its start.
    """
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
    with suppress(OSError):  # not every container may
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory_bytes() -> int:
    """Return the most memory held since the measurement began: CUDA's if used, else resident."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated()
    if platform.system() == "Linux":
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def keep_freed_memory() -> None:
    """Stop glibc from returning every large tensor's pages to the kernel on Linux.

    Logits over a whole catalogue are freed and allocated again at every step; faulting their
    pages in anew took a quarter of the training time of a small encoder.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_MMAP_MAX, 0)
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(_TOP_PAD, 64 * 2**20)
