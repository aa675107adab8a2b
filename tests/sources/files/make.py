"""Makes the files of this folder with the programs that people have; their bytes are kept.

python -m venv made && made/bin/pip install openpyxl pandas pyarrow
made/bin/python tests/sources/files/make.py

LibreOffice Calc (`soffice`) makes those that begin with `libreoffice`. Dumps of databases and
files of old programs are written here byte by byte, as their manuals have them.
"""

import io
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pyarrow as pa
from openpyxl.chart import BarChart, Reference
from pyarrow import parquet

HERE = Path(__file__).parent


def workbook(name: str, rows: list[list[Any]]) -> tuple[openpyxl.Workbook, Any, Path]:
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    for row in rows:
        sheet.append(row)
    return book, sheet, HERE / name


def with_openpyxl() -> None:
    rows: list[list[Any]] = [["input", "profile", "size_bytes"]]
    rows += [[f"s3://media/{n}.mov", "web", 1000 + n] for n in range(1, 6)]
    book, sheet, path = workbook("openpyxl-filtered.xlsx", rows)
    sheet.auto_filter.ref = "A1:C6"
    sheet.row_dimensions[3].hidden = True
    sheet.column_dimensions["C"].hidden = True
    book.save(path)

    book, sheet, path = workbook("openpyxl-hidden-sheet.xlsx", [["input"], ["s3://media/old.mov"]])
    sheet.sheet_state = "hidden"
    very = book.create_sheet("Lists")
    very.append(["input"])
    very.sheet_state = "veryHidden"
    tonight = book.create_sheet("Tonight")
    for value in ("input", "s3://media/new.mov"):
        tonight.append([value])
    book.active = 2
    book.save(path)

    rows = [["input", "metadata.show", "size_bytes"], ["s3://media/1.mov", "A", "=6*7"]]
    rows += [['="s3://media/"&"2.mov"', "B", 1], ["s3://media/3.mov", '="C"', 1]]
    book, _, path = workbook("openpyxl-formulas.xlsx", rows)
    book.save(path)

    book, sheet, path = workbook("openpyxl-charts.xlsx", [[1], [2]])
    chart = BarChart()
    chart.add_data(Reference(sheet, min_col=1, min_row=1, max_row=2))
    book.create_chartsheet("Figures").add_chart(chart)
    sheet.sheet_state = "hidden"
    book.save(path)

    rows = [["input", "Profile", "metadata.show"]]
    rows += [[f"s3://media/{n}.mov", "Podcast" if n == 1 else None, "Pilot"] for n in range(1, 5)]
    book, sheet, path = workbook("openpyxl-merged.xlsx", rows)
    sheet.merge_cells("B2:B4")
    sheet.merge_cells("C2:C5")
    sheet.merge_cells("A9:C9")
    book.save(path)

    rows = [["Films of tonight"], ["as of", "2026-01-31"], []]
    rows += [["Input", " KIND ", "Size Bytes", "metadata.title", None, None]]
    rows += [["s3://media/1.mov", "Video", 48230912.0, "One\nline and two", None, "ask Ann"]]
    rows += [[None, None, None, None, None, "Ann: 555"], ["s3://media/2.mov", "image", "#N/A"]]
    book, _, path = workbook("openpyxl-report.xlsx", rows)
    book.save(path)


def of_other_forms() -> None:
    book, _, path = workbook("excel-strict.xlsx", [["input"], ["s3://media/1.mov"]])
    out = io.BytesIO()
    book.save(out)
    main = b"http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    with zipfile.ZipFile(out) as plain, zipfile.ZipFile(path, "w") as strict:
        for part in plain.namelist():
            content = plain.read(part)
            strict.writestr(
                part, content.replace(main, b"http://purl.oclc.org/ooxml/spreadsheetml/main")
            )
    book, _, path = workbook("excel-damaged.xlsx", [["input"], ["s3://media/1.mov"]] * 40)
    book.save(path)
    damaged = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        at = archive.getinfo("xl/worksheets/sheet1.xml").header_offset + 90
    damaged[at : at + 40] = b"\xff" * 40
    path.write_bytes(damaged)


def with_pandas() -> None:
    frame = pd.DataFrame(
        {
            "input": ["s3://media/1.mov", "s3://media/2.mov", "s3://media/3.mov"],
            "kind": ["video", None, float("nan")],
            "etag": ["e1", None, "e3"],
            "size_bytes": [48230912, None, 7],
            "metadata.show": ["Pilot", None, "Ünder"],
            "taken": pd.to_datetime(
                pd.Series(["2026-01-01 10:00:00.123456789", None, "2026-01-02"]), format="mixed"
            ),
        }
    )
    frame.to_csv(HERE / "pandas.csv")
    frame.to_csv(HERE / "pandas-nulls.csv", na_rep="NULL", index=False)
    frame.to_csv(HERE / "pandas-nan.tsv", sep="\t", na_rep="NaN", index=False)
    frame.to_json(HERE / "pandas.jsonl", orient="records", lines=True)
    frame.drop(columns="taken").to_excel(HERE / "pandas.xlsx", index=False)
    frame.rename(columns={"taken": "metadata.taken"}).to_parquet(HERE / "pandas.parquet")


