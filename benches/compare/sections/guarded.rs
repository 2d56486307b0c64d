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
/// How long lookups take in one turn, which begins with a list of their names.
const LOOKUPS: &[&str] = &["--seconds", "3", "--names", "1000"];
/// Turns of each server in a round.
const TURNS: usize = 4;
/// A load that is not done by then hangs.
const LIMIT: Duration = Duration::from_secs(300);

/// A server, and what its client needs.
struct Guarded {
    kind: Kind,
    server: Attache,
    /// Of the client.
    folder: TempDir,
    lookups: Spent,
    deliveries: Spent,
}

/// How a server is guarded.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Open,
    Token,
    Tls,
}

const KINDS: [Kind; 3] = [Kind::Open, Kind::Token, Kind::Tls];

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
    let mut rows = declared();
    for _ in bench.rounds() {
        // Where its memory happens to lie counts too: one server more is another sample of that.
        let mut servers = Vec::new();
        for kind in KINDS {
            servers.push(Guarded::start(kind).await?);
        }
        for turn in 0..TURNS {
            for of in 0..servers.len() {
                // There and back: nobody is always the one after the same other.
                let server = &mut servers[if turn % 2 == 0 { of } else { KINDS.len() - 1 - of }];
                server.lookups.add(server.load("lookup", LOOKUPS, CHANNELS, STREAMS).await?);
                server.deliveries.add(server.load("watch", &[], CHANNELS, WATCHES).await?);
            }
        }
        for server in &servers {
            rows.take(&format!("lookup-{:?}", server.kind).to_lowercase(), server.lookups.each() * 1e6);
            rows.take(&format!("watch-{:?}", server.kind).to_lowercase(), server.deliveries.each() * 1e9);
        }
    }
    for kind in KINDS {
        let lookup = instructions(kind, "lookup", [&["--seconds", "3"], &["--seconds", "12"]], [2, 2]).await?;
        let watch = instructions(kind, "watch", [&[], &[]], [1, 4]).await?;
        for (of, counted) in [("lookup", lookup), ("watch", watch)] {
            let Some([all, metrics]) = counted else { continue };
            let key = format!("{of}-{kind:?}").to_lowercase();
            rows.take(&format!("{key}-instructions"), all);
            rows.take(&format!("{key}-metrics"), metrics);
        }
    }
    Ok(rows)
}

fn declared() -> Rows {
    let mut rows = Rows::new(format!(
        "`attache bench` asks for lookups by Zipf's law, and for deliveries of the whole log. {RECORDS} records, all in memory. \
         Processor time of the server, by the system's count, with {CHANNELS} connections × {STREAMS} lookups or {WATCHES} \
         subscribers: in each round there are new servers, one of each kind, that take turns, {TURNS} times 3 s of lookups and \
         {TURNS} times the whole log. Instructions of the server, by valgrind's count, which leaves out the system's: by how much a \
         run with more of the work has more of them; measured once, since it is nearly the same each time."
    ));
    for (what, unit, of) in [("a lookup", "µs", "lookup"), ("a delivery", "ns", "watch")] {
        for (unit, after, goes) in [(unit, "", ""), ("instructions", "-instructions", ", counted")] {
            let open = format!("{of}-open{after}");
            rows.row(open.clone(), format!("{what}, everybody may do everything{goes}"), unit);
            rows.row(format!("{of}-token{after}"), format!("{what}, with a bearer token and a policy{goes}"), unit)
                .against(&open, Some(Goal::at_most(1.05, None)));
            rows.row(format!("{of}-tls{after}"), format!("{what}, the same over TLS{goes}"), unit).against(&open, None);
        }
        // Of the open server alone: the others count no other way.
        let metrics = format!("of {what}, counting and timing answers, counted");
        rows.row(format!("{of}-open-metrics"), metrics, "instructions")
            .against(&format!("{of}-open-instructions"), None);
    }
    rows
}

