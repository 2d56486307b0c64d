//! JWTs of one issuer (RFC 7519): signed with EdDSA, ES256 or RS256 by a key of its set (RFC 7517), and meant for us.

use std::{collections::BTreeMap, sync::Arc};

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, Validation,
    crypto::{CryptoProvider, JwtVerifier, KeyUtils},
    errors::{Error as JwtError, ErrorKind},
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse},
};
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;

use super::{expired, missing};
use crate::{
    domain::error::{Error, Result},
    limits::MAX_KEYS,
};

/// What an error says beside its words if a key that was not known is to blame: the set may have a new one.
pub(super) const UNKNOWN_KEY: &str = "unknown_key";

/// The issuer whose JWTs are taken.
#[derive(Debug)]
pub struct Issuer {
    issuer: Arc<str>,
    audience: Arc<str>,
    /// How far clocks may be apart, in microseconds.
    leeway_us: i64,
    /// `None` before they were read: none at all are keys too, by which nothing is good.
    keys: Option<KeySet>,
}

/// What a JWT proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proved {
    pub subject: Arc<str>,
    pub ends_at_us: i64,
    begins_at_us: i64,
    /// By what it was found good.
    pub proof: Proof,
}

/// By what a JWT was found good: later another key may be published under that id, or another issuer or audience be asked
/// for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proof {
    issuer: Arc<str>,
    audience: Arc<str>,
    id: Arc<str>,
    key: Arc<Jwk>,
    /// As it says itself: how far clocks may be apart is the rules' to say.
    ends_at_us: i64,
}

/// The claims that count (RFC 7519, 4.1); issuer and audience are checked where the token is read.
#[derive(Deserialize)]
struct Claims {
    // (They are demanded below, where it is said which is not there.)
    sub: Option<String>,
    exp: Option<f64>,
    nbf: Option<f64>,
}

/// The keys of an issuer, by id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeySet {
    by_id: BTreeMap<Arc<str>, Arc<Jwk>>,
    /// How many others would verify JWTs, if these could name them.
    nameless: usize,
}

