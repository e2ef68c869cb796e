"""The cost of the `paper` preset by number of stories and of languages, as `polyunlearn study plan` estimates it on this machine."""

from polyunlearn.study.plan import plan_study
from polyunlearn.study.presets import load_config

STORIES = (24, 50, 100, 200)
LANGUAGES = ("en", "de", "jv", "fr", "ha", "zh", "ur", "ru", "hy")


def hours(stories: int, languages: tuple[str, ...]) -> float:
    """One seed of the preset: its steps and neighbours grow with the stories, its sources are the languages."""
    names = f"[{', '.join(languages)}]"
    config = load_config(
        "paper",
        [
            "seeds=[1]",
            f"stories={stories}",
            f"neighbours={round(0.4 * stories)}",
            f"languages={names}",
            f"sources={names}",
            f"unlearning.steps={stories}",
            f"unlearning.measure_every={max(1, stories // 4)}",
        ],
    )
    return plan_study(config, lambda text: None).seconds / 3600


def main() -> None:
    """Print both curves."""
    print("stories, nine languages: hours a seed, hours a story")
    for stories in STORIES:
        cost = hours(stories, LANGUAGES)
        print(f"{stories:4d} {cost:7.1f} {cost / stories:6.3f}", flush=True)
    print("languages, 100 stories: hours a seed, hours a source language and query language")
    for count in (3, 6, 9):
        cost = hours(100, LANGUAGES[:count])
        print(f"{count:4d} {cost:7.1f} {cost / count**2:6.3f}", flush=True)


if __name__ == "__main__":
    main()
