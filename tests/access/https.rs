//! An issuer's keys by https: they are taken from whoever proves to be the issuer by an authority that the machine
//! believes, and from nobody else.
//!
//! Whom a machine believes is said to a process by its environment, so each server here is one.

use std::process::{Command, Stdio};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    net::{TcpListener, unix::pipe::Receiver},
};
use tokio_rustls::TlsAcceptor;

use super::{
    authority::Authority,
    process::{self, Process},
    *,
};

impl Publisher {
    /// Publishes the set by https, at `localhost`, with this certificate and its key.
    async fn start_tls(&self, (certificate, key): &(String, String)) -> String {
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = builder.with_no_client_auth().with_single_cert(chain, key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let publisher = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // (Whoever does not believe the certificate hangs up before asking.)
                if let Ok(stream) = acceptor.accept(stream).await {
                    publisher.answer(stream).await;
                }
            }
        });
        format!("https://localhost:{port}/jwks.json")
    }
}

/// A machine that believes one authority, and the configuration of a server that takes an issuer's JWTs.
struct Machine(Files);

impl Machine {
    fn new(believed: &Authority, keys: &str) -> Self {
        let files = Files::new(&jwt_config(keys));
        files.write("authorities.crt", &believed.pem);
        Self(files)
    }

    /// A command that serves, or looks whether it could, as it is run there.
    fn there(&self, mut command: Command) -> Command {
        command.args(["--in-memory", "--admin", "none", "--config"]).arg(self.0.path("attache.toml"));
        // Either of them replaces the authorities of the system that the tests run on.
        command.env("SSL_CERT_FILE", self.0.path("authorities.crt")).env_remove("SSL_CERT_DIR");
        command
    }

    /// A server, and its log.
    fn serve(&self) -> (Process, Log) {
        let (read, written) = std::io::pipe().unwrap();
        let server = Process::start(self.there(process::serve()).stderr(written));
        let read = Receiver::from_owned_fd(read.into()).unwrap();
        (server, Log(BufReader::new(read).lines()))
    }

    /// What `attache doctor` says of the keys.
    fn doctor(&self) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_attache"));
        command.args(["doctor", "--listen", "127.0.0.1:0"]).stdin(Stdio::null());
        let output = self.there(command).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let line = said.lines().find(|line| line.contains("access.jwt.keys in "));
        line.unwrap_or_else(|| panic!("nothing is said of them: {said}")).to_owned()
    }
}

/// What a server writes to its log.
struct Log(Lines<BufReader<Receiver>>);

impl Log {
    /// The next line with these words.
    async fn says(&mut self, words: &str) -> String {
        patiently(words, async {
            loop {
                let line = self.0.next_line().await.unwrap().expect("it says so before it ends");
                if line.contains(words) {
                    return line;
                }
            }
        })
        .await
    }
}

/// Who shows a server a JWT by a key. (Its clock is that of the system.)
fn bearer(server: &Process, key: &Key) -> Caller {
    let lasting = with(claims("desk@az"), "exp", json!(NOW + 1_000_000_000));
    Caller::on(server.channel(), Some(format!("Bearer {}", key.token(&lasting))))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_fetched_by_https_from_an_issuer_that_an_authority_of_the_machine_certified() {
    let (authority, key) = (Authority::new(), Key::ed25519("k"));
    let publisher = Publisher::of(&[&key]);
    let keys = publisher.start_tls(&authority.certify(&["localhost"], "issuer")).await;
    let machine = Machine::new(&authority, &keys);
    let line = machine.doctor();
    assert!(line.starts_with("ok ") && line.ends_with(&format!("{keys} answers with keys")), "{line}");
    // (Whoever asks until the keys are there has many refusals logged.)
    let server = Process::start(machine.there(process::serve()).stderr(Stdio::null()));
    taken(bearer(&server, &key)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_not_fetched_from_whoever_does_not_prove_to_be_the_issuer_and_the_log_says_why() {
    let (authority, key) = (Authority::new(), Key::ed25519("k"));
    let of_another_authority = Authority::new().certify(&["localhost"], "issuer");
    let of_another_name = authority.certify(&["other.example"], "issuer");
    for (certificate, why) in [
        // (Of the same name as the one that is believed: it is tried, and its signature is wrong.)
        (of_another_authority, "invalid peer certificate: BadSignature"),
        (of_another_name, "invalid peer certificate: certificate not valid for name \"localhost\""),
    ] {
        let publisher = Publisher::of(&[&key]);
        let keys = publisher.start_tls(&certificate).await;
        let machine = Machine::new(&authority, &keys);
        let line = machine.doctor();
        assert!(line.starts_with("fault ") && line.contains(&keys) && line.contains(why), "{line}");

        let (server, mut log) = machine.serve();
        let line = log.says("could not be fetched").await;
        assert!(line.contains(&keys) && line.contains(why), "{line}");
        let status = bearer(&server, &key).info().await.expect_err("nobody is known to have signed it");
        assert_eq!((status.code(), reason(&status)), missing());
        assert!(status.message().contains("no keys of its issuer are known here yet"), "{}", status.message());
        // The JWT has the issuer asked again: the server goes on, and believes it no more than before.
        let line = log.says("could not be fetched").await;
        assert!(line.contains(why), "{line}");
        assert!(publisher.asked.lock().unwrap().is_empty(), "it is not even asked");
    }
}
