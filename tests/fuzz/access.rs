//! Credentials and the files they are known by. Nobody is let in who was not meant to be.

use std::{
    collections::BTreeMap,
    future,
    pin::Pin,
    sync::{Arc, LazyLock},
};

use attache::{
    access::{
        Access, Allowance, Certificate, Grant, Issuer, KeySet, Need, Policy, Role, Rules, Shown, Tokens, identity,
    },
    clock::Clock,
    domain::error::Reason,
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use proptest::prelude::*;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde_json::{Value, json};

use crate::{
    draw::Draw,
    harness::{Kept, Target, text},
};

const ISSUER: &str = "https://id.example";
const AUDIENCE: &str = "attache";
/// Seconds since 1970 at which all of this happens: 2027.
const NOW: i64 = 1_800_000_000;
/// A token of the file, and one that is in none.
const KNOWN: &str = "attache_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";
const UNKNOWN: &str = "attache_AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI";

#[derive(Debug)]
struct Stopped;

impl Clock for Stopped {
    fn now_us(&self) -> i64 {
        NOW * 1_000_000
    }

    fn wait_until(&self, _: i64) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(future::pending())
    }
}

/// The issuer's key: always the same, so that a seed makes the same tokens.
static KEY: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap());

fn b64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn key() -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "kid": "k", "x": b64(KEY.public_key()) })
}

/// Lets in whoever is who they say.
fn access(tokens: Tokens, keys: Option<KeySet>) -> Access {
    let grant = |who: &str| Grant { who: who.to_owned(), roles: [Role::Reader].into(), sources: None };
    let policy = Policy::new(["token:*", "jwt:*", "cert:*"].map(grant).to_vec()).unwrap();
    let issuer = keys.map(|keys| Issuer::new(ISSUER.to_owned(), AUDIENCE.to_owned(), 60).with_keys(keys));
    Access::new(Rules::new(policy, tokens, issuer), Allowance::default(), Arc::new(Stopped))
}

fn bearer(access: &Access, token: &str) -> bool {
    let header = format!("Bearer {token}");
    access.admit(Need::Role(Role::Reader), Shown { authorization: Some(&header), ..Shown::default() }).is_ok()
}

pub const TOKEN_FILES: Target = Target {
    name: "token-files",
    message: "",
    words: &["[[token]]\n", "name = \"a\"\n", "digest = ", "expires = 2026-01-01T00:00:00Z\n", "\"", "'", "#"],
    input: |draw| {
        let row = |draw: &mut Draw<'_>| {
            let digest = blake3::hash(draw.of(&[KNOWN, "another", "a third"]).as_bytes()).to_hex().to_string();
            let digest = if draw.once_in(3) { digest.to_uppercase() } else { digest };
            let expires = draw.of(&["", "", "2026-01-01T00:00:00Z", "2028-01-01T00:00:00Z", "2028-01-01"]);
            let mut row =
                format!("[[token]]\nname = {:?}\ndigest = {digest:?}\n", draw.of(&["a", "desk-az", "a b", ""]));
            if !expires.is_empty() {
                row.push_str(&format!("expires = {expires:?}\n"));
            }
            row
        };
        draw.list(3, row).concat().into_bytes()
    },
    promise: token_file_promise,
    few: 2_000,
};

#[test]
fn a_token_is_let_in_if_its_digest_is_in_the_file_and_it_has_not_ended() {
    TOKEN_FILES.run();
}

fn token_file_promise(input: &[u8]) -> Kept {
    let text = text(input);
    let tokens = match Tokens::parse(&text) {
        Ok(tokens) => tokens,
        Err(why) => {
            prop_assert!(!why.is_empty());
            return Ok(());
        }
    };
    let table: BTreeMap<String, Vec<toml::Table>> = toml::from_str(&text).expect("it was read as rows");
    let digest = blake3::hash(KNOWN.as_bytes()).to_hex().to_string();
    let is_known = table.values().flatten().any(|row| {
        let said = |column: &str| row.get(column).and_then(toml::Value::as_str);
        let end = said("expires").map(|end| end.parse::<jiff::Timestamp>().expect("it was read as a time"));
        let stands = said("digest").is_some_and(|own| own.eq_ignore_ascii_case(&digest));
        stands && end.is_none_or(|end| end.as_microsecond() > NOW * 1_000_000)
    });
    let access = access(tokens, None);
    prop_assert_eq!(bearer(&access, KNOWN), is_known);
    prop_assert!(!bearer(&access, UNKNOWN) && !bearer(&access, &digest));
    Ok(())
}

