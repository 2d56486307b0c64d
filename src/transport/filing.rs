//! `FilingService`: requests are checked here, decided by the writer.

use std::{collections::HashSet, sync::Arc, time::Duration};

use prost::Message;
use tonic::{Request, Response, Status, Streaming};

use super::{
    App,
    calls::overloaded,
    import,
    request::{Caller, time_left},
};
use crate::{
    access::{Need, Principal, Role},
    domain::{
        check,
        constraints::Constraint,
        constraints::MAX_LONG_TEXT,
        error::{Error, Reason, Result, Violation},
        fold::fold,
        name::{self, RecordName, ReportName},
        report::{Report, parse_source, path_in_request},
    },
    limits::{MAX_REPORTS_PARSED_HERE, MAX_REPORTS_PER_FILING, MAX_REQUEST_ID_CHARS},
    pb::{
        log::{Merge, Ruling},
        v1::{
            FileReportsRequest, FileReportsResponse, FilingResult, ImportReportsRequest, Intent, MergeRecordsRequest,
            MergeRecordsResponse, RestoreRecordRequest, RestoreRecordResponse, RetractRecordRequest,
            RetractRecordResponse, RetractReportsRequest, RetractReportsResponse, RetractionReason, Source, SourceKind,
            UnmergeRecordsRequest, UnmergeRecordsResponse, filing_service_server::FilingService,
            retract_reports_request::Selection as Asked,
        },
    },
    tasks::blocking,
    writer::{self, Act, Answer, Selection},
};

pub(super) struct Filing(pub Arc<App>);

type Answered<T> = std::result::Result<Response<T>, Status>;

/// Who files, when it was recorded, if they say so, and how long they wait for the answer.
#[derive(Clone)]
pub(super) struct Asking {
    pub caller: Caller,
    pub recorded_at_us: Option<i64>,
    pub deadline: Option<Duration>,
}

impl Asking {
    fn of<T>(request: &Request<T>) -> Result<Self> {
        Ok(Self { caller: Caller::of(request)?, recorded_at_us: None, deadline: time_left(request) })
    }
}

impl Filing {
    pub(super) async fn file(
        &self,
        act: Act,
        request: &impl Message,
        request_id: Option<&String>,
        validate_only: bool,
        asking: &Asking,
    ) -> Result<Answer> {
        if self.0.hub.draining().is_cancelled() {
            return Err(Error::new(Reason::Draining, "the server is shutting down; nothing happened, retry elsewhere"));
        }
        if let Some(fault) = self.0.writer.fault() {
            return Err(fault);
        }
        let request_id = request_id.cloned().unwrap_or_default();
        let digest = || *blake3::hash(&request.encode_to_vec()).as_bytes();
        let request = writer::Request {
            act,
            principal: asking.caller.principal().name.to_string(),
            may_rule: asking.caller.principal().grants.has(Role::Editor),
            digest: (!request_id.is_empty()).then(digest),
            request_id,
            validate_only,
            recorded_at_us: asking.recorded_at_us,
        };
        self.0.writer.file(request, asking.deadline).await.inspect_err(|error| asking.caller.noted(error))
    }
}

#[tonic::async_trait]
impl FilingService for Filing {
    type ImportReportsStream = import::Answers;

    async fn import_reports(
        &self,
        request: Request<Streaming<ImportReportsRequest>>,
    ) -> Answered<Self::ImportReportsStream> {
        let asking = Asking::of(&request)?;
        let own = asking.caller.open()?;
        let place = self.0.imports.take().map_err(|most| overloaded(most, "imports are under way"));
        let place = place.inspect_err(|error| asking.caller.noted(error))?;
        let place = (place, own);
        let filing = Self(Arc::clone(&self.0));
        Ok(Response::new(import::answers(filing, request.into_inner(), asking, place)))
    }

    async fn file_reports(&self, request: Request<FileReportsRequest>) -> Answered<FileReportsResponse> {
        let asking = Asking::of(&request)?;
        let request = Arc::new(request.into_inner());
        // Before it is read: what is refused costs as much.
        asking.caller.spend(request.encoded_len())?;
        check_request_id(request.request_id.as_ref())?;
        let act = parsed(&request).await?;
        check_sources(&asking.caller, &act)?;
        check_published(&act, self.0.clock.now_us())?;
        let recorded_at_us = request.recorded_at.as_ref().map(|t| self.0.past(t, "recorded_at")).transpose()?;
        let asking = Asking { recorded_at_us, ..asking };
        let answer = self.file(act, &*request, request.request_id.as_ref(), request.validate_only, &asking).await?;
        Ok(Response::new(FileReportsResponse {
            results: answer.results,
            events: answer.events,
            revision: answer.revision,
            token: answer.head.token().encode(),
        }))
    }

