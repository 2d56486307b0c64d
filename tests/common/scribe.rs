//! A filer that does everything filers do, at random but the same for the same seed.

use std::collections::BTreeSet;

use attache::pb::v1::{
    self, Intent, ProgressType, RetractionReason, filing_service_client::FilingServiceClient,
    retract_reports_request::Selection,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use tokio::task::JoinSet;
use tonic::{Code, Status, transport::Channel};

use super::{TestServer, agreement_report, date, side, source, visit_report_of};

const HOSTS: [&str; 3] = ["AZ", "GE", "TR"];
const GUESTS: [&str; 3] = ["KZ", "TJ", "UZ"];
const SOURCES: [&str; 3] = ["one", "two", "three"];
const DEFAULT_SEED: u64 = 20_231_006;
/// So much in each report that a ring of 64 KiB holds few of them.
const NOTE: usize = 1500;

/// What a filing was answered.
#[derive(Debug, Clone, Default)]
pub struct Acked {
    pub revision: u64,
    pub token: String,
    pub events: Vec<v1::Event>,
}

pub struct Scribe {
    rng: StdRng,
    name: String,
    records: usize,
    reports: BTreeSet<String>,
    moves: bool,
}

/// Host and guest of a record of a scribe whose records do not move.
pub fn parties(record: &str) -> (&'static str, &'static str) {
    let number: usize = record.rsplit('-').next().and_then(|n| n.parse().ok()).unwrap_or(0);
    (HOSTS[number % 3], GUESTS[number / 3 % 3])
}

impl Scribe {
    /// Its acts follow from its name, and from `ATTACHE_TEST_SEED` if that is set; a failed test prints the seed.
    pub fn new(name: &str) -> Self {
        let seed = std::env::var("ATTACHE_TEST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(DEFAULT_SEED);
        println!("ATTACHE_TEST_SEED={seed}");
        let seed = name.bytes().fold(seed, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
        let rng = StdRng::seed_from_u64(seed);
        Self { rng, name: name.to_owned(), records: 0, reports: BTreeSet::new(), moves: false }
    }

    /// One whose records get other guests, dates and types over time, and some of which are agreements.
    pub fn moving(name: &str) -> Self {
        Self { moves: true, ..Self::new(name) }
    }

    /// Does one thing, and says what came of it.
    pub async fn act(&mut self, filing: &mut FilingServiceClient<Channel>) -> Acked {
        let answer = match self.rng.random_range(0..10) {
            0 => self.retract_report(filing).await,
            1 => self.retract_record(filing).await,
            2 => self.restore(filing).await,
            _ => self.file(filing).await,
        };
        match answer {
            Ok(acked) => acked,
            // Nothing is left to withdraw, or another replica kept winning: nothing happened.
            Err(status) if matches!(status.code(), Code::NotFound | Code::Aborted) => Acked::default(),
            Err(status) => panic!("{status:?}"),
        }
    }

    async fn file(&mut self, filing: &mut FilingServiceClient<Channel>) -> Result<Acked, Status> {
        let mut taken = BTreeSet::new();
        let mut reports = Vec::new();
        for _ in 0..self.rng.random_range(1..=4) {
            let is_new = self.records == 0 || self.rng.random_bool(0.3);
            let number = if is_new { self.records } else { self.rng.random_range(0..self.records) };
            self.records = self.records.max(number + 1);
            let source_id = *SOURCES.choose(&mut self.rng).unwrap();
            if taken.insert((number, source_id)) {
                reports.push(self.report(number, source_id));
            }
        }
        let intents = [Intent::Unspecified, Intent::Update, Intent::Correction];
        let intent = intents.choose(&mut self.rng).copied().unwrap().into();
        let request = v1::FileReportsRequest { reports, intent, ..Default::default() };
        let answer = filing.file_reports(request).await?.into_inner();
        self.reports.extend(answer.results.into_iter().map(|r| r.report));
        Ok(Acked { revision: answer.revision, token: answer.token, events: answer.events })
    }

    /// Of every eighth record that moves: an agreement.
    fn report(&mut self, number: usize, source_id: &str) -> v1::Report {
        let id = format!("{}-{number}", self.name);
        let day = format!("2023-{:02}-{:02}", self.rng.random_range(1..=12), self.rng.random_range(1..=28));
        let (host, guest) = parties(&id);
        if self.moves && number % 8 == 7 {
            let second = GUESTS.choose(&mut self.rng).unwrap();
            return agreement_report(&id, source_id, [host, second], &day);
        }
        let guest = if self.moves { GUESTS.choose(&mut self.rng).unwrap() } else { guest };
        let types = [v1::VisitType::Official, v1::VisitType::Working];
        let stages = [ProgressType::Announced, ProgressType::Began, ProgressType::Concluded];
        let mut stage = |kind: ProgressType| {
            self.rng.random_bool(0.5).then(|| v1::Progress { r#type: kind.into(), ..Default::default() })
        };
        let progress = stages.into_iter().filter_map(&mut stage).collect();
        visit_report_of(
            &id,
            source_id,
            v1::Visit {
                hosts: vec![side(host)],
                guests: vec![side(guest)],
                start: Some(date(&day)),
                progress,
                r#type: types.choose(&mut self.rng).copied().unwrap().into(),
                note: Some("n".repeat(NOTE)),
                ..Default::default()
            },
        )
    }

    fn a_record(&mut self) -> String {
        let number = self.rng.random_range(0..self.records.max(1));
        let collection = if self.moves && number % 8 == 7 { "agreements" } else { "visits" };
        format!("{collection}/{}-{number}", self.name)
    }

    async fn retract_report(&mut self, filing: &mut FilingServiceClient<Channel>) -> Result<Acked, Status> {
        let all: Vec<&String> = self.reports.iter().collect();
        let Some(report) = all.choose(&mut self.rng).map(|r| (*r).clone()) else { return self.file(filing).await };
        let request = v1::RetractReportsRequest {
            selection: Some(Selection::Report(report)),
            reason: RetractionReason::FilerError.into(),
            ..Default::default()
        };
        let answer = filing.retract_reports(request).await?.into_inner();
        Ok(Acked { revision: answer.revision, token: answer.token, events: answer.events })
    }

    async fn retract_record(&mut self, filing: &mut FilingServiceClient<Channel>) -> Result<Acked, Status> {
        let request = ruling(&self.a_record());
        let answer = filing.retract_record(request).await?.into_inner();
        Ok(Acked { revision: answer.revision, token: answer.token, events: answer.events })
    }

    async fn restore(&mut self, filing: &mut FilingServiceClient<Channel>) -> Result<Acked, Status> {
        let request = v1::RestoreRecordRequest { name: self.a_record(), ..Default::default() };
        let answer = filing.restore_record(request).await?.into_inner();
        Ok(Acked { revision: answer.revision, token: answer.token, events: answer.events })
    }
}

/// A ruling that retracts a record.
pub fn ruling(record: &str) -> v1::RetractRecordRequest {
    let editor = v1::Source { kind: v1::SourceKind::Editor.into(), ..source("editor") };
    v1::RetractRecordRequest {
        name: record.to_owned(),
        reason: RetractionReason::OutOfScope.into(),
        source: Some(editor),
        ..Default::default()
    }
}

/// Several filers at work at the same time; what they were answered, in the log's order.
pub async fn file_at_once(servers: &[&TestServer], name: &str, filers: usize, acts: usize) -> Vec<Acked> {
    let scribes = (0..filers).map(|number| Scribe::new(&format!("{name}{number}"))).collect();
    all_file(servers, scribes, acts).await
}

/// The same, with these filers.
pub async fn all_file(servers: &[&TestServer], scribes: Vec<Scribe>, acts: usize) -> Vec<Acked> {
    let mut at_work = JoinSet::new();
    for (number, mut scribe) in scribes.into_iter().enumerate() {
        let mut filing = servers[number % servers.len()].filing();
        at_work.spawn(async move {
            let mut acked = Vec::new();
            for _ in 0..acts {
                acked.push(scribe.act(&mut filing).await);
            }
            acked
        });
    }
    let mut acked: Vec<Acked> = at_work.join_all().await.into_iter().flatten().filter(|a| a.revision > 0).collect();
    acked.sort_by_key(|a| a.revision);
    acked
}

/// What the filers were told that happened, in order.
pub fn told(acked: &[Acked]) -> Vec<v1::Event> {
    acked.iter().flat_map(|a| a.events.clone()).collect()
}
