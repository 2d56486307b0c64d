//! The files of TLS: whether they can be read, belong together, and are good now.

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Finding, place::Places};
use crate::{
    access::{Validity, instant},
    config::TlsFiles,
    limits::CERTIFICATE_ENDS_SOON,
    security,
    transport::{self, Material, Tls},
};

/// Looks at each, and at what they make together.
pub(super) fn look(files: &TlsFiles, places: &Places, now_us: i64) -> Vec<Finding> {
    let mut found = Vec::new();
    let (certificate, key) = (places.certificate(), places.tls_key());
    let chain = read(&files.certificate, &certificate, &mut found);
    let secret = read(&files.key, &key, &mut found);
    let client_ca = files.client_ca.as_deref().and_then(|file| read(file, &places.client_ca(), &mut found));
    if secret.is_some() {
        found.extend(open_to_all(&files.key, &key));
    }
    if secret.as_deref().is_some_and(is_locked) {
        let what = format!("{} is encrypted: it must not be", files.key.display());
        found.push(Finding::fault(&key, what, "take its passphrase off, as `openssl pkey -in FILE -out NEW` does"));
    }
    let secret = secret.filter(|pem| !is_locked(pem));
    let is_chain = chain.as_ref().is_some_and(|pem| {
        let bad = "replace it by one that is good now: it is read again when it changes";
        good(pem, &files.certificate, &certificate, now_us, |about, what| Finding::fault(about, what, bad), &mut found)
    });
    let is_ca = client_ca.as_ref().is_some_and(|pem| {
        let bad = "take it out, or replace it: its clients' certificates have probably ended too";
        let file = files.client_ca.as_deref().unwrap_or(Path::new(""));
        good(pem, file, &places.client_ca(), now_us, |about, what| Finding::warning(about, what, bad), &mut found)
    });
    let (Some(chain), Some(secret), true) = (chain, secret, is_chain) else { return found };
    let own = Material { certificate: chain, key: secret, client_ca: None, require_client_certificate: false };
    if let Err(why) = Tls::new(&own) {
        // A word of the library that reads it.
        if why.contains("UnsupportedCertVersion") {
            let remedy = "have it made anew with extensions, such as alternative names: those are of version 3";
            found.push(Finding::fault(&certificate, format!("{why}: it is not of version 3"), remedy));
            return found;
        }
        let remedy = "name the key that the certificate was made for, in PEM and without a passphrase";
        found.push(Finding::fault(&key, why, remedy));
        return found;
    }
    found.push(Finding::ok(&key, "it belongs to the certificate"));
    if !has_names(&own.certificate) {
        let what = format!("{} has no alternative names: clients go by those", files.certificate.display());
        let remedy = "have it made anew with the names (subjectAltName) by which clients reach the server";
        found.push(Finding::warning(&certificate, what, remedy));
    }
    let require_client_certificate = files.require_client_certificate;
    if is_ca && let Err(why) = Tls::new(&Material { client_ca, require_client_certificate, ..own }) {
        found.push(Finding::fault(&places.client_ca(), why, "name certificates of authorities, in PEM"));
    }
    found
}

fn read(file: &Path, about: &str, found: &mut Vec<Finding>) -> Option<Vec<u8>> {
    let remedy = "name a file in PEM that the user who runs the server may read";
    security::read(file).map_err(|why| found.push(Finding::fault(about, why, remedy))).ok()
}

/// Whether a file has certificates; whether each is good now is among the findings.
fn good(
    pem: &[u8],
    file: &Path,
    about: &str,
    now_us: i64,
    bad: impl Fn(&str, String) -> Finding,
    found: &mut Vec<Finding>,
) -> bool {
    let each = match transport::validities(pem) {
        Ok(each) => each,
        Err(why) => {
            let remedy = "name a file that begins with -----BEGIN CERTIFICATE-----";
            found.push(Finding::fault(about, format!("{}: {why}", file.display()), remedy));
            return false;
        }
    };
    let soon_us = i64::try_from(CERTIFICATE_ENDS_SOON.as_micros()).unwrap_or(i64::MAX);
    for Validity { subject, begins_at_us, ends_at_us } in each {
        let file = file.display();
        let name = if subject.is_empty() { file.to_string() } else { format!("{file} ({subject})") };
        let (begins, ends) = (instant(begins_at_us), instant(ends_at_us));
        found.push(if ends_at_us <= now_us {
            bad(about, format!("{name} has expired, at {ends}"))
        } else if begins_at_us > now_us {
            bad(about, format!("{name} is not valid yet: it begins at {begins}, if this machine's clock is right"))
        } else if ends_at_us.saturating_sub(now_us) < soon_us {
            let remedy = "replace it before: it is read again when it changes";
            Finding::warning(about, format!("{name} ends soon, at {ends}"), remedy)
        } else {
            Finding::ok(about, format!("{name} is good until {ends}"))
        });
    }
    true
}

/// Whether a key in PEM is encrypted, as of RFC 5958 or in the way of before.
fn is_locked(pem: &[u8]) -> bool {
    let pem = String::from_utf8_lossy(pem);
    pem.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || pem.contains("Proc-Type: 4,ENCRYPTED")
}

/// Whether the first certificate, the server's own, has alternative names.
fn has_names(pem: &[u8]) -> bool {
    let Ok(der) = CertificateDer::from_pem_slice(pem) else { return false };
    let Ok((_, own)) = X509Certificate::from_der(&der) else { return false };
    let names = own.subject_alternative_name().ok().flatten();
    names.is_some_and(|names| !names.value.general_names.is_empty())
}

/// A file that is to be its owner's, and is everybody's.
pub(super) fn open_to_all(file: &Path, about: &str) -> Option<Finding> {
    let mode = file.metadata().ok()?.permissions().mode();
    let may = match (mode & 0o004 != 0, mode & 0o002 != 0) {
        (_, true) => "written",
        (true, false) => "read",
        (false, false) => return None,
    };
    let what = format!("{} may be {may} by every user of this machine", file.display());
    Some(Finding::warning(about, what, "`chmod o-rw` it"))
}
