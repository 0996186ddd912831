"""Grading of answers by criteria that have points, in the form of HealthBench.

forms.py   rubrics as files: ours (YAML) and HealthBench's (JSON lines)
starter/   a first set of pediatric rubrics, not reviewed by a doctor
prompt.py  what a grader is asked about one criterion
grade.py   one call a criterion, nothing twice
score.py   points, vetoes, themes, intervals
run.py     one model's answers, as files
"""
