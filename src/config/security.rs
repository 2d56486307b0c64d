//! How connections are secured, and who may do what: the `[tls]` and `[access]` tables.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ConfigError;
use crate::{
    access::{Allowance, Grant, KeyPlace, Policy},
    cli::serve_args::TlsArgs,
};

/// How far the clocks of an issuer and of this machine may be apart, in seconds, if nobody says.
const DEFAULT_LEEWAY_SECONDS: u32 = 60;
/// And at most: a token that has expired must end.
const MAX_LEEWAY_SECONDS: u32 = 600;

/// What secures a server. Without anything everybody may do everything, which is for loopback addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Security {
    /// The files of TLS; `None` is plaintext.
    pub tls: Option<TlsFiles>,
    /// Who may do what; `None` is everybody everything.
    pub access: Option<AccessRules>,
    /// Whether reflection is served.
    pub reflection: bool,
    /// The file that the rules are read from, again whenever it changes.
    pub file: Option<PathBuf>,
}

impl Default for Security {
    fn default() -> Self {
        Self { tls: None, access: None, reflection: true, file: None }
    }
}

/// Where the server's certificate is, and whose clients' certificates are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Its certificate and those that lead to a root, in PEM.
    pub certificate: PathBuf,
    /// The certificate's private key, in PEM.
    pub key: PathBuf,
    /// The authorities whose clients' certificates are taken, in PEM.
    pub client_ca: Option<PathBuf>,
    /// Whether clients without a certificate are turned away.
    pub require_client_certificate: bool,
}

/// Who may do what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRules {
    /// The file of tokens' digests.
    pub tokens: Option<PathBuf>,
    /// Whose JWTs are taken.
    pub jwt: Option<JwtRules>,
    /// What names are granted.
    pub policy: Policy,
    /// How much each principal may ask for.
    pub allowance: Allowance,
}

/// Whose JWTs are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtRules {
    /// As tokens name it.
    pub issuer: String,
    /// What tokens call this registry.
    pub audience: String,
    /// Where the issuer's keys are.
    pub keys: KeyPlace,
    /// How far clocks may be apart, in seconds.
    pub leeway_seconds: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileTls {
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    client_ca: Option<PathBuf>,
    require_client_certificate: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileAccess {
    tokens: Option<PathBuf>,
    jwt: Option<FileJwt>,
    #[serde(default)]
    allow: Vec<Grant>,
    #[serde(default)]
    limits: Allowance,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileJwt {
    issuer: String,
    audience: String,
    keys: String,
    leeway_seconds: Option<u32>,
}

/// The files that the flags say, over the table.
pub(super) fn tls(args: &TlsArgs, table: Option<FileTls>, beside: &Path) -> Result<Option<TlsFiles>, ConfigError> {
    let table = table.unwrap_or_default();
    let place = |flag: &Option<PathBuf>, said: Option<PathBuf>| flag.clone().or_else(|| said.map(|p| beside.join(p)));
    let certificate = place(&args.tls_certificate, table.certificate);
    let key = place(&args.tls_key, table.key);
    let client_ca = place(&args.tls_client_ca, table.client_ca);
    let require_client_certificate = table.require_client_certificate.unwrap_or(false);
    let wrong = |why: &str| Err(ConfigError(format!("tls: {why}")));
    match (certificate, key) {
        (Some(_), Some(_)) if require_client_certificate && client_ca.is_none() => {
            wrong("client certificates are required, and no client_ca says whose")
        }
        (Some(certificate), Some(key)) => {
            Ok(Some(TlsFiles { certificate, key, client_ca, require_client_certificate }))
        }
        (None, None) if client_ca.is_none() && !require_client_certificate => Ok(None),
        _ => wrong("certificate and key come together (--tls-certificate, --tls-key)"),
    }
}

/// The rules of a table; files in it lie beside the configuration.
pub(super) fn access(table: FileAccess, beside: &Path) -> Result<AccessRules, ConfigError> {
    let wrong = |why: String| ConfigError(format!("access: {why}"));
    let policy = Policy::new(table.allow).map_err(wrong)?;
    let jwt = table.jwt.map(|jwt| {
        let leeway_seconds = jwt.leeway_seconds.unwrap_or(DEFAULT_LEEWAY_SECONDS);
        if leeway_seconds > MAX_LEEWAY_SECONDS {
            return Err(wrong(format!("jwt.leeway_seconds is {leeway_seconds}, at most {MAX_LEEWAY_SECONDS}")));
        }
        if jwt.issuer.is_empty() || jwt.audience.is_empty() {
            return Err(wrong("jwt.issuer and jwt.audience say whose tokens are taken, and for whom".to_owned()));
        }
        let keys = match KeyPlace::parse(&jwt.keys).map_err(|why| wrong(format!("jwt.keys: {why}")))? {
            KeyPlace::File(file) => KeyPlace::File(beside.join(file)),
            url => url,
        };
        Ok(JwtRules { issuer: jwt.issuer, audience: jwt.audience, keys, leeway_seconds })
    });
    Ok(AccessRules {
        tokens: table.tokens.map(|p| beside.join(p)),
        jwt: jwt.transpose()?,
        policy,
        allowance: table.limits,
    })
}
