//! Who may do what: a credential becomes a principal, and a principal may do what the policy grants its name.
//!
//! What is not granted is refused. Rules are replaced as a whole while the server runs; whoever holds on to a stream is
//! looked at again whenever they are.

mod certificate;
mod jwt;
mod keys;
mod need;
mod policy;
mod seen;
mod shares;
mod tokens;

use std::{
    fmt,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use quick_cache::sync::Cache;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use self::{
    certificate::{Certificate, Validity, identity, instant, validity},
    jwt::{Issuer, KeySet},
    keys::{KeyPlace, fetch as fetch_keys, run as keep_keys},
    need::{Need, of as needs},
    policy::{Grant, Grants, Policy, Role, SourceLimit},
    seen::Seen,
    shares::{Allowance, Place},
    tokens::{Secret, Tokens, without_tokens},
};
use crate::{
    clock::Clock,
    domain::error::{Error, Reason, Result},
    limits::{KNOWN_BEARERS, MAX_TOKEN_BYTES},
};

/// Without rules everybody is this principal, and may do everything.
pub const LOCAL: &str = "local";
/// Whoever shows no credential, where the policy grants this name anything.
pub const ANONYMOUS: &str = "anonymous";

/// Everything that decides: made anew when a file changes.
#[derive(Debug)]
pub struct Rules {
    policy: Policy,
    tokens: Tokens,
    issuer: Option<Issuer>,
    /// Bearers that proved good by these rules, by digest: a signature is verified once, and a policy read once.
    known: Cache<[u8; 32], Principal>,
}

impl Rules {
    /// What names are granted, tokens by their digests, and whose JWTs are taken.
    #[must_use]
    pub fn new(policy: Policy, tokens: Tokens, issuer: Option<Issuer>) -> Self {
        Self { policy, tokens, issuer, known: Cache::new(KNOWN_BEARERS) }
    }

    /// When the credential of a principal who was admitted ends by these rules: files may say another end by now.
    fn end_of(&self, principal: &Principal) -> Result<Option<i64>> {
        let as_admitted = |stands: bool| stands.then_some(principal.ends_at_us);
        let end = match &principal.credential {
            Credential::Local => as_admitted(true),
            Credential::None => as_admitted(self.policy.names(ANONYMOUS)),
            Credential::Token(digest) => {
                let name = principal.name.strip_prefix("token:");
                self.tokens.find(digest).filter(|token| name == Some(token.name.as_str())).map(|token| token.ends_at_us)
            }
            Credential::Jwt(proof) => self.issuer.as_ref().and_then(|issuer| issuer.end_of(proof)).map(Some),
            Credential::Certificate(disowned) => as_admitted(!disowned.is_cancelled()),
        };
        end.ok_or_else(|| expired("the credential was revoked"))
    }
}

/// What a request shows of itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shown<'a> {
    /// The `authorization` header, if it can be read.
    pub authorization: Option<&'a str>,
    /// The certificate that the connection's client proved to have.
    pub certificate: Option<&'a Certificate>,
    /// What its connection showed before.
    pub seen: Option<&'a Seen>,
}

/// Who asks, and what they may do.
#[derive(Debug, Clone)]
pub struct Principal {
    /// As revisions record it: `token:…`, `jwt:…`, `cert:…`, [`ANONYMOUS`] or [`LOCAL`].
    pub name: Arc<str>,
    /// What they may do.
    pub grants: Arc<Grants>,
    /// When the credential ends, in microseconds since 1970; `None` is never.
    pub ends_at_us: Option<i64>,
    credential: Credential,
}

/// By what a principal is known.
#[derive(Debug, Clone)]
enum Credential {
    /// There are no rules.
    Local,
    None,
    Token(blake3::Hash),
    /// By what it proved.
    Jwt(jwt::Proof),
    /// As long as its authority is believed.
    Certificate(CancellationToken),
}

impl Principal {
    /// Whoever asks where there are no rules.
    #[must_use]
    pub fn local() -> Self {
        // Made once: every call is theirs where there are no rules.
        static EVERYBODY: LazyLock<Principal> = LazyLock::new(|| Principal {
            name: LOCAL.into(),
            grants: Arc::new(Grants::everything()),
            ends_at_us: None,
            credential: Credential::Local,
        });
        EVERYBODY.clone()
    }

    /// Whoever asks for what needs nothing.
    #[must_use]
    pub fn nobody() -> Self {
        Self { name: ANONYMOUS.into(), grants: Arc::default(), ends_at_us: None, credential: Credential::None }
    }