/// The instructions of a server for each of what a load counts, and those of them that count and time answers, from two
/// runs of which the second does more; `None` where nobody counts them.
async fn instructions(
    kind: Kind,
    what: &str,
    more: [&[&str]; 2],
    connections: [usize; 2],
) -> Outcome<Option<[f64; 2]>> {
    let mut runs = Vec::new();
    for (more, connections) in more.into_iter().zip(connections) {
        let folder = places::temporary()?;
        let config = kind.config(folder.path())?;
        let counts = folder.path().join("counts");
        let Some(server) = Attache::counted(RECORDS, &config, &counts).await? else { return Ok(None) };
        let mut server = Guarded::around(kind, server, folder);
        let done = server.load(what, more, connections, WATCHES).await?.count;
        server.server.stop(LIMIT).await?;
        let text = fs::read_to_string(&counts)?;
        let told = text.lines().find_map(|line| line.strip_prefix("summary: ")?.trim().parse::<f64>().ok());
        let metrics = of_metrics(&text).ok_or("valgrind saw nothing that counts answers")?;
        runs.push(([told.ok_or("valgrind counted nothing")?, metrics], done as f64));
    }
    let [(before, few), (after, many)] = runs[..] else { return Ok(None) };
    Ok(Some([0, 1].map(|of| (after[of] - before[of]) / (many - few))))
}

/// The instructions of `Metrics::answered`, with what it calls, in a file of callgrind's. A function is named once, with its
/// number; where it is called stands the number, how often, and in a line by itself what that took.
fn of_metrics(counts: &str) -> Option<f64> {
    fn named(line: &str) -> Option<(&str, &str)> {
        line.strip_prefix("cfn=").or_else(|| line.strip_prefix("fn="))?.split_once(' ')
    }
    // (However its name is mangled.)
    let is_it = |name: &str| name.contains("Metrics") && name.contains("answered");
    let (number, _) = counts.lines().filter_map(named).find(|named| is_it(named.1))?;
    let (mut lines, mut all) = (counts.lines(), 0.0);
    while let Some(line) = lines.next() {
        if line.strip_prefix("cfn=").and_then(|called| called.split(' ').next()) == Some(number) {
            let took = lines.nth(1)?;
            all += took.rsplit(' ').next()?.parse::<f64>().ok()?;
        }
    }
    Some(all)
}

/// The rules of access, and a token that they grant what a load needs, in the client's folder.
fn granted(folder: &Path) -> Outcome<String> {
    let Secret { token, digest } = Secret::new();
    let tokens = folder.join("tokens.toml");
    fs::write(&tokens, format!("[[token]]\nname = \"load\"\ndigest = \"{digest}\"\n"))?;
    fs::write(folder.join("token"), token)?;
    Ok(format!("[access]\ntokens = {tokens:?}\n[[access.allow]]\nwho = \"token:load\"\nroles = [\"reader\"]\n"))
}

impl Kind {
    /// What the server's configuration says; the client's files come into a folder.
    fn config(self, folder: &Path) -> Outcome<String> {
        match self {
            Self::Open => Ok(String::new()),
            Self::Token => granted(folder),
            Self::Tls => Ok(format!("{}{}", granted(folder)?, certified(folder)?)),
        }
    }
}

/// A certificate of an authority that is in the client's folder.
fn certified(folder: &Path) -> Outcome<String> {
    let authority = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    fs::write(folder.join("ca.crt"), params.self_signed(&authority)?.pem())?;
    let (key, issuer) = (KeyPair::generate()?, Issuer::new(params, authority));
    let own = CertificateParams::new(vec!["127.0.0.1".to_owned()])?.signed_by(&key, &issuer)?;
    let (certificate, private) = (folder.join("server.crt"), folder.join("server.key"));
    fs::write(&certificate, own.pem())?;
    fs::write(&private, key.serialize_pem())?;
    Ok(format!("[tls]\ncertificate = {certificate:?}\nkey = {private:?}\n"))
}

impl Guarded {
    async fn start(kind: Kind) -> Outcome<Self> {
        let folder = places::temporary()?;
        let server = Attache::configured(RECORDS, &kind.config(folder.path())?).await?;
        Ok(Self::around(kind, server, folder))
    }

    fn around(kind: Kind, server: Attache, folder: TempDir) -> Self {
        Self { kind, server, folder, lookups: Spent::default(), deliveries: Spent::default() }
    }

    /// What the server takes for a load of `attache bench`.
    async fn load(&self, what: &str, more: &[&str], connections: usize, streams: usize) -> Outcome<Spent> {
        let mut command = Command::new(places::ATTACHE);
        command.args(["bench", what, "-o", "json", "--server", &self.server.address]).args(more);
        command.args(["--connections", &connections.to_string(), "--streams", &streams.to_string()]);
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
