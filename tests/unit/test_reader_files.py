"""Where readers of data sets find rows: every kind of file, the hub, the names of languages."""

import json
import sys
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet
from reader_rows import jsonl, said

from polyunlearn.corpus.readers import rwku
from polyunlearn.corpus.readers.rows import read_table
from polyunlearn.corpus.readers.tags import is_language_folder, known_tag

# Rows of any kind of file


def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path) -> None:
    rows = [{"question": 'Wer, "sagst" du?', "answer": "zwei\nZeilen"}, {"question": "کون؟", "answer": "007"}]
    jsonl(tmp_path / "a.jsonl", rows)
    jsonl(tmp_path / "lines.json", rows)
    (tmp_path / "list.json").write_text(json.dumps(rows), encoding="utf-8")
    (tmp_path / "keyed.json").write_text(json.dumps({"0": rows[0], "1": rows[1]}), encoding="utf-8")
    text = '\ufeffquestion{0}answer\r\n"Wer, ""sagst"" du?"{0}"zwei\nZeilen"\r\nکون؟{0}007\r\n'
    (tmp_path / "a[1].csv").write_text(text.format(","), encoding="utf-8", newline="")
    (tmp_path / "a.tsv").write_text(text.format("\t"), encoding="utf-8", newline="")
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    for path in tmp_path.iterdir():
        assert [row.values for row in read_table(str(path)).rows] == rows, path.name


def test_a_quotation_mark_that_swallows_lines_is_named(tmp_path: Path) -> None:
    """Two cells begin with a mark that ends nowhere in them, so that all between is one cell."""
    path = tmp_path / "a.tsv"
    path.write_text('question\tanswer\n"Nur ein Zitat\tD\nWas ist E?\tE\n"Noch eins\tG\nWas ist F?\tF\n', encoding="utf-8")
    assert said(lambda: read_table(str(path))) == (
        f"{path}: row 2: a quotation mark at the start of a cell joins it to cells on other lines; write it twice, or leave it out"
    )


def test_one_fact_in_several_languages_is_one_row(tmp_path: Path) -> None:
    """By language, or with languages in its columns; and a key that stands twice loses nothing in silence."""
    path = tmp_path / "a.json"
    for row in ({"En": {"q": "a"}, "Fr": {"q": "b"}}, {"prompt": {"en": "a", "fr": "b"}, "answers": {"en": ["c"], "fr": ["d"]}}):
        path.write_text(json.dumps(row), encoding="utf-8")
        assert [own.values for own in read_table(str(path)).rows] == [row]
    path.write_text('{"1": {"q": "a"}, "1": {"q": "b"}}', encoding="utf-8")
    assert "the key '1' stands twice in one object" in said(lambda: read_table(str(path)))