    /// Whether it showed who it is, or nobody has to.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !matches!(self.credential, Credential::None)
    }

    /// Checks that this principal may do something.
    ///
    /// # Errors
    ///
    /// `ROLE_REQUIRED`, with the role.
    pub fn may(&self, need: Need) -> Result<()> {
        match need {
            Need::Nothing => Ok(()),
            Need::Role(role) if self.grants.has(role) => Ok(()),
            Need::Role(role) => {
                let why = format!("{} is not granted the role {role}, which this needs", self.name);
                Err(Error::new(Reason::RoleRequired, why).with("role", role).with("principal", &self.name))
            }
        }
    }

    /// Checks that this principal may file in the name of a source that came in a field.
    ///
    /// # Errors
    ///
    /// `ROLE_REQUIRED` if it may file for other sources only.
    pub fn may_file_for(&self, source: &str, field: &str) -> Result<()> {
        match &self.grants.sources {
            SourceLimit::None => Ok(()),
            SourceLimit::Prefixes(prefixes) if prefixes.iter().any(|p| source.starts_with(p)) => Ok(()),
            SourceLimit::Prefixes(prefixes) => {
                let allowed = prefixes.iter().map(|p| format!("{p}…")).collect::<Vec<_>>().join(", ");
                let why = format!("{} may file for {allowed} only, and this is {source}", self.name);
                Err(Error::field(Reason::RoleRequired, field, why).with("principal", &self.name))
            }
        }
    }
}

/// The rules in force.
pub struct Access {
    rules: ArcSwap<Rules>,
    /// Counts how often they were replaced.
    changes: watch::Sender<u64>,
    clock: Arc<dyn Clock>,
    /// Asks for the issuer's keys again, because one is unknown, or somebody wants that.
    wanted_keys: tokio::sync::Notify,
    /// One replacement at a time: each takes over what the others did not change.
    replacing: Mutex<()>,
    /// What each principal asks for.
    shares: Arc<shares::Shares>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("rules", &self.rules.load()).finish_non_exhaustive()
    }
}

impl Access {
    /// With these rules at first, and so much for each principal.
    #[must_use]
    pub fn new(rules: Rules, allowance: Allowance, clock: Arc<dyn Clock>) -> Self {
        Self {
            rules: ArcSwap::from_pointee(rules),
            changes: watch::Sender::new(0),
            clock,
            wanted_keys: tokio::sync::Notify::new(),
            replacing: Mutex::new(()),
            shares: Arc::new(shares::Shares::new(allowance)),
        }
    }

    /// Puts other rules in force; those who are in the middle of something are looked at again. The issuer's keys stay, as
    /// long as it is the same issuer and the rules do not say which it has.
    pub fn replace(&self, mut rules: Rules) {
        let _one = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.rules.load();
        if let (Some(old), Some(new)) = (&before.issuer, &mut rules.issuer) {
            new.take_over(old);
        }
        self.rules.store(Arc::new(rules));
        self.changes.send_modify(|n| *n += 1);
    }

    /// Has the issuer's keys fetched again, if they are at an address: at once, unless they were fetched a moment ago.
    pub fn want_keys(&self) {
        self.wanted_keys.notify_one();
    }

    /// Puts keys of the issuer in force; whether they are others than before.
    #[must_use]
    pub fn replace_keys(&self, keys: KeySet) -> bool {
        let _one = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.rules.load();
        let Some(issuer) = &before.issuer else { return false };
        if issuer.keys() == Some(&keys) {
            return false;
        }
        let issuer = Some(issuer.with_keys(keys));
        let rules = Rules::new(before.policy.clone(), before.tokens.clone(), issuer);
        self.rules.store(Arc::new(rules));
        self.changes.send_modify(|n| *n += 1);
        true
    }

    /// Who asks, if they may.
    ///
    /// # Errors
    ///
    /// `CREDENTIAL_MISSING` if there is none or it is not good, `CREDENTIAL_EXPIRED` if it was, `ROLE_REQUIRED` if it does
    /// not grant what is needed, `QUOTA_EXCEEDED` if it has asked for too much.
    pub fn admit(&self, need: Need, shown: Shown<'_>) -> Result<Principal> {
        let principal = self.principal(shown)?;
        // What is refused counts too.
        self.shares.request(&principal.name)?;
        principal.may(need)?;
        Ok(principal)
    }

    /// Counts a call that came on a stream.
    ///
    /// # Errors
    ///
    /// `QUOTA_EXCEEDED` if there were too many lately.
    pub fn count(&self, principal: &Principal) -> Result<()> {
        self.shares.request(&principal.name)
    }

    /// Counts bytes of a filing.
    ///
    /// # Errors
    ///
    /// `QUOTA_EXCEEDED` if there were too many lately.
    pub fn spend(&self, principal: &Principal, bytes: usize) -> Result<()> {
        self.shares.filing(&principal.name, bytes)
    }

    /// Counts a stream until its place is dropped.
    ///
    /// # Errors
    ///
    /// `QUOTA_EXCEEDED` if there are too many open.
    pub fn open(&self, principal: &Principal) -> Result<Place> {
        self.shares.stream(&principal.name)
    }

    /// Counts a call under way, until its place is dropped; `None` where they are not counted.
    ///
    /// # Errors
    ///
    /// `QUOTA_EXCEEDED` if there are too many.
    pub fn call(&self, principal: &Principal) -> Result<Option<Place>> {
        self.shares.call(&principal.name)
    }