    async fn retract_reports(&self, request: Request<RetractReportsRequest>) -> Answered<RetractReportsResponse> {
        let asking = Asking::of(&request)?;
        let request = request.into_inner();
        check_request_id(request.request_id.as_ref())?;
        let reason = parse_reason(request.reason)?;
        let act = Act::Withdraw { selection: parse_selection(request.selection.as_ref())?, reason };
        check_sources(&asking.caller, &act)?;
        let answer = self.file(act, &request, request.request_id.as_ref(), request.validate_only, &asking).await?;
        Ok(Response::new(RetractReportsResponse {
            results: answer.results,
            events: answer.events,
            remaining: answer.remaining,
            revision: answer.revision,
            token: answer.head.token().encode(),
        }))
    }

    async fn retract_record(&self, request: Request<RetractRecordRequest>) -> Answered<RetractRecordResponse> {
        let asking = Asking::of(&request)?;
        let request = request.into_inner();
        check_request_id(request.request_id.as_ref())?;
        let act = parse_retraction(&request)?;
        let answer = self.file(act, &request, request.request_id.as_ref(), request.validate_only, &asking).await?;
        Ok(Response::new(RetractRecordResponse {
            result: one(answer.results),
            events: answer.events,
            revision: answer.revision,
            token: answer.head.token().encode(),
        }))
    }

    async fn restore_record(&self, request: Request<RestoreRecordRequest>) -> Answered<RestoreRecordResponse> {
        let asking = Asking::of(&request)?;
        let request = request.into_inner();
        check_request_id(request.request_id.as_ref())?;
        let record = parse_name(&request.name, "name")?;
        if let Some(source) = request.source.as_ref().filter(|s| !name::is_source(s)) {
            let why = format!("{} is not the name of a source: sources/{{id}}", name::quote(source));
            return Err(Error::field(Reason::FieldInvalid, "source", why).into());
        }
        let act = Act::Restore { record, source: request.source.clone() };
        let answer = self.file(act, &request, request.request_id.as_ref(), request.validate_only, &asking).await?;
        Ok(Response::new(RestoreRecordResponse {
            result: one(answer.results),
            events: answer.events,
            revision: answer.revision,
            token: answer.head.token().encode(),
        }))
    }

    async fn merge_records(&self, request: Request<MergeRecordsRequest>) -> Answered<MergeRecordsResponse> {
        let asking = Asking::of(&request)?;
        let request = request.into_inner();
        check_request_id(request.request_id.as_ref())?;
        let act = parse_merge(&request)?;
        let answer = self.file(act, &request, request.request_id.as_ref(), request.validate_only, &asking).await?;
        Ok(Response::new(MergeRecordsResponse {
            result: one(answer.results),
            events: answer.events,
            revision: answer.revision,
            token: answer.head.token().encode(),
        }))
    }

    async fn unmerge_records(&self, request: Request<UnmergeRecordsRequest>) -> Answered<UnmergeRecordsResponse> {
        let asking = Asking::of(&request)?;
        let request = request.into_inner();
        check_request_id(request.request_id.as_ref())?;
        let act = Act::Unmerge { loser: parse_name(&request.loser, "loser")? };
        let answer = self.file(act, &request, request.request_id.as_ref(), request.validate_only, &asking).await?;
        Ok(Response::new(UnmergeRecordsResponse {
            results: answer.results,
            events: answer.events,
            revision: answer.revision,
            token: answer.head.token().encode(),
        }))
    }
}

/// A ruling on one record has exactly one result.
fn one(results: Vec<FilingResult>) -> Option<FilingResult> {
    results.into_iter().next()
}

pub(super) fn check_request_id(id: Option<&String>) -> Result<()> {
    match id {
        Some(id) if id.is_empty() || id.chars().count() > MAX_REQUEST_ID_CHARS || id.chars().any(char::is_control) => {
            let why = format!("has 1 to {MAX_REQUEST_ID_CHARS} characters, none of them control characters");
            Err(Error::field(Reason::FieldInvalid, "request_id", why))
        }
        _ => Ok(()),
    }
}

/// The name of a record that came in a field.
pub(super) fn parse_name(text: &str, field: &str) -> Result<RecordName> {
    text.parse().map_err(|e: name::NameError| Error::field(Reason::FieldInvalid, field, e.to_string()))
}

