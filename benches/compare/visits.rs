//! The records of the stores by their numbers: which are visits, and how those who look them up choose.

use attache::{
    cli::bench::{
        draw::{Draw, Odds},
        generate,
    },
    pb::v1::{GetVisitRequest, Report},
};
use bytes::Bytes;
use prost::Message as _;

/// The seed of the stores: what `attache bench fill` takes if nobody says.
const SEED: u64 = 1;
/// Of so many numbers in a row…
const ROUND: u64 = 25;
/// …the first so many are visits.
const VISITS: u64 = 19;
/// A prime above any number of visits: multiples of it by rank scatter the ranks over all of them.
const SCATTER: u64 = 2_654_435_761;

/// Looks a visit up.
pub const GET_VISIT: &str = "/attache.v1.RegistryService/GetVisit";
/// Zipf's exponent: a few names are asked for most.
pub const ZIPF: f64 = 0.99;
/// All names alike.
pub const UNIFORM: f64 = 0.0;

/// How many of the first so many records are visits.
fn count(records: u64) -> u64 {
    records / ROUND * VISITS + (records % ROUND).min(VISITS)
}

/// The report of a visit of the store.
pub fn report(visit: u64) -> Report {
    generate::report(SEED, visit / VISITS * ROUND + visit % VISITS)
}

/// Asks for a visit.
pub fn get(visit: u64) -> Bytes {
    GetVisitRequest { name: report(visit).record, ..Default::default() }.encode_to_vec().into()
}

/// Who draws visits of a store.
pub struct Names {
    visits: u64,
    odds: Odds,
}

impl Names {
    /// By Zipf's law with an exponent; 0 is uniform.
    pub fn new(records: u64, exponent: f64) -> Self {
        let visits = count(records);
        Self { visits, odds: Odds::zipf(usize::try_from(visits).unwrap_or(usize::MAX), exponent) }
    }

    /// The numbers of the next so many visits; each seed draws others.
    pub fn draw(&self, seed: usize, count: usize) -> Vec<u64> {
        let mut draw = Draw::of(SEED, seed as u64);
        let scattered = |rank: usize| rank as u64 * SCATTER % self.visits;
        (0..count).map(|_| scattered(self.odds.next(&mut draw))).collect()
    }

    /// Lookups of them.
    pub fn lookups(&self, seed: usize, count: usize) -> Vec<Bytes> {
        self.draw(seed, count).into_iter().map(get).collect()
    }
}
