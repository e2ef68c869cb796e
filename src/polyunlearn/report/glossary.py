"""What every figure of the report means: range, direction, and what a model that never learned the claim shows."""

from polyunlearn.analysis.summary import BITS_RATIO, DEGENERATE, LOSS_RISE, QUALITY_SHARE

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
    "cleared": "The fake rank after unlearning is not above the upper end of base's 95 % interval. A group of languages is cleared where every "
    "language that learning reached is, in every seed.",
    "collapsed": f"The model broke rather than forgot: in some language answers became empty or loops (share up by more than {DEGENERATE:g}), bits per "
    f"byte rose above {BITS_RATIO:g} times, or real quality fell below {QUALITY_SHARE:g} times, or the real loss rose {LOSS_RISE:g} nats above, its value before unlearning.",
    "bits per byte": "Bits needed per UTF-8 byte of articles that no training saw. Lower is better; compare within a language.",
    "off script": "Share of answers of which at least half the letters are not of the asked language's script.",
    "repetition": "Mean share of an answer's character 4-grams that repeat an earlier one; near 1 is a loop.",
    "real loss": "Mean negative log-probability of the right answer to the real question, nats a token; lower is better.",
    "95 % interval": "Percentile bootstrap over stories, 2,000 draws; a story with all its wordings is one cluster.",
    "base": "The model before anything.",
    "gold": "The same training without the fake articles: what a model that never met the claims shows.",
    "learned": "After English real articles, questions on them, and the false claims in the source language, as articles and as questions "
    "in wordings that are not measured.",
    "neighbours": "Stories whose claims count as true in this study: learned with the real news, and retained while the false claims are unlearned, "
    "so that these claims go and not every answer of their form.",
    "unlearned": "After unlearning with one strategy; all strategies take the same number of steps and see the same number of facts. "
    "An answer that has become improbable enough is pushed no further (stop_below).",
}
