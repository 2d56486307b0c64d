//! One filer: it files, changes, withdraws and files again about records of its own, so that it knows what must stand.

use std::{future::Future, sync::Arc, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use tonic::{Response, Status};

use super::{
    ask,
    history::{Acknowledged, Seen, Tries},
    plan::{FILERS, Pace, RECORDS, Run, SOURCES},
};
use crate::{
    cli::{
        client::Filing,
        error::{CliError, is_retryable, reason},
        retract::fresh_id,
        retry,
    },
    pb::v1::{
        Event, FileReportsRequest, FileReportsResponse, FilingOutcome, GetOrganizationRequest, Intent, Report,
        RetractReportsRequest, RetractReportsResponse, RetractionReason, retract_reports_request::Selection,
    },
};

/// A call that is not answered by then has failed.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Records of one filing at most: revisions of several events are wanted.
const MAX_REPORTS: usize = 3;
/// How often what was filed is read, and is filed once more.
const LOOKS: f64 = 0.3;

/// What a filer was told and found.
#[derive(Debug, Default)]
pub struct Filed {
    /// Filings that recorded something.
    pub acknowledged: Vec<Acknowledged>,
    /// Reads of its own writes.
    pub reads: Tries,
    /// Filings that it repeated.
    pub repeats: Tries,
    /// Why it stopped before the end.
    pub error: Option<CliError>,
}

/// What a source says of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    says: String,
    ministry: bool,
}

/// A record, and what stands of it by source.
struct Record {
    name: String,
    stands: [Option<Word>; SOURCES],
}

/// One filer.
pub struct Filer {
    run: Arc<Run>,
    rng: StdRng,
    records: Vec<Record>,
    /// How many words it has made up.
    words: usize,
    filed: Filed,
}

impl Filer {
    /// By its number.
    #[must_use]
    pub fn new(run: Arc<Run>, number: usize) -> Self {
        let own = (0..RECORDS).filter(|record| record % FILERS == number);
        let records = own.map(|record| Record { name: run.record(record), stands: Default::default() }).collect();
        Self { run, rng: StdRng::seed_from_u64(rand::random()), records, words: 0, filed: Filed::default() }
    }

    /// Files until the time is over, or something cannot be filed.
    pub async fn file(mut self, pace: Arc<Pace>) -> Filed {
        while pace.next().await {
            let acted = match self.rng.random_range(0..10) {
                0 => self.say_again().await,
                1 | 2 => self.withdraw().await,
                _ => self.say_something().await,
            };
            if let Err(error) = acted {
                self.filed.error = Some(error);
                break;
            }
        }
        self.filed
    }

    /// Files new words of one source about some records.
    async fn say_something(&mut self) -> Result<(), CliError> {
        let source = self.rng.random_range(0..SOURCES);
        let count = self.rng.random_range(1..=MAX_REPORTS.min(self.records.len()));
        let chosen = rand::seq::index::sample(&mut self.rng, self.records.len(), count).into_vec();
        let words: Vec<Word> = chosen.iter().map(|_| self.new_word()).collect();
        let report = |(at, word): (&usize, &Word)| self.report(*at, word);
        let reports = chosen.iter().zip(&words).map(report).collect();
        let intent = if self.rng.random_bool(0.5) { Intent::Update } else { Intent::Correction };
        let request = FileReportsRequest {
            reports,
            source: Some(self.run.source(source)),
            request_id: fresh_id(),
            intent: intent.into(),
            ..FileReportsRequest::default()
        };
        let server = self.a_server();
        let answer = self.send(server, |filing| file(filing, request.clone())).await?;
        self.note(answer.revision, &answer.token, &answer.events)?;
        for (at, word) in chosen.iter().zip(&words) {
            self.records[*at].stands[source] = Some(word.clone());
        }
        if answer.revision > 0 && self.rng.random_bool(LOOKS) {
            self.repeat(server, &request, &answer).await?;
        }
        match chosen.choose(&mut self.rng).copied().filter(|_| self.rng.random_bool(LOOKS)) {
            Some(at) => self.read(at, server, &answer.token).await,
            None => Ok(()),
        }
    }

    fn report(&self, at: usize, word: &Word) -> Report {
        self.run.report(&self.records[at].name, &word.says, word.ministry)
    }

    fn new_word(&mut self) -> Word {
        self.words += 1;
        Word { says: format!("Probe {} of verify", self.words), ministry: self.rng.random_bool(0.7) }
    }

    /// The same filing once more, elsewhere if there is an elsewhere.
    async fn repeat(
        &mut self,
        server: usize,
        request: &FileReportsRequest,
        first: &FileReportsResponse,
    ) -> Result<(), CliError> {
        let other = self.another(server);
        let again = self.send(other, |filing| file(filing, request.clone())).await?;
        let repeats = &mut self.filed.repeats;
        repeats.made += 1;
        repeats.elsewhere += usize::from(other != server);
        // The token may be a later one: it is the position as of which the answer is visible.
        let told = |answer: &FileReportsResponse| (answer.revision, answer.results.clone(), answer.events.clone());
        if told(&again) != told(first) {
            let (url, id) = (&self.run.servers[other], request.request_id.as_deref().unwrap_or_default());
            let what = format!("{url}: request {id} was revision {}, and is answered otherwise now", first.revision);
            repeats.faults.push(what);
        }
        Ok(())
    }

