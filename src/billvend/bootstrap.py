"""Builds a `Billvend` from settings. It imports only the adapters that the settings choose."""

from contextlib import ExitStack, closing
from functools import partial
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from billvend.app import Billvend
from billvend.domain.errors import ConfigurationError
from billvend.domain.notifications import Channel
from billvend.domain.policy.accounts import Mode, ProviderAccount
from billvend.domain.policy.policy import Policy
from billvend.ports.clock import Clock
from billvend.ports.gateway import Gateway
from billvend.ports.notifier import Notifier
from billvend.ports.plugin import ProviderPlugin, ProviderSetup
from billvend.ports.provider import Provider
from billvend.ports.queue import Queue
from billvend.ports.telemetry import Metrics
from billvend.usecases.limits import Limits
from billvend.usecases.meters import MeterCheck
from billvend.usecases.wiring import Dependencies

if TYPE_CHECKING:  # importing pydantic or SQLAlchemy takes longer than `billvend --help` may
    from pydantic import SecretStr

    from billvend.adapters.storage.database import Database
    from billvend.config import ProviderSettings, Settings


def open_billvend(
    database: "str | Settings | None" = None, *, clock: Clock | None = None, metrics: Metrics | None = None
) -> Billvend:
    """A billvend on a database URL (`sqlite:///shop.db`, `postgresql://...`) or with `Settings`.

    Other settings come from the environment and `.env`. Without any it is embedded: SQLite in the working directory, and
    a sandbox that sells nothing real. The tables in a SQLite file are created automatically, those in PostgreSQL by
    `billvend db upgrade`. Metrics are counted for Prometheus, unless `metrics` is given. Raises `ConfigurationError`,
    `Unavailable`. Close it, or use it in a `with`.
    """
    from billvend.config import Settings, load_settings

    settings = database if isinstance(database, Settings) else load_settings(database)
    return Billvend(open_dependencies(settings, clock or _system_clock(), metrics or _default_metrics()))


def open_dependencies(settings: "Settings", clock: Clock, metrics: Metrics) -> Dependencies:
    """Open the adapters that the settings choose. After an error, everything that was open is closed."""
    with ExitStack() as resources:
        deps = _open_dependencies(settings, clock, metrics, resources)
        resources.pop_all()
    return deps


def _open_dependencies(
    settings: "Settings", clock: Clock, metrics: Metrics, resources: ExitStack
) -> Dependencies:
    from billvend.adapters.storage.account_status import SqlAccountStatuses
    from billvend.adapters.storage.api_keys import SqlApiKeys
    from billvend.adapters.storage.deposits import SqlDeposits
    from billvend.adapters.storage.journal import SqlJournal
    from billvend.adapters.storage.outbox import SqlOutbox
    from billvend.adapters.storage.queries import SqlQueries
    from billvend.adapters.storage.schema_version import HEAD, current_version, require_head, upgrade
    from billvend.presentation.notifications import notification_for

    database = resources.enter_context(closing(open_database(settings)))
    if database.is_sqlite and current_version(database) != HEAD:
        upgrade(database)
    require_head(database)
    providers = [
        resources.enter_context(closing(_open_provider(account, settings, clock)))
        for account in settings.providers
    ]
    accounts = tuple(provider.account for provider in providers)
    mode = _common_mode(accounts)
    notifiers = _open_notifiers(settings, database, clock)
    for notifier in notifiers.values():
        resources.enter_context(closing(notifier))
    return Dependencies(
        journal=SqlJournal(
            database, channels=tuple(notifiers), render_notification=notification_for, metrics=metrics
        ),
        queries=SqlQueries(database),
        queue=_open_queue(settings),
        providers={
            (provider.account.provider, provider.account.account_id): provider for provider in providers
        },
        clock=clock,
        policy=_build_policy(settings, accounts),
        limits=_build_limits(settings),
        default_currency=settings.default_currency,
        mode=mode,
        sweep_quiet_seconds=settings.lease_seconds,
        account_status=SqlAccountStatuses(database),
        api_keys=SqlApiKeys(database),
        deposits=SqlDeposits(database),
        outbox=SqlOutbox(database),
        meter_check=MeterCheck(settings.verify_meter, settings.verify_unreachable == "allow"),
        gateway=_open_gateway(settings, mode),
        notifiers=notifiers,
        metrics=metrics,
    )


