"""The format of log lines, and that they contain no token."""

import io
import json
import logging
from typing import Any

import pytest

from billvend.logs import log_to_stderr, mask_secrets

TOKEN = "12345678901234567890"
ID = "12345678-1234-7123-8123-456789012345"


def logged_lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_log_line_has_expected_fields(capsys: pytest.CaptureFixture[str]) -> None:
    context = {"userId": "adé", "transactionId": ID, "amount": "500.00", "provider": "EKEDC"}
    with log_to_stderr("info"):
        logging.getLogger("billvend.payments").info("Bill payment completed", extra={"context": context})
    (line,) = logged_lines(capsys)
    assert list(line) == ["timestamp", "level", "message", "context"]
    assert line["timestamp"].endswith("Z")
    assert (line["level"], line["message"], line["context"]) == ("info", "Bill payment completed", context)


def test_context_cannot_overwrite_log_fields(capsys: pytest.CaptureFixture[str]) -> None:
    with log_to_stderr("info"):
        logging.getLogger("billvend").warning("real", extra={"context": {"message": "fake", "level": "info"}})
    (line,) = logged_lines(capsys)
    assert (line["level"], line["message"]) == ("warning", "real")


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_level_filters_log_lines(capsys: pytest.CaptureFixture[str], level: str, count: int) -> None:
    with log_to_stderr(level):
        logger = logging.getLogger("billvend.worker")
        for log in (logger.debug, logger.info, logger.warning, logger.error):
            log("x")
        logging.getLogger("another.library").info("x")
    assert len(logged_lines(capsys)) == count


def test_logging_is_restored_afterwards(capsys: pytest.CaptureFixture[str]) -> None:
    before = (
        logging.getLogger("billvend").level,
        logging.getLogger().level,
        list(logging.getLogger().handlers),
    )
    with log_to_stderr("debug"):
        pass
    assert before == (
        logging.getLogger("billvend").level,
        logging.getLogger().level,
        list(logging.getLogger().handlers),
    )
    logging.getLogger("billvend").debug("x")
    assert capsys.readouterr().err == ""


def test_exception_is_in_the_same_log_line(capsys: pytest.CaptureFixture[str]) -> None:
    with log_to_stderr("error"):
        try:
            raise ValueError(f"token {TOKEN}")
        except ValueError:
            logging.getLogger("billvend").exception("It failed with %s", TOKEN)
    (line,) = logged_lines(capsys)
    assert "ValueError" in line["exception"]
    assert TOKEN not in str(line)


def test_console_format_is_readable_and_hides_token(capsys: pytest.CaptureFixture[str]) -> None:
    with log_to_stderr("info", "console"):
        logging.getLogger("billvend").info(
            "Wallet funded", extra={"context": {"userId": "ada", "token": TOKEN}}
        )
    output = capsys.readouterr().err
    assert "Wallet funded" in output
    assert "userId=ada" in output
    assert TOKEN not in output
    assert "\x1b" not in output


def test_terminal_gets_console_format(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    with log_to_stderr("info"):
        logging.getLogger("billvend").info("Hello")
    with log_to_stderr("info", "json"):
        logging.getLogger("billvend").info("Hello")
    coloured, plain = screen.getvalue().splitlines()
    assert coloured.startswith("\x1b")
    assert json.loads(plain)["message"] == "Hello"


@pytest.mark.parametrize(
    "text",
    [
        TOKEN,
        "1234-5678-9012-3456-7890",
        "1234 5678 9012 3456 7890",
        f"token {TOKEN} arrived",
        f"({TOKEN})",
        f"x={TOKEN}.",
    ],
)
def test_token_is_masked(text: str) -> None:
    assert "***" in mask_secrets(text)
    assert "7890" not in mask_secrets(text)


@pytest.mark.parametrize(
    "text", [ID, "1234567890123456", "20261122OPJNFYRR35VAZI2QXUF2S7ME", "123456789012345678901", "500.00"]
)
def test_other_numbers_are_not_masked(text: str) -> None:
    assert mask_secrets(text) == text


def test_token_fields_are_masked_by_name() -> None:
    masked = mask_secrets(
        {"token": "12-odd", "kct1": "x", "list": [{"Token": "y"}, TOKEN], "amount": 5, "keyToken": None}
    )
    assert masked == {
        "token": "***",
        "kct1": "***",
        "list": [{"Token": "***"}, "***"],
        "amount": 5,
        "keyToken": None,
    }


@pytest.mark.parametrize(
    "secret",
    [
        "bv_0123456789ab_" + "aB-_" * 10 + "xyz",
        "sk_test_0f1e2d3c",
        "sk_live_ABCdef",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw==",
    ],
)
def test_secret_inside_text_is_masked(secret: str) -> None:
    shown = mask_secrets({"headers": [f"Authorization: Bearer {secret}, and more"]})["headers"][0]
    assert secret.rpartition("_")[2][-6:] not in shown
    assert shown.endswith(", and more")
    assert "***" in shown