def with_pyarrow() -> None:
    table = pa.table(
        {
            "input": pa.array([b"s3://media/1.mov", b"s3://media/caf\xe9.mov"], pa.binary()),
            "metadata.day": pa.array([10**6, None], pa.date32()),
            "metadata.at": pa.array([2**62, 1_000], pa.timestamp("ms")),
            "metadata.took": pa.array([1_500_000_001, None], pa.duration("ns")),
        }
    )
    parquet.write_table(table, HERE / "pyarrow-bytes.parquet")


def with_libreoffice() -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)

        def convert(source: Path, to: str) -> Path:
            command = ["soffice", f"-env:UserInstallation=file://{work}/home", "--headless"]
            command += ["--convert-to", to, "--outdir", str(work), str(source)]
            subprocess.run(command, check=True, timeout=120)
            return work / f"{source.stem}.{to.partition(':')[0]}"

        ods = convert(HERE / "openpyxl-filtered.xlsx", "ods")
        shutil.copy(ods, HERE / "libreoffice-sheet.ods.xlsx")
        shutil.copy(convert(ods, "xlsx"), HERE / "libreoffice-filtered.xlsx")
        formulas = convert(HERE / "openpyxl-formulas.xlsx", "ods")
        shutil.copy(convert(formulas, "xlsx"), HERE / "libreoffice-formulas.xlsx")
        merged = convert(HERE / "openpyxl-merged.xlsx", "ods")
        shutil.copy(convert(merged, "xlsx"), HERE / "libreoffice-merged.xlsx")
        # Separator 59, quote 34, character set 1 (Windows-1252).
        csv = convert(HERE / "openpyxl-report.xlsx", "csv:Text - txt - csv (StarCalc):59,34,1")
        shutil.copy(csv, HERE / "libreoffice-semicolon.csv")
        shutil.copy(convert(HERE / "openpyxl-filtered.xlsx", "xls"), HERE / "libreoffice-old.xls")


def by_hand() -> None:
    def put(name: str, content: str | bytes, encoding: str = "utf-8") -> None:
        data = content.encode(encoding) if isinstance(content, str) else content
        (HERE / name).write_bytes(data)

    put(
        "excel-de.csv",
        "sep=;\r\nDateipfad;Größe ;Titel;\r\ns3://media/1.mov;1024;Über;\r\n"
        's3://media/2.mov;;"Zwei; drei";\r\n;;;\r\n',
        "cp1252",
    )
    put(
        "excel-unicode-text.txt",
        '\ufeffinput\tmetadata.title\r\ns3://media/1.mov\t"Ein ""Wort"""\r\n'
        's3://media/2.mov\t"zwei\nZeilen"\r\n',
        "utf-16-le",
    )
    put(
        "excel-mac.csv",
        'input,metadata.title\rs3://media/1.mov,Café\rs3://media/2.mov,"two\nlines"\r',
        "mac_roman",
    )
    put(
        "numbers.csv",
        "\ufeff\r\n,,,\r\nInput,Profile,Notes,\r\ns3://media/1.mov,Web,,\r\n"
        "s3://media/2.mov,,hello,,\r\n,,,\r\n",
    )
    put("mysql-outfile.txt", "1\ts3://media/1.mov\t\\N\tPilot\n2\ts3://media/2.mov\t77\t\\N\n")
    put("postgres-copy.tsv", "id\turi\tetag\n1\ts3://media/1.mov\te1\n2\ts3://media/2.mov\t\\N\n")
    put(
        "quotes.tsv",
        'input\tmetadata.title\ns3://media/1.mov\t"Heroes" (live)\n'
        's3://media/2.mov\t"Heroes\ns3://media/3.mov\t12" single\n'
        's3://media/4.mov\t"quoted ""well"""\ns3://media/5.mov\tlast"\n',
    )
    lines = "".join(f"s3://media/inner-{n}.mov,x\n" for n in range(600))
    put("transcript.csv", f'input,notes\ns3://media/1.mov,"{lines}"\ns3://media/2.mov,\n')
    put(
        "open-quote.csv",
        'input,notes\ns3://media/1.mov,"he said "no"\ns3://media/inner.mov,x\nand left"\n'
        "s3://media/2.mov,\n",
    )
    put(
        "exported.jsonl",
        '{"url": "s3://media/1.mov", "Kind": "Video", "rating": NaN, "rating": 1}\n'
        '{"input": "s3://media/2.mov", "Profile": "Web", "size_bytes": "48230912.0"}\n'
        '{"input": "s3://media/3.mov", "size_bytes": NaN, "note": "\\ud83d"}\n'
        '{"input": "s3://media/4.mov", "a\\u0000optoins": 1, "optoin\\u0000s": {}}\n'
        '{"input": "s3://media/5.mov", "metadata": {"a\\u0000": "b"}}\n'
        '{"input": "s3://media/6.mov", "metadata": {"title": "\\ud83d"}}\n'
        "{}\n"
        '{"link": "s3://media/7.mov"}\n',
    )
    put(
        "error-page.jsonl", "\n<!DOCTYPE html>\n<html><body>503 Service Unavailable</body></html>\n"
    )
    put("all-bad.jsonl", '{"input": "ftp://media/1.mov"}\nroot:x:0:0\n')
    put("empty.jsonl", "")
    put("array.jsonl", '[\n{"input": "s3://media/1.mov"}\n]\n')
    put("addresses.csv", "s3://media/1.mov\ns3://media/2.mov\n")


if __name__ == "__main__":
    with_openpyxl()
    of_other_forms()
    with_pandas()
    with_pyarrow()
    with_libreoffice()
    by_hand()