/// Checks that a principal may file a report: in the name of its source, and, if it is a ruling, which wins over all that
/// are none, as an editor; if it is a probe, as an operator.
pub(super) fn may_file(principal: &Principal, report: &Report, path: &str) -> Result<()> {
    if report.is_ruling() {
        principal.may(Need::Role(Role::Editor))?;
    }
    if name::is_probe(report.name.record.as_str()) {
        principal.may(Need::Role(Role::Operator))?;
    }
    principal.may_file_for(&report.name.source, &check::join(path, "source.name"))
}

/// Checks that a caller may file in the names of the sources that an act names.
fn check_sources(caller: &Caller, act: &Act) -> Result<()> {
    let principal = caller.principal();
    let checked = match act {
        Act::File { reports, .. } => {
            let mut sources = reports.iter().enumerate();
            sources.try_for_each(|(index, report)| may_file(principal, report, &path_in_request(index)))
        }
        Act::Withdraw { selection, .. } => {
            let source: &str = match selection {
                Selection::Report(name) => &name.source,
                Selection::Source(source) => source,
                // Whose reports these are is known when they are looked for: a limited filer names sources.
                Selection::Publisher(_) => "every source",
            };
            principal.may_file_for(source, selection.field())
        }
        _ => Ok(()),
    };
    checked.inspect_err(|error| caller.noted(error))
}

fn check_published(act: &Act, now_us: i64) -> Result<()> {
    let Act::File { reports, .. } = act else { return Ok(()) };
    match reports.iter().position(|r| r.is_of_the_future(now_us)) {
        None => Ok(()),
        Some(index) => {
            let field = format!("{}.source.published", path_in_request(index));
            Err(Error::field(Reason::FieldInvalid, field, "lies in the future"))
        }
    }
}

pub(super) fn parse_reason(reason: i32) -> Result<RetractionReason> {
    RetractionReason::try_from(reason)
        .ok()
        // (What is redacted is erased: `Redact` alone says so.)
        .filter(|r| !matches!(r, RetractionReason::Unspecified | RetractionReason::Redacted))
        .ok_or_else(|| Error::field(Reason::FieldInvalid, "reason", "is required, one of the reasons of the contract"))
}

pub(super) fn parse_intent(intent: i32) -> Result<Intent> {
    Intent::try_from(intent)
        .map_err(|_| Error::field(Reason::FieldInvalid, "intent", format!("{intent} is not a value of Intent")))
}

pub(super) fn too_many(field: &str, count: usize) -> Error {
    let why = format!("has {count} elements; one filing has at most {MAX_REPORTS_PER_FILING}");
    Error::field(Reason::TooLarge, field, why).with("limit", MAX_REPORTS_PER_FILING)
}

/// What a request asks for. A large one is not read on an async thread, whose watches would wait for it.
async fn parsed(request: &Arc<FileReportsRequest>) -> Result<Act> {
    if request.reports.len() <= MAX_REPORTS_PARSED_HERE {
        return parse_filing(request);
    }
    let request = Arc::clone(request);
    blocking(move || parse_filing(&request)).await
}

fn parse_filing(request: &FileReportsRequest) -> Result<Act> {
    let FileReportsRequest { reports, source, preconditions, intent, request_id: _, validate_only: _, recorded_at: _ } =
        request;
    if reports.is_empty() {
        return Err(Error::field(Reason::FieldInvalid, "reports", "is required"));
    }
    if reports.len() > MAX_REPORTS_PER_FILING {
        return Err(too_many("reports", reports.len()));
    }
    if preconditions.len() > MAX_REPORTS_PER_FILING {
        return Err(too_many("preconditions", preconditions.len()));
    }
    let intent = parse_intent(*intent)?;
    let mut parsed: Vec<Report> = Vec::with_capacity(reports.len());
    let mut names: HashSet<ReportName> = HashSet::new();
    let mut violations: Vec<Violation> = Vec::new();
    for (index, report) in reports.iter().enumerate() {
        let path = path_in_request(index);
        match Report::parse(report, source.as_ref(), &path) {
            Ok(report) if reports.len() > 1 && !names.insert(report.name.clone()) => violations
                .push(Violation { field: path, description: format!("{} is in this request twice", report.name) }),
            Ok(report) => {
                report.prepare();
                parsed.push(report);
            }
            Err(error) if error.reason == Reason::FieldInvalid => violations.extend(error.violations),
            Err(error) => return Err(error),
        }
    }
    let preconditions = parse_preconditions(preconditions, &mut violations);
    if !violations.is_empty() {
        return Err(Error::violations(Reason::FieldInvalid, violations));
    }
    Ok(Act::File { reports: parsed, preconditions, intent })
}

