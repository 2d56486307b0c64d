//! Traces, sent over OTLP to whoever collects them. Nothing waits for that: what the collector does not take in time is
//! dropped, and counted.

use std::{
    io::{self, IsTerminal as _},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use opentelemetry::{
    Context, KeyValue,
    trace::{Link, SpanKind, TraceId, TracerProvider as _},
};
use opentelemetry_otlp::{WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    resource::EnvResourceDetector,
    trace::{
        BatchConfigBuilder, BatchSpanProcessor, Sampler, SamplingResult, SdkTracerProvider, ShouldSample, Span,
        SpanData, SpanExporter, SpanProcessor,
    },
};
use tonic::transport::{ClientTlsConfig, Endpoint};
use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer as _,
    filter::{LevelFilter, filter_fn},
    fmt,
    layer::SubscriberExt as _,
    registry, reload,
    util::SubscriberInitExt as _,
};

use super::{Change, fields::Fields, parse, started};
use crate::{
    clock::{self, Ticks},
    config::{Config, LogFormat, Otlp},
    limits::{OTLP_BATCH_SPANS, OTLP_COMPLAINT_PAUSE, OTLP_FLUSH, OTLP_INTERVAL, OTLP_QUEUE_SPANS, OTLP_TIMEOUT},
    url,
};

/// The name of the span of a request (`transport::request` makes it, of a target that is one of ours), with which every
/// trace of ours begins.
const REQUEST: &str = "request";

/// Starts logging as [`super::init`] does, and traces beside it, with a filter of their own: what is logged does not decide
/// what is traced.
///
/// # Errors
///
/// If the filter cannot be read, or the collector's address makes no sense.
pub(super) fn init(config: &Config, otlp: &Otlp) -> Result<Sending, String> {
    let sending = Sending::to(otlp)?;
    // Spans are built when they are looked at or end, and nobody here asks OpenTelemetry for the current one.
    let traces = tracing_opentelemetry::layer()
        .with_tracer(sending.provider.tracer("attache"))
        .with_context_activation(false)
        .with_tracked_inactivity(false)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_filter(filter_fn(is_traced).with_max_level_hint(LevelFilter::DEBUG));
    let lines = fmt::layer().with_ansi(io::stderr().is_terminal()).with_writer(io::stderr).with_target(false);
    let filter = parse(&config.log)?;
    let (begun, change) = match config.log_format {
        LogFormat::Text => {
            let (filter, handle) = reload::Layer::new(filter);
            let lines = lines.fmt_fields(Fields::default());
            (registry().with(traces).with(lines.with_filter(filter)).try_init(), by(handle))
        }
        LogFormat::Json => {
            let (filter, handle) = reload::Layer::new(filter);
            let lines = lines.json().flatten_event(true);
            (registry().with(traces).with(lines.with_filter(filter)).try_init(), by(handle))
        }
    };
    begun.map_err(|e| format!("logging was started before: {e}"))?;
    started(&config.log, change);
    Ok(sending)
}

fn by<S: 'static>(handle: reload::Handle<EnvFilter, S>) -> Change {
    Box::new(move |filter| handle.reload(filter).map_err(|e| e.to_string()))
}

/// Our own spans; the lines of the log find their trace by its id. (Those of HTTP/2 would be of the sending itself, too.)
fn is_traced(of: &Metadata<'_>) -> bool {
    of.is_span() && *of.level() <= Level::DEBUG && of.target().split("::").next() == Some("attache")
}

/// What sends traces.
#[derive(Debug)]
pub(super) struct Sending {
    provider: SdkTracerProvider,
    counts: Arc<Counts>,
}

impl Sending {
    fn to(otlp: &Otlp) -> Result<Self, String> {
        let counts = Arc::<Counts>::default();
        let exporter = Told { to: exporter(&otlp.endpoint)?, counts: Arc::clone(&counts) };
        let queue = BatchConfigBuilder::default()
            .with_max_queue_size(OTLP_QUEUE_SPANS)
            .with_max_export_batch_size(OTLP_BATCH_SPANS)
            .with_scheduled_delay(OTLP_INTERVAL)
            .build();
        let batch = BatchSpanProcessor::builder(exporter).with_batch_config(queue).build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(Counted { batch, counts: Arc::clone(&counts) })
            .with_sampler(Sampler::ParentBased(Box::new(Begun(Sampler::TraceIdRatioBased(otlp.ratio)))))
            .with_resource(resource())
            .build();
        Ok(Self { provider, counts })
    }

    /// Sends what is left, as far as the collector takes it in time, and nothing more.
    pub fn end(self) {
        let ended = self.provider.shutdown_with_timeout(OTLP_FLUSH);
        let left = u64::try_from(self.counts.waiting.load(Ordering::Relaxed)).unwrap_or(u64::MAX);
        let lost = self.counts.lost.load(Ordering::Relaxed) + left;
        let sent = self.counts.sent.load(Ordering::Relaxed);
        match ended {
            Ok(()) if lost == 0 => tracing::debug!(sent, "every span was sent"),
            ended => tracing::warn!(sent, lost, error = ended.err().map(|e| e.to_string()), "spans were lost"),
        }
    }
}