def open_database(settings: "Settings") -> "Database":
    """The configured database, with or without tables. Raises `ConfigurationError`."""
    from billvend.adapters.storage.database import Database

    return Database(settings.database_url.get_secret_value())


def schema_versions(settings: "Settings") -> tuple[str | None, str]:
    """The version of the database's tables (None without tables), and the version that this billvend needs.

    Raises `ConfigurationError`, `Unavailable`.
    """
    from billvend.adapters.storage.schema_version import HEAD, current_version

    with closing(open_database(settings)) as database:
        return current_version(database), HEAD


def upgrade_schema(settings: "Settings") -> tuple[str | None, str]:
    """Create or upgrade the tables. Returns the version before (None without tables) and the version now.

    It is safe to run it twice, and from two machines at once. Raises `ConfigurationError`, `Unavailable`.
    """
    from billvend.adapters.storage.schema_version import HEAD, upgrade

    with closing(open_database(settings)) as database:
        previous_version = upgrade(database)
        return None if previous_version == "none" else previous_version, HEAD


def count_sandbox_sales(settings: "Settings") -> int:
    """The number of sales in the sandbox's own file, to compare with billvend's payments. Raises `Unavailable`."""
    from billvend.adapters.providers.sandbox.sales_store import SalesStore

    with closing(SalesStore(settings.sandbox_book_path or Path("sandbox.db"))) as store:
        return len(store.sales())


def _build_limits(settings: "Settings") -> Limits:
    return Limits(
        min_payment_major=f"{settings.min_amount:f}",
        max_amount_major=f"{settings.max_amount:f}",
        max_in_doubt_major=f"{settings.breaker_max_in_doubt:f}",
        min_float_major=f"{settings.breaker_min_float:f}",
        max_not_found=settings.breaker_not_found,
    )


def _build_policy(settings: "Settings", accounts: tuple[ProviderAccount, ...]) -> Policy:
    return Policy(
        accounts=accounts,
        requery_schedule_seconds=settings.requery_schedule,
        not_found_spacing_seconds=settings.not_found_spacing,
        review_after_seconds=settings.review_after,
        pending_limit_seconds=settings.pending_limit,
        lease_seconds=settings.lease_seconds,
        timeout_seconds=settings.bill_provider_timeout,
    )


def _open_provider(account: "ProviderSettings", settings: "Settings", clock: Clock) -> Provider:
    """Open one configured provider account. Raises `ConfigurationError`."""

    def reveal(secret: "SecretStr | None") -> str | None:
        return None if secret is None else secret.get_secret_value()

    return _provider_factory(account.name, settings)(
        ProviderSetup(
            name=account.name,
            api_url=account.api_url,
            api_key=reveal(account.api_key),
            public_key=reveal(account.public_key),
            secret_key=reveal(account.secret_key),
            timeout_seconds=settings.bill_provider_timeout,
            verify_timeout_seconds=settings.verify_timeout,
            phone=settings.bill_provider_phone,
            max_processing_seconds=ceil(settings.bill_provider_max_processing),
            currency=settings.default_currency,
            now=clock.now,
            sleep=clock.sleep,
        )
    )


