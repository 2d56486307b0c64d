//! `FilingService.ImportReports`: batch after batch on one stream, what is wrong with an item answered beside it.
//!
//! The next batch is read when the last is answered: a client that sends faster waits in its own flow-control window.

use std::{
    collections::{HashMap, HashSet},
    pin::Pin,
    time::Duration,
};

use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::filing::{Asking, Filing, check_request_id, may_file, parse_intent, parse_reason, too_many};
use super::request::Caller;
use crate::{
    access::Place,
    clock,
    domain::{
        error::{Error, Reason, Result, Violation},
        name::{self, ReportName},
        report::Report,
    },
    limits::{IMPORT_ANSWERS, MAX_REPORTS_PER_FILING, STALL_TIMEOUT},
    pb::v1::{
        FilingOutcome, FilingResult, ImportItem, ImportRefusal, ImportReportsRequest, ImportReportsResponse,
        ImportResult, RetractionReason, Source, import_item::Item, import_result::Outcome,
    },
    tasks::if_any,
    writer::{Act, Step},
};

/// The answers of an import, one for each batch; an error is the last.
pub(super) type Answers = Pin<Box<dyn Stream<Item = std::result::Result<ImportReportsResponse, Status>> + Send>>;

/// Answers each batch as it comes, until the client is done, its deadline passes, or its connection is to end.
pub(super) fn answers(
    filing: Filing,
    batches: Streaming<ImportReportsRequest>,
    asking: Asking,
    place: (OwnedSemaphorePermit, Option<Place>),
) -> Answers {
    let (answers, told) = mpsc::channel(IMPORT_ANSWERS);
    let tasks = filing.0.tasks.clone();
    tasks.spawn("import", async move {
        import(filing, batches, asking, answers).await;
        drop(place);
    });
    Box::pin(ReceiverStream::new(told))
}

async fn import(
    filing: Filing,
    mut batches: Streaming<ImportReportsRequest>,
    asking: Asking,
    answers: mpsc::Sender<std::result::Result<ImportReportsResponse, Status>>,
) {
    let began = clock::ticks();
    let left = || asking.deadline.map(|deadline| deadline.saturating_sub(began.elapsed()));
    loop {
        let answered = match next(&filing, &mut batches, asking.caller.leaving(), left()).await {
            Ok(None) => return,
            Ok(Some(batch)) => {
                let asking = Asking { deadline: left(), ..asking.clone() };
                answer(&filing, batch, asking).await.map_err(Status::from)
            }
            Err(status) => Err(status),
        };
        let ended = answered.is_err();
        // A client that went away, or takes nothing, wants no more answers; what it sent before is filed.
        match tokio::time::timeout(STALL_TIMEOUT, answers.send(answered)).await {
            Ok(Ok(())) if !ended => {}
            _ => return,
        }
    }
}

/// The next batch; `None` once the client is done.
async fn next(
    filing: &Filing,
    batches: &mut Streaming<ImportReportsRequest>,
    leaving: &CancellationToken,
    left: Option<Duration>,
) -> std::result::Result<Option<ImportReportsRequest>, Status> {
    tokio::select! {
        biased;
        // Between two batches: one that stays until its connection is cut is not told what stands.
        () = leaving.cancelled() => Err(sent_away(filing.0.hub.draining().is_cancelled()).into()),
        batch = batches.message() => batch,
        () = if_any(left.map(tokio::time::sleep)) => Err(Error::new(Reason::Deadline, "the deadline passed before the next batch came").into()),
    }
}

/// Why an import ends before its client is done: a drain, or its connection alone.
fn sent_away(draining: bool) -> Error {
    let why = if draining {
        "the server is shutting down; what was answered stands, resume elsewhere with the next batch"
    } else {
        "the connection is to be opened anew; what was answered stands, resume on another with the next batch"
    };
    Error::new(Reason::Draining, why)
}

async fn answer(filing: &Filing, batch: ImportReportsRequest, asking: Asking) -> Result<ImportReportsResponse> {
    let asking = Asking { caller: asking.caller.again()?, ..asking };
    asking.caller.spend(batch.encoded_len())?;
    check_request_id(Some(&batch.request_id))?;
    let intent = parse_intent(batch.intent)?;
    let reason = reason_of(&batch)?;
    let recorded_at_us = batch.recorded_at.as_ref().map(|t| filing.0.past(t, "recorded_at")).transpose()?;
    let (steps, mut results) = sort_out(&batch, &asking.caller, filing.0.clock.now_us())?;
    let places: Vec<(u32, String)> =
        steps.iter().map(|(index, step)| (*index, step.report_name().to_string())).collect();
    let steps: Vec<Step> = steps.into_iter().map(|(_, step)| step).collect();
    let (mut events, mut revision, mut head) = (0, 0, filing.0.store.head());
    if !steps.is_empty() {
        let act = Act::Import { steps, intent, reason };
        let asking = Asking { recorded_at_us, ..asking };
        let answer = filing.file(act, &batch, Some(&batch.request_id), batch.validate_only, &asking).await?;
        let not_granted: HashSet<u32> = answer.not_granted.into_iter().collect();
        // By name: of a batch that came before, other items may have been good then than are now.
        let came = (0_u32..).zip(answer.results).map(|(step, result)| (result.report.clone(), (step, result)));
        let mut came: HashMap<String, (u32, FilingResult)> = came.collect();
        for (index, name) in places {
            results.push(match came.remove(&name) {
                Some((step, result)) if not_granted.contains(&step) => denied(index, &result, &batch, &asking.caller),
                Some((_, result)) => told(index, result),
                None => refused_before(index),
            });
        }
        events = u32::try_from(answer.events.len()).unwrap_or(u32::MAX);
        (revision, head) = (answer.revision, answer.head);
    }
    results.sort_by_key(|r| r.index);
    let token = head.token().encode();
    Ok(ImportReportsResponse { request_id: batch.request_id, results, events, revision, token })
}