/// Speaks OTLP over gRPC, to an address that need not answer yet. `OTEL_EXPORTER_OTLP_HEADERS` may hold a credential.
fn exporter(address: &str) -> Result<opentelemetry_otlp::SpanExporter, String> {
    let wrong = |why: String| format!("otlp: {}: {why}", url::shown(address));
    let endpoint = Endpoint::from_shared(address.to_owned()).map_err(|e| wrong(e.to_string()))?;
    let endpoint = match address.starts_with("https:") {
        false => endpoint,
        true => endpoint.tls_config(ClientTlsConfig::new().with_native_roots()).map_err(|e| wrong(e.to_string()))?,
    };
    let channel = endpoint.connect_timeout(OTLP_TIMEOUT).timeout(OTLP_TIMEOUT).connect_lazy();
    let exporter = opentelemetry_otlp::SpanExporter::builder().with_tonic();
    exporter.with_channel(channel).with_timeout(OTLP_TIMEOUT).build().map_err(|e| wrong(e.to_string()))
}

/// Who sends: this program, this run of it, and what `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME` say over that.
fn resource() -> Resource {
    let own = [
        KeyValue::new("service.name", "attache"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", uuid::Uuid::now_v7().to_string()),
    ];
    let said = Resource::builder_empty().with_attributes(own).with_detector(Box::new(EnvResourceDetector::new()));
    match std::env::var("OTEL_SERVICE_NAME") {
        Ok(name) if !name.is_empty() => said.with_service_name(name).build(),
        _ => said.build(),
    }
}

/// Traces begin with requests: what the server does by itself is none.
#[derive(Debug, Clone)]
struct Begun(Sampler);

impl ShouldSample for Begun {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let sampler = if name == REQUEST { &self.0 } else { &Sampler::AlwaysOff };
        sampler.should_sample(parent, trace, name, kind, attributes, links)
    }
}

/// What became of the spans that were kept.
#[derive(Debug, Default)]
struct Counts {
    /// In the queue, or on their way.
    waiting: AtomicUsize,
    sent: AtomicU64,
    lost: AtomicU64,
    /// When it was said last that some are lost, and how many were.
    said: Mutex<Option<(Ticks, u64)>>,
}

impl Counts {
    /// Makes room for a span; `false` if there is none.
    fn admit(&self) -> bool {
        if self.waiting.fetch_add(1, Ordering::Relaxed) < OTLP_QUEUE_SPANS {
            return true;
        }
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.lost.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// So many were offered to the collector.
    fn offered(&self, spans: usize, taken: &OTelSdkResult) {
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
        let count = if taken.is_ok() { &self.sent } else { &self.lost };
        count.fetch_add(u64::try_from(spans).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.complain(taken);
    }

    /// Says, now and then, how many are lost so far, if they became more.
    fn complain(&self, taken: &OTelSdkResult) {
        let lost = self.lost.load(Ordering::Relaxed);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let is_said = match &*said {
            Some((at, before)) => lost == *before || at.elapsed() < OTLP_COMPLAINT_PAUSE,
            None => lost == 0,
        };
        if is_said {
            return;
        }
        *said = Some((clock::ticks(), lost));
        let error = taken.as_ref().err().map(ToString::to_string);
        tracing::warn!(lost, error, "the collector takes no spans, or too few; they are lost");
    }
}

/// Hands spans on as far as there is room, under the names that collectors expect.
#[derive(Debug)]
struct Counted {
    batch: BatchSpanProcessor,
    counts: Arc<Counts>,
}

impl SpanProcessor for Counted {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.batch.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.counts.admit() {
            self.batch.on_end(named(span));
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batch.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batch.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batch.set_resource(resource);
    }
}

/// A request's span is a server's, and bears the name of its call: said here, and in no line of the log.
fn named(mut span: SpanData) -> SpanData {
    if span.name == REQUEST {
        span.span_kind = SpanKind::Server;
        let rpc = span.attributes.iter().find(|attribute| attribute.key.as_str() == "rpc");
        if let Some(rpc) = rpc.map(|attribute| attribute.value.as_str().into_owned()) {
            span.name = rpc.into();
        }
    }
    span
}

/// Counts what the collector took.
#[derive(Debug)]
struct Told {
    to: opentelemetry_otlp::SpanExporter,
    counts: Arc<Counts>,
}

impl SpanExporter for Told {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let taken = self.to.export(batch).await;
        self.counts.offered(spans, &taken);
        taken
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.to.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.to.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::error::OTelSdkError;

    use super::*;

    #[test]
    fn what_has_no_room_is_counted_and_room_comes_back() {
        let counts = Counts::default();
        assert!((0..OTLP_QUEUE_SPANS).all(|_| counts.admit()));
        assert!(!counts.admit() && counts.lost.load(Ordering::Relaxed) == 1);
        counts.offered(OTLP_BATCH_SPANS, &Ok(()));
        assert!(counts.admit());
        counts.offered(1, &Err(OTelSdkError::AlreadyShutdown));
        assert_eq!(counts.lost.load(Ordering::Relaxed), 2);
        assert_eq!(counts.sent.load(Ordering::Relaxed), OTLP_BATCH_SPANS as u64);
    }
}
