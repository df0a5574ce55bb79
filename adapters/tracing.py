"""Ticks as OpenTelemetry traces: one span a tick, one for each of its stages, sent over OTLP/HTTP.

Spans are made from the journalled durations after the tick has ended, on the narrator's thread: tracing changes
nothing of what it shows.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from foreshade.adapters.wire.forecast import Moment
from foreshade.envs.extras import require

_NS = 1_000_000_000


class TracingSection(BaseModel):
    """Where traces go."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: Annotated[str, Field(pattern=r"^https?://")] = Field(
        description="OTLP over HTTP, as http://127.0.0.1:4318/v1/traces."
    )
    service: str = Field(default="foreshade", description="Name of the service in traces.")
    timeout_s: Annotated[float, Field(gt=0, le=60)] = Field(
        default=5.0, description="Longest wait for the collector."
    )


class TickTraces:
    """Sends ticks to a collector; one that does not answer costs nothing but its traces."""

    def __init__(self, config: TracingSection, cluster: str, exporter: Any = None) -> None:
        """Open nothing yet; ``exporter`` stands in for OTLP in tests."""
        resources = require("opentelemetry.sdk.resources", "otel", "traces")
        sdk = require("opentelemetry.sdk.trace", "otel", "traces")
        export = require("opentelemetry.sdk.trace.export", "otel", "traces")
        if exporter is None:
            otlp = require("opentelemetry.exporter.otlp.proto.http.trace_exporter", "otel", "traces")
            exporter = otlp.OTLPSpanExporter(endpoint=config.endpoint, timeout=config.timeout_s)
        resource = resources.Resource.create({"service.name": config.service, "foreshade.cluster": cluster})
        self._provider = sdk.TracerProvider(resource=resource)
        self._provider.add_span_processor(export.BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("foreshade")
        self._set_in = require("opentelemetry.trace", "otel", "traces").set_span_in_context

    def tick(self, moment: Moment) -> None:
        """One tick that has just ended."""
        end = time.time_ns()
        begin = end - int(sum(moment.seconds.values()) * _NS)
        attributes = {
            "foreshade.tick": moment.tick,
            "foreshade.mode": moment.mode,
            "foreshade.by": moment.by,
            "foreshade.idle": moment.idle,
            "foreshade.why_rules": moment.why,
            "foreshade.agreement": moment.agreement,
            "foreshade.plans": list(moment.plans),
            "foreshade.refused": sum(moment.refused.values()),
        }
        root = self._tracer.start_span("tick", start_time=begin, attributes=attributes)
        inside = self._set_in(root)
        at = begin
        for stage, seconds in moment.seconds.items():
            span = self._tracer.start_span(stage, context=inside, start_time=at)
            at += int(seconds * _NS)
            span.end(end_time=at)
        root.end(end_time=end)

    def close(self) -> None:
        """Send what waits, and end."""
        self._provider.shutdown()
