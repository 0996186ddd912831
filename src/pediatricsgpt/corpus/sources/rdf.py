"""RDF: Turtle, N-Triples and RDF/XML.

A statement between named things is a fact: their labels (Chinese ones first) are the names, or the last part of their
identifiers. Labels and types only say what a thing is called. What defines the vocabulary (classes, properties, their
domains and ranges) and what has no name (blank nodes) is a reject. A file is held in memory as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pediatricsgpt.corpus.sources.file import SourceFile
from pediatricsgpt.corpus.sources.graph import Graph
from pediatricsgpt.corpus.sources.rows import Row, reject_row
from pediatricsgpt.errors import require_extra
from pediatricsgpt.records import Reject

if TYPE_CHECKING:
    import rdflib

# JSON-LD is left out: its contexts are addresses that would be fetched.
FORMATS = {".ttl": "turtle", ".nt": "nt", ".rdf": "xml", ".owl": "xml"}
_VOCABULARIES = (
    "http://www.w3.org/2002/07/owl#",
    "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "http://www.w3.org/2000/01/rdf-schema#",
    "http://www.w3.org/2001/XMLSchema#",
)
_FACTS_OF_VOCABULARIES = ("subClassOf", "comment")
_LABELS = ("label", "prefLabel", "name")
_SUBJECT = re.compile(r"\s*(?:<([^>\s]*)>|([\w.-]*):([^\s;,]+?))\s")
_ABOUT = re.compile(r"""rdf:(?:about|ID)=["']#?([^"']+)["']""")
_BASE = re.compile(r"@base\s+<([^>]*)>")


def read_rdf(file: SourceFile, graph: Graph) -> Iterator[Reject]:
    """Hand the statements of an RDF file to the graph; each is a row, at the line where its subject begins.

    Raises:
        UserError: it cannot be parsed (the line is named), its encoding is unknown, or the extra `documents` is
            missing.
    """
    text = file.text()
    parsed = _parsed(file, text)
    lines = _subject_lines(text, parsed)
    names = _names(parsed)
    statements = sorted(parsed, key=lambda each: (lines.get(str(each[0]), 0), *map(_plain, each)))
    for number, (subject, predicate, value) in enumerate(statements, 1):
        file.rows.read += 1
        relation = _local(str(predicate))
        row = Row([_plain(subject), relation, _plain(value)], lines.get(str(subject)), number, relation)
        problem = _problem(subject, predicate, value)
        if problem:
            yield reject_row(file, row, problem)
        elif relation == "type" or _is_label(str(predicate)):
            graph.add_name(file, row, names[str(subject)], _local(str(value)) if relation == "type" else "")
        else:
            tail = names.get(str(value), str(value))
            graph.add_edge(file, row, names[str(subject)], names.get(str(predicate), relation), tail)


def _parsed(file: SourceFile, text: str) -> rdflib.Graph:
    try:
        import rdflib
        from rdflib.exceptions import ParserError
        from rdflib.plugins.parsers.notation3 import BadSyntax
    except ImportError as error:
        raise require_extra("documents", error) from error
    from xml.sax import SAXParseException

    kind = FORMATS[file.path.suffix.lower()]
    if kind == "xml" and not text.lstrip().startswith("<"):
        kind = "turtle"
    try:
        return rdflib.Graph().parse(data=text, format=kind, publicID="file:")
    except BadSyntax as error:
        # Its own count of lines is off by those of the prefixes; the place in the text is right.
        line = text.count("\n", 0, error._i) + 1
        raise file.error(f"not {kind}: {' '.join(error._why.split())}", min(line, text.count("\n") + 1)) from error
    except SAXParseException as error:
        raise file.error(f"not RDF/XML: {error.getMessage()}", error.getLineNumber()) from error
    except (ParserError, ValueError) as error:
        raise file.error(f"not {kind}: {' '.join(str(error).split())[:200]}") from error


def _subject_lines(text: str, parsed: rdflib.Graph) -> dict[str, int]:
    """The first line that begins with each identifier."""
    spaces = {prefix: str(space) for prefix, space in parsed.namespaces()}
    found: dict[str, int] = {}
    base = ""
    for number, line in enumerate(text.split("\n"), 1):
        if changed := _BASE.match(line):
            base = changed[1]
        if subject := _SUBJECT.match(f"{line} "):
            whole, prefix, local = subject.groups()
            name = whole if whole is not None else spaces.get(prefix, "") + local
            found.setdefault(name, number)
            found.setdefault(base + name, number)
        for about in _ABOUT.findall(line):
            found.setdefault(about, number)
    return found


def _names(parsed: rdflib.Graph) -> dict[str, str]:
    """What every identifier is called: its best label, or the last part of it."""
    from rdflib import Literal, URIRef

    names = {str(end): _local(str(end)) for each in parsed for end in each if isinstance(end, URIRef)}
    labels: dict[str, list[tuple[bool, str]]] = {}
    for subject, predicate, value in parsed:
        if _is_label(str(predicate)) and isinstance(value, Literal) and str(value).strip():
            chinese = (value.language or "").startswith("zh") or bool(re.search("[\u3400-\u9fff]", str(value)))
            labels.setdefault(str(subject), []).append((not chinese, str(value).strip()))
    return names | {subject: min(found)[1] for subject, found in labels.items()}


def _is_label(predicate: str) -> bool:
    local = _local(predicate)
    return local in _LABELS or local.endswith("_name")


def _local(identifier: str) -> str:
    return unquote(re.split("[#/:]", identifier.rstrip("#/:"))[-1])


def _plain(end: Any) -> str:
    """An end as text; the names of blank nodes are new in every reading and so left out."""
    from rdflib import BNode

    return "[]" if isinstance(end, BNode) else str(end)


def _problem(subject: Any, predicate: Any, value: Any) -> str:
    from rdflib import BNode

    if isinstance(subject, BNode) or isinstance(value, BNode):
        return "blank node: a statement about something without a name"
    own = str(predicate).startswith(_VOCABULARIES) and _local(str(predicate)) not in _FACTS_OF_VOCABULARIES
    is_name = _is_label(str(predicate)) or _local(str(predicate)) == "type"
    if (own and not is_name) or str(subject).startswith(_VOCABULARIES) or str(value).startswith(_VOCABULARIES):
        return f"vocabulary and no fact: {_local(str(predicate))}"
    return ""
