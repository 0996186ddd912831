"""Preference training: packed pairs, the log-probabilities of their answers, the reference, the trainer."""