impl KeySet {
    /// Reads a JWK set. Keys that are of no use here are passed over: those without an id, for encryption, or of another
    /// algorithm. One without any key is taken at its word: whoever withdrew the last means that.
    ///
    /// # Errors
    ///
    /// If it is none, or has keys and none of use, or too many.
    pub fn parse(text: &[u8]) -> std::result::Result<Self, String> {
        let set: JwkSet = serde_json::from_slice(text).map_err(|e| format!("is no JWK set: {e}"))?;
        if set.keys.is_empty() {
            return Ok(Self::default());
        }
        let of_use = |key: &Jwk| algorithm(key).is_some() && DecodingKey::from_jwk(key).is_ok();
        let of_use: Vec<Jwk> = set.keys.into_iter().filter(of_use).collect();
        let nameless = of_use.iter().filter(|key| key.common.key_id.is_none()).count();
        let by_id: BTreeMap<Arc<str>, Arc<Jwk>> =
            of_use.into_iter().filter_map(|key| Some((key.common.key_id.as_deref()?.into(), Arc::new(key)))).collect();
        match by_id.len() {
            0 if nameless > 0 => Err("has keys, but none with an id (kid), by which a JWT names its key".to_owned()),
            0 => Err("has no key with an id (kid) for EdDSA, ES256 or RS256".to_owned()),
            1..=MAX_KEYS => Ok(Self { by_id, nameless }),
            more => Err(format!("has {more} keys; {MAX_KEYS} are looked at")),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// How many were passed over for want of an id alone.
    #[must_use]
    pub fn nameless(&self) -> usize {
        self.nameless
    }
}

/// The one algorithm that a key is for: which one a token names decides nothing (RFC 8725, 3.1).
fn algorithm(key: &Jwk) -> Option<Algorithm> {
    if matches!(&key.common.public_key_use, Some(of) if *of != PublicKeyUse::Signature) {
        return None;
    }
    let fits = match &key.algorithm {
        AlgorithmParameters::OctetKeyPair(of) if of.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        AlgorithmParameters::EllipticCurve(of) if of.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        _ => return None,
    };
    let stated = key.common.key_algorithm.map(|stated| stated.to_string());
    stated.is_none_or(|stated| stated == format!("{fits:?}")).then_some(fits)
}

impl Issuer {
    /// Whose tokens name it as issuer and us as audience, with clocks apart by so many seconds at most. It has no keys yet.
    #[must_use]
    pub fn new(issuer: String, audience: String, leeway_seconds: u32) -> Self {
        // Whoever verified first has set it.
        let _ = RING.install_default();
        let leeway_us = i64::from(leeway_seconds) * 1_000_000;
        Self { issuer: issuer.into(), audience: audience.into(), leeway_us, keys: None }
    }

    /// The same with other keys.
    #[must_use]
    pub fn with_keys(&self, keys: KeySet) -> Self {
        let (issuer, audience) = (Arc::clone(&self.issuer), Arc::clone(&self.audience));
        Self { issuer, audience, leeway_us: self.leeway_us, keys: Some(keys) }
    }

    /// Its keys, if they are known.
    #[must_use]
    pub fn keys(&self) -> Option<&KeySet> {
        self.keys.as_ref()
    }

    /// Takes over what keys another had, if its own are not known and it is the same issuer.
    pub(super) fn take_over(&mut self, other: &Self) {
        let is_same = (&self.issuer, &self.audience) == (&other.issuer, &other.audience);
        if is_same && self.keys.is_none() {
            self.keys.clone_from(&other.keys);
        }
    }

    /// A key by its id.
    fn key(&self, id: &str) -> Option<(&Arc<str>, &Arc<Jwk>)> {
        self.keys.as_ref()?.by_id.get_key_value(id)
    }

    /// Why a key is none of those that are known.
    fn why_unknown(&self) -> &'static str {
        match self.keys {
            // That is nothing that the token's owner could mend.
            None => "the JWT cannot be verified: no keys of its issuer are known here yet",
            Some(_) => "the JWT is signed by a key that its issuer does not publish",
        }
    }

    /// When a token ends that was found good before; `None` if it is not good any more.
    pub(super) fn end_of(&self, proof: &Proof) -> Option<i64> {
        let is_same = (&self.issuer, &self.audience) == (&proof.issuer, &proof.audience);
        let stands = is_same && self.key(&proof.id).is_some_and(|(_, key)| *key == proof.key);
        stands.then(|| proof.ends_at_us.saturating_add(self.leeway_us))
    }

    /// What a token proves now.
    pub(super) fn verify(&self, token: &str, now_us: i64) -> Result<Proved> {
        let proved = self.read(token)?;
        if proved.ends_at_us <= now_us {
            return Err(expired("the token has expired"));
        }
        if proved.begins_at_us > now_us {
            return Err(missing("the token is not valid yet"));
        }
        Ok(proved)
    }

    /// Verifies the signature, and reads what is signed.
    fn read(&self, token: &str) -> Result<Proved> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| missing("the token is neither ours nor a JWT"))?;
        // What it lists must be understood, or the token is not valid (RFC 7515, 4.1.11); the library does not look.
        if header.crit.is_some() {
            return Err(missing("the JWT demands extensions (crit), and none are understood here"));
        }
        let Some(id) = header.kid else { return Err(missing("the JWT does not name its key (kid)")) };
        let (id, key) = self.key(&id).ok_or_else(|| missing(self.why_unknown()).with(UNKNOWN_KEY, &id))?;
        let algorithm = algorithm(key).ok_or_else(|| missing("the JWT's key is of no use"))?;
        let mut validation = Validation::new(algorithm);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        // By our clock, and again whenever it is shown.
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        let decoding = DecodingKey::from_jwk(key).map_err(|e| refused(&e))?;
        let claims = jsonwebtoken::decode::<Claims>(token, &decoding, &validation).map_err(|e| refused(&e))?.claims;
        let absent = |claim: &str| refused(&ErrorKind::MissingRequiredClaim(claim.to_owned()).into());
        let (sub, exp) = (claims.sub.ok_or_else(|| absent("sub"))?, claims.exp.ok_or_else(|| absent("exp"))?);
        if sub.is_empty() || sub.len() > 256 || sub.chars().any(char::is_control) {
            return Err(missing("the JWT's subject is no name"));
        }
        let ends_at_us = micros(exp);
        Ok(Proved {
            subject: sub.into(),
            ends_at_us: ends_at_us.saturating_add(self.leeway_us),
            begins_at_us: claims.nbf.map_or(i64::MIN, |nbf| micros(nbf).saturating_sub(self.leeway_us)),
            proof: Proof {
                issuer: Arc::clone(&self.issuer),
                audience: Arc::clone(&self.audience),
                id: Arc::clone(id),
                key: Arc::clone(key),
                ends_at_us,
            },
        })
    }
}

/// Seconds since 1970, perhaps with a fraction (RFC 7519, 2, NumericDate).
#[allow(clippy::cast_possible_truncation, reason = "a cast ends at the ends of the range")]
fn micros(seconds: f64) -> i64 {
    (seconds * 1e6) as i64
}

