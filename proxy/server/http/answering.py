"""Answers a call, streamed or whole, in whichever form it came."""

import logging

from sanic import Request

from proxy.core.failures import ClientLimited, ProxyError
from proxy.core.gathered import Gathered
from proxy.gateway.call import ChatCall
from proxy.server.context import Worker
from proxy.server.http.rate_limit_headers import note_refusal
from proxy.server.http.sse import EventStream, Heartbeat, Writer, comment
from proxy.server.observability.call_log import Outcome

_log = logging.getLogger(__name__)


async def gather(request: Request, call: ChatCall) -> Gathered:
    """The whole answer."""
    worker: Worker = request.app.ctx.worker
    answer = Gathered()
    with worker.drain.call(call):
        await worker.relay.answer(call, answer)
    return answer


async def stream(
    request: Request,
    call: ChatCall,
    outcome: Outcome,
    writer: Writer,
    heartbeat: Heartbeat = comment,
    *,
    fails_within: bool = False,
) -> None:
    """Streams the answer. A failure before the response opened is raised, and becomes a plain HTTP error.

    Args:
        request: of the client.
        call: what it asks for.
        outcome: is told how that ended.
        writer: puts the answer into the client's form.
        heartbeat: writes what fills a silence.
        fails_within: the client takes a failure within the stream better, so that one before it is told there, too.
    """
    worker: Worker = request.app.ctx.worker
    settings = worker.settings
    hold_s, heartbeat_s = settings.commit_hold_s, settings.heartbeat_s

    def opening() -> bytes:
        return comment() if call.passes else writer.opening()  # the upstream's own has to be the first

    with EventStream(
        request, writer, hold_s=hold_s, heartbeat_s=heartbeat_s, heartbeat=heartbeat, opening=opening
    ) as events:
        try:
            with worker.drain.call(call):
                await worker.relay.answer(call, events)
                await events.end()
        except ProxyError as error:
            if not (events.opened or fails_within):
                raise
            if isinstance(error, ClientLimited):
                note_refusal(request, error)
            outcome.fail(error)
            await events.fail(error)
        except Exception:
            if not events.opened:
                raise
            _log.exception("unexpected error in a stream", extra={"request_id": request.ctx.request_id})
            outcome.fail(ProxyError())
            await events.fail(ProxyError())
        finally:
            outcome.chunks = events.chunks
