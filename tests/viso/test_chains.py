"""Chains of VirtualBox's file system providers."""

from __future__ import annotations

import pytest

from qemu_viso.errors import RecipeError
from qemu_viso.viso import recipe as r
from qemu_viso.viso.chains import Chain, parse_chain
from qemu_viso.viso.specs import BadValueError, parse_spec
from tests.viso.recipes import body

ISO = "file(stdfile,a.iso)|vfs(isofs)"


@pytest.mark.parametrize(
    ("text", "chain"),
    [
        ("file(stdfile,a b)", Chain("a b")),
        ("file(stdfile,/a.iso,r)", Chain("/a.iso")),
        (ISO, Chain("a.iso", in_image=True)),
        (f"{ISO}|/d/x", Chain("a.iso", in_image=True, path="/d/x")),
        ("file(stdfile,a.iso):vfs(isofs):x", Chain("a.iso", in_image=True, path="x")),
        ("file(stdfile,a.iso)|vfs(isofs,norock)|x", Chain("a.iso", in_image=True, rock=False, path="x")),
        (
            "file(stdfile,a.iso)|vfs(isofs,nojoliet,norock)|x",
            Chain("a.iso", in_image=True, joliet=False, rock=False, path="x"),
        ),
        (r"file(stdfile,a\,\(b\)\\c\|d)", Chain("a,(b)\\c|d")),
        (rf"{ISO}|x\:\{{\}}\|y\z", Chain("a.iso", in_image=True, path="x:{}|yz")),
    ],
)
def test_what_a_chain_leads_to(text: str, chain: Chain) -> None:
    assert parse_chain(f":iprtvfs:{text}") == chain


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "has ''"),
        ("a.iso", r"has 'a\.iso' in it, which is not supported: only file\(stdfile,FILE\)"),
        ("file(stdfile)", r"has 'file\(stdfile\)'"),
        ("file(stdfile,)", r"has 'file\(stdfile,\)'"),
        ("file(stdfile,a,w)", r"has 'file\(stdfile,a,w\)'"),
        ("file(gunzip,a)", r"has 'file\(gunzip,a\)'"),
        ("ios(stdfile,a)", r"has 'ios\(stdfile,a\)'"),
        ("file(stdfile,a)|ios(gunzip)", r"has 'ios\(gunzip\)' in it, which is not supported: only vfs\(isofs\)"),
        ("file(stdfile,a)|vfs(fat)|x", r"has 'vfs\(fat\)'"),
        ("file(stdfile,a)|x", "has 'x' in it"),
        ("file(stdfile,a)|vfs(isofs,noudf)|x", r"has 'vfs\(isofs,noudf\)'"),
        (f"{ISO}|iso(open,x)", r"has 'iso\(open,x\)' in it, which is not supported: only one path in the image"),
        (f"{ISO}|x|ios(gunzip)", r"has 'ios\(gunzip\)'"),
        (f"{ISO}|x|y", "has 'y'"),
        (f"{ISO}|", "has ''"),
        ("file(stdfile,a", "not closed"),
        ("file(stdfile,a)b", r"'b' cannot be behind 'file\(stdfile,a\)'"),
        ("file(stdfile,(a))", r"'\(' cannot be behind 'file\(stdfile,'"),
        ("file)", r"'\)' cannot be behind 'file'"),
        ("file(stdfile,{a})", "'{' cannot be behind"),
    ],
)
def test_what_is_refused(text: str, wrong: str) -> None:
    with pytest.raises(BadValueError, match=wrong) as caught:
        parse_chain(f":iprtvfs:{text}")
    assert "--push-iso FILE" in (caught.value.hint or "")


def test_the_name_is_the_paths() -> None:
    source = f":iprtvfs:{ISO}|d/x"
    assert parse_spec(source, 1) == (("/x",), source)
    assert parse_spec(f"y={source}", 1) == (("/y",), source)
    for text in ("file(stdfile,a)", ISO):
        with pytest.raises(BadValueError, match="no name of its own"):
            parse_spec(f":iprtvfs:{text}", 1)


@pytest.mark.parametrize("option", ["-G", "-sort", "-isohybrid-mbr"])
def test_files_of_the_host(option: str) -> None:
    with pytest.raises(RecipeError, match="is a chain, and a file of the host is needed here"):
        body(f"{option} :iprtvfs:{ISO}|x")


@pytest.mark.parametrize("option", ["--import-iso", "--push-iso", "--eltorito-add-image"])
def test_options_that_take_one(option: str) -> None:
    [step] = body(f"{option} :iprtvfs:{ISO}|x").steps

    assert isinstance(step, r.ImportIso | r.PushIso | r.BootAddImage)
    with pytest.raises(RecipeError, match=r"has 'vfs\(fat\)' in it"):
        body(f"{option} :iprtvfs:file(stdfile,a)|vfs(fat)|x")