def test_blank_lines_of_a_spreadsheet_count(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n\n3,4\n", encoding="utf-8")
    assert [(row.number, row.values) for row in read_table(str(path)).rows] == [(2, {"a": "1", "b": "2"}), (4, {"a": "3", "b": "4"})]


def test_a_header_in_another_encoding_is_no_traceback(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("réponse,b\n1,2\n".encode("latin-1"))
    assert "not CSV that can be read" in said(lambda: read_table(str(path)))


def test_a_row_knows_where_it_stands(tmp_path: Path) -> None:
    """The line in JSON lines, blank ones counted; the row of a spreadsheet, header counted, in CSV; else from 1."""
    lines = tmp_path / "a.jsonl"
    lines.write_text('{"a": 1}\n\n{"a": 2}\n', encoding="utf-8")
    table = tmp_path / "a.csv"
    table.write_text("a\n1\n2\n", encoding="utf-8")
    listed = tmp_path / "a.json"
    listed.write_text('[{"a": 1}, {"a": 2}]', encoding="utf-8")
    assert [row.at for row in read_table(str(lines)).rows] == [f"{lines}:1", f"{lines}:3"]
    assert [row.at for row in read_table(str(table)).rows] == [f"{table}: row 2", f"{table}: row 3"]
    assert [row.number for row in read_table(str(listed)).rows] == [1, 2]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.jsonl", b'{"a": 1}\nno\n{"a": 2, "a": 3}\n', "{path}:2: not JSON"),
        ("a.jsonl", b'{"a": 1}\nno\n{"a": 2, "a": 3}\n', "{path}:3: the key 'a' stands twice"),
        ("a.jsonl", b"", "{path}: holds no row"),
        ("a.json", b"[]", "{path}: holds no rows"),
        ("a.json", b'[{"a": 1},\n{"a" 2}]', "{path}:2: not JSON"),
        ("a.json", b'[{"a": 1}, 2]', "{path}: row 2: an object is wanted, not int"),
        ("a.json", b'"a"', "{path}: a list of objects is wanted, not str"),
        ("a.json", b"[" * 200_000, "{path}: not JSON that can be read"),
        ("a.json", b"\xff", "{path}: not UTF-8"),
        ("a.csv", b"a,b\n1,2\n3\n", "{path}: not CSV that can be read (CSV parse error: Row #3: Expected 2 columns, got 1"),
        ("a.csv", b"a,b\n\xff,2\n", "{path}: not CSV that can be read"),
        ("a.csv", b"a,a\n1,2\n", "{path}: two columns are called a"),
        ("a.csv", b"a,b\n", "{path}: holds no rows"),
        ("a.csv", b"", "{path}: not CSV that can be read"),
        ("a.parquet", b"PAR1", "{path}: not Parquet that can be read"),
        ("a.txt", b"a", "{path}: of a kind that is not read; give a file that ends in .jsonl"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    assert message.format(path=path) in said(lambda: read_table(str(path)))


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    assert said(lambda: read_table(str(tmp_path))) == f"{tmp_path}: is a folder; give the files in it"
    assert f"{tmp_path / 'b.csv'}: there is no such file" in said(lambda: read_table(str(tmp_path / "b.csv")))


# The hub: folders stand in for data sets, since no test has a network


def test_a_data_set_of_the_hub_is_read_by_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets", reason="the package datasets is not installed")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rows = [{"query": "Wer?", "answer": "Anna", "level": "2"}, {"query": "Wo?", "answer": "Ulm", "level": "2"}]
    jsonl(tmp_path / "one" / "train.jsonl", rows)
    jsonl(tmp_path / "two" / "train.jsonl", rows)
    jsonl(tmp_path / "two" / "test.jsonl", rows[1:])
    only, split = f"hub:{tmp_path / 'one'}", f"hub:{tmp_path / 'two'}::test"
    assert [row.values for row in read_table(only).rows] == rows
    assert [(row.at, row.values) for row in read_table(split).rows] == [(f"{split}: row 1", rows[1])]
    assert [list(claim.editions) for claim in rwku.read([f"de={split}"], {}).claims] == [["de"]]
    assert "has the splits train, test; write hub:" in said(lambda: read_table(f"hub:{tmp_path / 'two'}"))
    assert f"hub:{tmp_path / 'none'}: cannot be loaded" in said(lambda: read_table(f"hub:{tmp_path / 'none'}"))


@pytest.mark.parametrize("name", ["hub:", "hub:a/b:c:d:e"])
def test_a_name_of_the_hub_that_is_none_says_how_to_write_it(name: str) -> None:
    pytest.importorskip("datasets", reason="the package datasets is not installed")
    assert "write hub:OWNER/NAME" in said(lambda: read_table(name))


def test_without_the_package_the_hub_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert said(lambda: read_table("hub:a/b")) == "hub:a/b: needs the package datasets; type: pip install datasets"


# Languages


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        *[("Fr", "fr"), ("zh-CN", "zh"), ("zho_Hans", "zh"), ("iw", "he"), ("arb_Arab", "ar"), ("jpn_Jpan", "ja"), ("kor_Hang", "ko")],
        *[("pes_Arab", "fa"), ("swh_Latn", "sw"), ("pt_BR", "pt"), ("eus_Latn", "eu"), ("ca", "ca")],
        *[(name, None) for name in ("zh_TW", "zho_Hant", "urd_Latn", "ml", "mal_Mlym", "xx", "prompt", "", "de ", "question")],
    ],
)
def test_languages_by_the_names_that_data_sets_use(name: str, tag: str | None) -> None:
    """Another script is another language to a model: Urdu in Latin letters is not the table's."""
    assert known_tag(name) == tag


def test_folders_that_are_languages() -> None:
    assert all(map(is_language_folder, ("fr", "ml", "eng_Latn", "zh-TW")))
    assert not any(map(is_language_folder, ("src", "run", "data", "test", "")))
