"""A recipe carried out, step by step, on a tree under construction."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from qemu_viso.errors import ConfigurationError, MissingInputError, Place, QemuVisoError, RecipeError
from qemu_viso.image import FileSlice, Literal
from qemu_viso.tree import graft
from qemu_viso.tree.attributes import AttributeRules
from qemu_viso.tree.boot import BootOptions
from qemu_viso.tree.images import ExistingImages
from qemu_viso.tree.naming import NAMESPACES, Naming, rock_path, specified
from qemu_viso.tree.nodes import Attributes, Directory, File, Link, Namespace
from qemu_viso.tree.origin import Clock, HostOrigin, WalkOptions
from qemu_viso.tree.refusals import Refusals
from qemu_viso.tree.tree import BootCatalog, Tree
from qemu_viso.viso import recipe as steps
from qemu_viso.viso.recipe import Name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qemu_viso.image import Content
    from qemu_viso.tree.facts import Facts
    from qemu_viso.tree.naming import Setup
    from qemu_viso.tree.nodes import Node
    from qemu_viso.tree.patterns import Patterns

SYSTEM_AREA_BYTES = 16 * 2048
MBR_CODE_BYTES = 432
TRANS_TBL = "TRANS.TBL"

_DEFAULT_NAMES = (frozenset((Name.ISO, Name.JOLIET, Name.UDF)),)


def build_tree(
    recipe: steps.Recipe, *, environment: Mapping[str, str] | None = None, facts: Facts | None = None
) -> Tree:
    """Carry a recipe out.

    Args:
        recipe: what to do; relative sources are relative to the directory of `recipe.path`.
        environment: where SOURCE_DATE_EPOCH is looked up; the process's own by default.
        facts: is told of what VirtualBox may take otherwise, unless None.

    Raises:
        RecipeError: a step cannot be carried out.
        MissingInputError, AccessError, InputOutputError: a source cannot be read.
        ConfigurationError: SOURCE_DATE_EPOCH is not a number of seconds.
    """
    epoch_ns = source_date_epoch(os.environ if environment is None else environment)
    builder = Builder(recipe, epoch_ns, facts)
    handlers = builder.handlers()
    for step in recipe.steps:
        builder.refuse.place = step.place
        if facts is not None:
            facts.place = step.place
        try:
            handlers[type(step)](step)
        except QemuVisoError as error:
            if error.place is None:
                error.place = step.place
            raise
    return builder.finish()


def source_date_epoch(environment: Mapping[str, str]) -> int | None:
    """SOURCE_DATE_EPOCH in nanoseconds, or None where it is not set."""
    text = environment.get("SOURCE_DATE_EPOCH")
    if text is None or text == "":
        return None
    if not re.fullmatch(r"[0-9]{1,11}", text):
        raise ConfigurationError(
            f"SOURCE_DATE_EPOCH is '{text}', which is not a number of seconds since 1970",
            hint="set it as `date +%s` prints it, or unset it",
        )
    return int(text) * 1_000_000_000


class Builder:
    """The state that steps change: the tree, and the options in force."""

    def __init__(self, recipe: steps.Recipe, epoch_ns: int | None, facts: Facts | None) -> None:
        stem = os.path.splitext(os.path.basename(os.fsencode(recipe.path)))[0].decode(errors="replace")
        self._recipe = recipe
        self._epoch_ns = epoch_ns
        self._facts = facts
        self.rules = AttributeRules()
        self.tree = Tree(stem, Directory(self.rules.new_directory(), None))
        self.tree.base = os.path.dirname(recipe.path) or "."
        self.tree.steps = recipe.steps
        self.tree.warnings.extend(recipe.warnings)
        self._walk = WalkOptions()
        self._clock = Clock(epoch_ns)
        special = None if facts is None else facts.special
        self._host = HostOrigin(self.tree.base, self._walk, self._clock, self.tree.warnings, special)
        self._names: Setup = _DEFAULT_NAMES
        self.refuse = Refusals(self.tree.settings)
        self._naming = Naming(self.tree, self.rules, self.refuse, facts)
        self._boot = BootOptions(self.rules.new_file)
        self._images = ExistingImages(
            self.tree, self.rules, self._clock, self._walk, self._host, self._boot, self.refuse, facts
        )
        self._catalog_named: Place | None = None
        self._patterns = _patterns(recipe)
        self._given: set[tuple[Namespace, steps.VolumeField]] = set()

    def handlers(self) -> dict[type[steps.Step], Callable[[Any], None]]:
        """Which method carries out which step."""
        boot = self._boot
        settings = self.tree.settings
        return {
            steps.AddSource: self.add_source,
            steps.Remove: self.remove,
            steps.Rename: self.rename,
            steps.SetNames: self.set_names,
            steps.SetNamesFromImport: self.set_names_from_import,
            steps.ImportIso: self.import_iso,
            steps.PushIso: self._images.push,
            steps.PopIso: lambda _: self._images.pop(),
            steps.Exclude: lambda step: self._walk.exclude(step.pattern),
            steps.Hide: self.hide,
            steps.Sort: self.sort,
            steps.FollowLinks: lambda _: setattr(self._walk, "follow_links", True),
            steps.IgnoreLinks: lambda step: setattr(self._walk, "ignore_links", step.ignore),
            steps.SetIsoLevel: lambda step: setattr(settings, "iso_level", step.level),
            steps.LongNames: lambda _: setattr(settings, "iso_level", min(settings.iso_level, 2)),
            steps.SetRockRidge: lambda step: setattr(settings, "rock_ridge", step.level),
            steps.SetJoliet: lambda step: setattr(settings, "joliet", step.level),
            steps.SetUdf: lambda step: setattr(settings, "udf", step.on),
            steps.SetPadding: lambda step: setattr(settings, "padding", step.sectors),
            steps.WriteTransTbl: lambda _: setattr(settings, "trans_tbl", True),
            steps.SetText: self.set_text,
            steps.SetVolumeSet: self.set_volume_set,
            steps.SetAttributeStyle: lambda step: self.rules.set_style(strict=step.strict),
            steps.ForceMode: self.force_mode,
            steps.SetNewDirectoryMode: lambda step: setattr(self.rules, "default_directory_mode", step.mode),
            steps.ForceOwner: lambda step: self.rules.force_owner(step.uid, step.gid),
            steps.ChangeMode: self.change_mode,
            steps.ChangeOwner: self.change_owner,
            steps.BootImage: self.boot_image,
            steps.BootAddImage: self.boot_add_image,
            steps.BootEfiImage: lambda step: boot.efi_image(
                step.path, step.place, self.look_up, new_entry=step.new_entry
            ),
            steps.BootNewEntry: lambda step: boot.new_entry(step.place),
            steps.BootPlatform: lambda step: boot.platform(step.platform),
            steps.BootMedia: lambda step: setattr(boot.current(step.place), "media", step.media),
            steps.BootNotBootable: lambda step: setattr(boot.current(step.place), "bootable", False),
            steps.BootLoadSegment: lambda step: setattr(boot.current(step.place), "load_segment", step.segment),
            steps.BootLoadSize: lambda step: setattr(boot.current(step.place), "load_sectors", step.sectors),
            steps.BootInfoTable: lambda step: setattr(boot.current(step.place), "info_table", True),
            steps.BootCatalog: self.boot_catalog,
            steps.SystemArea: self.system_area,
            steps.IsohybridMbr: self.isohybrid_mbr,
            steps.IsohybridGpt: lambda step: setattr(boot.current(step.place), "in_gpt", True),
        }

    # --- names ---------------------------------------------------------------------------------------------------

    def active(self) -> frozenset[Namespace]:
        """The namespaces that the name set-up in force speaks of."""
        return frozenset(NAMESPACES[name] for names in self._names for name in names if name in NAMESPACES)

    def add_source(self, step: steps.AddSource) -> None:
        """Put a source into the tree, under each of its names."""
        try:
            origin, source = self._images.through(step.source)
            node = origin.node(source, self.rules)
        except MissingInputError as error:
            if step.source.startswith("#"):
                error.hint = "a recipe has no comments; a response file (@FILE) may have them"
            raise
        if self._facts is not None:
            self._facts.source(node, source, self.tree.settings)
        if self._patterns is not None:
            self._patterns.source(node, source)
        self._naming.put(node, step.names, source, self._names, step.place)

    def remove(self, step: steps.Remove) -> None:
        """Take names away."""
        removed = False
        off = frozenset(namespace for namespace in Namespace if not self.tree.settings.is_on(namespace))
        for path, namespaces in specified(step.names, self._names):
            names = graft.components(path)
            if not names:
                raise RecipeError(
                    f"'{path}' is the root directory, which cannot be removed",
                    hint="remove what is in it, name by name",
                )
            removed |= graft.remove(self.tree.root, names, namespaces, off, self.refuse)
        if step.must_exist and not removed:
            shown = "', '".join(path for path in step.names if path is not None)
            raise RecipeError(
                f"'{shown}' is not in the image, so it cannot be removed",
                hint="put it behind what adds it; ':remove:' is for names that may be missing",
            )

    def rename(self, step: steps.Rename) -> None:
        """Move what one path leads to, to another path, in each namespace."""
        rock = rock_path(step.to_names, self._names)
        pairs = tuple(
            None if old is None or new is None else (old, new)
            for old, new in zip(step.from_names, step.to_names, strict=True)
        )
        for (from_path, to_path), namespaces in specified(pairs, self._names):
            names, target = graft.components(from_path), graft.components(to_path)
            if to_path.endswith("/") and names:
                target.append(names[-1])
            if not names or not target:
                raise RecipeError(
                    f"'{to_path if names else from_path}' is the root directory, and --rename leaves that as it is",
                    hint="rename what is in it, name by name",
                )
            graft.rename(self.tree.root, names, target, namespaces, self.refuse)
            if rock is not None and Namespace.ISO in namespaces:
                self._naming.name_in_rock_ridge(target, rock, step.place)

    def set_names(self, step: steps.SetNames) -> None:
        """What the names of a file spec mean from here on."""
        self._names = step.specifiers

    def set_names_from_import(self, _: steps.SetNamesFromImport) -> None:
        """One name for all namespaces that hold something."""
        held = frozenset(name for name, namespace in NAMESPACES.items() if self.tree.root.nodes(namespace))
        if not self.tree.settings.joliet:
            held -= {Name.JOLIET}
        if not self.tree.settings.udf:
            held -= {Name.UDF}
        if not held:
            raise RecipeError(
                "--name-setup-from-import cannot tell the namespaces of an image that is still empty",
                hint="put it after --import-iso",
            )
        self._names = (held,)

    def hide(self, step: steps.Hide) -> None:
        """Remember a pattern of names that are to be invisible in one namespace."""
        assert self._patterns is not None
        self._patterns.hide(step.pattern, NAMESPACES[step.name])

    def sort(self, step: steps.Sort) -> None:
        """Read a file of paths and weights."""
        assert self._patterns is not None
        self._patterns.read_weights(self._host.file(step.path))

    def import_iso(self, step: steps.ImportIso) -> None:
        """Take over everything that an image holds."""
        self._naming.begin()
        self._naming.named |= self._images.take_over(step, self._given)

    def look_up(self, path: str) -> Node | None:
        """What a path leads to, in the first namespace that has it."""
        names = graft.components(path)
        for namespace in Namespace:
            node = graft.find(self.tree.root, names, namespace)
            if node is not None:
                return node
        return None

    # --- texts and attributes ------------------------------------------------------------------------------------

    def set_text(self, step: steps.SetText) -> None:
        """A descriptor's text, in the active namespaces."""
        for namespace in self.active():
            self.tree.settings.texts[namespace][step.field] = step.value
            self._given.add((namespace, step.field))

    def set_volume_set(self, step: steps.SetVolumeSet) -> None:
        """Size of the volume set, and the volume's number in it."""
        settings = self.tree.settings
        if step.size is not None:
            settings.volume_set_size = step.size
        if step.sequence is not None:
            settings.volume_sequence = step.sequence

    def force_mode(self, step: steps.ForceMode) -> None:
        """Force permission bits; that needs full Rock Ridge, so it turns it on."""
        self.rules.force_mode(step.kind, step.mode)
        if step.mode is not None:
            self.tree.settings.rock_ridge = 2

    def _attribute_targets(self, path: str) -> list[Node]:
        names = graft.components(path)
        # A namespace has a root once something is named in it.
        namespaces = frozenset(filter(self.tree.settings.is_on, self.active() & self._naming.named))
        found = [graft.find(self.tree.root, names, namespace) for namespace in sorted(namespaces)]
        targets = list({id(node): node for node in found if node is not None}.values())
        if not targets:
            raise RecipeError(
                f"'{path}' is not in the image, so its attributes cannot be changed",
                hint="the option must come after the file spec that adds it",
            )
        if self._facts is not None:
            for node in targets:
                self._facts.changed(path, node, namespaces)
        return targets

    def change_mode(self, step: steps.ChangeMode) -> None:
        """`--chmod`."""
        for node in self._attribute_targets(step.path):
            mode = node.attributes.mode
            for clause in step.clauses:
                mode = clause.apply(mode, directory=isinstance(node, Directory))
            node.attributes = node.attributes._replace(mode=mode)

    def change_owner(self, step: steps.ChangeOwner) -> None:
        """`--chown` and `--chgrp`."""
        for node in self._attribute_targets(step.path):
            _, uid, gid = node.attributes
            node.attributes = Attributes(
                node.attributes.mode,
                uid if step.uid is None else step.uid,
                gid if step.gid is None else step.gid,
            )

    # --- boot ----------------------------------------------------------------------------------------------------

    def boot_image(self, step: steps.BootImage) -> None:
        """`-b`: boot from what is in the image, or will be."""
        if self._facts is not None and step.place.file != self._recipe.path:
            self._facts.boot_image(step.path, is_there=self.look_up(step.path) is not None)
        self._boot.name_image(step.path, step.place, self.look_up)

    def boot_add_image(self, step: steps.BootAddImage) -> None:
        """Add a file, and boot from it."""
        entry = self._boot.claim(step.place)
        origin, source = self._images.through(step.source)
        node = origin.node(source, self.rules)
        if not isinstance(node, File):
            raise RecipeError(
                f"the boot image '{step.source}' is not a file", hint="name a file, as in /boot.img=boot.img"
            )
        if self._facts is not None:
            self._facts.source(node, source, self.tree.settings)
        if self._patterns is not None:
            self._patterns.source(node, source)
        self._naming.put(node, step.names, source, self._names, step.place)
        entry.image = node

    def boot_catalog(self, step: steps.BootCatalog) -> None:
        """`-c`: name the boot catalog; a name that it has there already is given up."""
        path = next((path for path in step.names if path is not None and path.endswith("/")), None)
        if path is not None:
            raise RecipeError(
                f"'{path}' ends in a slash, and the boot catalog is a file",
                hint=f"for instance {path}boot.cat",
            )
        catalog = self._boot.catalog()
        for _, namespaces in specified(step.names, self._names):
            graft.unname(self.tree.root, catalog, namespaces)
            self._boot.catalog_named |= namespaces
        if any(path is not None for path in step.names):
            self._naming.put(catalog, step.names, "the boot catalog", self._names, step.place)
        self._catalog_named = step.place

    def system_area(self, step: steps.SystemArea) -> None:
        """`-G`: the first 32 KiB of a file."""
        self.tree.system_area = self._head(step.source, SYSTEM_AREA_BYTES)

    def isohybrid_mbr(self, step: steps.IsohybridMbr) -> None:
        """`-isohybrid-mbr`: boot code for a disk."""
        self.tree.isohybrid_mbr = self._head(step.source, MBR_CODE_BYTES)

    def _head(self, source: str, size: int) -> Content:
        file = self._host.file(source)
        if file.size == 0:
            raise RecipeError(f"'{source}' is empty", hint="name a file that has content, or leave the option out")
        return FileSlice(file, 0, min(size, file.size))

    # --- the end -------------------------------------------------------------------------------------------------

    def finish(self) -> Tree:
        """What remains to be done when all steps are carried out."""
        tree = self.tree
        self.refuse.finish()
        tree.time_ns = self._epoch_ns if self._epoch_ns is not None else self._clock.newest_ns
        self._finish_boot()
        self._images.finish()
        tree.folders = self._host.folders
        if tree.settings.joliet and Namespace.JOLIET not in self._naming.named:
            tree.settings.joliet = 0
        if tree.settings.udf and Namespace.UDF not in self._naming.named:
            tree.settings.udf = False
        if not self._naming.named and tree.boot is None:
            raise RecipeError(
                "the recipe puts nothing into the image",
                place=Place(self._recipe.path, 1, 1),
                hint="add a file spec, such as '/readme.txt=readme.txt' or '/=folder'",
            )
        if self._patterns is not None:
            tree.weights = self._patterns.weights(tree.root)
            self._patterns.take_names(tree.root)
        self._naming.check_rock_names()
        if self._facts is not None:
            self._facts.finish(tree)
        self._warn_of_links()
        if tree.settings.trans_tbl:
            self._add_tables()
        return tree

    def _warn_of_links(self) -> None:
        if self.tree.settings.rock_ridge:
            return
        links = [path for path, node in self.tree.walk(Namespace.ISO) if isinstance(node, Link)]
        if links:
            many = f"'{links[0]}' and {len(links) - 1} more" if len(links) > 1 else f"'{links[0]}'"
            self.tree.warnings.append(f"links need Rock Ridge, which is off: {many} are left out of the ISO 9660 tree")

    def _add_tables(self) -> None:
        """A TRANS.TBL for each directory that has none; its lines are the layout's business."""
        attributes = self.rules.new_file()
        found = (node for _, node in self.tree.walk(Namespace.ISO) if isinstance(node, Directory))
        for directory in [self.tree.root, *found]:
            if directory.listings[Namespace.ISO].find(TRANS_TBL) is None:
                table = File(Literal(b"", TRANS_TBL), attributes, None)
                next(directory.own_listings(frozenset((Namespace.ISO,)))).add(TRANS_TBL, table)
                self.tree.tables.append((directory, table))

    def _finish_boot(self) -> None:
        entries = self._boot.finish(self.look_up)
        if not entries:
            if self._catalog_named is not None:
                raise RecipeError(
                    "there is a boot catalog, which -c names, and no boot image",
                    place=self._catalog_named,
                    hint="give one with -b PATH or --eltorito-add-image SPEC",
                )
            return
        self.tree.boot = BootCatalog(entries, self._boot.catalog())


def _patterns(recipe: steps.Recipe) -> Patterns | None:
    """What `-hide` and `-sort` match with, where a recipe has one of them; few have."""
    if {steps.Hide, steps.Sort}.isdisjoint(map(type, recipe.steps)):
        return None
    from qemu_viso.tree.patterns import Patterns

    return Patterns()
