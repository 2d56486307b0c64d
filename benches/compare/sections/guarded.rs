//! What it costs to ask who somebody is, and to speak TLS: the same load by the same client on three servers.

use std::{fs, path::Path, process::Command, time::Duration};

use attache::access::Secret;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::{
    Outcome,
    bench::{Bench, CHANNELS},
    places,
    process::Process,
    results::Goal,
    rows::Rows,
    servers::attache::Attache,
};

/// Records of each store: all of them stay in memory, so that nothing else is in the way.
const RECORDS: u64 = 10_000;
/// Calls at once on each connection of lookups.
const STREAMS: usize = 20;
/// Subscribers on each connection of watches.
const WATCHES: usize = 10;
/// How long lookups are measured.
const SECONDS: &str = "6";
/// A load that is not done by then hangs.
const LIMIT: Duration = Duration::from_secs(300);

/// A server, and what its client needs.
struct Guarded {
    key: &'static str,
    server: Attache,
    /// Of the client.
    folder: TempDir,
}

/// Measures it.
pub async fn run(bench: &Bench) -> Outcome<Rows> {
    let mut rows = Rows::new(format!(
        "`attache bench` on {RECORDS} records, all in memory: lookups by Zipf's law on {CHANNELS} connections × {STREAMS} \
         streams for {SECONDS} s, and the whole log to {CHANNELS} × {WATCHES} subscribers. A server of its own for each."
    ));
    for (what, unit, of) in [("lookups", "calls/s", "lookup"), ("deliveries", "events/s", "watch")] {
        rows.row(format!("{of}-open"), format!("{what}, everybody may do everything"), unit);
        rows.row(format!("{of}-token"), format!("{what}, with a bearer token and a policy"), unit)
            .against(&format!("{of}-open"), Some(Goal::at_least(0.95, None)));
        rows.row(format!("{of}-tls"), format!("{what}, the same over TLS"), unit).against(&format!("{of}-open"), None);
    }
    let servers = [open().await?, token().await?, tls().await?];
    for _ in bench.rounds() {
        for server in &servers {
            let calls = server.load("lookup", &["--seconds", SECONDS], STREAMS, "callsPerSecond").await?;
            rows.take(&format!("lookup-{}", server.key), calls);
            let events = server.load("watch", &[], WATCHES, "callsPerSecond").await?;
            rows.take(&format!("watch-{}", server.key), events);
        }
    }
    Ok(rows)
}

async fn open() -> Outcome<Guarded> {
    Ok(Guarded { key: "open", server: Attache::configured(RECORDS, "").await?, folder: places::temporary()? })
}

/// The rules of access, and a token that they grant what a load needs, in the client's folder.
fn granted(folder: &Path) -> Outcome<String> {
    let Secret { token, digest } = Secret::new();
    let tokens = folder.join("tokens.toml");
    fs::write(&tokens, format!("[[token]]\nname = \"load\"\ndigest = \"{digest}\"\n"))?;
    fs::write(folder.join("token"), token)?;
    Ok(format!("[access]\ntokens = {tokens:?}\n[[access.allow]]\nwho = \"token:load\"\nroles = [\"reader\"]\n"))
}

async fn token() -> Outcome<Guarded> {
    let folder = places::temporary()?;
    let server = Attache::configured(RECORDS, &granted(folder.path())?).await?;
    Ok(Guarded { key: "token", server, folder })
}

async fn tls() -> Outcome<Guarded> {
    let folder = places::temporary()?;
    let authority = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    fs::write(folder.path().join("ca.crt"), params.self_signed(&authority)?.pem())?;
    let (key, issuer) = (KeyPair::generate()?, Issuer::new(params, authority));
    let own = CertificateParams::new(vec!["127.0.0.1".to_owned()])?.signed_by(&key, &issuer)?;
    let (certificate, private) = (folder.path().join("server.crt"), folder.path().join("server.key"));
    fs::write(&certificate, own.pem())?;
    fs::write(&private, key.serialize_pem())?;
    let access = granted(folder.path())?;
    let config = format!("{access}[tls]\ncertificate = {certificate:?}\nkey = {private:?}\n");
    Ok(Guarded { key: "tls", server: Attache::configured(RECORDS, &config).await?, folder })
}

impl Guarded {
    /// What a load of `attache bench` says of itself.
    async fn load(&self, what: &str, more: &[&str], streams: usize, figure: &str) -> Outcome<f64> {
        let mut command = Command::new(places::ATTACHE);
        command.args(["bench", what, "-o", "json", "--server", &self.server.address]).args(more);
        command.args(["--connections", &CHANNELS.to_string(), "--streams", &streams.to_string()]);
        let (token, authority) = (self.folder.path().join("token"), self.folder.path().join("ca.crt"));
        if token.exists() {
            command.arg("--token-file").arg(token);
        }
        if authority.exists() {
            command.arg("--ca").arg(authority);
        }
        let mut load = Process::start("attache bench", &mut command)?;
        load.end(LIMIT).await?;
        let begins = format!("\"{figure}\":");
        load.told(|line| line.trim().strip_prefix(&begins)?.trim_matches([' ', ',']).parse().ok())
    }
}