    /// Counts a snapshot or backup that is sent, until its place is dropped.
    ///
    /// # Errors
    ///
    /// `QUOTA_EXCEEDED` if there are too many under way.
    pub fn open_snapshot(&self, principal: &Principal) -> Result<Place> {
        self.shares.snapshot(&principal.name)
    }

    fn principal(&self, shown: Shown<'_>) -> Result<Principal> {
        let rules = self.rules.load();
        if let Some(header) = shown.authorization {
            if let Some(known) = shown.seen.and_then(|seen| seen.find(header, &rules)) {
                self.check_end(known.ends_at_us)?;
                return Ok(known);
            }
            let bearer = bearer(header).ok_or_else(|| missing("the authorization header is not `Bearer TOKEN`"))?;
            let principal = self.of_bearer(&rules, bearer)?;
            if let Some(seen) = shown.seen {
                seen.keep(header, &rules, &principal);
            }
            return Ok(principal);
        }
        if let Some(certificate) = shown.certificate {
            if certificate.disowned.is_cancelled() {
                return Err(expired("the authority of the client's certificate is not believed any more"));
            }
            let name = format!("cert:{}", certificate.name);
            let credential = Credential::Certificate(certificate.disowned.clone());
            return self.granted(&rules, name, Some(certificate.ends_at_us), credential);
        }
        if rules.policy.names(ANONYMOUS) {
            return self.granted(&rules, ANONYMOUS.to_owned(), None, Credential::None);
        }
        Err(missing("there is no credential: an authorization header `Bearer TOKEN`, or a client certificate"))
    }

    fn of_bearer(&self, rules: &Rules, bearer: &str) -> Result<Principal> {
        if bearer.len() > MAX_TOKEN_BYTES {
            return Err(missing(&format!("the token has more than {MAX_TOKEN_BYTES} bytes")));
        }
        let digest = blake3::hash(bearer.as_bytes());
        if let Some(known) = rules.known.get(digest.as_bytes()) {
            self.check_end(known.ends_at_us)?;
            return Ok(known);
        }
        let unknown = || missing("the token is not known here");
        let principal = if tokens::is_one(bearer) {
            let token = rules.tokens.find(&digest).ok_or_else(unknown)?;
            self.granted(rules, format!("token:{}", token.name), token.ends_at_us, Credential::Token(digest))?
        } else {
            let issuer = rules.issuer.as_ref().ok_or_else(unknown)?;
            let proved = issuer.verify(bearer, self.clock.now_us()).inspect_err(|error| {
                if error.metadata.contains_key(jwt::UNKNOWN_KEY) {
                    self.want_keys();
                }
            })?;
            let name = format!("jwt:{}", proved.subject);
            self.granted(rules, name, Some(proved.ends_at_us), Credential::Jwt(proved.proof))?
        };
        rules.known.insert(*digest.as_bytes(), principal.clone());
        Ok(principal)
    }

    fn granted(
        &self,
        rules: &Rules,
        name: String,
        ends_at_us: Option<i64>,
        credential: Credential,
    ) -> Result<Principal> {
        self.check_end(ends_at_us)?;
        let grants = rules.policy.grants(&name);
        Ok(Principal { name: name.into(), grants, ends_at_us, credential })
    }

    fn check_end(&self, ends_at_us: Option<i64>) -> Result<()> {
        match ends_at_us {
            Some(end) if end <= self.clock.now_us() => Err(expired("the credential has expired")),
            _ => Ok(()),
        }
    }

    /// Checks once more that a principal who was admitted still may, and answers with what it may do now: rules change, and
    /// credentials end.
    ///
    /// # Errors
    ///
    /// `CREDENTIAL_EXPIRED` if the credential is not good any more, `ROLE_REQUIRED` if less is granted now.
    pub fn recheck(&self, principal: &Principal, need: Need) -> Result<Principal> {
        let rules = self.rules.load();
        let ends_at_us = rules.end_of(principal)?;
        self.check_end(ends_at_us)?;
        let now = Principal { grants: rules.policy.grants(&principal.name), ends_at_us, ..principal.clone() };
        now.may(need)?;
        Ok(now)
    }

    /// Done when a principal may not any more, with the reason.
    pub async fn ends(self: Arc<Self>, mut principal: Principal, need: Need) -> Error {
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            // From here on by the end that the rules of now say.
            principal = match self.recheck(&principal, need) {
                Ok(now) => now,
                Err(error) => return error,
            };
            let end = async {
                match principal.ends_at_us {
                    Some(end) => self.clock.wait_until(end).await,
                    None => std::future::pending().await,
                }
            };
            let disowned = async {
                match &principal.credential {
                    Credential::Certificate(disowned) => disowned.cancelled().await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                () = end => {}
                () = disowned => {}
                // (The sender lives as long as this.)
                _ = changes.changed() => {}
            }
        }
    }
}

/// The token of a header `Bearer TOKEN` (RFC 6750, 2.1; the scheme in any case, RFC 9110, 11.1).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn missing(why: &str) -> Error {
    Error::new(Reason::CredentialMissing, why)
}

fn expired(why: &str) -> Error {
    Error::new(Reason::CredentialExpired, why)
}