    /// Files what stands already, under another request id.
    async fn say_again(&mut self) -> Result<(), CliError> {
        let Some((at, source, word)) = self.something_that_stands() else { return self.say_something().await };
        let request = FileReportsRequest {
            reports: vec![self.report(at, &word)],
            source: Some(self.run.source(source)),
            request_id: fresh_id(),
            ..FileReportsRequest::default()
        };
        let server = self.a_server();
        let answer = self.send(server, |filing| file(filing, request.clone())).await?;
        self.note(answer.revision, &answer.token, &answer.events)?;
        self.filed.repeats.made += 1;
        let unchanged = answer.results.iter().all(|result| result.outcome() == FilingOutcome::NoChange);
        if !unchanged || answer.revision != 0 || !answer.events.is_empty() {
            let (url, record) = (&self.run.servers[server], &self.records[at].name);
            let what = format!("{url}: what stood of {record} was filed again and made revision {}", answer.revision);
            self.filed.repeats.faults.push(what);
        }
        Ok(())
    }

    /// Withdraws one report.
    async fn withdraw(&mut self) -> Result<(), CliError> {
        let Some((at, source, _)) = self.something_that_stands() else { return self.say_something().await };
        let id = self.run.source_name(source);
        let id = id.strip_prefix("sources/").unwrap_or_default();
        let request = RetractReportsRequest {
            selection: Some(Selection::Report(format!("{}/reports/{id}", self.records[at].name))),
            reason: RetractionReason::FilerError.into(),
            request_id: fresh_id(),
            ..RetractReportsRequest::default()
        };
        let server = self.a_server();
        let answer = self.send(server, |filing| retract(filing, request.clone())).await?;
        self.note(answer.revision, &answer.token, &answer.events)?;
        self.records[at].stands[source] = None;
        if self.rng.random_bool(LOOKS) { self.read(at, server, &answer.token).await } else { Ok(()) }
    }

    fn something_that_stands(&mut self) -> Option<(usize, usize, Word)> {
        let of_record = |(at, record): (usize, &Record)| {
            let stands = record.stands.clone().into_iter().enumerate();
            stands.filter_map(move |(source, word)| Some((at, source, word?))).collect::<Vec<_>>()
        };
        let all: Vec<_> = self.records.iter().enumerate().flat_map(of_record).collect();
        all.choose(&mut self.rng).cloned()
    }

    /// Reads a record not before a position, elsewhere if there is an elsewhere: it must be as it was filed.
    async fn read(&mut self, at: usize, server: usize, token: &str) -> Result<(), CliError> {
        let other = self.another(server);
        let record = &self.records[at];
        let request = GetOrganizationRequest {
            name: record.name.clone(),
            at_least: Some(token.to_owned()),
            ..GetOrganizationRequest::default()
        };
        let stands: Vec<&str> = record.stands.iter().flatten().map(|word| word.says.as_str()).collect();
        let mut registry = self.run.connection(other).registry();
        let what = match timely(registry.get_organization(request)).await {
            Ok(answer) => {
                let found = answer.into_inner().organization.unwrap_or_default();
                let names: Vec<&str> = found.names.iter().map(|name| name.text.as_str()).collect();
                let as_filed = !stands.is_empty() && stands.iter().all(|says| names.contains(says));
                (!as_filed || names.len() != stands.len())
                    .then(|| format!("has the names {names:?} where {stands:?} were filed"))
            }
            Err(status) if reason(&status) == "RECORD_RETRACTED" => {
                (!stands.is_empty()).then(|| "is retracted, and was filed".to_owned())
            }
            // Whether it is there was not to be learnt: that says nothing.
            Err(status) if is_retryable(&status) => return Ok(()),
            Err(status) => Some(format!("cannot be read: {}", retry::word(&status))),
        };
        let fault = what.map(|what| format!("{}: {} at least at {token} {what}", self.run.servers[other], record.name));
        let reads = &mut self.filed.reads;
        reads.made += 1;
        reads.elsewhere += usize::from(other != server);
        reads.faults.extend(fault);
        Ok(())
    }

    fn note(&mut self, revision: u64, token: &str, events: &[Event]) -> Result<(), CliError> {
        let token = ask::read_token(token)?;
        if revision > 0 {
            // From now on whoever catches up has it.
            self.run.acknowledge(revision);
            let events = events.iter().map(Seen::of).collect();
            self.filed.acknowledged.push(Acknowledged { revision, token, events });
        }
        Ok(())
    }

    fn a_server(&mut self) -> usize {
        self.rng.random_range(0..self.run.servers.len())
    }

    fn another(&mut self, server: usize) -> usize {
        let servers = self.run.servers.len();
        if servers < 2 { server } else { (server + self.rng.random_range(1..servers)) % servers }
    }

    /// Sends to a server, and to the next ones if that fails: the request id makes it safe.
    async fn send<T, Answer>(&self, server: usize, call: impl Fn(Filing) -> Answer) -> Result<T, CliError>
    where
        Answer: Future<Output = Result<Response<T>, Status>>,
    {
        let mut next = server;
        retry::with_retries(|| {
            let filing = self.run.connection(next).filing();
            next += 1;
            timely(call(filing))
        })
        .await
    }
}

async fn file(mut filing: Filing, request: FileReportsRequest) -> Result<Response<FileReportsResponse>, Status> {
    filing.file_reports(request).await
}

async fn retract(
    mut filing: Filing,
    request: RetractReportsRequest,
) -> Result<Response<RetractReportsResponse>, Status> {
    filing.retract_reports(request).await
}

/// An answer, if it comes in time.
async fn timely<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => answer,
        Err(_) => Err(Status::deadline_exceeded(format!("no answer within {CALL_TIMEOUT:?}"))),
    }
}
