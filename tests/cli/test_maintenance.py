"""The commands audit, sweep and health."""

from tests.cli.console import METER, Console


def test_audit_reports_counts(funded: Console) -> None:
    assert funded.pay(METER).status == 0
    counts = {"events": 6, "wallets": 1, "payments": 1, "transfers": 4}
    assert funded.json("audit") == {"ok": True, **counts, "differences": [], "more": 0}


def test_sweep_enqueues_due_payments(funded: Console) -> None:
    assert funded.json("sweep") == {"due": 0, "enqueued": 0}
    assert funded.pay(METER, "--no-wait").status == 0
    assert funded.json("sweep") == {"due": 1, "enqueued": 1}
    assert funded.json("sweep") == {"due": 0, "enqueued": 0}  # the sweep before has just queued it


def break_queue(console: Console) -> None:
    """A folder in place of the queue's file."""
    for left_by_sqlite in console.folder.glob("billvend.queue.db*"):
        left_by_sqlite.unlink()
    (console.folder / "billvend.queue.db").mkdir()


def test_sweep_retries_after_queue_failure(funded: Console) -> None:
    assert funded.pay(METER, "--no-wait").status == 0
    break_queue(funded)
    assert funded.json("sweep") == {"due": 1, "enqueued": 0}
    assert "The queue did not accept the others" in funded("sweep").out
    (funded.folder / "billvend.queue.db").rmdir()
    assert funded.json("sweep") == {"due": 1, "enqueued": 1}


def test_health_reports_each_dependency(funded: Console) -> None:
    funded.in_doubt()
    health = funded.json("health")
    assert (health["status"], {name: check["status"] for name, check in health["checks"].items()}) == (
        "ok",
        {"database": "up", "queue": "up", "provider": "configured", "backlog": "ok"},
    )
    assert health["checks"]["queue"]["backend"] == "SQLite"
    assert health["checks"]["database"]["latencyMs"] >= 0
    assert health["checks"]["backlog"]["payments"] == {"in_doubt": 1}
    shown = funded("health").out
    assert shown.startswith("ok\n")
    assert "backend: SQLite" in shown


def test_health_is_degraded_when_queue_is_down(funded: Console) -> None:
    break_queue(funded)
    health = funded.json("health")
    assert (health["status"], health["checks"]["queue"]["status"]) == ("degraded", "down")
    assert funded.pay(METER).status == 0
