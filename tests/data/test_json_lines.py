"""Every line is read whatever the file is packed in, and a bad one is named or counted."""

import gzip

import pytest

from tests.data.reviews import write_lines
from userllm.data import json_lines
from userllm.data.decoding import decode_json
from userllm.data.json_lines import BadLines, Field, first_object, read_columns, read_objects
from userllm.errors import UserError

FIELDS = [Field("id", (str,)), Field("stars", (int, float, type(None)), 0, 5)]
GOOD = [{"id": "a", "stars": 5}, {"id": "b", "stars": 4.5}, {"id": "c", "more": [1]}]


def columns(path, on_bad_line="fail"):
    bad = BadLines(on_bad_line)
    read = [{key: list(value) for key, value in c.items()} for c in read_columns(path, FIELDS, bad)]
    return {key: [v for batch in read for v in batch[key]] for key in ("id", "stars")}, bad.skipped


@pytest.mark.parametrize("name", ["x.json", "x.json.gz", "x.jsonl", "x.jsonl.gz"])
def test_packing_changes_nothing(name, tmp_path):
    path = write_lines(tmp_path / name, GOOD)
    assert columns(path) == ({"id": ["a", "b", "c"], "stars": [5, 4.5, None]}, {})


def test_packed_file_is_known_by_its_content(tmp_path):
    packed = write_lines(tmp_path / "x.json.gz", GOOD)
    assert columns(packed.rename(tmp_path / "x.json"))[0]["id"] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: data.replace(b"\n", b"\n\n"),
        lambda data: data.rstrip(b"\n"),
        lambda data: data.replace(b"{", b" {"),
    ],
    ids=["mark", "windows", "blank lines", "no last line end", "blanks"],
)
def test_other_programs_line_ends_change_nothing(change, tmp_path):
    path = write_lines(tmp_path / "x.json", GOOD)
    path.write_bytes(change(path.read_bytes()))
    assert columns(path) == ({"id": ["a", "b", "c"], "stars": [5, 4.5, None]}, {})


@pytest.mark.parametrize("lines", [1, 2, 3, 4])
def test_batches_change_nothing(lines, monkeypatch, tmp_path):
    path = write_lines(tmp_path / "x.json", [GOOD[0], '{"id": 5}', *GOOD[1:], "garbage"])
    monkeypatch.setattr(json_lines, "BATCH_LINES", lines)
    expected = {"id": ["a", "b", "c"], "stars": [5, 4.5, None]}
    assert columns(path, "skip") == (expected, {"x.json": 2})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("garbage", "no JSON"),
        ("[1]", "expected an object"),
        ('{"id": 111182595077674366891}', "id should be text, found 111182595077674366891"),
        ('{"stars": 5}', "id should be text, found null or nothing"),
        ('{"id": ""}', "id should be text, found ''"),
        ('{"id": "a", "stars": true}', "stars should be a number or null from 0 to 5, found True"),
        ('{"id": "a", "stars": 5.5}', "found 5.5"),
        ('{"id": "a", "stars": "5"}', "found '5'"),
        ('{"id": "a", "stars": NaN}', "NaN"),
    ],
)
def test_bad_line_is_named_or_counted(line, message, tmp_path):
    path = write_lines(tmp_path / "x.json", [*GOOD, line, *GOOD])
    with pytest.raises(UserError) as caught:
        columns(path)
    assert f"{path}, line 4: " in str(caught.value)
    assert message in str(caught.value)
    assert "data.on_bad_line=skip" in str(caught.value)
    assert columns(path, "skip") == (
        {"id": ["a", "b", "c"] * 2, "stars": [5, 4.5, None] * 2},
        {"x.json": 1},
    )


def test_first_of_several_bad_lines_is_named_whatever_is_wrong_with_it(tmp_path):
    for lines in (['{"id": 1}', "garbage"], ["garbage", '{"id": 1}']):
        path = write_lines(tmp_path / "x.json", [*GOOD, *lines])
        with pytest.raises(UserError, match="line 4"):
            columns(path)


def test_file_of_bad_lines_leaves_nothing(tmp_path):
    path = write_lines(tmp_path / "x.json", ["garbage", '{"id": 1}'])
    assert columns(path, "skip") == ({"id": [], "stars": []}, {"x.json": 2})


def test_other_encoding_is_named(tmp_path):
    (tmp_path / "x.json").write_bytes('{"id": "é"}\n'.encode("latin-1"))
    with pytest.raises(UserError, match="line 1: no UTF-8 text"):
        columns(tmp_path / "x.json")


def test_line_that_was_cut_off_says_so(tmp_path):
    path = write_lines(tmp_path / "x.json", GOOD)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UserError, match=r"line 3: .*the file ends here, so it may have been cut"):
        columns(path)


def test_packed_file_that_was_cut_off_is_refused_or_read_so_far(tmp_path):
    path = write_lines(tmp_path / "x.json.gz", GOOD * 10_000)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match="the compressed file is damaged or cut off here"):
        columns(path)
    found, skipped = columns(path, "skip")
    assert set(found["id"]) == {"a", "b", "c"}
    assert skipped == {"x.json.gz": 1}


def test_empty_file_is_refused(tmp_path):
    for name, data in (("x.json", b""), ("x.json.gz", gzip.compress(b""))):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match="is empty"):
            list(read_objects(tmp_path / name, decode_json, BadLines("skip")))


def test_first_object_is_that_of_the_first_good_line(tmp_path):
    assert first_object(write_lines(tmp_path / "x.json", ["garbage", *GOOD])) == GOOD[0]
    assert first_object(write_lines(tmp_path / "y.json", ["garbage"])) == {}
    assert first_object(write_lines(tmp_path / "z.json", [])) == {}
