//! A journal whose servers want to know who comes, and prove who they are.

use std::path::{Path, PathBuf};

use attache::journal::jetstream::{Access, reach};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use nkeys::KeyPair;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{authority::Authority, *};

/// What each of the servers answers to who comes like this: all the same.
async fn answer(settings: &Settings) -> Result<(), String> {
    let mut answers = reach(settings).await.into_iter().map(|(_, answer)| answer).collect::<Vec<_>>();
    answers.dedup_by_key(|answer| answer.is_ok());
    assert_eq!(answers.len(), 1, "{answers:?}");
    answers.remove(0)
}

/// Files on one replica, and waits for it on another.
async fn files_and_follows(settings: &Settings) {
    let servers = [on(settings.clone(), config()).await, on(settings.clone(), config()).await];
    let acked = file_at_once(&[&servers[0], &servers[1]], "any", 1, 3).await;
    let events = agree(&servers).await.iter().map(bare).collect::<Vec<_>>();
    assert!(events.ends_with(&told(&acked)), "{events:?}");
    for server in servers {
        server.stop().await;
    }
}

fn written(folder: &TempDir, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("it is written");
    path
}

/// The servers with a user in their addresses.
fn with_user(settings: &Settings, user: &str) -> Settings {
    let servers = settings.servers.iter().map(|server| server.replace("://", &format!("://{user}@"))).collect();
    Settings { servers, ..settings.clone() }
}

/// A certificate for this machine and its key, written into a folder.
fn certified(folder: &TempDir, authority: &Authority, name: &str) -> (PathBuf, PathBuf) {
    let (certificate, key) = authority.certify(&["127.0.0.1"], name);
    (written(folder, &format!("{name}.crt"), certificate), written(folder, &format!("{name}.key"), key))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_speak_tls_and_want_a_password_and_a_certificate_are_given_them_and_believed_by_their_authority() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    let ca = written(&folder, "ca.crt", &authority.pem);
    let other_ca = written(&folder, "other-ca.crt", Authority::new().pem);
    let (certificate, key) = certified(&folder, &authority, "server");
    let cluster = Cluster::start_with(
        Sync::Always,
        &format!(
            "authorization {{ user: replica, password: \"h@sh/\" }}\n\
             tls {{ cert_file: {certificate:?}, key_file: {key:?}, ca_file: {ca:?}, verify: true }}"
        ),
    );
    let access =
        Access { ca: Some(ca), certificate: Some(certified(&folder, &authority, "replica")), ..Access::default() };
    let nobody = Settings { access, ..cluster.settings() };
    let good = with_user(&nobody, "replica:h%40sh%2F");
    assert_eq!(answer(&good).await, Ok(()));
    let with = |access: Access| Settings { access, ..good.clone() };
    for (settings, why) in [
        (nobody.clone(), "authorization"),
        (with_user(&nobody, "replica:other"), "authorization"),
        (with(Access { ca: Some(other_ca), ..good.access.clone() }), "certificate"),
        (with(Access { certificate: None, ..good.access.clone() }), "ertificate"),
    ] {
        let told = answer(&settings).await.expect_err("it is turned away");
        assert!(told.contains(why), "{told}");
    }
    files_and_follows(&good).await;
}

/// A claim as NATS signs them: a JWT by a key of Ed25519.
fn claim(issuer: &KeyPair, subject: &KeyPair, nats: Value) -> String {
    let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({"typ": "JWT", "alg": "ed25519-nkey"});
    let (issuer_name, name) = (issuer.public_key(), subject.public_key());
    let payload = json!({"jti": name, "iat": 0, "iss": issuer_name, "sub": name, "name": name, "nats": nats});
    let signed = format!("{}.{}", part(header), part(payload));
    let signature = BASE64_URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()).expect("it signs"));
    format!("{signed}.{signature}")
}

/// What an account may use: all of it.
fn account(with_jetstream: bool) -> Value {
    let jetstream = if with_jetstream { -1 } else { 0 };
    json!({"type": "account", "version": 2, "limits": {
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
        "mem_storage": jetstream, "disk_storage": jetstream, "streams": jetstream, "consumer": jetstream,
    }})
}

/// Writes the credentials of a new user of an account, as `nsc` does.
fn credentials(account: &KeyPair, file: &Path) {
    let user = KeyPair::new_user();
    let jwt = claim(account, &user, json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1}));
    let seed = user.seed().expect("a seed");
    let text = format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    );
    std::fs::write(file, text).expect("it is written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_of_an_account_are_read_for_each_connection() {
    let folder = tempfile::tempdir().expect("a folder");
    let (operator, ours, system) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account());
    let (our_name, system_name) = (ours.public_key(), system.public_key());
    let trusted = claim(&operator, &operator, json!({"type": "operator", "version": 2, "system_account": system_name}));
    let [our_claim, system_claim] =
        [(&ours, true), (&system, false)].map(|(key, jetstream)| claim(&operator, key, account(jetstream)));
    let cluster = Cluster::start_with(
        Sync::Always,
        &format!(
            "operator: {trusted}\nsystem_account: {system_name}\nresolver: MEMORY\n\
             resolver_preload {{ {our_name}: {our_claim}, {system_name}: {system_claim} }}"
        ),
    );
    let file = folder.path().join("replica.creds");
    let access = Access { credentials: Some(file.clone()), ..Access::default() };
    let settings = Settings { access, ..cluster.settings() };
    let told = answer(&settings).await.expect_err("there is no such file");
    assert!(told.contains("replica.creds: No such file"), "{told}");
    // Another operator's account.
    credentials(&KeyPair::new_account(), &file);
    let told = answer(&settings).await.expect_err("it is turned away");
    assert!(told.contains("authorization"), "{told}");

    // A replica that starts with them goes on as soon as they are good.
    let server = on(settings.clone(), config()).await;
    let filed = |id: &str| {
        let reports = vec![visit_report(id, "s", "KZ", "AZ", "2023-05-01")];
        v1::FileReportsRequest { reports, ..Default::default() }
    };
    let refused = server.filing().file_reports(filed("early")).await.expect_err("the journal is out of reach");
    assert_eq!(reason(&refused), "JOURNAL_UNAVAILABLE");
    credentials(&ours, &file);
    patiently("a filing", async {
        while server.filing().file_reports(filed("late")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    server.stop().await;
    files_and_follows(&settings).await;
}
