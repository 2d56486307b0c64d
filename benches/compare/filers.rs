//! Those who file: each report is a visit of its own, with texts like real ones.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use attache::{cli::bench::generate, pb::v1::FileReportsRequest};
use bytes::Bytes;
use prost::Message as _;
use tokio::task::JoinSet;

use crate::{
    Outcome, load,
    wire::{Method, Wire},
};

/// Files reports.
pub const FILE_REPORTS: &str = "/attache.v1.FilingService/FileReports";

/// Not that of the stores: what is filed is new to them.
const SEED: u64 = 3;
/// Of each round of numbers the generator makes visits of the first 19.
const ROUND: u64 = 25;
/// How long one offer of those who insist may take: a server may wait for a journal that lost its leader.
const OFFER: Duration = Duration::from_secs(8);
/// Their pause after a refusal.
const PAUSE: Duration = Duration::from_millis(50);

/// The next number that nobody filed yet.
static NEXT: AtomicU64 = AtomicU64::new(0);
/// What times are counted from, where they have to fit a number.
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Filings of one report each, made before anything is measured.
pub struct Filings {
    first: u64,
    requests: Vec<Bytes>,
    /// When each was sent, in microseconds from [`BEGAN`].
    sent: Vec<AtomicU64>,
}

impl Filings {
    /// So many.
    pub fn make(count: usize) -> Arc<Self> {
        let first = NEXT.fetch_add(count as u64, Ordering::Relaxed);
        let requests = (first..).take(count).map(request).collect();
        Arc::new(Self { first, requests, sent: (0..count).map(|_| AtomicU64::new(0)).collect() })
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.requests.len()
    }

    /// How long ago the filing of a record was sent, if it is one of these.
    pub fn age(&self, record: &str) -> Option<Duration> {
        let number: u64 = record.strip_prefix("visits/bench-")?.parse().ok()?;
        let sent = self.sent.get(usize::try_from(number.checked_sub(self.first)?).ok()?)?;
        Some(BEGAN.elapsed().saturating_sub(Duration::from_micros(sent.load(Ordering::Relaxed))))
    }

    fn send_now(&self, at: usize) -> Option<Bytes> {
        let us = u64::try_from(BEGAN.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.sent.get(at)?.store(us, Ordering::Relaxed);
        self.requests.get(at).cloned()
    }
}

fn request(number: u64) -> Bytes {
    let mut report = generate::report(SEED, number / 19 * ROUND + number % 19);
    report.record = format!("visits/bench-{number}");
    FileReportsRequest { reports: vec![report], ..Default::default() }.encode_to_vec().into()
}

/// Files new reports, so many at once, as fast as answers come; filings a second.
pub async fn at_full_speed(wires: &[Wire], filers: usize, count: usize) -> Outcome<f64> {
    let filings = Filings::make(count);
    Ok(load::calls(wires, filers, FILE_REPORTS, filings.requests.clone()).await?.rate)
}

/// Files all of them when they are due, so many a second; the filings a second that it came to.
pub async fn at_rate(wires: &[Wire], filers: usize, rate: f64, filings: &Arc<Filings>) -> Outcome<f64> {
    let (next, began) = (Arc::new(AtomicUsize::new(0)), tokio::time::Instant::now());
    let mut tasks = JoinSet::new();
    for wire in wires.iter().cycle().take(filers) {
        let (mut method, filings, next) = (wire.method(FILE_REPORTS)?, Arc::clone(filings), Arc::clone(&next));
        tasks.spawn(async move {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= filings.count() {
                    return Outcome::Ok(());
                }
                tokio::time::sleep_until(began + Duration::from_secs_f64(at as f64 / rate)).await;
                let Some(request) = filings.send_now(at) else { return Ok(()) };
                method.call(&request).await?;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(filings.count() as f64 / began.elapsed().as_secs_f64())
}

/// What those who insist came to.
pub struct Insisted {
    /// Acknowledged filings a second.
    pub rate: f64,
    /// Offers that were refused, or not answered in time.
    pub refused: usize,
    /// The longest time without an acknowledgement.
    pub longest_wait: Duration,
}

/// What one of them saw.
#[derive(Default)]
struct Insistence {
    /// When filings were acknowledged, from the beginning on.
    acknowledged: Vec<Duration>,
    refused: usize,
    /// Why the last offer was.
    why: String,
}

/// Files new reports for so long, so many at once; each is offered until it is acknowledged.
pub async fn insist(wires: &[Wire], filers: usize, lasting: Duration) -> Outcome<Insisted> {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for wire in wires.iter().cycle().take(filers) {
        let mut method = wire.method(FILE_REPORTS)?;
        tasks.spawn(async move {
            let mut seen = Insistence::default();
            while began.elapsed() < lasting {
                let offered = request(NEXT.fetch_add(1, Ordering::Relaxed));
                seen.offer(&mut method, &offered, began, lasting).await;
            }
            seen
        });
    }
    let mut seen = Insistence::default();
    while let Some(ended) = tasks.join_next().await {
        seen.merge(ended?);
    }
    seen.conclude(began.elapsed(), lasting)
}

impl Insistence {
    /// Offers a filing until it is acknowledged, or the time is over.
    async fn offer(&mut self, method: &mut Method, offered: &Bytes, began: Instant, lasting: Duration) {
        while began.elapsed() < lasting {
            match tokio::time::timeout(OFFER, method.call(offered)).await {
                Ok(Ok(_)) => return self.acknowledged.push(began.elapsed()),
                Ok(Err(error)) => self.why = error.to_string(),
                Err(_) => self.why = format!("no answer within {OFFER:?}"),
            }
            self.refused += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn merge(&mut self, mut other: Self) {
        self.acknowledged.append(&mut other.acknowledged);
        self.refused += other.refused;
        if !other.why.is_empty() {
            self.why = other.why;
        }
    }

    fn conclude(self, took: Duration, lasting: Duration) -> Outcome<Insisted> {
        let mut times = self.acknowledged;
        if times.is_empty() {
            return Err(format!("no filing was acknowledged: {}", self.why).into());
        }
        let rate = times.len() as f64 / took.as_secs_f64();
        // Whoever waits at the beginning or at the end waits as well.
        times.extend([Duration::ZERO, lasting]);
        times.sort_unstable();
        let waits = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
        Ok(Insisted { rate, refused: self.refused, longest_wait: waits.max().unwrap_or_default() })
    }
}
