"""The clauses that `explain` tells, held against the standards' own tables: byte positions (from 0) and clauses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qemu_viso.ondisk import ecma119, ecma119_fields, ecma167_fields, eltorito, gpt, mbr, susp_fields

if TYPE_CHECKING:
    from qemu_viso.ondisk.fields import Structure

# Where each clause's field begins. Fields that are structures themselves have clauses of their own, and are left out.
TABLES: list[tuple[Structure, str, dict[int, int]]] = [
    (
        ecma119.PRIMARY_DESCRIPTOR,
        "8.4",
        {
            0: 1,
            1: 2,
            6: 3,
            7: 4,
            8: 5,
            40: 6,
            72: 7,
            80: 8,
            88: 9,
            120: 10,
            124: 11,
            128: 12,
            132: 13,
            140: 14,
            144: 15,
            148: 16,
            152: 17,
            190: 19,
            318: 20,
            446: 21,
            574: 22,
            702: 23,
            739: 24,
            776: 25,
            813: 26,
            830: 27,
            847: 28,
            864: 29,
            881: 30,
            882: 31,
            883: 32,
            1395: 33,
        },
    ),
    (
        ecma119.SUPPLEMENTARY_DESCRIPTOR,
        "8.5",
        {
            0: 1,
            6: 2,
            7: 3,
            8: 4,
            40: 5,
            88: 6,
            132: 7,
            140: 8,
            144: 9,
            148: 10,
            152: 11,
            190: 13,
            318: 14,
            446: 15,
            574: 16,
            702: 17,
            739: 18,
            776: 19,
        },
    ),
    (
        ecma119.SUPPLEMENTARY_DESCRIPTOR,  # what it has in common with the primary one
        "8.4",
        {
            1: 2,
            72: 7,
            80: 8,
            120: 10,
            124: 11,
            128: 12,
            813: 26,
            830: 27,
            847: 28,
            864: 29,
            881: 30,
            882: 31,
            883: 32,
            1395: 33,
        },
    ),
    (ecma119_fields.BOOT_RECORD, "8.2", {0: 1, 1: 2, 6: 3, 7: 4, 39: 5, 71: 6}),
    (ecma119.TERMINATOR, "8.3", {0: 1, 1: 2, 6: 3, 7: 4}),
    (ecma119_fields.PARTITION_DESCRIPTOR, "8.6", {0: 1, 1: 2, 6: 3, 7: 4, 8: 5, 40: 6, 72: 7, 80: 8, 88: 9}),
    (
        ecma119.DIRECTORY_RECORD,
        "9.1",
        {0: 1, 1: 2, 2: 3, 10: 4, 18: 5, 25: 6, 26: 7, 27: 8, 28: 9, 32: 10},
    ),
    (ecma119_fields.path_table_fields(big_endian=True), "9.4", {0: 1, 1: 2, 2: 3, 6: 4}),
    (ecma167_fields.TAG, "3/7.2", {0: 1, 2: 2, 4: 3, 5: 4, 6: 5, 8: 6, 10: 7, 12: 8}),
    (
        ecma167_fields.PRIMARY,
        "3/10.1",
        {
            16: 2,
            20: 3,
            24: 4,
            56: 5,
            58: 6,
            60: 7,
            62: 8,
            64: 9,
            68: 10,
            72: 11,
            376: 17,
            420: 19,
            484: 20,
            488: 21,
            490: 22,
        },
    ),
    (ecma167_fields.ANCHOR, "3/10.2", {32: 4}),
    (ecma167_fields.POINTER, "3/10.3", {16: 2, 28: 4}),
    (ecma167_fields.IMPLEMENTATION_USE, "3/10.4", {16: 2, 52: 4}),
    (
        ecma167_fields.PARTITION,
        "3/10.5",
        {16: 2, 20: 3, 22: 4, 56: 6, 184: 7, 188: 8, 192: 9, 228: 11, 356: 12},
    ),
    (ecma167_fields.LOGICAL_VOLUME, "3/10.6", {16: 2, 84: 4, 212: 5, 264: 8, 268: 9, 304: 11}),
    (ecma167_fields.PLAIN_MAP, "3/10.7.2", {0: 1, 1: 2, 2: 3, 4: 4}),
    (ecma167_fields.OTHER_MAP, "3/10.7.3", {0: 1, 1: 2}),
    (ecma167_fields.UNALLOCATED_SPACE, "3/10.8", {16: 2, 20: 3}),
    (ecma167_fields.TERMINATING, "3/10.9", {16: 2}),
    (ecma167_fields.INTEGRITY, "3/10.10", {16: 2, 28: 3, 72: 6, 76: 7}),
    (
        ecma167_fields.FILE_SET,
        "4/14.1",
        {16: 2, 28: 3, 30: 4, 32: 5, 36: 6, 40: 7, 44: 8, 112: 10, 304: 12, 336: 13, 368: 14, 480: 19},
    ),
    (ecma167_fields.FILE_IDENTIFIER, "4/14.4", {16: 2, 18: 3, 19: 4, 36: 6}),
    (ecma167_fields.ALLOCATION_EXTENT, "4/14.5", {16: 2, 20: 3}),
    (ecma167_fields.ICB_TAG, "4/14.6", {0: 1, 4: 2, 6: 3, 8: 4, 10: 5, 11: 6, 12: 7, 18: 8}),
    (
        ecma167_fields.FILE_ENTRY,
        "4/14.9",
        {
            36: 3,
            40: 4,
            44: 5,
            48: 6,
            50: 7,
            51: 8,
            52: 9,
            56: 10,
            64: 11,
            72: 12,
            84: 13,
            96: 14,
            108: 15,
            160: 18,
            168: 19,
            172: 20,
        },
    ),
    (
        ecma167_fields.EXTENDED_FILE_ENTRY,
        "4/14.17",
        {
            36: 3,
            40: 4,
            44: 5,
            48: 6,
            50: 7,
            51: 8,
            52: 9,
            56: 10,
            64: 11,
            72: 12,
            80: 13,
            92: 14,
            104: 15,
            116: 16,
            128: 17,
            132: 18,
            200: 22,
            208: 23,
            212: 24,
        },
    ),
    (ecma167_fields.SPACE_BITMAP, "4/14.12", {16: 2, 20: 3}),
    (ecma167_fields.SHORT_AD, "4/14.14.1", {0: 1, 4: 2}),
    (ecma167_fields.PATH_COMPONENT, "4/14.16.1", {0: 1, 1: 2, 2: 3}),
    (ecma167_fields.RECOGNITION, "2/9.1", {0: 1, 1: 2, 6: 3, 7: 4}),
]


@pytest.mark.parametrize(
    ("structure", "clause", "table"), TABLES, ids=[f"{structure.name} {clause}" for structure, clause, _ in TABLES]
)
def test_each_field_has_its_clause(structure: Structure, clause: str, table: dict[int, int]) -> None:
    found = {at: field.clause for at, field in structure.fields if field.clause.startswith(f"{clause}.")}
    assert found == {at: f"{clause}.{number}" for at, number in table.items()}


def test_what_udf_says_of_a_field_has_no_clause_of_ecma_167() -> None:
    behind = [field for at, field in ecma167_fields.LV_INFO.fields if at >= 52]
    assert sum(field.size for field in behind) == 460
    assert {field.clause for field in behind if not field.clause.startswith("1/7.")} == {"UDF 2.2.7.2"}


def test_entries_and_tables_without_clauses_of_their_own() -> None:
    """Rock Ridge's entries in SUSP's and RRIP's documents, El Torito's in its figures, partition tables in UEFI's."""
    entries = {signature.decode(): structure.standard for signature, structure in susp_fields.ENTRIES.items()}
    susp = {"CE": "5.1", "PD": "5.2", "SP": "5.3", "ST": "5.4", "ER": "5.5", "ES": "5.6"}
    rrip = {"PX": "1", "PN": "2", "SL": "3", "NM": "4", "CL": "5.1", "PL": "5.2", "RE": "5.3", "TF": "6", "SF": "7"}
    wanted = {name: f"SUSP {clause}" for name, clause in susp.items()}
    wanted |= {name: f"RRIP 4.1.{clause}" for name, clause in rrip.items()}
    assert {name: entries[name] for name in wanted} == wanted
    figures = (
        eltorito.VALIDATION_ENTRY, eltorito.DEFAULT_ENTRY, eltorito.SECTION_HEADER, eltorito.SECTION_ENTRY,
        eltorito.EXTENSION_ENTRY, eltorito.BOOT_RECORD,
    )  # fmt: skip
    assert [each.standard for each in figures] == [f"El Torito figure {number}" for number in range(2, 8)]
    assert (mbr.RECORD.standard, gpt.HEADER.standard, gpt.ENTRY.standard) == ("UEFI 5.2.1", "UEFI 5.3.2", "UEFI 5.3.3")
