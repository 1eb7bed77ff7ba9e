"""From the study's runs to its numbers, figures and tables: `python -m study results`. Reads, and trains nothing.

reading      the comparisons under `runs/study`, and what their runs left
seeds        every seed of every method: accuracies, gains, areas, cost; and the learning curves
dials        gradient cosines and the effects of one domain's training on another: what the dials did
positives    what the chosen positives have in common, held against the known truth
term         whether the contrastive term's gradient reaches the policy, step by step
geometry     how the domains lie in the hidden states
differences  one method minus another with its tests, and the correction over the settings
figures, drawing     what is drawn
tables, verdicts     what stands in docs/results.md
page         the blocks of docs/results.md, written from `results/` alone
collecting   all of it, in order
"""
