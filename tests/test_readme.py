"""The README's Python runs as it is."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


def test_readme_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})  # noqa: S102  it is our own README
    said, refused = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"completed \d{20} [\d.]+", said)
    assert "Nothing was held" in refused
