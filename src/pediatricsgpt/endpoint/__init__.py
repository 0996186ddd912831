"""Any language model behind an OpenAI-compatible address: asked once, paid once, and never without leave.

The corpus room's teacher, the judge and the weaker assistants all go through `Endpoint`. Names are loaded when they are
first used: recipes hold an endpoint's settings, and checking one must not wait for a network library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pediatricsgpt.endpoint.settings import TeacherSettings

if TYPE_CHECKING:
    from pediatricsgpt.endpoint.budget import Budget, BudgetReached, Estimate, Usage, estimate, tokens_of
    from pediatricsgpt.endpoint.cache import AnswerCache
    from pediatricsgpt.endpoint.client import Endpoint
    from pediatricsgpt.endpoint.request import Answer, Failure, Request

__all__ = [
    "Answer",
    "AnswerCache",
    "Budget",
    "BudgetReached",
    "Endpoint",
    "Estimate",
    "Failure",
    "Request",
    "TeacherSettings",
    "Usage",
    "estimate",
    "tokens_of",
]
_MODULES = {
    "budget": ("Budget", "BudgetReached", "Estimate", "Usage", "estimate", "tokens_of"),
    "cache": ("AnswerCache",),
    "client": ("Endpoint",),
    "request": ("Answer", "Failure", "Request"),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
