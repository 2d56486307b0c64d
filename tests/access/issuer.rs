//! An issuer of JWTs: its keys, its tokens, and where it publishes the former.

use base64::{Engine as _, prelude::*};
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
        RsaPublicKeyComponents,
    },
};
use serde_json::{Value, json};

/// A key for tests alone: *ring* signs by RSA, and makes no keys for it.
const RSA: &str = "\
MIIEvAIBADANBgkqhkiG9w0BAQEFAASCBKYwggSiAgEAAoIBAQDQoUytegoGleq4zdEmt3GIhklly/5+rbwvHUVl2A01UmM3exzm\
C2T1Ruxhs6eBMoBi3mThaegkDmYo/+KQ9qcgsZtVe8bbnxjryS68csW9IRor/pSxUJWJTjmzcdCbgTXLM9WqmFapX0RwCy0uyAKI\
zQRZlkzp1CMCKDPvWx3/6Oq5WUdkSNB3HNt0cW1DyERoEj/zUltn/K5MVyvOgak7tTIxVWTTehTevwh/V+K5kvUvwt2oYKRweZS6\
jje/EFBV1UKVvprwHcdA4bpFBNM4Nu1RLw3YHjqmLfEOrKDjTkGersyQp7d3PHRZ+ac0P+GglOZPNm9ThEo/56AIDeIRAgMBAAEC\
ggEAJ52hXkWQtsxr3Di00Om/hMGfGVXhlvNtivK/dUXPyELDNUtK4wHh41Na2niPQ5Cv4VZCiK0gGAyl6H4iaw1zEdm32cUdryFo\
TYmPttgCZVXuTtFSMdNP+dkhSso/Zu/jo5jNp02zEwlUiQQOSdZP6OMpQsuwAiy2kxfIONiv+yJK9FuKrjHM1FLDpd9z2GfbOqtT\
EIZXQ9WjMIVVcbq6SGu1QVCmBzcDAey4u6BqGoN3ujQi5R83gq35LeC6dRcqJFtc6iTn+SdHNfT7gPJA/Bu7Qa9g4fUIHUTttUHB\
wHal7GmBbP1bbxwM7aDvXyZRipAKitTYYQGqMCDMYErwuQKBgQDuc0XPfI68D8VbB6UVvhTa0TrGIBU5uOZgyBJJkExJOCxJPlUf\
b3l7/ecB+Wma6LvKviXQVdvoIpn5MZJwmcQaVYDtQR80vna/hVoJzGio3cFeQ6F5QWuK2e8VEQE0qt5fB9dR96tfMG7vM7bXNBcu\
JVAb3Q/sX9ChHVcVr8vZFQKBgQDf/Cxw8nxv7ErcdVVPx7MnDPtWUnbUBgYKaONdtftIBkqjDB7iahnVaSe0j07rgN4yPJ/g6e54\
MdMk7H/O4l3IzENlxFQllqRroeTovth2IXY9jQ/Lq/sWB/vb5P6551DoMZStQ9CHijckktl/Xpkb9z18XrkefrDuVLpkiGNsDQKB\
gEw+KXU1c4IoXMdFg4CXPZ3VxsAw4/iH6YnKjyZccDf9MRPeTWN2xlZiEeossJqqjdk+wWKDAYSRA8CNHDDKycxNyKKT7wFzYQ7N\
+cMmS9Sqyzhz0X6u707/bhXDUSpg9CdYn32C/pW6K85qL61R55OGtL2kCoJfBJtvgTfa9QgdAoGAIR4ODB0uXPYZE4Odu5ARYyK+\
PsMuoqbJWdysUXzIzJtxia4PGvcJHs7Pehj+WD/TmqXwFbdA9TCYwYreUt6Rc1EQXgmrT2t4oBlt2SPuqXjFHNCwlzK0i0te5+Jx\
71bOVaaPDxdJy+CZyqST2AtKpCHoS21N/b5JttN8Q8UOvjkCgYAZV0YTM7OZLS/eleMRNrPj9MqdXQptGxlAEtsIqYEjDroBk9yk\
0nJEZnF5D+2FqejMshvmsaLgEMgSUiVAjPKwrsePjfIY9hEzCInHcCL7PfMmyuE06wFUfjGkqDcX3oR1CYnkW0rSSoUlVb2Dx9EU\
Q/oPJCxKxgLUdB9deJ/Z0A==";

pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// A key pair with an id.
pub struct Key {
    pub id: &'static str,
    pair: Pair,
}

enum Pair {
    Ed(Ed25519KeyPair),
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Key {
    pub fn ed25519(id: &'static str) -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self { id, pair: Pair::Ed(Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap()) }
    }

    pub fn p256(id: &'static str) -> Self {
        let (way, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let document = EcdsaKeyPair::generate_pkcs8(way, &random).unwrap();
        Self { id, pair: Pair::Ec(EcdsaKeyPair::from_pkcs8(way, document.as_ref(), &random).unwrap()) }
    }

    pub fn rsa(id: &'static str) -> Self {
        Self { id, pair: Pair::Rsa(RsaKeyPair::from_pkcs8(&BASE64_STANDARD.decode(RSA).unwrap()).unwrap()) }
    }

    pub fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Ed(_) => "EdDSA",
            Pair::Ec(_) => "ES256",
            Pair::Rsa(_) => "RS256",
        }
    }

    /// As it is published (RFC 7517, RFC 7518, RFC 8037).
    pub fn public(&self) -> Value {
        match &self.pair {
            Pair::Ed(pair) => json!({
                "kty": "OKP", "crv": "Ed25519", "kid": self.id, "x": b64(pair.public_key()),
            }),
            Pair::Ec(pair) => {
                let point = pair.public_key().as_ref();
                json!({
                    "kty": "EC", "crv": "P-256", "kid": self.id, "use": "sig", "alg": "ES256",
                    "x": b64(&point[1..33]), "y": b64(&point[33..]),
                })
            }
            Pair::Rsa(pair) => {
                let RsaPublicKeyComponents::<Vec<u8>> { n, e } = pair.public().into();
                json!({
                    "kty": "RSA", "kid": self.id, "use": "sig", "alg": "RS256",
                    "n": b64(n), "e": b64(e),
                })
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Ec(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }
        }
    }

    /// A token with these claims, and a header that says so.
    pub fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({"alg": self.algorithm(), "kid": self.id, "typ": "JWT"}), claims)
    }

    /// A token with this header, whatever the key is.
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
        let signature = self.sign(message.as_bytes());
        format!("{message}.{}", b64(signature))
    }
}

/// The set of these keys.
pub fn set(keys: &[&Key]) -> String {
    json!({"keys": keys.iter().map(|k| k.public()).collect::<Vec<_>>()}).to_string()
}
