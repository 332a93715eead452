"""Traces by OpenTelemetry, of answers from the POST to the commit; floor 2.

On when `OTEL_EXPORTER_OTLP_ENDPOINT` is set and the extra `otel` installed; the other standard variables say how many
are sampled and where they go. Off, it costs a comparison. Invariant: a trace names a game and a question, never a
participant or what somebody answered; and it begins here, so that no client decides what is sampled.
"""

import logging
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

SWITCHES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
ERRORS_FROM = 500  # statuses: what is refused below them is no fault of the server

log = logging.getLogger(__name__)

_tracer: "Tracer | None" = None


class Trace:
    """One answer that is sampled, on its way through a web process."""

    def __init__(self, tracer: "Tracer", span: "Span") -> None:
        self._tracer = tracer
        self._span = span

    @property
    def context(self) -> str:
        """What the worker goes on with: a `traceparent`."""
        own = self._span.get_span_context()
        return f"00-{own.trace_id:032x}-{own.span_id:016x}-{own.trace_flags:02x}"

    def part(self, name: str, began_ns: int) -> None:
        """Something within it has ended just now."""
        from opentelemetry.trace import set_span_in_context

        within = set_span_in_context(self._span)
        self._tracer.start_span(name, within, start_time=began_ns).end()

    def end(self, status: int) -> None:
        """The reply has gone out, with this status."""
        from opentelemetry.trace import StatusCode

        self._span.set_attribute("http.response.status_code", status)
        if status >= ERRORS_FROM:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


def start(process: str) -> None:
    """Begin to trace in this process, if that is wanted; spans go out from a thread, and what is left at its end."""
    global _tracer
    if not any(map(os.environ.get, SWITCHES)):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning("no traces: %s is set, but the extra is missing: install quizcast[otel]", SWITCHES[0])
        return
    own: dict[str, str | int] = {"quizcast.process": process, "process.pid": os.getpid()}
    if "service.name=" not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "") and "OTEL_SERVICE_NAME" not in os.environ:
        own["service.name"] = "quizcast"
    provider = TracerProvider(resource=Resource.create({**own}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = provider.get_tracer("quizcast")


def on() -> bool:
    """Whether this process traces."""
    return _tracer is not None


def begin(method: str, route: str, game_id: str) -> Trace | None:
    """A trace of a request that has come in just now; None unless it is sampled."""
    if _tracer is None:
        return None
    from opentelemetry.context import Context
    from opentelemetry.trace import SpanKind

    about = {"http.request.method": method, "http.route": route, "quizcast.game": game_id}
    span = _tracer.start_span(f"{method} {route}", Context(), SpanKind.SERVER, about)
    return Trace(_tracer, span) if span.is_recording() else None


def went_on(context: str, name: str, began_ns: int, about: Mapping[str, str | int], *, failed: str = "") -> None:
    """Something that ended just now belongs to the trace that began elsewhere; `failed` says why it went wrong."""
    if _tracer is None:
        return
    from opentelemetry.trace import SpanKind, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    before = TraceContextTextMapPropagator().extract({"traceparent": context})
    span = _tracer.start_span(name, before, SpanKind.CONSUMER, about, start_time=began_ns)
    if failed:
        span.set_status(StatusCode.ERROR, failed)
    span.end(time.time_ns())
