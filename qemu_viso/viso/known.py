"""Options that people know from elsewhere, and why a recipe cannot use them."""

from __future__ import annotations

_HELP = "--help -help -h -?"
_VERSION = "--version -version"
_OUTPUT = "-o --output -output"
_DRY_RUN = "--dry-run -dry-run"

# What belongs to a command line, and not into the description of an image: what is wrong with it, and a hint.
MISPLACED = {
    **dict.fromkeys(
        _HELP.split(),
        ("asks for help, which a recipe cannot give", "leave it out; the command 'qemu-viso --help' gives it"),
    ),
    **dict.fromkeys(
        _VERSION.split(),
        ("asks for a version, which a recipe cannot give", "leave it out; the command 'qemu-viso --version' tells it"),
    ),
    **dict.fromkeys(
        _OUTPUT.split(),
        (
            "names an output file, and a recipe describes an image that is never written",
            "leave it out; the command 'qemu-viso render RECIPE -o FILE' makes a file of the image",
        ),
    ),
    **dict.fromkeys(
        _DRY_RUN.split(),
        (
            "asks for a dry run, and a recipe writes nothing anyway",
            "leave it out; the command 'qemu-viso check RECIPE' tries a recipe",
        ),
    ),
}

# The supported option to use in place of a known one.
INSTEAD = {
    "-appid": "--application-id",
    "-preparer": "--preparer",
    "-joliet": "-J",
    "-generic-boot": "-G",
    "-eltorito-catalog": "-c",
    "-eltorito-platform": "--eltorito-platform-id",
    "-hide-list": "-hide",
    "-hide-joliet-list": "-hide-joliet",
    "-exclude-list": "-m",
    "-old-exclude": "-m",
    "-path-list": "a response file @FILE",
    "-root": "names in the file specs, NAME=SOURCE",
    "-hfs-volid": "--volume-id",
    "-M": "--import-iso",
    "-dev": "--import-iso",
    "-prev-session": "--import-iso",
    "-isohybrid-apm-hfsplus": "-isohybrid-gpt-basdat",
    "-isohybrid-gpt-hfsplus": "-isohybrid-gpt-basdat",
    "-output-charset": "-input-charset utf-8",
    "-jcharset": "-input-charset utf-8",
}

_BOTH_DASHES = """
    allow-limited-size allow-leading-dots ldots allow-lowercase allow-multidot cache-inodes no-cache-inodes
    check-oldnames dvd-video gui hide-joliet-trans-tbl hide-rr-moved max-iso9660-filenames nobak no-bak force-rr no-rr
    no-split-symlink-components no-split-symlink-fields print-size relaxed-filenames split-output use-fileversion
    no-iso-translate hfs apple probe no-desktop mac-name part icon-position chrp-boot hfs-unlock alpha-boot
    hppa-bootloader hppa-cmdline hppa-kernel-32 hppa-kernel-64 hppa-ramdisk mips-boot mipsel-boot sparc-boot
    check-session hide-list hidden hidden-list hide-joliet-list output-charset jcharset jigdo-jigdo jigdo-template
    jigdo-force-md5 jigdo-exclude jigdo-map md5-list jigdo-template-compress log-file exclude-list dev path-list root
    old-root sparc-label stream-file-name sunx86-boot sunx86-label table-name map magic hfs-creator hfs-type
    boot-hfs-file auto hide-hfs hide-hfs-list hfs-volid root-info prep-boot input-hfs-charset output-hfs-charset
    hfs-bless hfs-parms cluster-size jigdo-min-file-size stream-media-size
"""
_VIRTUALBOX_OTHERS = """
    -B -C -d -D -L -M -N -U -z --dont-append-dot --deep-directories --leading-dot --omit-version-numbers
    --untranslated-filenames --transpared-compression --cap --netatalk --double --ethershare --ushare --exchange --sgi
    --xinet --macbin --single --dave --sfm --osx-double --osx-hfs --cd-extra --merge
"""
# Those of mkisofs, genisoimage and xorriso's mkisofs emulation that VirtualBox does not know.
_ELSEWHERE = """
    --acl -allow-missing-files -apm-block-size -append_partition -appended_part_as_apm -appended_part_as_gpt -appid
    --application_use --boot-catalog-hide -cdrecord-params -checksum-list -checksum_algorithm_iso
    -checksum_algorithm_template -chrp-boot-part -data-change-warn -debug -disable-deep-relocation
    -disallow_dir_id_ext -duplicates-once -efi-boot-part -eltorito-catalog -eltorito-id -eltorito-platform
    -eltorito-selcrit --embedded-boot --emul-toc -file_name_limit -find --for_backup -full-iso9660-filenames -g
    -generic-boot --gpt_disk_guid --grub2-boot-info --grub2-mbr --grub2-sparc-core -H --hardlinks -hfs-bless-by
    -hfsplus -hfsplus-block-size -hfsplus-file-creator-type -hfsplus-serial-no -hide-hfsplus -hide-hfsplus-list
    -hppa-hdrversion -i -iso_mbr_part_type -isohybrid-apm-hfsplus -isohybrid-gpt-hfsplus -jigdo-checksum-algorithm
    -jigdo-force-checksum -joliet -joliet-utf16 --mbr-force-bootable --md5 --modification-date -multi --no-emul-toc
    -no-limit-pathtables -no-mac-files --no_rc --norock --old-empty -old-exclude --old-root-devno --old-root-no-ino
    --old-root-no-md5 -omit-period -omit-version-number -part_like_isohybrid -partition_cyl_align -partition_hd_cyl
    -partition_offset -partition_sec_hd -prep-boot-part -preparer -prev-session -print --protective-msdos-label
    --quoted_path_list -report_el_torito -rr_reloc_dir -s --scdbackup_tag --set_all_file_dates --sort-weight
    --sort-weight-list --sort-weight-patterns --stdio_sync -translation-table -transparent-compression -UDF
    -untranslated-filenames -untranslated_name_len -v -verbose -XA -xa --xattr --xattr-any --zisofs-version-2
    --zisofs2-susp-z2 --zisofs2-susp-zf
"""

REFUSED = frozenset(
    [dashes + name for name in _BOTH_DASHES.split() for dashes in ("-", "--")]
    + _VIRTUALBOX_OTHERS.split()
    + _ELSEWHERE.split()
)
