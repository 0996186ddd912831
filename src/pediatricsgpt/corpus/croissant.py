"""Croissant metadata (MLCommons, format 1.0): what a corpus holds, for dataset search and for loaders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pediatricsgpt.manifest import hash_file

CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def croissant(name: str, sets: Mapping[str, Path], sources: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The metadata as a JSON-LD value.

    Args:
        name: of the corpus.
        sets: the Parquet file of each set, its path as it stands beside the metadata.
        sources: of the corpus, each with `name`, `licence`, `consent` and `purpose`.
    """
    licences = sorted({source["licence"] for source in sources})
    consents = "; ".join(f"{source['name']}: {source['consent']} ({source['purpose']})" for source in sources)
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": name,
        "description": "Chinese pediatric instruction corpus with provenance on every row. Not reviewed by doctors.",
        "conformsTo": CONFORMS_TO,
        "inLanguage": "zh",
        "license": "; ".join(licences) or "none",
        "version": "1.0.0",
        "url": "https://arxiv.org/abs/2405.19266",
        "citeAs": "Yang et al.: PediatricsGPT, NeurIPS 2024, arXiv 2405.19266 (method)",
        "rai:personalSensitiveInformation": f"Consent and purpose by source: {consents}",
        "distribution": [_file(name, path) for name, path in sets.items()],
        "recordSet": [_record_set(name, path) for name, path in sets.items()],
    }


def _file(name: str, path: Path) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": f"{name}.parquet",
        "name": f"{name}.parquet",
        "contentUrl": f"../{name}/{path.name}",
        "encodingFormat": "application/x-parquet",
        "sha256": hash_file(path),
    }


def _record_set(name: str, path: Path) -> dict[str, Any]:
    """The columns that hold plain values; turns and provenance are described by the data contract."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = []
    for column in pq.read_schema(path):
        if pa.types.is_string(column.type) or pa.types.is_floating(column.type):
            kind = "sc:Text" if pa.types.is_string(column.type) else "sc:Float"
            where = {"fileObject": {"@id": f"{name}.parquet"}, "extract": {"column": column.name}}
            identity = {"@type": "cr:Field", "@id": f"{name}/{column.name}", "name": column.name}
            fields.append({**identity, "dataType": kind, "source": where})
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "field": fields}
