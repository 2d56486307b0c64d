//! TLS: one certificate at a time, replaced while connections go on.

use std::{future::Future, io, pin::Pin, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tokio::{net::TcpStream, sync::watch};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    access::{self, Certificate, Validity, instant},
    clock::{Clock as _, SystemClock},
};

/// What a server proves itself with, and whom it believes; files' contents, in PEM.
#[derive(Debug)]
pub struct Material {
    /// The certificate and those that lead to a root.
    pub certificate: Vec<u8>,
    /// Its private key.
    pub key: Vec<u8>,
    /// The authorities whose clients' certificates are taken.
    pub client_ca: Option<Vec<u8>>,
    /// Whether clients without one are turned away.
    pub require_client_certificate: bool,
}

/// What new connections are greeted with.
#[derive(Debug)]
pub struct Tls {
    own: ArcSwap<Own>,
    /// Who decides whose clients' certificates are good; `None` where none is taken.
    verifier: watch::Sender<Option<Verifier>>,
}

type Verifier = Arc<dyn ClientCertVerifier>;

/// With what a server proves itself.
#[derive(Debug)]
struct Own {
    config: Arc<ServerConfig>,
    /// Its certificate and those that lead to a root.
    chain: Vec<CertificateDer<'static>>,
    /// When that certificate of its chain ends which ends first, in microseconds since 1970.
    ends_at_us: i64,
}

/// A client that proved who it is.
pub(super) struct Proved {
    pub certificate: Certificate,
    /// Done, with the certificate disowned, once no authority that is believed proves it.
    pub disowned: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Tls {
    /// Of this material.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or key and certificate do not belong together.
    pub fn new(material: &Material) -> Result<Self, String> {
        let (own, verifier) = made_of(material)?;
        Ok(Self { own: ArcSwap::from_pointee(own), verifier: watch::Sender::new(verifier) })
    }

    /// When the certificate in force ends, or one of those that lead from it to a root if that ends before: in microseconds
    /// since 1970.
    #[must_use]
    pub fn ends_at_us(&self) -> i64 {
        self.own.load().ends_at_us
    }

    /// Greets connections with other material from now on, if that is good at that time; clients that it does not prove any
    /// more are disowned. Answers whether its certificate, or one behind it, is another than before.
    ///
    /// # Errors
    ///
    /// As of [`Tls::new`]; the former stays then.
    pub fn replace(&self, material: &Material, now_us: i64) -> Result<bool, String> {
        // One that nobody believes is worse than the former.
        if let Some(why) = not_good(material, now_us)? {
            return Err(format!("certificate: {why}"));
        }
        let (own, verifier) = made_of(material)?;
        let is_another = own.chain != self.own.load().chain;
        self.own.store(Arc::new(own));
        self.verifier.send_replace(verifier);
        Ok(is_another)
    }

    /// Greets a connection; answers it with whom its client proved to be.
    pub(super) async fn accept(
        self: &Arc<Self>,
        stream: TcpStream,
    ) -> io::Result<(TlsStream<TcpStream>, Option<Proved>)> {
        let config = Arc::clone(&self.own.load().config);
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        let proved = match stream.get_ref().1.peer_certificates() {
            None | Some([]) => None,
            Some(chain @ [own, ..]) => {
                let unnamed = || io::Error::new(io::ErrorKind::InvalidData, "the client's certificate names nobody");
                let certificate = access::identity(own).ok_or_else(unnamed)?;
                let (tls, token) = (Arc::clone(self), certificate.disowned.clone());
                let chain = chain.to_vec();
                let disowned = Box::pin(async move {
                    tls.until_disowned(&chain).await;
                    token.cancel();
                });
                Some(Proved { certificate, disowned })
            }
        };
        Ok((stream, proved))
    }

    /// Waits until a client's chain leads to no authority that is believed. It is looked at first: who is believed may
    /// have changed in the middle of the handshake.
    async fn until_disowned(&self, chain: &[CertificateDer<'static>]) {
        let Some((own, others)) = chain.split_first() else { return };
        let mut verifier = self.verifier.subscribe();
        loop {
            let now = u64::try_from(SystemClock.now_us()).unwrap_or(0);
            let now = UnixTime::since_unix_epoch(Duration::from_micros(now));
            let believed = verifier.borrow_and_update().clone();
            if believed.is_none_or(|verifier| verifier.verify_client_cert(own, others, now).is_err()) {
                return;
            }
            // (The sender lives as long as this.)
            let _ = verifier.changed().await;
        }
    }
}

/// Why clients would not believe the server's own certificate at a time, if that is why.
///
/// # Errors
///
/// If it cannot be read.
pub fn not_good(material: &Material, now_us: i64) -> Result<Option<String>, String> {
    let own = validities(&material.certificate).map_err(|why| format!("certificate: {why}"))?;
    Ok(own.first().and_then(|own| match own {
        own if now_us >= own.ends_at_us => Some(format!("it ended at {}", instant(own.ends_at_us))),
        own if now_us < own.begins_at_us => Some(format!("it is good from {} on", instant(own.begins_at_us))),
        _ => None,
    }))
}

/// How long each certificate of a file is good, in its order.
///
/// # Errors
///
/// If there is none, or one cannot be read.
pub fn validities(pem: &[u8]) -> Result<Vec<Validity>, String> {
    let each = |der: CertificateDer<'static>| access::validity(&der).ok_or("has a certificate that cannot be read");
    Ok(certificates(pem)?.into_iter().map(each).collect::<Result<_, _>>()?)
}

fn made_of(material: &Material) -> Result<(Own, Option<Verifier>), String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let wrong = |why: String| format!("certificate: {why}");
    let chain = certificates(&material.certificate).map_err(wrong)?;
    let each = validities(&material.certificate).map_err(wrong)?;
    let ends_at_us = each.iter().fold(i64::MAX, |first, each| first.min(each.ends_at_us));
    let key = PrivateKeyDer::from_pem_slice(&material.key).map_err(|e| format!("key: {e}"))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?;
    let verifier = match &material.client_ca {
        None => None,
        Some(authorities) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(authorities).map_err(|why| format!("client_ca: {why}"))? {
                roots.add(authority).map_err(|e| format!("client_ca: {e}"))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier =
                if material.require_client_certificate { verifier } else { verifier.allow_unauthenticated() };
            Some(verifier.build().map_err(|e| format!("client_ca: {e}"))?)
        }
    };
    let builder = match &verifier {
        None => builder.with_no_client_auth(),
        Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
    };
    let mut config = builder.with_single_cert(chain.clone(), key).map_err(|e| format!("certificate and key: {e}"))?;
    // gRPC is HTTP/2 (RFC 7301 names it h2).
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok((Own { config: Arc::new(config), chain, ends_at_us }, verifier))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())?;
    if found.is_empty() { Err("has no certificate in PEM".to_owned()) } else { Ok(found) }
}
