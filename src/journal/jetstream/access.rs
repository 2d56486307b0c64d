//! How a replica shows the servers of the journal who it is, and how it knows them.

use std::path::{Path, PathBuf};

use async_nats::{Auth, AuthError, ConnectOptions, ServerAddr};
use nkeys::KeyPair;

use crate::{
    limits::{JOURNAL_CONNECT_TIMEOUT, JOURNAL_PING, JOURNAL_READ_TIMEOUT},
    url,
};

/// The files of a connection to the journal's servers. All are read again for each connection that is made, so that they may
/// be replaced while a replica runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Credentials as `nsc` writes them: a user's JWT and the seed of its key.
    pub credentials: Option<PathBuf>,
    /// Authorities to believe the servers' certificates by, in PEM, in the place of the system's.
    pub ca: Option<PathBuf>,
    /// The certificate that the servers are shown, and its private key, both in PEM.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// Who the addresses of the servers say that it is.
#[derive(Clone, PartialEq, Eq)]
enum User {
    /// `nats://user:password@host`
    Named(String, String),
    /// `nats://token@host`
    Token(String),
}

impl Access {
    /// Checks that addresses and files say one way to show who it is.
    ///
    /// # Errors
    ///
    /// If an address is none, or they say several.
    pub fn check(&self, servers: &[String]) -> Result<(), String> {
        let user = user(servers)?;
        if user.is_some() && self.credentials.is_some() {
            return Err("the addresses of the servers name a user, and there is a file of credentials".to_owned());
        }
        Ok(())
    }

    /// How the servers are connected to, whoever asks.
    ///
    /// # Errors
    ///
    /// As [`Access::check`].
    pub(super) fn options(&self, servers: &[String]) -> Result<ConnectOptions, String> {
        let mut options = match (&self.credentials, user(servers)?) {
            (Some(file), _) => credentials(file),
            (None, Some(User::Named(name, password))) => ConnectOptions::with_user_and_password(name, password),
            (None, Some(User::Token(token))) => ConnectOptions::with_token(token),
            (None, None) => ConnectOptions::new(),
        };
        if self.is_secure(servers) {
            // What a server says of others before TLS, anybody may have said: the library would connect to them in the clear.
            options = options.require_tls(true).ignore_discovered_servers();
        }
        if let Some(ca) = &self.ca {
            options = options.add_root_certificates(ca.clone());
        }
        if let Some((certificate, key)) = &self.certificate {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        Ok(options
            .name("attache")
            .connection_timeout(JOURNAL_CONNECT_TIMEOUT)
            .request_timeout(Some(JOURNAL_READ_TIMEOUT))
            .ping_interval(JOURNAL_PING))
    }

    /// Whether nothing may be spoken without TLS.
    fn is_secure(&self, servers: &[String]) -> bool {
        self.ca.is_some() || self.certificate.is_some() || servers.iter().any(|server| server.starts_with("tls://"))
    }

    /// Why files that were said cannot be read: the library says no more than that TLS, or the credential, failed.
    pub(super) async fn unreadable(&self) -> Vec<String> {
        let pair = self.certificate.iter().flat_map(|(certificate, key)| [certificate, key]);
        let mut why = Vec::new();
        for file in self.credentials.iter().chain(&self.ca).chain(pair) {
            if let Err(error) = tokio::fs::read(file).await {
                why.push(format!("{}: {error}", file.display()));
            }
        }
        why
    }
}

/// The addresses without their user, who is in the options: the library repeats addresses in its log.
pub(super) fn addresses(servers: &[String]) -> Vec<String> {
    servers.iter().map(|server| url::shown(server)).collect()
}

/// With what a file says at the time of each connection.
fn credentials(file: &Path) -> ConnectOptions {
    let file = file.to_owned();
    ConnectOptions::with_auth_callback(move |nonce| {
        let file = file.clone();
        async move {
            let text = tokio::fs::read_to_string(&file).await.map_err(|e| e.to_string());
            let auth = text.and_then(|text| signed(&text, &nonce));
            auth.map_err(|why| AuthError::new(format!("{}: {why}", file.display())))
        }
    })
}

/// The JWT of a file of credentials, and what the server sent signed with the key that belongs to it.
fn signed(text: &str, nonce: &[u8]) -> Result<Auth, String> {
    let jwt = part(text, "USER JWT").ok_or("it has no JWT of a user")?;
    let seed = part(text, "USER NKEY SEED").ok_or("it has no seed of a user's key")?;
    let key = KeyPair::from_seed(seed).map_err(|e| format!("its seed is none: {e}"))?;
    let mut auth = Auth::new();
    auth.jwt = Some(jwt.to_owned());
    auth.signature = Some(key.sign(nonce).map_err(|e| e.to_string())?);
    Ok(auth)
}

/// The line under the one that begins a part of a file of credentials.
fn part<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| line.starts_with("---") && line.contains("BEGIN") && line.contains(name))?;
    lines.next().filter(|line| !line.is_empty() && !line.starts_with('-'))
}

