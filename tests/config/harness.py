"""An environment and a folder for settings, and the one line that an invalid setting prints."""

from pathlib import Path
from typing import Any

import pytest

from billvend.config import PLUGIN_GROUP, load_settings
from billvend.domain.errors import ConfigurationError

SECRET = "s3cr3t-Zq9"


class Workspace:
    """An empty environment and an empty folder, in which a test sets what it needs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._monkeypatch = monkeypatch
        self.folder = folder

    def set_env(self, **values: str) -> None:
        for name, value in values.items():
            self._monkeypatch.setenv(name, value)

    def write_dotenv(self, text: str) -> None:
        (self.folder / ".env").write_text(text, "utf-8")

    def install_plug_in(self, *names: str) -> None:
        """Install a package that offers these providers."""
        info = self.folder / "site" / "plug_in-1.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plug-in\nVersion: 1\n")
        lines = [f"{name} = plug_in:{name}" for name in names]
        (info / "entry_points.txt").write_text("\n".join([f"[{PLUGIN_GROUP}]", *lines]))
        self._monkeypatch.syspath_prepend(str(info.parent))


def error_line(**overrides: Any) -> str:
    """The error line for these settings."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings(**overrides)
    line = str(caught.value)
    assert line == caught.value.message
    assert "\n" not in line
    assert len(line) < 300
    assert "pydantic" not in line
    assert "validation error" not in line.lower()
    assert SECRET not in line
    assert SECRET not in repr(caught.value.fields)
    assert SECRET not in str(caught.value.__context__)  # which some loggers print all the same
    return line
