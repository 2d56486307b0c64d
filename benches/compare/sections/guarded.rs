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
        "The server's processor time by the system's count, while `attache bench` asks: for a lookup by Zipf's law on \
         {CHANNELS} connections × {STREAMS} streams for {SECONDS} s, and for a delivery of the whole log to {CHANNELS} × \
         {WATCHES} subscribers. {RECORDS} records, all in memory; a server of its own for each. Rates vary more from server to \
         server than by what is measured here."
    ));
    for (what, unit, of) in [("a lookup", "µs", "lookup"), ("a delivery", "ns", "watch")] {
        rows.row(format!("{of}-open"), format!("{what}, everybody may do everything"), unit);
        rows.row(format!("{of}-token"), format!("{what}, with a bearer token and a policy"), unit)
            .against(&format!("{of}-open"), Some(Goal::at_most(1.05, None)));
        rows.row(format!("{of}-tls"), format!("{what}, the same over TLS"), unit).against(&format!("{of}-open"), None);
    }
    let servers = [open().await?, token().await?, tls().await?];
    for _ in bench.rounds() {
        for server in &servers {
            let lookup = server.load("lookup", &["--seconds", SECONDS], STREAMS, "calls").await?;
            rows.take(&format!("lookup-{}", server.key), lookup * 1e6);
            let delivery = server.load("watch", &[], WATCHES, "calls").await?;
            rows.take(&format!("watch-{}", server.key), delivery * 1e9);
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
    /// The processor time of a server, in seconds, for each of what a load of `attache bench` counts.
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
        let before = self.processor_time()?;
        let mut load = Process::start("attache bench", &mut command)?;
        load.end(LIMIT).await?;
        let begins = format!("\"{figure}\":");
        let count: f64 = load.told(|line| line.trim().strip_prefix(&begins)?.trim_matches([' ', ',']).parse().ok())?;
        Ok((self.processor_time()? - before) / count)
    }

    /// What the server has used so far, in seconds (`proc_pid_stat(5)`, utime and stime, which count hundredths).
    fn processor_time(&self) -> Outcome<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.server.process().id()))?;
        let (_, fields) = stat.rsplit_once(')').ok_or("a stat without a name")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
        Ok(ticks / 100.0)
    }
}
