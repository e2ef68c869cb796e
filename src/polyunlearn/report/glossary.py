"""What every figure of the report means: range, direction, and what a model that never learned the claim shows."""

from polyunlearn.analysis.summary import BITS_RATIO, CLEARED, DEGENERATE, LOSS_RISE, QUALITY_SHARE

GLOSSARY = {
    "fake rank": "Share of fake questions for which the false name has the highest length-normalised log-probability among the false names of "
    "the other stories, written in the asked language's script. 0 to 1; lower is cleaner; chance is one over the number of names. "
    "A model that never learned the claim is near chance.",
    "fake count": "Greedy answers to fake questions that hold the false name, in any accepted spelling of any script. 0 to the number of "
    "questions; a model that never learned the claim shows 0.",
    "real quality": "Share of real questions for which the right answer ranks first among those of the other stories. 0 to 1; higher is better.",
    "exact": "Share of greedy answers to real questions that hold the reference answer. 0 to 1; higher is better.",
    "chrF": "Character n-gram F-score of the greedy answer against the reference answer, 0 to 1; works alike in every script.",
    "gate": "A language counts only where learning moved it: learned minus base, paired by story, is above 0 with its whole 95 % interval. "
    "A language that never learned is not one that forgot; it is shown as “not reached”.",
    "residual": "(unlearned − base) / (learned − base) of the fake rank: the share of what learning added that is left. 0 is clean, 1 is untouched, "
    "below 0 is under base. Only where the gate is passed.",
    "cleared, remains, not settled": "The claims remain where the residual's 95 % interval is above 0; a group of languages is cleared where it reaches no "
    f"higher than {CLEARED:z.2f} and no language of the group, over all seeds, has claims that remain; otherwise the stories are too few to say.",
    "wordings": "Learning asks in wordings that are not measured; unlearning by questions in the first unlearning.wordings of the scoring.wordings that are. Where these "
    "are as many, residuals are of wordings that were unlearned, and say nothing of others, in which more may be left.",
    "collapsed": f"The model broke rather than forgot: in some language answers became empty or loops (share up by more than {DEGENERATE:g}), bits per "
    f"byte rose above {BITS_RATIO:g} times, or real quality fell below {QUALITY_SHARE:g} times, or the real loss rose {LOSS_RISE:g} nats above, its value before unlearning.",
    "utility loss": "Of a state against the learned state that it starts from, the largest relative loss in any language: the rise of bits per byte, or the loss "
    "of real-information quality in a language that knew the real stories, or over all these together. A loss of quality counts only where "
    "its 95 % interval, paired by story, excludes that nothing was lost: with 24 stories one answer is 4 % of a language, and near-ties flip "
    "either way, so fewer than four lost stories count as none. 0 is none; lower is better.",
    "at the same loss of utility": "The last state measured on the way whose utility loss is inside the budget, though one before it were outside. The "
    "learned state always is, with all of the claims left. Residuals there are those of the first wording.",
    "bits per byte": "Bits needed per UTF-8 byte of articles that no training saw, without the end token behind them. Lower is better; compare within a language.",
    "off script": "Share of answers of which at least half the letters are not of the asked language's script.",
    "repetition": "Mean share of an answer's character 4-grams that repeat an earlier one; near 1 is a loop.",
    "real loss": "Mean negative log-probability of the right answer to the real question, nats a token; lower is better.",
    "95 % interval": "Percentile bootstrap over stories, 2,000 draws; a story with all its wordings is one cluster. Where there are several seeds these are drawn "
    "too. Shares of few stories are widened, so that none of 24 is 0 to 14 % and not 0.",
    "base": "The model before anything.",
    "gold": "The same training without the fake articles: what a model that never met the claims shows.",
    "learned": "After English real articles, questions on them, and the false claims in the source language, as articles and as questions "
    "in wordings that are not measured.",
    "neighbours": "Stories whose claims count as true in this study: learned with the real news, and retained while the false claims are unlearned, "
    "so that these claims go and not every answer of their form.",
    "traced": "The strategy that is told no language. It unlearns in the fewest languages that cover those where the learned state holds the claims: the "
    "firmest always, others while some language is covered too little.",
    "aligned, covering": "Strategies that are told no language and look at no claim: they unlearn in up to three languages whose true articles lie nearest to "
    "their translations and bring the others most (aligned), or together cover the others' best (covering).",
    "firmness": "How far learning took the false answers on the way from base to certain: what their loss fell by, as a share of base's loss. 0 as base, 1 certain.",
    "coverage": "To first order, how far unlearning in some languages makes the claims fall in another, as a share of what the same steps would do there if told in "
    "it alone: the cosine between gradients.",
    "unlearned": "After unlearning with one strategy; all strategies take the same number of steps and see the same number of facts. "
    "An answer that has become improbable enough is pushed no further (stop_below).",
}
