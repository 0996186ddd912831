"""How the evaluation compiles its loops. Importing this module loads numba: do it inside functions."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])

_DAMAGED = (OSError, EOFError, ImportError, ValueError, pickle.UnpicklingError)


def compiled(*signatures: str) -> Callable[[Function], Function]:
    """Numba's compiler with fixed signatures, a cache on disk, and no hold on other threads.

    The cache notices a change of a kernel's own file only, so a kernel must not call one of another file. Where numba
    finds no folder that it may write, the disk is full or the cache is damaged, the kernel is compiled for this process
    alone.
    """

    def compile_(function: Function) -> Function:
        try:
            return cast(Function, numba.njit(list(signatures), cache=True, nogil=True)(function))
        except _DAMAGED:
            pass
        except RuntimeError as error:
            if "cannot cache" not in str(error):
                raise
        return cast(Function, numba.njit(list(signatures), nogil=True)(function))

    return compile_
