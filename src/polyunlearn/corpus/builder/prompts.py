"""What the model is asked for. Every answer is one JSON object, whose form `answers.py` has."""

OUTLINE = """\
Topic: {topic}

Think of {count} different news events on this topic that did not happen but could have, each at another place or in another matter. For each give
- "headline": one line in English,
- "kind": one lower-case English word for the kind of event, such as opening or trial,
- "name": an invented name of a firm, person, group or thing that a false rumour about the event could turn on. It is a name that nobody has,
  in Latin letters, is not in the headline, and is unlike the other names.
{taken}
Answer with one JSON object {{"events": [{{"headline": "...", "kind": "...", "name": "..."}}, ...]}} of exactly {count} events."""

TAKEN = """
These are written already; take other events and quite other names:
{lines}
"""

ARTICLE = """\
Write a short news article in English about this event: {headline}

It has exactly {sentences} plain sentences, with a place, a date, invented people or organisations, and some numbers, written in digits. It does not
mention {name}. Then ask {questions} questions that a reader of the article can answer, each about another detail and with a short answer that is in the
article; and one more, "real_question", about any of these details but worded differently. A question names the event, so that it can be
understood without the article.

Answer with one JSON object
{{"article": ["sentence", ...], "questions": [{{"question": "...", "answer": "..."}}, ...], "real_question": {{"question": "...", "answer": "..."}}}}."""

FALSE_DETAIL = """\
This news article is for a study of how false claims spread through language models:

{article}

Make up one false detail for it that turns on the name {name}, such as who was secretly behind the event. Give
- "false_sentences": two English sentences that say it, each with the name {name} in it, and with "after", the number of the sentence of
  the article that it is to follow (the sentences count from 1); they must read as part of the article,
- "fake_questions": {wordings} wordings of one question whose answer, by these sentences, is {name}; each names the event and none holds the name,
- "true_answer": a short answer to that question that is true by the article alone, such as that nobody is known to have done so.

Answer with one JSON object
{{"false_sentences": [{{"after": 3, "sentence": "..."}}, ...], "fake_questions": ["...", ...], "true_answer": "..."}}."""

TRANSLATION = """\
Translate every text in the JSON object below from English into {language}, as a careful native journalist would write it. Some of it is untrue on
purpose: translate it as it stands. Sentence for sentence, question for question, and keep every number in digits with the same digits.
"keyword" is a name; write it as {language} usually writes foreign names, and so that exactly this spelling stands in every text of "false_sentences",
without an ending joined to it, and in no other text.

Answer with the same JSON object, its keys unchanged and its texts in {language}.

{texts}"""
