//! Where an issuer's keys are, and how they are fetched again.

use std::sync::Arc;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Uri, body::Bytes};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};

use super::{Access, KeySet};
use crate::{
    domain::error::chain,
    limits::{KEYS_FETCH_TIMEOUT, KEYS_INTERVAL, KEYS_MIN_PAUSE, MAX_KEYS_BYTES},
    url,
};

/// Where an issuer publishes its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPlace {
    /// In a file, which is read again when it changes.
    File(std::path::PathBuf),
    /// At an address, which is asked again now and then, when a token names a key that is unknown, and when that is asked for.
    Url(Uri),
}

impl KeyPlace {
    /// Reads what the configuration says.
    ///
    /// # Errors
    ///
    /// If it is an address that cannot be read, or one without TLS on another machine: whoever stands in between would make
    /// tokens.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.contains("://") {
            return Ok(Self::File(text.into()));
        }
        let shown = url::shown(text);
        let uri: Uri = text.parse().map_err(|e| format!("{shown:?} is no address: {e}"))?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let is_here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        match uri.scheme_str() {
            Some("https") => Ok(Self::Url(uri)),
            Some("http") if is_here => Ok(Self::Url(uri)),
            _ => Err(format!("{shown:?}: keys are fetched by https")),
        }
    }
}

/// Fetches the keys now, and again for as long as it is not dropped; `told` hears each time whether there were any to take.
/// What was fetched before stays in force while the issuer does not answer.
pub async fn run(access: Arc<Access>, uri: Uri, told: impl Fn(bool) + Send) {
    let shown = url::shown(&uri.to_string());
    loop {
        let fetched = fetch(&uri).await;
        let is_taken = fetched.is_ok();
        match fetched {
            Ok(keys) => {
                // Not each time: mostly nothing changed.
                if access.replace_keys(keys) {
                    tracing::info!("the issuer's keys were read");
                }
            }
            Err(why) => tracing::warn!("the issuer's keys at {shown} could not be fetched: {why}"),
        }
        told(is_taken);
        tokio::time::sleep(KEYS_MIN_PAUSE).await;
        tokio::select! {
            () = tokio::time::sleep(KEYS_INTERVAL) => {}
            () = access.wanted_keys.notified() => {}
        }
    }
}

/// Asks an address for a set of keys, within [`KEYS_FETCH_TIMEOUT`].
///
/// # Errors
///
/// If it does not answer in time with one.
pub async fn fetch(uri: &Uri) -> Result<KeySet, String> {
    let answer = async {
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::ring::default_provider())
            .map_err(|e| format!("the system's certificates: {e}"))?
            .https_or_http()
            .enable_http1()
            .build();
        let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
        let response = client.get(uri.clone()).await.map_err(|e| chain(&e))?;
        if !response.status().is_success() {
            return Err(format!("it answers {}", response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_KEYS_BYTES).collect().await.map_err(|e| chain(&*e))?;
        KeySet::parse(&body.to_bytes()).map_err(|why| format!("what it answers {why}"))
    };
    let late = |_| format!("no answer within {KEYS_FETCH_TIMEOUT:?}");
    tokio::time::timeout(KEYS_FETCH_TIMEOUT, answer).await.map_err(late)?
}
