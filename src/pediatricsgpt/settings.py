"""The base class of every room's settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A block of a recipe: an unknown key is an error, and the text under each field is its documentation."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)
