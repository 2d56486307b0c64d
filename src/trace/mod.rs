//! The trace that a request belongs to (W3C Trace Context): read from its headers, carried on by spans, handed to the
//! journal.
//!
//! The id of a trace is in the log of every build. Spans are sent by a build with the feature `otel` alone; in another the
//! functions for them do nothing.

#[cfg(not(feature = "otel"))]
mod nowhere;
#[cfg(feature = "otel")]
mod spans;

use http::{HeaderMap, HeaderName};

#[cfg(not(feature = "otel"))]
pub use self::nowhere::{answered, begin, group, header, join};
#[cfg(feature = "otel")]
pub use self::spans::{answered, begin, group, header, join};

/// The header that names a trace, and the span in it from which it goes on here.
pub const TRACEPARENT: &str = "traceparent";
/// The same as a name that is made once.
static PARENT: HeaderName = HeaderName::from_static(TRACEPARENT);

/// What a header `traceparent` of version 00 says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent<'a> {
    /// The trace, in 32 hexadecimal digits.
    pub trace_id: &'a str,
    /// The caller's span, in 16.
    pub span_id: &'a str,
    /// Two more.
    flags: &'a str,
}

impl<'a> Parent<'a> {
    /// Of the header's text. What is of another version, or not exactly of this form, is none: nothing else may stand in
    /// the log as an id.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace_id, span_id, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let names = |part: &str, digits| is_hex(part, digits) && part.bytes().any(|b| b != b'0');
        let is_whole = parts.next().is_none() && version == "00";
        let is_valid = is_whole && names(trace_id, 32) && names(span_id, 16) && is_hex(flags, 2);
        is_valid.then_some(Self { trace_id, span_id, flags })
    }

    /// Of a request's headers; of two it is not known which is meant.
    #[must_use]
    pub fn of(headers: &'a HeaderMap) -> Option<Self> {
        let mut said = headers.get_all(&PARENT).iter();
        let parent = said.next()?.to_str().ok().and_then(Self::parse);
        parent.filter(|_| said.next().is_none())
    }

    /// Whether the caller keeps the trace.
    #[must_use]
    pub fn is_sampled(self) -> bool {
        u8::from_str_radix(self.flags, 16).is_ok_and(|flags| flags & 1 == 1)
    }
}

fn is_hex(part: &str, digits: usize) -> bool {
    part.len() == digits && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const TEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_parent_is_read_as_it_was_sent() {
        let parent = Parent::parse(TEXT).unwrap();
        assert_eq!((parent.trace_id, parent.span_id), ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"));
        assert!(parent.is_sampled());
        let flagged = |flags: &str| format!("{}{flags}", TEXT.strip_suffix("01").unwrap());
        assert!(
            !Parent::parse(&flagged("00")).unwrap().is_sampled()
                && !Parent::parse(&flagged("fe")).unwrap().is_sampled()
        );
        assert!(Parent::parse(&flagged("03")).unwrap().is_sampled(), "other flags are not ours");
    }

    #[test]
    fn what_is_not_exactly_a_parent_is_none() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let span = "00f067aa0ba902b7";
        let wrong = [
            String::new(),
            "-".repeat(3),
            TEXT.to_uppercase(),
            format!(" {TEXT}"),
            format!("{TEXT}-"),
            format!("{TEXT}-more"),
            format!("01-{trace}-{span}-01"),
            format!("ff-{trace}-{span}-01"),
            format!("00-{}-{span}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{trace}0-{span}-01"),
            format!("00-{}-{span}-01", &trace[1..]),
            format!("00-{trace}-{span}-1"),
            format!("00-{trace}-{span}-0g"),
            format!("00-{trace}-{span}"),
            format!("00-{}é-{span}-01", &trace[2..]),
        ];
        for text in wrong {
            assert_eq!(Parent::parse(&text), None, "{text}");
        }
    }

    #[test]
    fn of_two_parents_neither_counts() {
        let mut headers = HeaderMap::new();
        assert_eq!(Parent::of(&headers), None);
        headers.append(TRACEPARENT, HeaderValue::from_static(TEXT));
        assert_eq!(Parent::of(&headers), Parent::parse(TEXT));
        headers.append(TRACEPARENT, HeaderValue::from_static(TEXT));
        assert_eq!(Parent::of(&headers), None);
    }
}
