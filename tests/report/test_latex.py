"""LaTeX: it compiles where there is an engine, and is well formed everywhere."""

import re
import shutil
import subprocess

import pytest

from userllm.report.comparison import build_tables
from userllm.report.latex import escaped, latex
from userllm.report.results import load

ENGINES = ("pdflatex", "tectonic", "xelatex", "lualatex")
HOSTILE = r'100% of $x_1^2$ & "a" \input{x} #~{} <b> | é Ž 中 – ± ≈ '
DOCUMENT = (
    "\\documentclass{article}\n\\usepackage{booktabs,graphicx}\n"
    "\\begin{document}\n\\input{table.tex}\n\\end{document}\n"
)


@pytest.fixture(scope="module")
def hostile(demo_folders):
    """A whole study, with a run whose error is made of everything LaTeX reads otherwise."""
    loaded = [load(folder) for folder in demo_folders]
    return build_tables(
        [
            type(one)(**{**vars(one), "error": HOSTILE}) if hasattr(one, "error") else one
            for one in loaded
        ]
    )


def test_braces_and_environments_are_balanced(hostile):
    text = latex(hostile, name="demo")
    bare = re.sub(r"\\[\\{}]", "", text)
    depth = 0
    for character in bare:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    stack = []
    for what, name in re.findall(r"\\(begin|end)\{([a-z*]+)\}", text):
        if what == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert stack == []


def test_every_line_of_a_table_has_as_many_cells_as_it_has_columns(hostile):
    text = latex(hostile, name="demo")
    for columns, body in re.findall(
        r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end\{tabular\}", text, flags=re.DOTALL
    ):
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert rows
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(columns)}


def test_only_booktabs_rules_are_used(hostile):
    text = latex(hostile, name="demo")
    assert "\\hline" not in text
    for rule in ("toprule", "midrule", "bottomrule"):
        assert f"\\{rule}" in text


def test_text_is_printed_and_never_run():
    said = escaped(HOSTILE)
    assert "\\input" not in said
    assert "\\textbackslash{}input\\{x\\}" in said
    assert "[U+4E2D]" in said
    assert "é" in said


def test_the_best_is_bold_and_missing_cells_are_named(hostile):
    text = latex(hostile, name="demo")
    assert "\\textbf{0.750}" in text
    assert "\\textit{soft\\_prompt}" in text


@pytest.mark.skipif(not any(map(shutil.which, ENGINES)), reason="no LaTeX engine here")
def test_it_compiles(hostile, tmp_path):
    engine = next(name for name in ENGINES if shutil.which(name))
    (tmp_path / "table.tex").write_text(latex(hostile, name="demo"), encoding="utf-8")
    (tmp_path / "paper.tex").write_text(DOCUMENT, encoding="utf-8")
    flags = [] if engine == "tectonic" else ["-interaction=nonstopmode", "-halt-on-error"]
    done = subprocess.run(
        [engine, *flags, "paper.tex"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "paper.pdf").stat().st_size > 0
