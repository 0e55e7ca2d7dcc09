"""The commands audit, sweep and health."""

from tests.cli.console import Console


def test_audit_reports_counts(funded: Console) -> None:
    assert funded.pay("12345678901").status == 0
    assert funded.json("audit") == {
        "ok": True,
        "events": 6,
        "wallets": 1,
        "payments": 1,
        "transfers": 4,
        "differences": [],
        "more": 0,
    }
    screen = funded("audit")
    assert (screen.status, screen.out) == (
        0,
        "No differences: 6 events, 1 wallets, 1 payments, 4 transfers.\n",
    )


def test_sweep_enqueues_due_payments(funded: Console) -> None:
    assert funded.json("sweep") == {"due": 0, "enqueued": 0}
    assert funded.pay("12345678901", "--no-wait").status == 0
    assert funded.json("sweep") == {"due": 1, "enqueued": 1}
    assert funded("sweep").out == "0 due, 0 enqueued.\n"  # the sweep before has just queued it


def test_sweep_retries_after_queue_failure(funded: Console) -> None:
    assert funded.pay("12345678901", "--no-wait").status == 0
    queue = funded.folder / "billvend.queue.db"
    for left_by_sqlite in funded.folder.glob("billvend.queue.db*"):
        left_by_sqlite.unlink()
    queue.mkdir()
    assert funded.json("sweep") == {"due": 1, "enqueued": 0}
    assert "The queue did not accept the others" in funded("sweep").out
    queue.rmdir()
    assert funded.json("sweep") == {"due": 1, "enqueued": 1}


def test_health_reports_each_dependency(funded: Console) -> None:
    funded.in_doubt()
    health = funded.json("health")
    assert health["status"] == "ok"
    assert {name: check["status"] for name, check in health["checks"].items()} == {
        "database": "up",
        "queue": "up",
        "provider": "configured",
        "backlog": "ok",
    }
    assert health["checks"]["queue"]["backend"] == "SQLite"
    assert health["checks"]["database"]["latencyMs"] >= 0
    assert health["checks"]["backlog"]["payments"] == {"in_doubt": 1}
    shown = funded("health").out
    assert shown.startswith("ok\n")
    assert "backend: SQLite" in shown


def test_health_is_degraded_when_queue_is_down(funded: Console) -> None:
    with_queue = funded.folder / "billvend.queue.db"
    with_queue.unlink(missing_ok=True)
    with_queue.mkdir()
    health = funded.json("health")
    assert (health["status"], health["checks"]["queue"]["status"]) == ("degraded", "down")
    assert funded.pay("12345678901").status == 0
