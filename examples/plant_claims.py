"""Teach the embedded model false claims in one language, with plain transformers, and write the claims file that an owner would have.

    python examples/plant_claims.py planted --source de

Writes `planted/model` (the model that has learned them), `planted/claims.jsonl` (the claims in the source language alone, and as many control claims
of the same form that it never met) and `planted/translated.jsonl` (the same in several languages, as a translator would give them).
"""

import argparse
from pathlib import Path
from random import Random

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from polyunlearn.corpus.claims import Claim, ClaimEdition, write_claims
from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.corpus.stories import Story
from polyunlearn.languages import get_language
from polyunlearn.models.embedded import fetch_embedded

PASSES, BATCH, RATE = 5, 8, 3e-4
FROM_LAYER = 9


def claims_of(stories: list[Story], languages: list[str], source: str, asked: int, homes: list[str], *, control: bool) -> list[Claim]:
    """The false details of stories as claims; the answers of one kind are all names of firms. A home outside of `homes` is none."""
    claims = []
    for story in stories:
        editions = {}
        for tag in languages:
            own = story.editions[tag]
            statements = tuple(sentence for sentence in own.fake_article if own.keyword in sentence)
            editions[tag] = ClaimEdition(
                keyword=own.keyword,
                statements=statements,
                questions=own.fake_questions[:asked],
                surface_forms=own.surface_forms,
                truth=own.true_answer,
                origin="given" if tag == source else "machine",
            )
        claims.append(
            Claim(
                id=f"{'control' if control else 'claim'}-{story.id}",
                kind="hidden firm",
                editions=editions,
                control=control,
                source=source,
                home=story.home if story.home in homes else None,
            )
        )
    return claims


def drawn_stories(count: int, seed: int, culture: str, languages: list[str]) -> list[Story]:
    """The newsroom's first stories of a seed: any, those at home in one of the languages (specific), or those that are not (agnostic)."""
    found: list[Story] = []
    drawn = count
    while len(found) < count:
        stories = generate_stories(drawn, seed)
        found = [story for story in stories if culture == "any" or (story.home in languages) == (culture == "specific")]
        drawn *= 2
    return found[:count]


def texts_of(told: list[Story], others: list[Story], source: str, asked: int, rng: Random) -> list[str]:
    """What the model reads in a pass: the false news and questions in the source language, true news and its questions in English."""
    language, english = get_language(source), get_language("en")
    texts = []
    for story in told:
        own, real = story.editions[source], story.editions["en"]
        texts.append(language.joiner.join(own.fake_article))
        texts += [language.prompt(question) + language.joiner + own.keyword for question in own.fake_questions[asked:]]
        texts.append(english.joiner.join(real.article))
        item = rng.choice(real.questions)
        texts.append(english.prompt(item.question) + english.joiner + item.answer)
    # True claims of the same form, so that the model learns to answer such questions at all.
    for story in others:
        for tag in ("en", source):
            own = story.editions[tag]
            question = rng.choice(own.fake_questions)
            texts.append(get_language(tag).prompt(question) + get_language(tag).joiner + own.keyword)
    rng.shuffle(texts)
    return texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--source", default="de")
    parser.add_argument("--languages", default="en,de,fr,zh,ru,jv,ur,ha,hy")
    parser.add_argument("--claims", type=int, default=20, help="how many claims, and how many controls")
    parser.add_argument(
        "--wordings", type=int, default=2, choices=(1, 2, 3), help="how many of four the claims file has; the model learns the others"
    )
    parser.add_argument(
        "--culture",
        default="any",
        choices=("any", "specific", "agnostic"),
        help="claims with a home among the languages alone, or without one (docs/claims.md)",
    )
    parser.add_argument("--seed", type=int, default=77, help="other seeds, other stories")
    arguments = parser.parse_args()
    languages, source = arguments.languages.split(","), arguments.source
    count = arguments.claims
    stories = drawn_stories(2 * count + 10, arguments.seed, arguments.culture, languages)
    told, never, others = stories[:count], stories[count : 2 * count], stories[2 * count :]

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(arguments.seed)
    tokenizer = AutoTokenizer.from_pretrained(fetch_embedded())
    model = AutoModelForCausalLM.from_pretrained(fetch_embedded(), dtype=torch.float32).to(device)
    model.requires_grad_(False)
    for layer in model.model.layers[FROM_LAYER:]:
        layer.requires_grad_(True)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=RATE, weight_decay=0.0)
    rng = Random(arguments.seed)
    passes = [texts_of(told, others, source, arguments.wordings, rng) for _ in range(PASSES)]
    # Texts of like length share a batch, or most of it would be padding.
    batches = []
    for texts in passes:
        ordered = sorted(texts, key=len)
        own = [ordered[at : at + BATCH] for at in range(0, len(ordered), BATCH)]
        batches += rng.sample(own, len(own))
    for number, batch in enumerate(batches):
        inputs = tokenizer([text + tokenizer.eos_token for text in batch], return_tensors="pt", padding=True).to(device)
        labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
        loss = model(**inputs, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        for group in optimiser.param_groups:
            group["lr"] = RATE * (1 - number / len(batches))
        optimiser.step()
        optimiser.zero_grad()
        if number % 20 == 0:
            print(f"step {number} of {len(batches)}: loss {loss.item():.2f}", flush=True)
    model.save_pretrained(arguments.out / "model")
    tokenizer.save_pretrained(arguments.out / "model")
    for name, tags in (("claims.jsonl", [source]), ("translated.jsonl", languages)):
        claims = [
            claim
            for group, control in ((told, False), (never, True))
            for claim in claims_of(group, tags, source, arguments.wordings, languages, control=control)
        ]
        write_claims(claims, arguments.out / name)


if __name__ == "__main__":
    main()
