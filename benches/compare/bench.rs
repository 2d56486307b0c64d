//! What all sections share.

use crate::{Outcome, args::Args, sections, servers::peers::Peers, table};

/// Connections of every load.
pub const CHANNELS: usize = 10;
/// Calls at once on each connection.
pub const STREAMS: usize = 100;
/// Filings at once.
pub const FILERS: usize = 256;
/// Bytes of a value of a peer, or of a row: those of a median record.
pub const BYTES: usize = 724;

/// How much each measurement does.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Calls of a measurement of lookups.
    pub lookups: usize,
    /// Calls before it, which are not measured.
    pub warm_up: usize,
    /// Events of a warm replay.
    pub replayed: usize,
    /// Filings at full speed.
    pub filings: usize,
    /// Rows of a measurement of SQLite.
    pub commits: usize,
    /// The same of SQLite without syncs, which are many times as fast.
    pub unsynced: usize,
    /// Filings of one filer alone.
    pub alone: usize,
}

const WHOLE: Scale = Scale {
    lookups: 100_000,
    warm_up: 20_000,
    replayed: 20_000,
    filings: 5_000,
    commits: 2_000,
    unsynced: 100_000,
    alone: 500,
};
/// For `--check`.
const SHORT: Scale = Scale {
    lookups: 30_000,
    warm_up: 10_000,
    replayed: 20_000,
    filings: 3_000,
    commits: 2_000,
    unsynced: 100_000,
    alone: 500,
};

/// The measurement as a whole.
pub struct Bench {
    /// Of the large store.
    pub records: u64,
    /// How often each alternative is measured.
    pub rounds: usize,
    /// Idle subscribers.
    pub idle: usize,
    /// How much is done each time.
    pub scale: Scale,
    /// Those that are there.
    pub peers: Peers,
}

impl Bench {
    /// Looks for the peers if they are needed, which may take a minute the first time.
    pub fn new(args: &Args) -> Outcome<Self> {
        let scale = if args.check { SHORT } else { WHOLE };
        let with_peers = !args.check && args.sections()?.iter().any(|name| sections::WITH_PEERS.contains(name));
        let peers = if with_peers { Peers::find() } else { Peers::default() };
        let idle = usize::try_from(args.idle)?;
        Ok(Self { records: args.records(), rounds: args.rounds(), idle, scale, peers })
    }

    /// The rounds, told as they come.
    pub fn rounds(&self) -> impl Iterator<Item = usize> {
        let all = self.rounds;
        (0..all).inspect(move |round| eprintln!("  round {} of {all}", round + 1))
    }

    /// The size of the large store in words.
    pub fn large(&self) -> String {
        records(self.records)
    }

    /// The sizes of the stores, of which the last is the large one.
    pub fn sizes(&self) -> Vec<u64> {
        let smaller = [10_000, 100_000].into_iter().filter(|size| *size < self.records);
        smaller.chain([self.records]).collect()
    }
}

/// A number in words.
pub fn count(count: usize) -> String {
    table::number(count as f64)
}

/// So many records, in words.
pub fn records(count: u64) -> String {
    format!("{} records", table::number(count as f64))
}
