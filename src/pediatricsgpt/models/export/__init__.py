"""Handing a model on: plain Hugging Face folders, adapters beside their base, with card and lineage."""

from __future__ import annotations

from pediatricsgpt.models.export.write import FORMS, Exported, ExportSettings, export

__all__ = ["FORMS", "ExportSettings", "Exported", "export"]