fn refused(error: &JwtError) -> Error {
    missing(&match error.kind() {
        ErrorKind::InvalidSignature => "the JWT's signature is not that of its key".to_owned(),
        ErrorKind::InvalidIssuer => "the JWT is of another issuer".to_owned(),
        ErrorKind::InvalidAudience => "the JWT is meant for another audience".to_owned(),
        ErrorKind::InvalidAlgorithm => "the JWT's algorithm is not that of its key".to_owned(),
        ErrorKind::MissingRequiredClaim(claim) => format!("the JWT does not say {claim}"),
        _ => "the JWT cannot be read".to_owned(),
    })
}

/// Signatures by *ring*, as of TLS: one library for all that must not be wrong.
static RING: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    verifier_factory: verifier,
    key_utils: KeyUtils {
        rsa_pub_components_from_private_key: |_| Err(ErrorKind::UnsupportedAlgorithm.into()),
        rsa_pub_components_from_public_key: |_| Err(ErrorKind::UnsupportedAlgorithm.into()),
        ec_pub_components_from_private_key: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
        ed_pub_components_from_private_key: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
        compute_digest: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    },
};

struct Ring {
    algorithm: Algorithm,
    key: DecodingKey,
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> jsonwebtoken::errors::Result<Box<dyn JwtVerifier>> {
    let fits = matches!(
        (algorithm, key.family()),
        (Algorithm::EdDSA, AlgorithmFamily::Ed)
            | (Algorithm::ES256, AlgorithmFamily::Ec)
            | (Algorithm::RS256, AlgorithmFamily::Rsa)
    );
    if !fits {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    Ok(Box::new(Ring { algorithm: *algorithm, key: key.clone() }))
}

impl ::signature::Verifier<Vec<u8>> for Ring {
    fn verify(&self, message: &[u8], signed: &Vec<u8>) -> std::result::Result<(), ::signature::Error> {
        let outcome = match (self.algorithm, self.key.kind()) {
            (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(key)) => {
                UnparsedPublicKey::new(&signature::ED25519, key).verify(message, signed)
            }
            (Algorithm::ES256, DecodingKeyKind::SecretOrDer(key)) => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, key).verify(message, signed)
            }
            (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, signed)
            }
            _ => Err(ring::error::Unspecified),
        };
        outcome.map_err(|_| ::signature::Error::new())
    }
}

impl JwtVerifier for Ring {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

    use super::*;

    #[test]
    fn a_key_without_an_id_is_said_to_have_none() {
        let set = |more: &str| {
            let x = BASE64_URL_SAFE_NO_PAD.encode([7; 32]);
            KeySet::parse(format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","x":"{x}"{more}}}]}}"#).as_bytes())
        };
        assert!(set(r#","kid":"k""#).is_ok());
        let why = set("").unwrap_err();
        assert!(why.starts_with("has ") && why.contains("none with an id (kid)"), "{why}");
    }

    #[test]
    fn keys_that_no_jwt_can_name_are_passed_over_and_counted() {
        let x = BASE64_URL_SAFE_NO_PAD.encode([7; 32]);
        let keys = [r#","kid":"k""#, "", r#","use":"enc""#];
        let keys = keys.map(|more| format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"{more}}}"#)).join(",");
        let set = KeySet::parse(format!(r#"{{"keys":[{keys}]}}"#).as_bytes()).unwrap();
        assert_eq!((set.len(), set.nameless()), (1, 1), "one for encryption would verify nothing with an id either");
    }

    #[test]
    fn a_set_without_keys_is_none_and_one_whose_keys_are_of_no_use_is_refused() {
        assert!(KeySet::parse(br#"{"keys":[]}"#).unwrap().is_empty());
        let x = BASE64_URL_SAFE_NO_PAD.encode([7; 32]);
        let encrypts = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"k","use":"enc","x":"{x}"}}]}}"#);
        assert!(KeySet::parse(encrypts.as_bytes()).unwrap_err().contains("no key with an id"));
        for none in ["{}", "[]", "", "<html></html>"] {
            assert!(KeySet::parse(none.as_bytes()).unwrap_err().starts_with("is no JWK set"), "{none}");
        }
    }

    #[test]
    fn a_jwt_that_demands_extensions_is_refused_whatever_they_are() {
        let issuer = Issuer::new("i".to_owned(), "a".to_owned(), 0).with_keys(KeySet::default());
        let refusal = |more: &str| {
            let header = BASE64_URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"EdDSA","kid":"k"{more}}}"#));
            issuer.verify(&format!("{header}.e30.AAAA"), 0).unwrap_err().message
        };
        // The key is not known here either: that it is looked for shows that the header was taken.
        assert!(refusal("").contains("does not publish"), "{}", refusal(""));
        for crit in [r#"["exp"]"#, r#"["b64"],"b64":false"#, "[]"] {
            let refusal = refusal(&format!(r#","crit":{crit}"#));
            assert!(refusal.contains("crit"), "{crit}: {refusal}");
        }
    }
}
