//! TLS: one certificate at a time, replaced while connections go on.

use std::{io, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::access::{self, Certificate, Validity};

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
pub struct Tls(ArcSwap<ServerConfig>);

impl Tls {
    /// Of this material.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or key and certificate do not belong together.
    pub fn new(material: &Material) -> Result<Self, String> {
        Ok(Self(ArcSwap::new(Arc::new(config(material)?))))
    }

    /// Greets connections with other material from now on.
    ///
    /// # Errors
    ///
    /// As of [`Tls::new`]; the former stays then.
    pub fn replace(&self, material: &Material) -> Result<(), String> {
        self.0.store(Arc::new(config(material)?));
        Ok(())
    }

    /// Greets a connection; answers it with whom its client proved to be.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<(TlsStream<TcpStream>, Option<Certificate>)> {
        let stream = TlsAcceptor::from(self.0.load_full()).accept(stream).await?;
        let certificate = match stream.get_ref().1.peer_certificates() {
            None | Some([]) => None,
            Some([own, ..]) => {
                let unnamed = || io::Error::new(io::ErrorKind::InvalidData, "the client's certificate names nobody");
                Some(access::identity(own).ok_or_else(unnamed)?)
            }
        };
        Ok((stream, certificate))
    }
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

fn config(material: &Material) -> Result<ServerConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = certificates(&material.certificate).map_err(|why| format!("certificate: {why}"))?;
    let key = PrivateKeyDer::from_pem_slice(&material.key).map_err(|e| format!("key: {e}"))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?;
    let builder = match &material.client_ca {
        None => builder.with_no_client_auth(),
        Some(authorities) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(authorities).map_err(|why| format!("client_ca: {why}"))? {
                roots.add(authority).map_err(|e| format!("client_ca: {e}"))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier =
                if material.require_client_certificate { verifier } else { verifier.allow_unauthenticated() };
            builder.with_client_cert_verifier(verifier.build().map_err(|e| format!("client_ca: {e}"))?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|e| format!("certificate and key: {e}"))?;
    // gRPC is HTTP/2 (RFC 7301 names it h2).
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())?;
    if found.is_empty() { Err("has no certificate in PEM".to_owned()) } else { Ok(found) }
}
