//! Who collects traces, and how many of them.

use http::{Uri, uri::Scheme};

use super::ConfigError;
use crate::{cli::serve_args::OtlpArgs, limits::OTLP_RATIO, url};

/// Where others' programs are told to send traces, by OpenTelemetry's convention; the first wins.
const STANDARD: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// Whoever collects traces, over OTLP.
#[derive(Debug, Clone, PartialEq)]
pub struct Otlp {
    /// Its address, for gRPC.
    pub endpoint: String,
    /// How many of the traces that begin here are kept, from 0 to 1. Of one that a caller began, the caller says.
    pub ratio: f64,
}

/// What flags and environment say, over the file; `none` is nobody.
///
/// # Errors
///
/// If the address or the ratio is none, or this build has no traces.
pub(super) fn otlp(
    args: &OtlpArgs,
    file: Option<String>,
    file_ratio: Option<f64>,
) -> Result<Option<Otlp>, ConfigError> {
    let ratio = args.otlp_ratio.or(file_ratio).unwrap_or(OTLP_RATIO);
    if !(0.0..=1.0).contains(&ratio) {
        return Err(ConfigError(format!("otlp: a ratio of {ratio} is not between 0 and 1")));
    }
    match args.otlp.clone().or_else(standard).or(file) {
        None => Ok(None),
        Some(none) if none == "none" => Ok(None),
        Some(_) if !cfg!(feature = "otel") => {
            Err(ConfigError("otlp: this build has no OTLP: build with --features otel".to_owned()))
        }
        Some(endpoint) if is_address(&endpoint) => Ok(Some(Otlp { endpoint, ratio })),
        Some(other) => {
            let such = "such as http://127.0.0.1:4317, nor none";
            let shown = url::shown(&other);
            Err(ConfigError(format!("otlp: {shown:?} is neither the address of a collector, {such}")))
        }
    }
}

/// What the environment says to every program of a machine: a build without traces does not refuse to start for that.
fn standard() -> Option<String> {
    let said = STANDARD.iter().filter(|_| cfg!(feature = "otel")).find_map(|name| std::env::var(name).ok());
    said.filter(|said| !said.is_empty())
}

fn is_address(text: &str) -> bool {
    text.parse::<Uri>().is_ok_and(|uri| {
        uri.authority().is_some() && uri.scheme().is_some_and(|s| *s == Scheme::HTTP || *s == Scheme::HTTPS)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Result<Option<Otlp>, String> {
        otlp(&OtlpArgs { otlp: Some(text.to_owned()), otlp_ratio: None }, None, None).map_err(|e| e.0)
    }

    #[test]
    fn none_is_nobody_and_a_ratio_is_between_0_and_1() {
        assert_eq!(said("none"), Ok(None));
        for wrong in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            let args = OtlpArgs { otlp: Some("none".to_owned()), otlp_ratio: Some(wrong) };
            assert!(otlp(&args, None, None).is_err(), "{wrong}");
        }
    }

    #[test]
    #[cfg(not(feature = "otel"))]
    fn a_build_without_traces_says_so() {
        assert_eq!(
            said("http://127.0.0.1:4317").unwrap_err(),
            "otlp: this build has no OTLP: build with --features otel"
        );
    }

    #[test]
    #[cfg(feature = "otel")]
    fn a_collector_has_an_address() {
        let endpoint = "http://127.0.0.1:4317".to_owned();
        assert_eq!(said(&endpoint), Ok(Some(Otlp { endpoint, ratio: OTLP_RATIO })));
        assert!(said("https://traces.example").is_ok());
        for wrong in ["here", "127.0.0.1:4317", "ftp://here", "http://", "/traces"] {
            assert!(said(wrong).is_err(), "{wrong}");
        }
        let told = said("ftp://user:hush@here?key=hush").unwrap_err();
        assert!(told.contains("ftp://here") && !told.contains("hush"), "{told}");
    }
}