def _provider_factory(name: str, settings: "Settings") -> ProviderPlugin:
    """The function that opens an account of this provider. Built-in providers and plug-ins open the same way."""
    match name:
        case "sandbox":
            from billvend.adapters.providers.sandbox.provider import SandboxProvider

            return partial(SandboxProvider, settings.sandbox_book_path or Path("sandbox.db"))
        case "vtpass":
            from billvend.adapters.providers.vtpass.provider import VtpassProvider

            return VtpassProvider
        case "buypower":
            from billvend.adapters.providers.buypower.provider import BuypowerProvider

            return BuypowerProvider
        case _:
            return _open_plugin


def _open_plugin(setup: ProviderSetup) -> Provider:
    """Open a provider of an installed plug-in. Raises `ConfigurationError` if it can't be opened."""
    from importlib.metadata import entry_points

    from billvend.config.provider_settings import PLUGIN_GROUP

    (entry_point,) = entry_points(group=PLUGIN_GROUP, name=setup.name)
    try:
        provider: Provider = entry_point.load()(setup)
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"The plug-in {setup.name!a} of BILL_PROVIDER can't be opened ({type(error).__name__}: {error})."
        ) from error
    return provider


def _open_gateway(settings: "Settings", mode: Mode) -> Gateway | None:
    """Open the gateway; None without its key. Raises `ConfigurationError` if it is not for the provider's kind of money."""
    if settings.paystack_secret_key is None:
        return None
    from billvend.adapters.gateways.paystack import API_URL, PaystackGateway

    gateway = PaystackGateway(
        secret_key=settings.paystack_secret_key.get_secret_value(),
        api_url=settings.paystack_api_url or API_URL,
    )
    if gateway.info.mode is not mode:
        raise ConfigurationError(
            f"PAYSTACK_SECRET_KEY is for {gateway.info.mode} money, and the configured provider is for {mode} money: "
            "use two keys of the same kind."
        )
    return gateway


def _open_notifiers(settings: "Settings", database: "Database", clock: Clock) -> dict[Channel, Notifier]:
    """Open the configured channels. Customers get mail. Without a mail server, it is a line in the log."""
    notifiers: dict[Channel, Notifier] = {}
    if settings.enable_notifications and settings.smtp_url is not None:
        from billvend.adapters.notify.email import EmailNotifier
        from billvend.adapters.storage.outbox import SqlOutbox

        notifiers[Channel.MAIL] = EmailNotifier(
            url=settings.smtp_url.get_secret_value(),
            sender=settings.smtp_from,
            find_address=SqlOutbox(database).email_of,
        )
    elif settings.enable_notifications:
        from billvend.adapters.notify.console import ConsoleNotifier

        notifiers[Channel.CONSOLE] = ConsoleNotifier()
    if settings.enable_webhooks and settings.webhook_url is not None:
        from billvend.adapters.notify.public_ip import allow_any, is_public
        from billvend.adapters.notify.webhook import WebhookNotifier

        notifiers[Channel.WEBHOOK] = WebhookNotifier(
            url=settings.webhook_url.get_secret_value(),
            secrets=settings.webhook_secrets,
            now=clock.now,
            may_connect=allow_any if settings.webhook_allow_private else is_public,
        )
    return notifiers


def _open_queue(settings: "Settings") -> Queue:
    """The queue on Redis, or without Redis in a file beside a SQLite database, or else in memory."""
    from billvend.adapters.queue.huey_queue import HueyQueue

    if settings.redis_url is not None:
        return HueyQueue(settings.redis_url.get_secret_value())
    database_path = settings.database_path
    return HueyQueue(None if database_path is None else database_path.with_suffix(".queue.db"))


def _common_mode(accounts: tuple[ProviderAccount, ...]) -> Mode:
    modes = {account.mode for account in accounts}
    if len(modes) != 1:
        raise ConfigurationError("BILL_PROVIDERS mixes test and live accounts: name accounts of one kind.")
    return modes.pop()


def _default_metrics() -> Metrics:
    from billvend.adapters.metrics.prometheus import prometheus_metrics

    return prometheus_metrics()


def _system_clock() -> Clock:
    from billvend.adapters.clock import SystemClock

    return SystemClock()
