"""OpenTelemetry's SDK in memory: what hooks have written, for the tests that look at it."""

from typing import Any

import attrs
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import DEFAULT_ON, Sampler
from opentelemetry.trace import StatusCode

from soapbatch.integrations.opentelemetry import OpenTelemetry


class Telemetry:
    """An SDK of a test's own, which is not the process's.

    Attributes:
        traces: where spans go.
        meters: where metrics go.
    """

    def __init__(self, sampler: Sampler = DEFAULT_ON) -> None:
        """Begin with nothing."""
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.traces = TracerProvider(sampler, shutdown_on_exit=False)
        self.traces.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.meters = MeterProvider([self._reader], shutdown_on_exit=False)
        self.tracer = self.traces.get_tracer("test")

    def hooks(self, **options: Any) -> OpenTelemetry:
        """Return hooks that write here."""
        return OpenTelemetry(tracer_provider=self.traces, meter_provider=self.meters, **options)

    def spans(self, name: str | None = None) -> list[ReadableSpan]:
        """Return the spans that have ended, by their begin; with `name`, those alone."""
        found = [span for span in self._exporter.get_finished_spans() if name in {None, span.name}]
        return sorted(found, key=lambda span: span.start_time or 0)

    def span(self, name: str) -> ReadableSpan:
        """Return the one span of a name."""
        (span,) = self.spans(name)
        return span

    def clear(self) -> None:
        """Forget the spans."""
        self._exporter.clear()

    def tree(self, *attributes: str) -> str:
        """Return the spans as an indented tree, a line each: name, kind, and those of `attributes` that it has."""
        lines: list[str] = []
        spans = self.spans()
        ids = {id_of(span) for span in spans}

        def draw(span: ReadableSpan, depth: int) -> None:
            had = dict(span.attributes or {})
            shown = [f"{name.rpartition('.')[2]}={had[name]}" for name in attributes if name in had]
            status = ["ERROR"] if span.status.status_code is StatusCode.ERROR else []
            links = [f"-> {name_of(link.context.span_id)}" for link in span.links]
            words = [span.kind.name, *shown, *status, *links]
            lines.append(f"{'  ' * depth + span.name:<45} {' '.join(words)}")
            for child in spans:
                if child.parent is not None and child.parent.span_id == id_of(span):
                    draw(child, depth + 1)

        def name_of(id_: int) -> str:
            return next((span.name for span in spans if id_of(span) == id_), "?")

        for span in spans:
            if span.parent is None or span.parent.span_id not in ids:
                draw(span, 0)
        return "\n".join(lines)

    def metrics(self) -> dict[str, list["Point"]]:
        """Return the points of each metric, by its name."""
        data = self._reader.get_metrics_data()
        found: dict[str, list[Point]] = {}
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    found[metric.name] = [
                        Point(metric.unit, dict(point.attributes or {}), point) for point in metric.data.data_points
                    ]
        return found


@attrs.frozen
class Point:
    """A point of a metric.

    Attributes:
        unit: of the metric.
        attributes: of the point.
        data: of the SDK.
    """

    unit: str | None
    attributes: dict[str, Any]
    data: Any

    @property
    def value(self) -> float:
        """The sum of a counter; of a histogram, how many values there were."""
        return float(self.data.value if hasattr(self.data, "value") else self.data.count)


def id_of(span: ReadableSpan) -> int:
    """Return the id of a span."""
    context = span.get_span_context()
    assert context is not None
    return context.span_id


def trace_of(span: ReadableSpan) -> int:
    """Return the id of a span's trace."""
    context = span.get_span_context()
    assert context is not None
    return context.trace_id


def parent_of(span: ReadableSpan) -> int | None:
    """Return the id of the parent of a span; None: it begins a trace."""
    return None if span.parent is None else span.parent.span_id
