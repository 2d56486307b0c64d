//! What it costs to ask who somebody is, and to speak TLS: the same load by the same client on three servers, which take
//! turns, since the same server takes a tenth more or less from one minute to the next.

use std::{fs, path::Path, process::Command, time::Duration};

use attache::access::Secret;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::{
    Outcome,
    bench::{Bench, CHANNELS},
    machine, places,
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
/// How long lookups are measured in one turn.
const SECONDS: &str = "1";
/// Turns of each server in a round.
const TURNS: usize = 5;
/// A load that is not done by then hangs.
const LIMIT: Duration = Duration::from_secs(300);

/// A server, and what its client needs.
struct Guarded {
    key: &'static str,
    server: Attache,
    /// Of the client.
    folder: TempDir,
    lookups: Spent,
    deliveries: Spent,
}

/// The processor time of a server, in ticks of a hundredth of a second, and what it did in it.
#[derive(Default)]
struct Spent {
    ticks: u64,
    count: u64,
}

impl Spent {
    fn add(&mut self, more: Self) {
        self.ticks += more.ticks;
        self.count += more.count;
    }

    /// Seconds for one.
    fn each(&self) -> f64 {
        self.ticks as f64 / 100.0 / self.count as f64
    }
}

/// Measures it.
pub async fn run(bench: &Bench) -> Outcome<Rows> {
    let mut rows = Rows::new(format!(
        "The server's processor time by the system's count, while `attache bench` asks: for a lookup by Zipf's law on \
         {CHANNELS} connections × {STREAMS} streams, and for a delivery of the whole log to {CHANNELS} × {WATCHES} \
         subscribers. {RECORDS} records, all in memory. In each round there are new servers, one of each kind, that take turns: \
         {TURNS} times {SECONDS} s of lookups, and {TURNS} times the whole log."
    ));
    for (what, unit, of) in [("a lookup", "µs", "lookup"), ("a delivery", "ns", "watch")] {
        rows.row(format!("{of}-open"), format!("{what}, everybody may do everything"), unit);
        rows.row(format!("{of}-token"), format!("{what}, with a bearer token and a policy"), unit)
            .against(&format!("{of}-open"), Some(Goal::at_most(1.05, None)));
        rows.row(format!("{of}-tls"), format!("{what}, the same over TLS"), unit).against(&format!("{of}-open"), None);
    }
    for _ in bench.rounds() {
        // Where its memory happens to lie counts too: one server more is another sample of that.
        let mut servers = [open().await?, token().await?, tls().await?];
        for turn in 0..TURNS {
            for of in 0..servers.len() {
                // Nobody is always the one after the same other.
                let server = &mut servers[(turn + of) % 3];
                server.lookups.add(server.load("lookup", &["--seconds", SECONDS], STREAMS).await?);
                server.deliveries.add(server.load("watch", &[], WATCHES).await?);
            }
        }
        for server in &servers {
            rows.take(&format!("lookup-{}", server.key), server.lookups.each() * 1e6);
            rows.take(&format!("watch-{}", server.key), server.deliveries.each() * 1e9);
        }
    }
    Ok(rows)
}

async fn open() -> Outcome<Guarded> {
    Guarded::new("open", "", places::temporary()?).await
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
    let config = granted(folder.path())?;
    Guarded::new("token", &config, folder).await
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
    Guarded::new("tls", &config, folder).await
}

impl Guarded {
    async fn new(key: &'static str, config: &str, folder: TempDir) -> Outcome<Self> {
        let server = Attache::configured(RECORDS, config).await?;
        Ok(Self { key, server, folder, lookups: Spent::default(), deliveries: Spent::default() })
    }

    /// What the server takes for a load of `attache bench`.
    async fn load(&self, what: &str, more: &[&str], streams: usize) -> Outcome<Spent> {
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
        let before = machine::ticks(self.server.process())?;
        let mut load = Process::start("attache bench", &mut command)?;
        load.end(LIMIT).await?;
        let count = load.told(|line| line.trim().strip_prefix("\"calls\":")?.trim_matches([' ', ',']).parse().ok())?;
        Ok(Spent { ticks: machine::ticks(self.server.process())? - before, count })
    }
}
