"""De-identification of Chinese clinical text, tuned to children.

`find` says what identifies a person and where; `Deidentifier` is the step that puts surrogates in its place;
`reidentify` turns them back for whoever holds the key file; `measure` and `check_floor` say how much is found, and
refuse a corpus where that is too little.
"""

from pediatricsgpt.corpus.deidentify.find import Finding, find, finder_of
from pediatricsgpt.corpus.deidentify.key import reidentify
from pediatricsgpt.corpus.deidentify.measure import TEST_SET, Measured, Rate, check_floor, measure
from pediatricsgpt.corpus.deidentify.step import EXEMPT_KIND_STEP, EXEMPT_STEP, STEP, Deidentifier

__all__ = [
    "EXEMPT_KIND_STEP",
    "EXEMPT_STEP",
    "STEP",
    "TEST_SET",
    "Deidentifier",
    "Finding",
    "Measured",
    "Rate",
    "check_floor",
    "find",
    "finder_of",
    "measure",
    "reidentify",
]