fn reason_of(batch: &ImportReportsRequest) -> Result<RetractionReason> {
    let withdraws = batch.items.iter().any(|i| matches!(i.item, Some(Item::Withdraw(_))));
    if withdraws || batch.reason != 0 { parse_reason(batch.reason) } else { Ok(RetractionReason::Unspecified) }
}

/// The good items as steps, with their index, and what is wrong with the others.
type Sorted = (Vec<(u32, Step)>, Vec<ImportResult>);

fn sort_out(batch: &ImportReportsRequest, caller: &Caller, now_us: i64) -> Result<Sorted> {
    if batch.items.is_empty() {
        return Err(Error::field(Reason::FieldInvalid, "items", "is required"));
    }
    if batch.items.len() > MAX_REPORTS_PER_FILING {
        return Err(too_many("items", batch.items.len()));
    }
    let (mut steps, mut refused) = (Vec::new(), Vec::new());
    let mut seen: HashSet<ReportName> = HashSet::new();
    for (index, item) in (0_u32..).zip(&batch.items) {
        let step = parse_item(item, batch.source.as_ref(), now_us).and_then(|step| {
            let may = match &step {
                Step::File(report) => may_file(caller.principal(), report, "report"),
                Step::Withdraw(name) => caller.principal().may_file_for(&name.source, "withdraw"),
            };
            may.inspect_err(|error| caller.noted(error))?;
            if seen.insert(step.report_name().clone()) { Ok(step) } else { Err(twice(step.report_name())) }
        });
        match step {
            Ok(step) => steps.push((index, step)),
            Err(error) => refused.push(ImportResult { index, outcome: Some(Outcome::Refusal(refusal(&error))) }),
        }
    }
    Ok((steps, refused))
}

fn twice(name: &ReportName) -> Error {
    Error::field(Reason::FieldInvalid, "", format!("{name} is in this batch already: send it in the next"))
}

fn parse_item(item: &ImportItem, shared: Option<&Source>, now_us: i64) -> Result<Step> {
    match &item.item {
        None => Err(Error::field(Reason::FieldInvalid, "", "one of report and withdraw is required")),
        Some(Item::Report(report)) => {
            let report = Report::parse(report, shared, "report")?;
            if report.is_of_the_future(now_us) {
                return Err(Error::field(Reason::FieldInvalid, "report.source.published", "lies in the future"));
            }
            report.prepare();
            Ok(Step::File(Box::new(report)))
        }
        Some(Item::Withdraw(name)) => name
            .parse()
            .map(Step::Withdraw)
            .map_err(|e: name::NameError| Error::field(Reason::FieldInvalid, "withdraw", e.to_string())),
    }
}

fn refusal(error: &Error) -> ImportRefusal {
    let field = |v: &Violation| v.field.clone();
    let words = |v: &Violation| {
        if v.field.is_empty() { v.description.clone() } else { format!("{} {}", v.field, v.description) }
    };
    let message = match error.violations.as_slice() {
        [] => error.message.clone(),
        violations => violations.iter().map(words).collect::<Vec<_>>().join("; "),
    };
    let fields = error.violations.iter().map(field).filter(|f| !f.is_empty()).collect();
    ImportRefusal { reason: error.reason.into(), message, fields }
}

/// What is good now and was not when the same batch came first, whose answer is given again.
fn refused_before(index: u32) -> ImportResult {
    let why = "was refused when this batch came first: send it in a batch of its own";
    let error = Error::field(Reason::FieldInvalid, "", why);
    ImportResult { index, outcome: Some(Outcome::Refusal(refusal(&error))) }
}

/// What became of a step that would have undone a ruling of others.
fn denied(index: u32, result: &FilingResult, batch: &ImportReportsRequest, caller: &Caller) -> ImportResult {
    let item = batch.items.get(index as usize).and_then(|item| item.item.as_ref());
    let field = if matches!(item, Some(Item::Withdraw(_))) { "withdraw" } else { "report" };
    // (A redaction erases the words of a result.)
    let words = result.warnings.join("; ");
    let why = if words.is_empty() { "is a ruling, which editors alone undo" } else { &words };
    let error = Error::field(Reason::RoleRequired, field, why);
    caller.noted(&error);
    ImportResult { index, outcome: Some(Outcome::Refusal(refusal(&error))) }
}

/// What became of a step. One without an outcome was left out by the writer: its record has no room for it.
fn told(index: u32, result: FilingResult) -> ImportResult {
    let outcome = if result.outcome() == FilingOutcome::Unspecified {
        let message = result.warnings.join("; ");
        Outcome::Refusal(ImportRefusal { reason: Reason::TooLarge.into(), message, fields: Vec::new() })
    } else {
        Outcome::Result(result)
    };
    ImportResult { index, outcome: Some(outcome) }
}
