# ruff: noqa: INP001  a folder of programs, not a package
"""Run the code cells of a notebook in order, and write what they print into it.

    python scripts/notebook.py docs/analysis.ipynb

Jupyter and nbconvert need more packages than ittybatch itself. This runs plain Python: no `%magic`
and no widgets. The process stops at the first cell that fails, and the notebook is unchanged.
"""

import ast
import contextlib
import hashlib
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def code_cells(notebook: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a notebook's code cells."""
    return (cell for cell in notebook["cells"] if cell["cell_type"] == "code")


def digest_of(notebook: dict[str, Any]) -> str:
    """Return a digest of the code, by which a test knows whether the outputs are of this code."""
    sources = ["".join(cell["source"]) for cell in code_cells(notebook)]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def run(notebook: dict[str, Any]) -> None:
    """Run every cell and replace its outputs."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(code_cells(notebook), 1):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            value = _value_of("".join(cell["source"]), f"<cell {number}>", names)
        cell["execution_count"] = number
        cell["outputs"] = list(_outputs(printed.getvalue(), value, number))
    notebook["metadata"]["code_digest"] = digest_of(notebook)


def _value_of(source: str, name: str, names: dict[str, Any]) -> object:
    """Run a cell; return the value of its last line, if that is an expression."""
    tree = ast.parse(source, name)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), names)  # noqa: S102 - the notebook's own code
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), name, "eval"), names)  # noqa: S307 - likewise


def _outputs(printed: str, value: object, number: int) -> Iterator[dict[str, Any]]:
    if printed:
        text = printed.splitlines(keepends=True)
        yield {"name": "stdout", "output_type": "stream", "text": text}
    if value is None:
        return
    data = {"text/plain": repr(value).splitlines(keepends=True)}
    if (as_html := getattr(value, "_repr_html_", None)) is not None:
        data["text/html"] = as_html().splitlines(keepends=True)
    yield {
        "data": data,
        "execution_count": number,
        "metadata": {},
        "output_type": "execute_result",
    }


def main() -> None:
    """Run the notebook of the command line, and write it back."""
    path = Path(sys.argv[1])
    notebook = json.loads(path.read_text(encoding="utf-8"))
    run(notebook)
    text = json.dumps(notebook, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
