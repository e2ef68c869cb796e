"""One story for a person to read in the terminal."""

from rich.console import Console

from polyunlearn.corpus.stories import Story
from polyunlearn.languages import get_language


def print_story(story: Story, tag: str, console: Console) -> None:
    """Print a story in one language; text is printed as it is, never read as markup."""
    edition, language = story.editions[tag], get_language(tag)

    def show(title: str, *lines: str) -> None:
        console.print(title, style="bold", highlight=False)
        for line in lines:
            console.print(f"  {line}", markup=False, highlight=False)

    show(f"{story.id} in {language.name}")
    show("real article", language.joiner.join(edition.article))
    show("fake article", language.joiner.join(edition.fake_article))
    show("keyword", f"{edition.keyword} (also counts: {', '.join(form for form in edition.surface_forms if form != edition.keyword)})")
    show("fake question and its paraphrases", *edition.fake_questions)
    show("true answer", edition.true_answer)
    show("real question", f"{edition.real_question.question} — {edition.real_question.answer}")
    show("questions on the real article", *(f"{item.question} — {item.answer}" for item in edition.questions))
