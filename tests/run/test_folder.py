import pytest
from omegaconf import OmegaConf

from userllm.config import load
from userllm.errors import UserError
from userllm.run.folder import identity, write_text
from userllm.run.reference import find_runs, pin, record_member, resolve, study_members


def of(*overrides, verb="pretrain"):
    return identity(verb, load(verb, overrides).config)


@pytest.mark.parametrize(
    "override",
    ["name=x", "group=x", "paths.runs=x", "paths.cache=x", "logger=wandb", "threads=1"],
)
def test_labels_and_places_are_no_part_of_what_a_run_is(override):
    assert of(override) == of()


def test_how_weights_are_read_is_no_part_either():
    assert of("pack_weights=false", verb="contextualize") == of(verb="contextualize")


@pytest.mark.parametrize(
    "override", ["seed=1", "data.users=5", "training.steps=3", "history=7", "trainer.devices=2"]
)
def test_everything_else_is_part_of_what_a_run_is(override):
    assert of(override) != of()


def test_a_size_that_a_stage_does_not_use_is_no_part_of_it():
    assert of("size.context_steps=9") == of()
    assert of("size.encoder_width=16") != of()
    assert of("size.encoder_width=16", verb="prepare") == of(verb="prepare")
    assert of("size.pretrain_steps=9", verb="contextualize") != of(verb="contextualize")


def test_a_whole_number_and_the_same_float_are_one_run():
    assert identity("pretrain", {"a": 1}) == identity("pretrain", OmegaConf.create({"a": 1.0}))


def make(runs, verb, name, state="finished"):
    folder = runs / verb / name
    folder.mkdir(parents=True)
    (folder / "status.json").write_text(f'{{"state": "{state}"}}')
    return folder


def test_a_reference_finds_the_one_finished_run_with_or_without_its_hash(tmp_path):
    folder = make(tmp_path, "pretrain", "demo-00000001")
    make(tmp_path, "pretrain", "demo-00000002", "failed")
    assert resolve("run:pretrain/demo", tmp_path, "pretrain") == folder
    assert resolve("run:pretrain/demo-00000001", tmp_path) == folder
    assert resolve(str(folder), tmp_path, "pretrain") == folder


def test_a_reference_to_several_runs_lists_them(tmp_path):
    make(tmp_path, "pretrain", "demo-00000001")
    make(tmp_path, "pretrain", "demo-00000002")
    with pytest.raises(UserError, match=r"2 finished runs(.|\n)*run:pretrain/demo-00000002"):
        resolve("run:pretrain/demo", tmp_path)


def test_a_reference_to_no_run_suggests_the_nearest(tmp_path):
    make(tmp_path, "pretrain", "demo-00000001")
    with pytest.raises(UserError, match="did you mean 'demo-00000001'"):
        resolve("run:pretrain/dmeo-00000001", tmp_path)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("run:pretrain/cut", "is not finished(.|\n)*cut-00000001: interrupted"),
        ("run:contextualize/x", "no finished contextualize run"),
        ("encoder.ckpt", "names no run"),
        ("run:prepare/data", "expected run:pretrain/"),
    ],
)
def test_a_reference_that_cannot_be_used_says_why(tmp_path, reference, message):
    make(tmp_path, "pretrain", "cut-00000001", "interrupted")
    make(tmp_path, "prepare", "data-00000001")
    verb = "pretrain" if "prepare" in reference else None
    with pytest.raises(UserError, match=message):
        resolve(reference, tmp_path, verb)


def test_references_are_pinned_to_one_folder(tmp_path):
    make(tmp_path, "pretrain", "demo-00000001")
    config = {"encoder": {"checkpoint": "run:pretrain/demo"}, "name": "demo"}
    pinned = pin(config, tmp_path)
    assert pinned["encoder"]["checkpoint"] == "run:pretrain/demo-00000001"
    assert pinned["name"] == "demo"


def test_words_name_runs_by_folder_pattern_study_and_reference(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = tmp_path / "runs"
    one = make(runs, "contextualize", "one-00000001")
    two = make(runs, "contextualize", "two-00000002", "failed")
    corpus = make(runs, "prepare", "data-00000003")
    record_member(runs, "grid", two)
    assert find_runs([str(one)], runs) == [one]
    assert find_runs(["contextualize/*"], runs) == [one, two]
    assert find_runs(["runs/contextualize/t*"], runs) == [two]
    assert find_runs([f"{runs}/contextualize/o*"], runs) == [one]
    assert find_runs(["grid", "run:contextualize/one"], runs) == [two, one]
    assert corpus not in find_runs(["runs"], runs)
    assert find_runs(["runs/contextualize"], runs) == [one, two]
    with pytest.raises(UserError, match="studies: grid"):
        find_runs(["gird"], runs)


def test_membership_of_a_study_is_recorded_once(tmp_path):
    member = tmp_path / "pretrain" / "demo-00000001"
    record_member(tmp_path, "grid", member)
    record_member(tmp_path, "grid", member)
    assert study_members(tmp_path, "grid") == [member]
    assert len((tmp_path / "studies" / "grid.jsonl").read_text().splitlines()) == 1


def test_a_file_that_cannot_be_written_whole_keeps_its_old_content(tmp_path, monkeypatch):
    path = tmp_path / "status.json"
    write_text(path, "old")

    def full(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_is_called_by_its_method_where_it_has_one():
    from userllm.run.folder import default_name

    choices = {"data": "movielens", "task": "review", "context": "text_prompt"}
    assert default_name("contextualize", {"seed": 1}, choices) == "movielens-review-text_prompt-s1"
    named = default_name("contextualize", {"seed": 1}, {**choices, "method": "tp10"})
    assert named == "movielens-review-tp10-s1"
