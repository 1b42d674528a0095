"""What one worker keeps for its operators: who signs in, what they look at, and who is watching."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import orjson
from sanic import HTTPResponse, Request

from proxy.clients.admin import ClientAdmin
from proxy.core.failures import AdminLimited, RouteNotFound, StoreUnavailable
from proxy.keypool.admin import KeyAdmin
from proxy.ledger.steps import made_in_steps
from proxy.ledger.streams import StreamReader
from proxy.ledger.usage import UsageReader
from proxy.server.admin.minutes import Minutes
from proxy.server.admin.shapes import key_json
from proxy.server.admin.sign_in import SignIns
from proxy.server.context import Worker
from proxy.server.routes.health import ready_state
from proxy.server.single_flight import SingleFlight

#: Most live streams that one worker feeds at once.
MAX_VIEWERS: Final = 20


class AdminContext:
    """Everything the admin routes work with. What it reads of the fleet's state is at most a second old."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.sign_ins = SignIns(worker.admin_digests)
        reports = worker.store.reports
        self.keys = KeyAdmin(reports)
        self.clients = ClientAdmin(reports, taken=[token.name for token in worker.settings.access_tokens])
        self.usage = UsageReader(reports)
        self.streams = StreamReader(reports)
        self.minutes = Minutes(self.streams)
        self.latest_minutes = SingleFlight(self.minutes.refresh)
        self.live_state = SingleFlight(self._look)
        self._viewers = 0

    @contextmanager
    def viewing(self) -> Iterator[None]:
        """Takes one of the places of those who watch. Raises AdminLimited when there is none."""
        if self._viewers >= MAX_VIEWERS:
            raise AdminLimited("Too many pages watch this worker.", retry_after_s=10)
        self._viewers += 1
        try:
            yield
        finally:
            self._viewers -= 1

    async def overview(self) -> dict[str, Any]:
        """This worker's state, and what the page needs to know of the settings."""
        settings = self.worker.settings
        return {
            **await ready_state(self.worker),
            "requests_per_minute_limit": settings.rpm_per_account,
            "in_flight_limit": settings.max_in_flight_per_key,
            "default_model": settings.default_model,
            "namespace": settings.redis_namespace,
        }

    async def key_states(self, only: Sequence[str] = ()) -> list[dict[str, Any]]:
        """Every key, or only these, by account and id. Raises StoreUnavailable."""
        return await made_in_steps(key_json, await self.keys.describe(only))

    async def _look(self) -> bytes:
        """One event of the live stream; without keys and minutes while Redis is away."""
        overview = await self.overview()
        keys: list[dict[str, Any]] | None = None
        minutes: Sequence[dict[str, Any]] | None = None
        try:
            keys = await self.key_states()
            minutes = (await self.latest_minutes.get()).newest(2)
        except StoreUnavailable:
            if overview["redis"] == "ok":
                overview = {**overview, "redis": "away"}
        state = {"at_ms": time.time_ns() // 1_000_000, "overview": overview, "keys": keys, "minutes": minutes}
        return b"event: state\ndata: %b\n\n" % orjson.dumps(state)


def admin_context_of(request: Request) -> AdminContext:
    """This process's context, whoever asks; another one when the worker's resources were renewed."""
    ctx = request.app.ctx
    context: AdminContext | None = getattr(ctx, "admin_context", None)
    if context is None or context.worker is not ctx.worker:
        context = ctx.admin_context = AdminContext(ctx.worker)
    return context


async def open_admin_context(request: Request) -> AdminContext:
    """The context, for an operator; every handler under ``/admin/api`` begins with it.

    Raises:
        InvalidToken: no admin token, or a wrong one.
        AdminLimited: too many were wrong lately.
    """
    context = admin_context_of(request)
    await context.sign_ins.admit(_token(request), request.ip)
    return context


def _token(request: Request) -> str:
    """``Authorization: Bearer`` or ``x-admin-token``; the first that is there counts."""
    scheme, _, credential = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and credential.strip():
        return credential.strip()
    return str(request.headers.get("x-admin-token", ""))


def json_answer(value: object, *, status: int = 200) -> HTTPResponse:
    """``value`` as JSON."""
    return HTTPResponse(orjson.dumps(value), status=status, content_type="application/json")


def not_found(what: str, name: str) -> RouteNotFound:
    """The error for a URL that names something that does not exist, or not any more."""
    return RouteNotFound(f"There is no {what} '{name}'.")
