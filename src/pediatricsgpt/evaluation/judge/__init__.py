"""Language models (and, in the same form, doctors) compare two models' answers: who wins, ties, loses, and how surely.

questions.py   the questions that both answered, paired by id
present.py     how two answers are shown: blind, without Markdown, at equal length
prompt.py      what a judge is asked, and the form of its answer
ask.py         both orders, repeats, what it will cost
verdicts.py    one rater's word on one dimension of one pair, as it was shown
decide.py      from verdicts to what a rater, and what all of them, hold of an item
length.py      preference at equal length
aggregate.py   win, tie and loss with intervals, flips, strata, agreement
checks.py      a judge that was the data's teacher, a judge that nobody validated
run.py         all of it for one pair of models, as files
"""
