//! Spans as OpenTelemetry has them. A server that sends no traces has no layer that knows them: then this does nothing.

use http::HeaderMap;
use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState},
};
use tracing::{Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::Parent;

/// What other systems on the way keep beside the trace's id.
const TRACESTATE: &str = "tracestate";

/// Has the current request be a trace of its own, whatever its headers say, and notes the id of that if it is kept: in the
/// span's field `trace_id`, or in `own_trace_id` where the other has the one that the headers name.
pub fn begin(headers: &HeaderMap) {
    let request = Span::current();
    let Some(own) = sampled(&request) else { return };
    let name = if Parent::of(headers).is_some() { "own_trace_id" } else { "trace_id" };
    request.record(name, field::display(own.trace_id()));
}

/// Has the current request go on in the trace that its headers name: its caller says then whether that is kept. If they name
/// none it is one of its own. Nothing may have been begun in it yet: a span is in a trace once it is looked at, not when it
/// is entered (`telemetry` says so to the library).
pub fn join(headers: &HeaderMap) {
    let Some(remote) = Parent::of(headers).and_then(|parent| remote(parent, headers)) else { return begin(headers) };
    // Where there is no layer there is nothing to set.
    let _ = Span::current().set_parent(Context::new().with_remote_span_context(remote));
}

/// The caller's span, as the headers say.
fn remote(parent: Parent<'_>, headers: &HeaderMap) -> Option<SpanContext> {
    let (trace, span) = (TraceId::from_hex(parent.trace_id).ok()?, SpanId::from_hex(parent.span_id).ok()?);
    let flags = if parent.is_sampled() { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    let states: Vec<&str> = headers.get_all(TRACESTATE).iter().filter_map(|value| value.to_str().ok()).collect();
    // One that cannot be read does not spoil the trace.
    let state: TraceState = states.join(",").parse().unwrap_or_default();
    Some(SpanContext::new(trace, span, flags, true, state))
}

/// Notes what the current request was answered with: a code of gRPC, as its header has it.
pub fn answered(code: &str) {
    let span = Span::current();
    span.set_attribute("rpc.grpc.status_code", code.parse::<i64>().unwrap_or_default());
    // UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS; the others are the caller's errors, by
    // convention.
    if matches!(code, "2" | "4" | "12" | "13" | "14" | "15") {
        span.set_status(Status::error(""));
    }
}

/// The span of what is done for several requests at once: a child of the first of them whose trace is kept, linked to the
/// others; none if no trace is kept.
#[must_use]
pub fn group<'a>(requests: impl ExactSizeIterator<Item = &'a Span>) -> Span {
    let filings = requests.len();
    let mut kept = requests.filter(|request| sampled(request).is_some());
    let Some(first) = kept.next() else { return Span::none() };
    let group = tracing::debug_span!(parent: first, "group", filings);
    for other in kept {
        group.follows_from(other);
    }
    group
}

/// The header that hands on the current span, if its trace is kept.
#[must_use]
pub fn header() -> Option<String> {
    let own = sampled(&Span::current())?;
    Some(format!("00-{}-{}-{:02x}", own.trace_id(), own.span_id(), own.trace_flags()))
}

/// A span whose trace is kept.
fn sampled(span: &Span) -> Option<SpanContext> {
    let context = span.context();
    let own = context.span().span_context().clone();
    (own.is_valid() && own.is_sampled()).then_some(own)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    /// A request with this header, whose trace is begun in a way.
    fn begun(traceparent: Option<String>, how: fn(&HeaderMap)) -> Span {
        let mut headers = HeaderMap::new();
        if let Some(text) = traceparent {
            headers.insert(crate::trace::TRACEPARENT, HeaderValue::try_from(text).unwrap());
        }
        let span = tracing::info_span!("request", trace_id = field::Empty, own_trace_id = field::Empty);
        span.in_scope(|| how(&headers));
        span
    }

    fn request(traceparent: Option<String>) -> Span {
        begun(traceparent, join)
    }

    fn kept(flags: &str) -> Span {
        request(Some(format!("00-{TRACE}-{SPAN}-{flags}")))
    }

    fn told<T>(test: impl FnOnce() -> T) -> T {
        let provider = SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test")).with_context_activation(false);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), test)
    }

    #[test]
    fn a_request_goes_on_in_its_callers_trace_and_hands_it_on() {
        told(|| {
            let header = kept("01").in_scope(header).unwrap();
            assert!(header.starts_with(&format!("00-{TRACE}-")) && !header.contains(SPAN), "{header}");
            assert!(Parent::parse(&header).is_some_and(Parent::is_sampled));
            assert_eq!(kept("00").in_scope(super::header), None, "the caller does not keep it");
            assert!(request(None).in_scope(super::header).is_some_and(|own| !own.contains(TRACE)));
        });
        assert_eq!(kept("01").in_scope(header), None, "nobody sends traces");
    }

    #[test]
    fn a_request_that_does_not_join_is_a_trace_of_its_own_whatever_its_caller_keeps() {
        told(|| {
            for flags in ["00", "01"] {
                let request = begun(Some(format!("00-{TRACE}-{SPAN}-{flags}")), begin);
                let header = request.in_scope(header).expect("here every trace is kept that begins here");
                assert!(!header.contains(TRACE), "{header}");
            }
        });
    }

    #[test]
    fn a_group_is_in_the_trace_of_the_first_request_that_is_kept() {
        told(|| {
            let requests = [kept("00"), kept("01"), request(None)];
            let header = group(requests.iter()).in_scope(header).unwrap();
            assert!(header.contains(TRACE), "{header}");
            assert!(group([kept("00")].iter()).is_disabled() && group([].iter()).is_disabled());
        });
    }
}
