"""The Flask application: the blueprint, and what needs a whole application."""

from flask import Flask
from flask_openapi.blueprint import APIBlueprint
from werkzeug.middleware.proxy_fix import ProxyFix

from billvend.api import bills, docs, health, inbound_webhooks, transactions, wallet
from billvend.api.auth import Authenticator
from billvend.api.headers import register_security_headers
from billvend.api.request_hooks import register_hooks
from billvend.api.routing import ApiRouter
from billvend.app import Billvend
from billvend.bootstrap import open_billvend
from billvend.config import Settings, load_settings


def create_app(bv: Billvend | None = None, settings: Settings | None = None) -> Flask:
    """The API as a WSGI application of its own, with Swagger UI at /api.

    Arguments that are left out are made from the environment. Raises `ConfigurationError`, `Unavailable`.
    """
    settings = settings or load_settings()
    bv = bv or open_billvend(settings)
    app = docs.create_openapi_app()
    app.extensions["billvend"] = bv
    app.register_api(blueprint(bv, settings))
    register_hooks(app, bv)
    register_security_headers(app)
    if hops := settings.trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]  # as Flask's own documents do
    return app


def blueprint(bv: Billvend, settings: Settings | None = None) -> APIBlueprint:
    """The calls alone, to mount in a Flask application of your own: `app.register_blueprint(blueprint(bv))`.

    They keep their authorization, envelope and log lines there. Raises `ConfigurationError`.
    """
    settings = settings or load_settings()
    redis_url = settings.redis_url.get_secret_value() if settings.redis_url else None
    rate = str(settings.rate_limit) if settings.rate_limit else None
    router = ApiRouter(bv, Authenticator(bv, rate, redis_url), strict=settings.strict_validation)
    for module in (wallet, bills, transactions, inbound_webhooks, health):
        module.add_routes(router)
    return router.blueprint
