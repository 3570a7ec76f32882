"""Sources that come out of images that others made."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import MissingInputError, RecipeError
from qemu_viso.image import FileSlice
from qemu_viso.tree.nodes import File, Link, Namespace
from tests.judges.reader.image import opened as opened_image
from tests.recipes import opened, write_files
from tests.tree.makers import assert_same, difficult_tree, genisoimage, seen, view, xorrisofs

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("push")
    (folder / "source").mkdir()
    return genisoimage(folder / "p.iso", "-R", "-J", "-joliet-long", "-udf", "-D", difficult_tree(folder / "source"))


def rock_names(tmp_path: Path, *lines: str) -> set[str]:
    return set(view(seen(opened(tmp_path, *lines)).rock))


def test_the_whole_image(image: Path, tmp_path: Path) -> None:
    found = opened(tmp_path, "--strict-attribs", f"--push-iso={image} /=/ --pop")

    with opened_image(image) as old:
        assert_same(old.rock, seen(found).rock, ignore=("links",))


@pytest.mark.parametrize(
    "spec",
    ["/x=/dir/sub", "/x=dir/sub", "/x=/dir/../DIR/./Sub/", "/x=/../../dir/sub", "/x=../dir/sub", "/x=dir\\\\sub"],
)
def test_paths(spec: str, image: Path, tmp_path: Path) -> None:
    assert rock_names(tmp_path, f"--push-iso={image}", spec) == {"/", "/x", "/x/big"}


def test_a_file_without_a_name_of_its_own(image: Path, tmp_path: Path) -> None:
    assert rock_names(tmp_path, f"--push-iso={image}", "dir/exe") == {"/", "/exe"}


def test_after_pop_sources_are_the_hosts(image: Path, tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("mine")
    tree = opened(tmp_path, f"--push-iso={image} /old=readme.txt --pop /new=readme.txt").tree

    old, new = (tree.root.nodes(Namespace.ISO)[name] for name in ("old", "new"))
    assert isinstance(old, File)
    assert isinstance(new, File)
    assert (old.data.size, new.data.size) == (7, 4)


def test_which_names_are_used(image: Path, tmp_path: Path) -> None:
    assert "/LONG_NAM" not in "".join(rock_names(tmp_path, f"--push-iso-no-joliet={image} /=/"))
    # Without Rock Ridge, UDF comes first, which is not to be switched off.
    found = opened(tmp_path, f"--push-iso-no-rock={image} /=/").tree.root.nodes(Namespace.ISO)
    assert not [node for node in found.values() if isinstance(node, Link)]
    assert "MiXeD CaSe.TaR.gz" in found


def test_joliet_and_plain_names(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "A long name.text").write_text("a")
    path = genisoimage(tmp_path / "j.iso", "-R", "-J", tmp_path / "in")

    assert rock_names(tmp_path, f"--push-iso={path} /=/") == {"/", "/A long name.text"}
    assert rock_names(tmp_path, f"--push-iso-no-rock={path} /=/") == {"/", "/A long name.text"}
    assert rock_names(tmp_path, f"--push-iso-no-rock-no-joliet={path} /=/") == {"/", "/A_LONG_N.TEX"}


def test_an_image_in_an_image_in_an_image(tmp_path: Path) -> None:
    content = tmp_path / "content"
    content.write_bytes(b"inmost" * 1000)
    inner = content
    pushes: list[str] = []
    for depth in range(4):
        folder = tmp_path / f"in{depth}"
        folder.mkdir()
        inner.rename(folder / inner.name)
        inner = xorrisofs(tmp_path / f"depth{depth}.iso", "-R", folder)
        pushes.insert(0, f"--push-iso={inner.name}")

    found = opened(tmp_path, *pushes, "/x=content")
    node = found.tree.root.nodes(Namespace.ISO)["x"]

    assert isinstance(node, File)
    assert isinstance(node.data, FileSlice)
    assert node.data.file.name == "depth3.iso"
    assert found.image.read(node.extent * 2048, 6000) == b"inmost" * 1000
    with pytest.raises(RecipeError, match="cannot be pushed on 4 other images"):
        opened(tmp_path, *pushes, "--push-iso=content")


def test_an_import_comes_out_of_the_pushed_image(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    (tmp_path / "one" / "file").write_text("one")
    xorrisofs(tmp_path / "two" / "one.iso", "-R", "-V", "INNER", tmp_path / "one")
    xorrisofs(tmp_path / "two.iso", "-R", "-V", "OUTER", tmp_path / "two")

    found = opened(tmp_path, "--push-iso two.iso --import-iso /ONE.iso --pop")

    assert set(found.tree.root.nodes(Namespace.ISO)) == {"file"}
    assert found.tree.volume_id == "INNER"


def test_what_is_not_there(image: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="'dir/none' is not in the image"):
        opened(tmp_path, f"--push-iso={image} /x=dir/none")
    with pytest.raises(MissingInputError, match="is not a directory"):
        opened(tmp_path, f"--push-iso={image} /x=readme.txt/none")
    with pytest.raises(RecipeError, match=r"is a symbolic link to 'readme\.txt'"):
        opened(tmp_path, f"--push-iso={image} /x=link")
    with pytest.raises(RecipeError, match=r"'dir' in the image .* is no file"):
        opened(tmp_path, f"--push-iso={image} --push-iso=dir")


def test_excluded_names_and_links(image: Path, tmp_path: Path) -> None:
    names = rock_names(tmp_path, "-m 'level*' -x '/*/sub' --ignore-symlinks", f"--push-iso={image} /=/")

    assert not [name for name in names if name.startswith("/level") or name.endswith(("/sub", "link"))]
    assert "/dir/exe" in names


def test_the_recipes_other_files_are_the_hosts(image: Path, tmp_path: Path) -> None:
    (tmp_path / "area").write_bytes(b"area")

    found = opened(tmp_path, f"--push-iso={image} -G area /x=readme.txt")

    assert found.image.read(0, 4) == b"area"


def test_many_sources_out_of_one_image(tmp_path: Path) -> None:
    (tmp_path / "in" / "d").mkdir(parents=True)
    names = [f"file{number}" for number in range(300)]
    for name in names:
        (tmp_path / "in" / "d" / name).write_text(name)
    xorrisofs(tmp_path / "m.iso", "-R", "-no-pad", tmp_path / "in")

    found = rock_names(tmp_path, "--push-iso m.iso", *(f"/{name}=d/{name.upper()}" for name in names), "/all=/")

    assert found >= {f"/{name}" for name in names} | {f"/all/d/{name}" for name in names}


def test_one_image_is_walked_many_times(image: Path, tmp_path: Path) -> None:
    found = rock_names(tmp_path, f"--push-iso={image}", *(f"/copy{number}=/" for number in range(30)))

    assert {f"/copy{number}/readme.txt" for number in range(30)} <= found


# --- chains --------------------------------------------------------------------------------------------------------


def test_sources_by_chains(image: Path, tmp_path: Path) -> None:
    """They begin at the host, whatever is pushed; their image's view is chosen as with `--push-iso`."""
    write_files(tmp_path, {"here": b"here", "in/a long name": b""})
    (tmp_path / "in" / "link").symlink_to("here")
    xorrisofs(tmp_path / "small.iso", "-R", "-J", tmp_path / "in")
    chain = f":iprtvfs:file(stdfile,{image})|vfs(isofs)"
    names = rock_names(
        tmp_path,
        f"--push-iso={image} '/h=:iprtvfs:file(stdfile,here)' '{chain}|readme.txt'",
        f"'/all={chain}' '{chain}|/dir/' --pop",
        "'/rock=:iprtvfs:file(stdfile,small.iso)|vfs(isofs)'",
        "'/joliet=:iprtvfs:file(stdfile,small.iso)|vfs(isofs,norock)'",
        "'/plain=:iprtvfs:file(stdfile,small.iso)|vfs(isofs,nojoliet,norock)'",
    )

    assert {"/h", "/readme.txt", "/all/dir/exe", "/dir/exe"} <= names
    assert {"/rock/a long name", "/rock/link", "/joliet/a long name"} <= names
    assert not {"/joliet/link", "/plain/a long name", "/plain/link"} & names
    with pytest.raises(MissingInputError, match="'none' is not in the image"):
        opened(tmp_path, f"'{chain}|none'")
    with pytest.raises(MissingInputError, match="nothing' does not exist"):
        opened(tmp_path, "'x=:iprtvfs:file(stdfile,nothing)'")


def test_images_by_chains(image: Path, tmp_path: Path) -> None:
    for name in ("i.iso", "file,|.iso"):
        shutil.copyfile(image, tmp_path / name)
    assert "/dir/exe" in rock_names(tmp_path, r"--import-iso ':iprtvfs:file(stdfile,file\,\|.iso)'")
    assert rock_names(tmp_path, "--push-iso ':iprtvfs:file(stdfile,i.iso)' /x=dir") >= {"/x/exe"}
    with pytest.raises(RecipeError, match=r"'readme\.txt' is not an image"):
        opened(tmp_path, "--push-iso ':iprtvfs:file(stdfile,i.iso)|vfs(isofs)|readme.txt'")
