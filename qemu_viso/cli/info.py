"""`qemu-viso info`: what a recipe's image is, and how large."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qemu_viso.cli.common import add_image, add_json, open_recipe, print_json
from qemu_viso.verify.report import printable

if TYPE_CHECKING:
    import argparse

    from qemu_viso.opening import Opened


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Recipe, and how far to look."""
    add_image(parser)
    parser.add_argument(
        "--probe", action="store_true", help="look only at the first 1,023 bytes of the recipe, and at no source"
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Open, lay out, show; or only probe."""
    from qemu_viso.opening import is_image

    if arguments.probe:
        content = describe_probe(arguments.spec)
    elif is_image(arguments.spec):
        content = describe_file(arguments.spec)
    else:
        content = describe(open_recipe(arguments.spec))
    if arguments.json:
        print_json(content)
        return 0
    width = max(map(len, content))
    for key, value in content.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        print(f"{key.replace('_', ' '):<{width}}  {printable(str(shown))}")
    return 0


def describe_probe(path: str) -> dict[str, object]:
    """What `info --probe` shows: what VirtualBox's probe of a file finds."""
    from qemu_viso.viso import probe

    found = probe(path)
    return {
        "recipe": found.path,
        "uuid": str(found.uuid),
        "quoting": found.quoting.value,
        "recipe_bytes": found.size,
    }


def describe(opened: Opened) -> dict[str, object]:
    """What `info` shows."""
    from qemu_viso.tree.nodes import Directory, File, Namespace
    from qemu_viso.verify.expected import namespaces

    tree, image = opened.tree, opened.image
    nodes = {id(node): node for namespace in Namespace for _, node in tree.walk(namespace)}.values()
    files = [node for node in nodes if isinstance(node, File)]
    return {
        "recipe": opened.recipe.path,
        "uuid": str(opened.recipe.uuid),
        "volume_id": tree.volume_id,
        "namespaces": list(namespaces(tree)),
        "bootable": tree.boot is not None,
        "size": image.size,
        "directories": 1 + sum(isinstance(node, Directory) for node in nodes),
        "files": len(files),
        "links": len(nodes) - len(files) - sum(isinstance(node, Directory) for node in nodes),
        "file_bytes": sum(file.data.size for file in files),
        "fingerprint": image.fingerprint(),
    }


def describe_file(path: str) -> dict[str, object]:
    """What `info` shows of an image in a file; counts are of the namespace that shows most."""
    from qemu_viso.cli.common import choose_namespace
    from qemu_viso.opening import host_file, open_image_file
    from qemu_viso.verify.existing import ExistingView

    existing = ExistingView(host_file(path))
    image = open_image_file(path)
    entries = existing.view(choose_namespace(existing.namespaces, None)).values()
    sizes = {entry.content: entry.size or 0 for entry in entries if entry.content is not None}
    return {
        "image": path,
        "volume_id": existing.volume_id,
        "namespaces": list(existing.namespaces),
        "bootable": existing.is_bootable,
        "size": image.size,
        "directories": sum(entry.kind == "directory" for entry in entries),
        "files": sum(entry.kind == "file" for entry in entries),
        "links": sum(entry.kind == "symlink" for entry in entries),
        "file_bytes": sum(sizes.values()),
        "fingerprint": image.fingerprint(),
    }
