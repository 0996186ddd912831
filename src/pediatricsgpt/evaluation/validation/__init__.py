"""Is a judge's opinion worth anything? Its verdicts against those of a reference: doctors', or GPT-4's scores.

reference.py  pairs of answers with a reference's preference: GPT-4's scores of DISC-MedLLM's evaluation
labels.py     doctors' verdicts, from CSV or JSON lines
figures.py    kappa, AC1, alpha, accuracy with intervals, and whether the judge passes
run.py        asking the judge with the very prompt of `pedgpt judge`, as validation.json
"""
