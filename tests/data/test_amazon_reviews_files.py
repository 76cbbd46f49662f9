"""The files of a category are found wherever they are, and errors say what to type."""

import pytest

from tests.data.reviews import (
    AMAZON_WRITERS,
    PRODUCTS,
    amazon,
    counted,
    review_rows,
    write_2014,
    write_2018,
    write_2023,
)
from userllm.data import download
from userllm.errors import UserError

ROW = review_rows(PRODUCTS)[0]


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.delenv("USERLLM_DATA", raising=False)
    monkeypatch.setattr(download, "connection_problem", lambda url, seconds: "no route to host")


def complaint(folder, **changes) -> str:
    with pytest.raises(UserError) as caught:
        amazon(folder, **changes).read()
    return str(caught.value)


@pytest.mark.parametrize("name", ["reviews_Movies_and_TV.json", "reviews_Movies_and_TV_5.jsonl"])
def test_files_may_be_unpacked_or_the_core(name, tmp_path):
    write_2014(tmp_path, name)
    assert amazon(tmp_path).read().events.height == len(review_rows(PRODUCTS))


def test_core_is_read_when_it_is_asked_for_or_alone(tmp_path):
    write_2014(tmp_path)
    write_2014(tmp_path, "reviews_Movies_and_TV_5.json.gz", rows=[ROW])
    assert amazon(tmp_path, core=True).read().events.height == 1
    assert amazon(tmp_path).read().events.height > 1
    (tmp_path / "reviews_Movies_and_TV.json.gz").unlink()
    assert amazon(tmp_path).read().events.height == 1
    assert "data.core=false" in complaint(tmp_path, core=False)


def test_release_is_known_by_what_is_in_the_file(tmp_path):
    write_2023(tmp_path, "Movies_and_TV.json")
    assert "2023" in amazon(tmp_path).read().provenance["source"].replace("'23", "2023")


def test_several_releases_in_a_folder_must_be_told_apart(tmp_path):
    write_2018(tmp_path)
    write_2023(tmp_path)
    assert "type data.release=<one of: 2018, 2023>" in complaint(tmp_path)
    for release in (2018, 2023):
        raw = amazon(tmp_path, release=release).read()
        assert all(str(release)[2:] in raw.provenance["source"] for _ in raw.provenance["files"])
        assert not counted(raw) or "reviewed items without metadata" not in counted(raw)
    assert "data.release=2014" in complaint(tmp_path, release=2014)


def test_missing_metadata_is_named(tmp_path):
    write_2018(tmp_path)
    (tmp_path / "meta_Movies_and_TV.json.gz").unlink()
    message = complaint(tmp_path)
    assert "lacks meta_Movies_and_TV.json.gz" in message
    assert "metaFiles2/meta_Movies_and_TV.json.gz" in message


def test_other_category_is_suggested(tmp_path):
    write_2014(tmp_path)
    assert "did you mean 'Movies_and_TV'?" in complaint(tmp_path, category="Movies_and_TVs")
    with pytest.raises(UserError, match="did you mean 'Digital_Music'"):
        amazon(None, category="Digital_Musik", cache=str(tmp_path)).read()


def test_folder_without_reviews_says_what_was_expected_and_found(tmp_path):
    (tmp_path / "holiday.jpg").touch()
    message = complaint(tmp_path)
    assert "reviews_Movies_and_TV.json.gz (2014)" in message
    assert "found holiday.jpg" in message
    assert "is not a folder" in complaint(tmp_path / "nowhere")


def test_own_folder_goes_before_a_download(monkeypatch, tmp_path):
    monkeypatch.setenv("USERLLM_DATA", str(tmp_path))
    write_2014(tmp_path / "amazon_reviews")
    assert amazon(None, cache=str(tmp_path)).read().events.height
    with pytest.raises(UserError, match=r"(?s)only of Movies_and_TV.*And .*Books.*no route"):
        amazon(None, category="Books", cache=str(tmp_path)).read()


@pytest.mark.parametrize(
    ("release", "core", "reviews", "metadata"),
    [
        (None, None, "categoryFiles/reviews_Movies_and_TV", "categoryFiles/meta_Movies_and_TV"),
        (2014, True, "categoryFiles/reviews_Movies_and_TV_5", "categoryFiles/meta_Movies_and_TV"),
        (2018, False, "v2/categoryFiles/Movies_and_TV", "metaFiles2/meta_Movies_and_TV"),
        (2018, True, "categoryFilesSmall/Movies_and_TV_5", "metaFiles2/meta_Movies_and_TV"),
        (2023, None, "review_categories/Movies_and_TV", "meta_categories/meta_Movies_and_TV"),
    ],
)
def test_release_is_downloaded_once(release, core, reviews, metadata, monkeypatch, tmp_path):
    AMAZON_WRITERS[release or 2014](tmp_path / "web")
    fetched = []

    def fetch(url, md5, folder):
        fetched.append(url)
        name = url.rpartition("/")[2]
        source = tmp_path / "web" / name.replace("_5", "")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(source.read_bytes())
        return folder / name

    monkeypatch.setattr(download, "connection_problem", lambda url, seconds: None)
    monkeypatch.setattr(download, "fetch", fetch)
    for _ in range(2):
        raw = amazon(None, release=release, core=core, cache=str(tmp_path / "cache")).read()
    ending = ".jsonl.gz" if release == 2023 else ".json.gz"
    assert [url.rpartition("data/")[2] for url in fetched]
    assert len(fetched) == 2
    assert fetched[0].endswith(reviews + ending)
    assert fetched[1].endswith(metadata + ending)
    assert raw.provenance["url"] == ", ".join(fetched)
    assert "publisher gives none" in raw.provenance["checksums"]
    assert all(len(digest) == 64 for digest in raw.provenance["files"].values())


def test_download_out_of_reach_says_what_to_type(tmp_path):
    with pytest.raises(UserError, match=r"snap\.stanford.*no route to host.*data\.dir=<folder"):
        amazon(None, cache=str(tmp_path)).read()
    with pytest.raises(UserError, match="no 5-core"):
        amazon(None, release=2023, core=True, cache=str(tmp_path)).read()
