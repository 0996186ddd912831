"""What a recipe may not say about its corpus."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from pediatricsgpt.corpus.settings import CorpusSettings

SOURCE = {"kind": "text", "path": ".", "licence": "CC0", "consent": "none", "purpose": "testing"}


def test_two_sources_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="two sources are named b: every source needs a name of its own"):
        CorpusSettings.model_validate({"sources": [{"name": name, **SOURCE} for name in ("a", "b", "b")]})
    assert CorpusSettings.model_validate({"sources": [{"name": name, **SOURCE} for name in ("a", "b")]})