pub const BEARERS: Target = Target {
    name: "bearers",
    message: "",
    words: &["Bearer ", "bearer ", "attache_", ".", "=", " ", "eyJ", "-", "_", "\t"],
    input: |draw| {
        let scheme = draw.of(&["Bearer ", "Bearer ", "bearer ", "Basic ", ""]);
        let token = match draw.number(4) {
            0 => KNOWN.to_owned(),
            1 => draw.of(&[UNKNOWN, "attache_", "a.b.c", ""]).to_owned(),
            _ => jwt(draw),
        };
        format!("{scheme}{token}").into_bytes()
    },
    promise: bearer_promise,
    few: 5_000,
};

fn jwt(draw: &mut Draw<'_>) -> String {
    let algorithms = ["EdDSA", "EdDSA", "EdDSA", "none", "HS256", "ES256", "RS256", "nonsense"];
    let header = json!({ "alg": draw.of(&algorithms), "kid": draw.of(&["k", "k", "k", "other"]), "typ": "JWT" });
    let second = |draw: &mut Draw<'_>| match draw.number(6) {
        0 | 1 => json!(NOW + 100),
        2 => json!(NOW - 100),
        3 => json!(NOW - 30),
        4 => Value::from([1e300, -1e300, 0.5][draw.number(3)]),
        _ => json!("soon"),
    };
    let mut claims = json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": "desk", "exp": second(draw) });
    if draw.once_in(4) {
        claims["nbf"] = second(draw);
    }
    if draw.once_in(3) {
        let other = [json!("x"), json!(""), json!(7), json!([AUDIENCE, "x"]), json!("a\u{1}"), Value::Null];
        let claim = draw.of(&["iss", "aud", "sub", "exp"]);
        claims[claim] = other[draw.number(other.len())].clone();
    }
    let signed = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
    let signature = KEY.sign(signed.as_bytes());
    if draw.once_in(4) { format!("{signed}.{}", b64(draw.noise(80))) } else { format!("{signed}.{}", b64(signature)) }
}

/// What the headers are shown to.
static DOOR: LazyLock<Access> = LazyLock::new(|| {
    let digest = blake3::hash(KNOWN.as_bytes()).to_hex();
    let tokens = Tokens::parse(&format!("[[token]]\nname = \"desk\"\ndigest = \"{digest}\"\n")).unwrap();
    access(tokens, Some(KeySet::parse(json!({ "keys": [key()] }).to_string().as_bytes()).unwrap()))
});

#[test]
fn whoever_is_let_in_shows_a_token_of_the_file_or_what_the_issuer_signed_for_us() {
    BEARERS.run();
}

fn bearer_promise(input: &[u8]) -> Kept {
    let header = text(input);
    let shown = Shown { authorization: Some(&header), ..Shown::default() };
    let token = header.split_once(' ').map_or("", |(_, token)| token.trim());
    match DOOR.admit(Need::Role(Role::Reader), shown) {
        Ok(principal) if token == KNOWN => prop_assert_eq!(&*principal.name, "token:desk"),
        Ok(principal) => {
            let name = signed_for_us(token).map(|subject| format!("jwt:{subject}"));
            prop_assert_eq!(name.as_deref(), Some(&*principal.name));
        }
        Err(error) => {
            let reasons = [Reason::CredentialMissing, Reason::CredentialExpired];
            prop_assert!(reasons.contains(&error.reason), "{}", error);
            // What is shown is a secret, or was one.
            prop_assert!(token.len() < 20 || !error.message.contains(token), "{}", error);
            prop_assert!(header != format!("Bearer {KNOWN}"), "a token that is known");
        }
    }
    Ok(())
}

/// The subject of a JWT, if our key signed it, for us, and it has not ended: read by this test alone.
fn signed_for_us(token: &str) -> Option<String> {
    let (message, signature) = token.rsplit_once('.')?;
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
    let public = UnparsedPublicKey::new(&ED25519, KEY.public_key());
    public.verify(message.as_bytes(), &signature).ok()?;
    let claims = BASE64_URL_SAFE_NO_PAD.decode(message.split_once('.')?.1).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let is = |claim: &str, us: &str| match &claims[claim] {
        Value::Array(several) => several.iter().any(|one| one == us),
        one => one == us,
    };
    let (end, begin) = ((NOW - 60) as f64, (NOW + 60) as f64);
    let lasts = claims["exp"].as_f64()? > end && claims["nbf"].as_f64().is_none_or(|from| from <= begin);
    (lasts && is("iss", ISSUER) && is("aud", AUDIENCE)).then(|| claims["sub"].as_str().map(str::to_owned))?
}

