"""Language models (and, in the same form, doctors) compare two models' answers: who wins, ties, loses, and how surely.

questions.py   the questions that both answered, paired by id
present.py     how two answers are shown: blind, without Markdown, at equal length
prompt.py      what a judge is asked, and the form of its answer
ask.py         both orders, repeats, what is paid for already
verdicts.py    one rater's word on one dimension of one pair, as it was shown
decide.py      from verdicts to what a rater, and what all of them, hold of an item
length.py      preference at equal length
aggregate.py   win, tie and loss with intervals, flips, strata, agreement
cost.py        what it will cost, and what it did
checks.py      a judge that was the data's teacher, a judge that nobody validated
compare.py     all of it for one pair of models, as files
"""
