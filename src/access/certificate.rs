//! Whose a client's certificate is.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// What a certificate says of its owner, once TLS has verified it.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The first URI of its alternative names, else the first DNS name; of one that has neither the common name.
    pub name: Arc<str>,
    /// The end of its validity, in microseconds since 1970.
    pub ends_at_us: i64,
    /// Cancelled when the authority that proved it is not believed any more.
    pub disowned: CancellationToken,
}

/// Reads a certificate in DER (RFC 5280); `None` if it cannot be read or names nobody.
#[must_use]
pub fn identity(der: &[u8]) -> Option<Certificate> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let alternatives = certificate.subject_alternative_name().ok()?;
    let names = || alternatives.iter().flat_map(|a| &a.value.general_names);
    let uri = names().find_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let dns = names().find_map(|name| match name {
        GeneralName::DNSName(dns) => Some(*dns),
        _ => None,
    });
    let common = certificate.subject().iter_common_name().find_map(|name| name.as_str().ok());
    // A common name may be what its owner asked for: it is nobody's URI, which would have a colon.
    let common = common.filter(|name| !name.contains(':'));
    let name = uri.or(dns).or(common).filter(|name| !name.is_empty() && !name.chars().any(char::is_control))?;
    let ends_at_us = certificate.validity().not_after.timestamp().saturating_mul(1_000_000);
    Some(Certificate { name: name.into(), ends_at_us, disowned: CancellationToken::new() })
}

/// From when until when a certificate is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validity {
    /// Whose it is, for people: its whole subject, which may be empty.
    pub subject: String,
    /// Its beginning, in microseconds since 1970.
    pub begins_at_us: i64,
    /// Its end, in microseconds since 1970.
    pub ends_at_us: i64,
}

/// When something begins or ends, in microseconds since 1970, in words.
#[must_use]
pub fn instant(us: i64) -> String {
    jiff::Timestamp::from_microsecond(us).map_or_else(|_| "a time out of range".to_owned(), |time| time.to_string())
}

/// Reads how long a certificate in DER is good; `None` if it cannot be read.
#[must_use]
pub fn validity(der: &[u8]) -> Option<Validity> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let us = |seconds: i64| seconds.saturating_mul(1_000_000);
    let validity = certificate.validity();
    Some(Validity {
        subject: certificate.subject().to_string(),
        begins_at_us: us(validity.not_before.timestamp()),
        ends_at_us: us(validity.not_after.timestamp()),
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    /// As whom a certificate with this common name and these alternative names is known.
    fn known_as(common: &str, alternatives: &[SanType]) -> Option<String> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common);
        params.subject_alt_names = alternatives.to_vec();
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        identity(certificate.der()).map(|certificate| certificate.name.to_string())
    }

    #[test]
    fn a_common_name_counts_where_there_is_neither_uri_nor_dns_name_and_never_as_a_uri() {
        assert_eq!(known_as("desk", &[]).as_deref(), Some("desk"));
        for uri in ["spiffe://example/desk", "urn:example:desk"] {
            assert_eq!(known_as(uri, &[]), None, "{uri}");
            assert_eq!(known_as("desk", &[SanType::URI(uri.try_into().unwrap())]).as_deref(), Some(uri));
        }
        let dns = SanType::DnsName("other.example".try_into().unwrap());
        assert_eq!(known_as("spiffe://example/desk", &[dns]).as_deref(), Some("other.example"));
        let mail = SanType::Rfc822Name("somebody@other.example".try_into().unwrap());
        assert_eq!(known_as("desk", &[mail]).as_deref(), Some("desk"), "an address of mail names nobody here");
    }
}
