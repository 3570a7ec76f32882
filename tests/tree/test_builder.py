"""Steps of recipes carried out, as far as the measured cases leave them open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import ConfigurationError, RecipeError
from qemu_viso.tree.builder import build_tree, source_date_epoch
from qemu_viso.tree.nodes import Directory, File, Namespace
from qemu_viso.viso import read_recipe
from qemu_viso.viso.recipe import VolumeField
from tests.recipes import opened, write_files, write_recipe
from tests.tree.makers import genisoimage

if TYPE_CHECKING:
    from pathlib import Path

    from qemu_viso.tree.tree import Tree

FILES = {"a": b"aaa", "d/b": b"bbb", "d/sub/c": b"ccc"}


def tree(folder: Path, *lines: str) -> Tree:
    return opened(folder, *lines, files=FILES).tree


def paths(found: Tree, namespace: Namespace = Namespace.ISO) -> set[str]:
    return {path for path, _ in found.walk(namespace)}


def mode(found: Tree, path: str) -> int:
    return dict(found.walk(Namespace.ISO))[path].attributes.mode


def test_implied_directories_have_the_mode_asked_for(tmp_path: Path) -> None:
    found = tree(tmp_path, "--new-dir-mode 0700 /x/y/a=a --dir-mode 0711 /z/a=a")

    assert (mode(found, "/x"), mode(found, "/x/y"), mode(found, "/z")) == (0o700, 0o700, 0o711)


def test_the_root_has_the_mode_of_its_time(tmp_path: Path) -> None:
    """The root is made with the first name, as a directory that is implied (sections D7 and F7)."""
    write_files(tmp_path, {"t/x": b"x"})
    genisoimage(tmp_path / "t.iso", "-R", tmp_path / "t")
    for line, wanted in (
        ("--dir-mode=0700 d/h=a", 0o700),
        ("--new-dir-mode=0711 /a=a --new-dir-mode=0700 /b=a", 0o711),
        ("--dir-mode=0700 --import-iso t.iso", 0o700),
        ("--import-iso t.iso --dir-mode=0700 /a=a", 0o555),
        ("--dir-mode=0700 --eltorito-add-image /a=a", 0o700),
        ("--new-dir-mode=0700 /=d", 0o755 & ~0o222),
        ("/a=a --chmod 0711:/ --new-dir-mode=0700 /b=a", 0o711),
    ):
        assert tree(tmp_path, line).root.attributes.mode == wanted, line
    root = tree(tmp_path, "-uid 7 -gid 8 /a=a").root
    assert root.attributes == (0o555, 7, 8)


def test_chmod_and_chown_count_from_their_place_on(tmp_path: Path) -> None:
    found = tree(tmp_path, "/a=a --chmod 0600:/A --chmod u+x,g=u:/a --chown 0x10:/a --chgrp 010:/a")

    node = dict(found.walk(Namespace.ISO))["/a"]
    assert node.attributes == (0o770, 16, 8)
    with pytest.raises(RecipeError, match="'/b' is not in the image"):
        tree(tmp_path, "--chmod 0600:/b /b=a")


def test_implied_directories_are_not_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qemu_viso.tree.naming.IMPLIED_DIRECTORIES", 4)
    assert len(paths(tree(tmp_path, "/a/b/a=a /a/c/a=a /d/b=a /=d"))) == 10
    with pytest.raises(RecipeError, match="implies more than 4 directories") as refused:
        tree(tmp_path, "/a/b/a=a /a/c/a=a", "/d/b=a /e/b=a")
    assert (refused.value.place.line, refused.value.place.column) == (3, 8) if refused.value.place else False


def test_attributes_change_in_active_namespaces_that_are_on(tmp_path: Path) -> None:
    """What is in no such namespace has nothing to change, and that is an error (section I3)."""
    setup = "--name-setup iso,udf /A=/X=a --name-setup"
    for line in (f"{setup} udf --chmod 0700:/X", f"--no-joliet /b=a {setup} joliet --chown 1:/b"):
        with pytest.raises(RecipeError, match="' is not in the image"):
            tree(tmp_path, line)
    assert mode(tree(tmp_path, f"--udf {setup} udf --chmod 0700:/X"), "/A") == 0o700
    assert mode(tree(tmp_path, f"{setup} iso,udf --chmod 0700:/A"), "/A") == 0o700


def test_the_root_has_attributes_once_there_is_something(tmp_path: Path) -> None:
    assert tree(tmp_path, "/a=a --chmod 0700:/").root.attributes.mode == 0o700
    for line in ("--chmod 0700:/ /a=a", "--name-setup iso /a=a --name-setup joliet --chown 1:/"):
        with pytest.raises(RecipeError, match="'/' is not in the image"):
            tree(tmp_path, line)


def test_texts_go_to_the_active_namespaces(tmp_path: Path) -> None:
    found = tree(tmp_path, "--volume-id=BOTH --name-setup iso,joliet /a=a --name-setup joliet --publisher JOLIET")

    texts = found.settings.texts
    assert texts[Namespace.ISO] == {VolumeField.VOLUME_ID: "BOTH"}
    assert texts[Namespace.JOLIET] == {VolumeField.VOLUME_ID: "BOTH", VolumeField.PUBLISHER_ID: "JOLIET"}


def test_the_volume_id_is_the_recipes_stem_by_default(tmp_path: Path) -> None:
    write_files(tmp_path, FILES)
    path = write_recipe(tmp_path, "/a=a", name="My Disc.viso")

    assert build_tree(read_recipe(path), environment={}).volume_id == "My Disc"


def test_a_namespace_that_nothing_is_named_in_is_not_there(tmp_path: Path) -> None:
    assert tree(tmp_path, "--name-setup iso /a=a").settings.joliet == 0
    assert tree(tmp_path, "--udf --name-setup iso,joliet /a=a").settings.udf is False
    assert tree(tmp_path, "--udf /a=a").settings.udf is True


def test_rename_keeps_the_name_where_the_target_is_a_directory(tmp_path: Path) -> None:
    assert paths(tree(tmp_path, "/=d --rename /b /sub/")) == {"/sub", "/sub/b", "/sub/c"}


def test_hide_and_sort(tmp_path: Path) -> None:
    write_files(tmp_path, {"weights": b"d/sub/c 5\n\na -1\n"})
    found = tree(tmp_path, "/a=a /=d -hide-joliet b -sort weights")

    assert paths(found) == {"/a", "/b", "/sub", "/sub/c"}
    assert paths(found, Namespace.JOLIET) == {"/a", "/sub", "/sub/c"}
    nodes = dict(found.walk(Namespace.ISO))
    files = sorted(
        ((node.extent, path) for path, node in nodes.items() if isinstance(node, File)),
    )
    assert [path for _, path in files] == ["/sub/c", "/b", "/a"]
    write_files(tmp_path, {"weights": b"a 1\nno weight here\n"})
    with pytest.raises(RecipeError, match="is not a path and a weight") as caught:
        tree(tmp_path, "/a=a -sort weights")
    assert caught.value.place is not None
    assert caught.value.place.line == 2


def test_the_root_cannot_be_removed_or_renamed(tmp_path: Path) -> None:
    for line in ("/=:remove:", "--rename / /x", "--rename / /"):
        with pytest.raises(RecipeError, match="root directory"):
            tree(tmp_path, f"/a=a {line}")


def test_a_source_without_a_name_is_told_of(tmp_path: Path) -> None:
    found = tree(tmp_path, "/a=a =d")

    assert [warning for warning in found.warnings if "'d' has no name in the image" in warning]


def test_the_root_takes_the_attributes_of_the_directory_that_becomes_it(tmp_path: Path) -> None:
    write_files(tmp_path, FILES)
    (tmp_path / "d").chmod(0o750)

    assert tree(tmp_path, "--strict-attribs /=d").root.attributes.mode == 0o750
    assert tree(tmp_path, "--strict-attribs --name-setup iso,joliet /=d").root.attributes.mode == 0o750
    assert tree(tmp_path, "--strict-attribs --name-setup iso,joliet =/a=a /=/x=d").root.attributes.mode == 0o750
    assert tree(tmp_path, "--strict-attribs /a=a /=d").root.attributes.mode == 0o555
    assert (
        tree(tmp_path, "--strict-attribs --name-setup iso /a=a --name-setup iso,joliet /=d").root.attributes.mode
        == 0o555
    )


def test_source_date_epoch() -> None:
    assert source_date_epoch({}) is None
    assert source_date_epoch({"SOURCE_DATE_EPOCH": ""}) is None
    assert source_date_epoch({"SOURCE_DATE_EPOCH": "12"}) == 12_000_000_000
    for text in ("now", "-1", "1.5", "9" * 12):
        with pytest.raises(ConfigurationError, match="is not a number of seconds"):
            source_date_epoch({"SOURCE_DATE_EPOCH": text})


def test_the_epoch_clamps_all_times(tmp_path: Path) -> None:
    write_files(tmp_path, FILES)
    recipe = read_recipe(write_recipe(tmp_path, "/=d"))

    found = build_tree(recipe, environment={"SOURCE_DATE_EPOCH": "1000"})

    assert found.time_ns == 1_000_000_000_000
    assert {node.mtime_ns for _, node in found.walk(Namespace.ISO)} == {1_000_000_000_000}
    assert isinstance(found.root, Directory)


def test_a_table_in_each_directory(tmp_path: Path) -> None:
    found = opened(tmp_path, "-T /=d /trans.tbl=a", files=FILES)

    assert paths(found.tree) == {"/b", "/trans.tbl", "/sub", "/sub/c", "/sub/TRANS.TBL"}
    assert "/sub/TRANS.TBL" not in paths(found.tree, Namespace.JOLIET)
    table = dict(found.tree.walk(Namespace.ISO))["/sub/TRANS.TBL"]
    assert isinstance(table, File)
    assert found.image.read(table.extent * 2048, table.data.size) == b"F C.;1        \tc\n"


@pytest.mark.parametrize("name", ["/d/.", "/d/./", "/d/sub/..", "/D/./sub/../"])
def test_a_name_that_ends_in_dots_is_a_directory_that_is_there(tmp_path: Path, name: str) -> None:
    assert "/d/c" in paths(tree(tmp_path, f"/d=d {name}=d/sub"))
    for other in ("/x/.", "/x/..", "/d/b/.", "/d/sub/x/.."):
        with pytest.raises(RecipeError, match="nothing new can be called"):
            tree(tmp_path, f"/d=d {other}=d/sub")


@pytest.mark.parametrize("name", ["/.", "/..", "/./", "/d/.", "/d/..", "/x/."])
def test_no_file_is_named_with_dots(tmp_path: Path, name: str) -> None:
    for line in (f"/d=d {name}=a", f"/d=d --eltorito-add-image {name}=a"):
        with pytest.raises(RecipeError, match="nothing new can be called"):
            tree(tmp_path, line)
    for line in (f"/d=d --rename /d/b {name}", f"/d=d -b /d/b -c {name}"):
        with pytest.raises(RecipeError, match="nothing can be called"):
            tree(tmp_path, line)


def test_the_root_by_other_names(tmp_path: Path) -> None:
    """`/.` and `/..` are the root once there is one; slashes alone always are."""
    for line in ("//=d", "/=.  //=d", "/a=a /.=d", "/a=a /..=d", "/a=a //./=d"):
        assert "/b" in paths(tree(tmp_path, line))
    for line in ("/.=d", "/..=d"):
        with pytest.raises(RecipeError, match="nothing new can be called"):
            tree(tmp_path, line)


def test_rename_of_two_names_to_one(tmp_path: Path) -> None:
    setup = "--name-setup iso,joliet"
    found = tree(tmp_path, f"{setup} /A=/long=a --rename /A=/long /C=/C")
    assert paths(found) == paths(found, Namespace.JOLIET) == {"/C"}

    found = tree(tmp_path, f"{setup} /a=a --rename /a=/a /B=/long")
    assert (paths(found), paths(found, Namespace.JOLIET)) == ({"/B"}, {"/long"})


def test_namespaces_that_are_off_refuse_nothing(tmp_path: Path) -> None:
    """Names that are for a namespace that is off are passed over, whatever they are (sections D3 and D9)."""
    files = {"t/dir/x": b"x"}
    write_files(tmp_path, files)
    genisoimage(tmp_path / "t.iso", "-R", "-J", tmp_path / "t")
    for line in ("/a=a --import-iso t.iso --rename /dir /e", "--import-iso t.iso /a=a --rename /dir /e"):
        assert paths(tree(tmp_path, line)) == {"/a", "/e", "/e/x"}

    clashes = (
        "/A=/X=a /B=/X=d/b",
        "/A=/X=a /B=/X/b=d/b",
        "/A=/X/y=d /B/y=/X=d --rename /A=/X /C=/X/y",
        "/A=/X=a /B=/Y=a --rename /A=/X /C=/Y",
        "/A=/X=a /B=/=d /C=/X/b=a /D=/b=a",
    )
    for line in clashes:
        found = tree(tmp_path, f"--name-setup iso,udf {line}")
        assert paths(found), line
        assert paths(tree(tmp_path, f"--no-joliet --name-setup iso,joliet {line}")) == paths(found)
        for on in ("--udf --name-setup iso,udf", "--name-setup iso,joliet"):
            with pytest.raises(RecipeError):
                tree(tmp_path, f"{on} {line}")
        with pytest.raises(RecipeError, match=r"already has|not a directory|below itself") as refused:
            tree(tmp_path, f"--name-setup iso,udf {line} --udf")
        assert refused.value.place is not None
        assert refused.value.place.line == 2
        assert refused.value.place.column > len("--name-setup iso,udf ")


def test_what_is_missing_in_a_namespace_that_is_on_cannot_be_renamed(tmp_path: Path) -> None:
    for line in ("--rename /X=/none /Y=/Y", "--rename /X=/X /Y=/none/Y"):
        with pytest.raises(RecipeError, match="'/none"):
            tree(tmp_path, f"--name-setup iso,joliet /X=/X=a {line}")
        assert paths(tree(tmp_path, f"--no-joliet --name-setup iso,joliet /X=/X=a {line}")) == {"/Y"}


def test_equal_rock_ridge_names_where_that_is_off(tmp_path: Path) -> None:
    line = "--name-setup iso,rr /A=/X=a /B=/X=a"
    assert paths(tree(tmp_path, f"--no-rock-ridge {line}")) == {"/A", "/B"}
    with pytest.raises(RecipeError, match="in Rock Ridge"):
        tree(tmp_path, line)


def test_removing_from_a_namespace_that_is_off_removes_nothing_elsewhere(tmp_path: Path) -> None:
    line = "--name-setup iso,udf /A=/X=a /B=/Y=a --name-setup udf"
    assert paths(tree(tmp_path, f"{line} /X=:remove:")) == {"/A", "/B"}
    assert paths(tree(tmp_path, f"--udf {line} /X=:remove:")) == {"/B"}
    with pytest.raises(RecipeError, match="cannot be removed"):
        tree(tmp_path, f"{line} /X=:must-remove:")


@pytest.mark.parametrize(
    ("line", "iso", "udf"),
    [
        ("--name-setup iso,udf /A=/X=a /B=/Y=a --name-setup udf /X=:remove:", {"/A", "/B"}, {"/Y"}),
        (
            "--name-setup iso,udf /A=/X=a --name-setup udf /X=:remove: /X=d",
            {"/A"},
            {"/X", "/X/b", "/X/sub", "/X/sub/c"},
        ),
        ("/d=d --name-setup udf /D/sub=:remove:", {"/d", "/d/b", "/d/sub", "/d/sub/c"}, {"/d", "/d/b"}),
        ("--name-setup iso,udf /A=/X=a /X=/B=a --name-setup iso+udf /X=:remove:", {"/A"}, set()),
        ("--no-joliet --name-setup iso,joliet,udf /A=/J=/U=a --name-setup joliet /J=:remove: --joliet", {"/A"}, set()),
        ("--udf --name-setup iso,joliet,udf /A=/J=/U=a --no-joliet --name-setup joliet /J=:remove:", {"/A"}, {"/U"}),
    ],
)
def test_what_is_removed_is_not_there_when_its_namespace_is_turned_on_later(
    tmp_path: Path, line: str, iso: set[str], udf: set[str]
) -> None:
    """VirtualBox has nothing there: names that come while a namespace is off are not in it."""
    found = tree(tmp_path, f"{line} --udf")

    assert (paths(found), paths(found, Namespace.UDF)) == (iso, udf)


def test_the_catalog_cannot_be_removed_from_a_namespace_that_is_turned_on_later(tmp_path: Path) -> None:
    line = "--name-setup iso,udf -c /C=/U --eltorito-add-image /A=/A=a --name-setup udf /U=:remove:"
    assert paths(tree(tmp_path, line)) == {"/A", "/C"}
    with pytest.raises(RecipeError, match="'/U' is the boot catalog") as refused:
        tree(tmp_path, f"{line} --udf")
    assert refused.value.place is not None
    assert (refused.value.place.line, refused.value.place.column) == (2, line.index("/U=:remove:") + 1)


def test_the_root_has_no_rock_ridge_name(tmp_path: Path) -> None:
    assert paths(tree(tmp_path, "--name-setup iso,rr,joliet /=/x=/=d")) == {"/b", "/sub", "/sub/c"}


# --- the boot catalog ----------------------------------------------------------------------------------------------


def test_the_catalog_is_there_from_the_option_that_names_it(tmp_path: Path) -> None:
    found = tree(
        tmp_path, "/=d -b /b -c /sub/x.cat --chmod 0640:/sub/x.cat --chown 7:/sub/X.CAT --rename /sub/x.cat /y"
    )

    node = dict(found.walk(Namespace.ISO))["/y"]
    assert found.boot is not None
    assert node is found.boot.file
    assert node.attributes == (0o640, 7, 0)
    assert "/sub/x.cat" not in paths(found)
    for line in ("-c /x /x=a", "-c /X/y /x=a", "/x=a -c /x"):
        with pytest.raises(RecipeError, match=r"already has|not a directory"):
            tree(tmp_path, f"/=d -b /b {line}")


def test_the_catalog_cannot_be_removed_but_its_directory_can(tmp_path: Path) -> None:
    for word in (":remove:", ":must-remove:"):
        with pytest.raises(RecipeError, match=r"'/X/boot.CAT' is the boot catalog"):
            tree(tmp_path, f"/=d -b /b -c /x/boot.cat /X/boot.CAT={word}")

    found = tree(tmp_path, "/=d -b /b -c /x/boot.cat /x=:remove:")
    assert paths(found) == {"/b", "/sub", "/sub/c"}
    assert found.boot is not None
    assert found.boot.file.extent > 0


def test_the_catalog_has_one_name_in_each_namespace(tmp_path: Path) -> None:
    found = tree(tmp_path, "/=d -b /b -c /one -c /two --name-setup joliet -c /three --name-setup iso -c /four")

    assert paths(found) == {"/b", "/sub", "/sub/c", "/four"}
    assert paths(found, Namespace.JOLIET) == {"/b", "/sub", "/sub/c", "/three"}
    assert paths(found, Namespace.UDF) == {"/b", "/sub", "/sub/c", "/two"}


def test_a_blank_name_leaves_the_catalog_as_it_is(tmp_path: Path) -> None:
    found = tree(tmp_path, "/=d -b /b -c /x -c '' --name-setup iso,joliet -c /y=")

    assert (paths(found) - paths(found, Namespace.JOLIET), found.warnings) == ({"/y"}, [])
    assert "/x" in paths(found, Namespace.JOLIET)


def test_the_catalog_has_the_mode_of_the_first_boot_option(tmp_path: Path) -> None:
    found = tree(tmp_path, "/=d --file-mode 0400 -b /b --file-mode 0600 -c /x")

    assert mode(found, "/x") == 0o400