/// Who the addresses say that it is: all of them the same, or nobody.
fn user(servers: &[String]) -> Result<Option<User>, String> {
    let mut named = Vec::new();
    for (index, server) in servers.iter().enumerate() {
        // (It is not repeated: where its user ends is not known.)
        let wrong = |e| format!("address {} of the journal's servers is none: {e}", index + 1);
        let address: ServerAddr = server.parse().map_err(wrong)?;
        named.extend(user_of(&address)?);
    }
    named.dedup();
    match named.len() {
        0 => Ok(None),
        1 => Ok(named.pop()),
        _ => Err("the addresses of the servers name different users".to_owned()),
    }
}

fn user_of(address: &ServerAddr) -> Result<Option<User>, String> {
    let plain = |text: &str| {
        let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
        decoded.map(String::from).map_err(|_| "the user of an address is no text".to_owned())
    };
    Ok(match (address.username(), address.password()) {
        (None, None) => None,
        (Some(token), None) => Some(User::Token(plain(token)?)),
        (name, Some(password)) => Some(User::Named(plain(name.unwrap_or_default())?, plain(password)?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(servers: &[&str]) -> Result<Option<User>, String> {
        user(&servers.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    fn named(name: &str, password: &str) -> Result<Option<User>, String> {
        Ok(Some(User::Named(name.to_owned(), password.to_owned())))
    }

    #[test]
    fn addresses_say_who_it_is_together() {
        assert!(said(&["nats://a:4222", "tls://b"]) == Ok(None));
        assert!(said(&["nats://me:hush@a:4222", "nats://b:4222"]) == named("me", "hush"));
        assert!(said(&["nats://me:hush@a", "nats://me:hush@b"]) == named("me", "hush"));
        assert!(said(&["nats://me:h%40sh%2F@a"]) == named("me", "h@sh/"));
        assert!(said(&["nats://hush@a:4222"]) == Ok(Some(User::Token("hush".to_owned()))));
    }

    #[test]
    fn addresses_that_say_two_things_are_refused_without_a_secret_in_the_refusal() {
        let told = said(&["nats://me:hush@a", "nats://you:hush@b"]).err().unwrap();
        assert!(told.contains("different users") && !told.contains("hush"), "{told}");
        for wrong in ["nats://me:hush@a:port", "nats://me:hu/sh@b"] {
            let told = said(&["nats://a", wrong]).err().unwrap();
            assert!(told.contains("address 2 ") && !told.contains("hu"), "{told}");
        }
        let both = Access { credentials: Some("a.creds".into()), ..Access::default() };
        assert!(both.check(&["nats://me:hush@a".to_owned()]).unwrap_err().contains("file of credentials"));
        assert_eq!(both.check(&["nats://a".to_owned()]), Ok(()));
    }

    #[test]
    fn what_wants_tls_of_one_server_wants_it_of_all() {
        let servers = |text: &str| text.split(',').map(ToOwned::to_owned).collect::<Vec<_>>();
        assert!(!Access::default().is_secure(&servers("nats://a,nats://b")));
        assert!(Access::default().is_secure(&servers("nats://a,tls://b")));
        let file = || Some("file".into());
        assert!(Access { ca: file(), ..Access::default() }.is_secure(&servers("nats://a")));
        let certificate = Some(("a.crt".into(), "a.key".into()));
        assert!(Access { certificate, ..Access::default() }.is_secure(&servers("nats://a")));
        assert!(!Access { credentials: file(), ..Access::default() }.is_secure(&servers("nats://a")));
    }

    #[test]
    fn the_library_is_not_told_the_user_in_an_address() {
        assert_eq!(addresses(&["tls://me:hush@a:4222".to_owned()]), ["tls://a:4222"]);
    }

    #[test]
    fn a_file_of_credentials_signs_what_the_server_sent() {
        let key = KeyPair::new_user();
        let seed = key.seed().unwrap();
        let text = format!(
            "-----BEGIN NATS USER JWT-----\r\na.b.c\r\n------END NATS USER JWT------\r\n\r\nKeep this to yourself.\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        let auth = signed(&text, b"nonce").unwrap();
        assert_eq!(auth.jwt.as_deref(), Some("a.b.c"));
        key.verify(b"nonce", &auth.signature.unwrap()).expect("it is the user's signature");

        for wrong in
            ["", "a.b.c", &text.replace("JWT", "WORD"), &text.replace("SEED", "WORD"), &text.replace(&seed, "SU")]
        {
            let why = signed(wrong, b"nonce").err().unwrap();
            assert!(why.starts_with("it") && !why.contains(&seed), "{why}");
        }
    }
}