fn parse_preconditions(
    preconditions: &[crate::pb::v1::ReportPrecondition],
    violations: &mut Vec<Violation>,
) -> Vec<(ReportName, String)> {
    let mut parsed = Vec::with_capacity(preconditions.len());
    for (index, precondition) in preconditions.iter().enumerate() {
        match precondition.report.parse() {
            Ok(name) => parsed.push((name, precondition.expected_etag.clone())),
            Err(error) => {
                let error: name::NameError = error;
                let field = format!("preconditions[{index}].report");
                violations.push(Violation { field, description: error.to_string() });
            }
        }
    }
    parsed
}

fn parse_selection(selection: Option<&Asked>) -> Result<Selection> {
    let wrong = |field: &str, why: String| Err(Error::field(Reason::FieldInvalid, field, why));
    match selection {
        None => wrong("selection", "one of report, source and publisher is required".to_owned()),
        Some(Asked::Report(report)) => match report.parse() {
            Ok(name) => Ok(Selection::Report(name)),
            Err(error) => {
                let error: name::NameError = error;
                wrong("report", error.to_string())
            }
        },
        Some(Asked::Source(source)) if name::is_source(source) => Ok(Selection::Source(source.clone())),
        Some(Asked::Source(source)) => wrong("source", format!("{} is not sources/{{id}}", name::quote(source))),
        Some(Asked::Publisher(publisher)) => publisher_key(publisher, "publisher").map(Selection::Publisher),
    }
}

/// The key of a publisher as requests name it: an organization, or a name that is folded.
pub(super) fn publisher_key(publisher: &str, field: &str) -> Result<String> {
    check::check_text(publisher, &[]).map_err(|why| Error::field(Reason::FieldInvalid, field, why))?;
    if publisher.starts_with("organizations/") || publisher.starts_with("named/") {
        Ok(publisher.to_owned())
    } else {
        Ok(format!("named/{}", fold(publisher)))
    }
}

fn parse_retraction(request: &RetractRecordRequest) -> Result<Act> {
    let record = parse_name(&request.name, "name")?;
    let reason = parse_reason(request.reason)?;
    let mut violations = Vec::new();
    let (source, note) = parse_ruling(request.source.as_ref(), request.note.as_deref(), &mut violations)?;
    if !violations.is_empty() {
        return Err(Error::violations(Reason::FieldInvalid, violations));
    }
    let ruling = Ruling { record: record.to_string(), source: Some(source), reason: reason.into(), note }.into();
    Ok(Act::Retract { record, ruling })
}

/// What every ruling has: its source and why.
fn parse_ruling(
    source: Option<&Source>,
    note: Option<&str>,
    violations: &mut Vec<Violation>,
) -> Result<(Source, String)> {
    let source = match source {
        None => return Err(Error::field(Reason::FieldInvalid, "source", "is required")),
        Some(source) => parse_source(source, "source", violations),
    };
    if source.kind() != SourceKind::Editor {
        let description = "of a ruling is EDITOR".to_owned();
        violations.push(Violation { field: "source.kind".to_owned(), description });
    }
    let note = note.unwrap_or_default().to_owned();
    if !note.is_empty()
        && let Err(description) = check::check_text(&note, &[Constraint::Text(MAX_LONG_TEXT)])
    {
        violations.push(Violation { field: "note".to_owned(), description });
    }
    Ok((source, note))
}

fn parse_merge(request: &MergeRecordsRequest) -> Result<Act> {
    let loser = parse_name(&request.loser, "loser")?;
    let survivor = parse_name(&request.survivor, "survivor")?;
    let mut violations = Vec::new();
    let mut wrong = |description: String| violations.push(Violation { field: "survivor".to_owned(), description });
    if loser == survivor {
        wrong(format!("is {loser} itself"));
    } else if loser.kind() != survivor.kind() {
        let (own, other) = (name::collection(loser.kind()), name::collection(survivor.kind()));
        wrong(format!("is one of {other}, and {loser} one of {own}: only records of one kind are the same"));
    }
    if [&loser, &survivor].into_iter().any(|name| name::is_probe(name.as_str())) {
        // One that took a probe's name would be hidden as one.
        violations
            .push(Violation { field: "loser".to_owned(), description: "no probe is merged with anything".to_owned() });
    }
    let (source, note) = parse_ruling(request.source.as_ref(), request.note.as_deref(), &mut violations)?;
    if !violations.is_empty() {
        return Err(Error::violations(Reason::FieldInvalid, violations));
    }
    let merge = Merge { loser: loser.to_string(), survivor: survivor.to_string(), source: Some(source), note };
    Ok(Act::Merge { loser, survivor, merge: Box::new(merge) })
}
