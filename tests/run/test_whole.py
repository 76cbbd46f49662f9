import json

import pytest

from userllm.errors import UserError
from userllm.run.whole import damage, inventory, needed


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "result.json").write_text(json.dumps({"schema_version": 2}))
    for name in ("config.yaml", "per_user.parquet", "checkpoints/last.ckpt", "log.txt"):
        (tmp_path / name).write_text(name)
    return tmp_path


def test_nothing_is_missing_from_a_folder_as_it_was(folder):
    assert damage(folder, inventory(folder), schema_version=2) == {}


def test_what_changed_is_named_and_what_only_tells_how_it_went_is_not_missed(folder):
    files = inventory(folder)
    (folder / "log.txt").unlink()
    (folder / "config.yaml").unlink()
    (folder / "per_user.parquet").write_text("per")
    lost = damage(folder, files, schema_version=2)
    assert lost == {"config.yaml": "is missing", "per_user.parquet": "has 3 bytes, had 16"}
    assert [name for name in lost if needed("contextualize", files, name)] == ["per_user.parquet"]


@pytest.mark.parametrize("content", ["", '{"schema_version": 2', "[]", '{"schema_version": 1}'])
def test_a_result_that_cannot_be_read_is_lost_even_for_runs_that_noted_no_sizes(folder, content):
    (folder / "result.json").write_text(content)
    assert list(damage(folder, {}, schema_version=2)) == ["result.json"]


def test_a_result_of_a_newer_version_is_not_overwritten(folder):
    (folder / "result.json").write_text('{"schema_version": 3}')
    with pytest.raises(UserError, match=r"schema_version 3, expected 2(.|\n)*newer userllm"):
        damage(folder, {}, schema_version=2)


@pytest.mark.parametrize(
    ("verb", "files", "name", "expected"),
    [
        ("contextualize", ["checkpoints/last.ckpt"], "checkpoints/last.ckpt", False),
        ("pretrain", ["checkpoints/best.ckpt"], "checkpoints/last.ckpt", False),
        ("pretrain", ["checkpoints/best.ckpt"], "checkpoints/best.ckpt", True),
        ("pretrain", ["checkpoints/last.ckpt"], "checkpoints/last.ckpt", True),
        ("prepare", [], "corpus/items.parquet", True),
        ("prepare", [], "config.yaml", False),
    ],
)
def test_a_run_is_made_again_for_what_it_is_for(verb, files, name, expected):
    assert needed(verb, dict.fromkeys(files, 1), name) is expected