pub const KEY_SETS: Target = Target {
    name: "key-sets",
    message: "",
    words: &["\"kty\":", "\"OKP\"", "\"EC\"", "\"RSA\"", "\"kid\":\"k\"", "\"x\":\"\"", "AQAB", "{", "}", ",", "null"],
    input: |draw| {
        let one = |draw: &mut Draw<'_>| {
            let (x, y): ([u8; 32], [u8; 32]) = (draw.exactly(), draw.exactly());
            let mut one = match draw.number(4) {
                0 => key(),
                1 => json!({ "kty": "OKP", "crv": "Ed25519", "kid": "k", "x": b64(draw.noise(40)) }),
                2 => {
                    json!({ "kty": "EC", "crv": "P-256", "kid": "k", "x": b64(x), "y": b64(y) })
                }
                _ => {
                    json!({ "kty": "RSA", "kid": "k", "n": b64(draw.noise(300)), "e": draw.of(&["AQAB", "AQ", ""]) })
                }
            };
            let (more, value) =
                (draw.of(&["alg", "use", "kid", "crv", "kty"]), draw.of(&["EdDSA", "ES256", "sig", "enc", "k2"]));
            if draw.once_in(3) {
                one[more] = value.into();
            }
            one
        };
        json!({ "keys": draw.list(70, one) }).to_string().into_bytes()
    },
    promise: key_set_promise,
    few: 1_000,
};

#[test]
fn no_set_of_keys_lets_in_what_nobody_signed() {
    KEY_SETS.run();
}

fn key_set_promise(input: &[u8]) -> Kept {
    let keys = match KeySet::parse(input) {
        Ok(keys) => keys,
        Err(why) => {
            prop_assert!(why.starts_with("is ") || why.starts_with("has "), "{}", why);
            return Ok(());
        }
    };
    let set: Value = serde_json::from_slice(input).map_err(|e| TestCaseError::fail(e.to_string()))?;
    let ids = set["keys"].as_array().map_or(0, Vec::len);
    prop_assert_eq!(keys.is_empty(), ids == 0, "keys of no set, or a set of which none was read");
    let access = access(Tokens::default(), Some(keys));
    let claims = b64(json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": "desk", "exp": NOW + 100 }).to_string());
    for (algorithm, length) in [("EdDSA", 64), ("ES256", 64), ("RS256", 256), ("RS256", 1)] {
        let header = b64(json!({ "alg": algorithm, "kid": "k" }).to_string());
        // (Not of zeros: those verify by keys of which everybody knows the secret.)
        let token = format!("{header}.{claims}.{}", b64(vec![7; length]));
        prop_assert!(!bearer(&access, &token), "{} of {}", algorithm, length);
    }
    Ok(())
}

pub const CERTIFICATES: Target = Target {
    name: "certificates",
    message: "",
    words: &["\x30\x02", "\u{6}\u{3}U\x1d\x11", "\x30\x09\x06", "\x0c\x01a", "spiffe://a", "a.example"],
    // There is no grammar of our own: what is kept is changed.
    input: |draw| {
        let kept = [
            include_bytes!("corpus/certificates/uri.der").as_slice(),
            include_bytes!("corpus/certificates/dns.der"),
            include_bytes!("corpus/certificates/common-name.der"),
        ];
        let mut certificate = kept[draw.number(kept.len())].to_vec();
        let at = draw.number(certificate.len());
        certificate[at] = draw.byte();
        certificate
    },
    promise: certificate_promise,
    few: 5_000,
};

#[test]
fn a_certificate_names_its_owner_in_its_own_bytes_or_nobody() {
    CERTIFICATES.run();
}

fn certificate_promise(input: &[u8]) -> Kept {
    let Some(certificate) = identity(input) else { return Ok(()) };
    let Certificate { name, ends_at_us, .. } = &certificate;
    prop_assert!(!name.is_empty() && !name.chars().any(char::is_control), "{:?}", name);
    prop_assert!(input.windows(name.len()).any(|part| part == name.as_bytes()), "{:?} is not in it", name);
    let shown = Shown { certificate: Some(&certificate), ..Shown::default() };
    match DOOR.admit(Need::Role(Role::Reader), shown) {
        Ok(principal) => {
            prop_assert_eq!(principal.name.strip_prefix("cert:"), Some(&**name));
            prop_assert!(*ends_at_us > NOW * 1_000_000);
        }
        Err(error) => prop_assert_eq!(error.reason, Reason::CredentialExpired),
    }
    Ok(())
}
