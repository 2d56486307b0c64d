//! `LogService.Redact`.

use std::{sync::Arc, time::Duration};

use super::{App, audit, request::Caller};
use crate::{
    clock,
    domain::{
        check,
        constraints::{Constraint, MAX_LONG_TEXT},
        error::{Error, Reason, Result, Violation},
        name::{self, RecordName, ReportName},
    },
    limits::{MAX_REDACTED_AT_ONCE, SNAPSHOTS_KEPT},
    pb::v1::{FiledAbout, RecordKind, RedactRequest, RedactResponse, redact_request::What},
    store::{merges, read, scrub},
    tasks::blocking,
    writer::{self, Act},
};

/// What is erased, checked.
enum Asked {
    Report(ReportName),
    About { source: String, person: RecordName },
}

/// A redaction as it is asked for: every field that is wrong is named.
fn parse(request: &RedactRequest) -> Result<Asked> {
    let mut violations = Vec::new();
    let mut wrong =
        |field: &str, description: String| violations.push(Violation { field: field.to_owned(), description });
    if request.reason.trim().is_empty() {
        wrong("reason", "is required: it is kept in the place of what is erased".to_owned());
    } else if let Err(description) = check::check_text(&request.reason, &[Constraint::Text(MAX_LONG_TEXT)]) {
        wrong("reason", description);
    }
    let asked = match &request.what {
        None => {
            wrong("what", "one of report and filed_about is required".to_owned());
            None
        }
        Some(What::Report(report)) => match report.parse() {
            Ok(report) => Some(Asked::Report(report)),
            Err(_) => {
                wrong("report", format!("{} is not the name of a report", name::quote(report)));
                None
            }
        },
        Some(What::FiledAbout(FiledAbout { source, person })) => {
            if !name::is_source(source) {
                wrong(
                    "filed_about.source",
                    format!("{} is not the name of a source: sources/{{id}}", name::quote(source)),
                );
            }
            let named = person.parse::<RecordName>().ok().filter(|name| name.kind() == RecordKind::Person);
            if named.is_none() {
                wrong(
                    "filed_about.person",
                    format!("{} is not the name of a person: persons/{{id}}", name::quote(person)),
                );
            }
            named.map(|person| Asked::About { source: source.clone(), person })
        }
    };
    match asked {
        Some(asked) if violations.is_empty() => Ok(asked),
        _ => Err(Error::violations(Reason::FieldInvalid, violations)),
    }
}

impl Asked {
    /// As the log says it: the names that were given, and none of what is erased.
    fn said(&self, request: &RedactRequest) -> audit::Act {
        let (reason, dry_run) = (Some(request.reason.clone()), Some(request.dry_run));
        let act = audit::Act { reason, dry_run, ..audit::Act::default() };
        match self {
            Self::Report(report) => audit::Act { report: Some(report.to_string()), ..act },
            Self::About { source, person } => {
                audit::Act { source: Some(source.clone()), person: Some(person.to_string()), ..act }
            }
        }
    }
}

/// Erases, or says what would be erased; the log says what came of it.
pub(super) async fn redact(
    app: &Arc<App>,
    request: RedactRequest,
    caller: &Caller,
    deadline: Option<Duration>,
) -> Result<RedactResponse> {
    let asked = parse(&request)?;
    let pending = audit::Pending::of(caller, asked.said(&request));
    let redacted = erase(app, asked, request, &caller.principal().name, deadline).await;
    pending.came(redacted.as_ref().map(|redacted| redacted.revision));
    redacted
}

async fn erase(
    app: &Arc<App>,
    asked: Asked,
    request: RedactRequest,
    principal: &str,
    deadline: Option<Duration>,
) -> Result<RedactResponse> {
    let (reports, left) = match asked {
        Asked::Report(report) => (vec![report], 0),
        Asked::About { source, person } => named(app, source, person).await?,
    };
    let act = Act::Redact { reports, reason: request.reason };
    let asked = writer::Request { validate_only: request.dry_run, ..writer::Request::of(act, principal) };
    let answer = app.writer.file(asked, deadline).await?;
    let redacted = answer.redacted.map(|redacted| *redacted).unwrap_or_default();
    let has_journal = app.journal.durable().is_some() && !redacted.reports.is_empty();
    let store = app.store.clone();
    let free_bytes_left = blocking(move || store.read(scrub::left)).await?;
    Ok(RedactResponse {
        free_bytes_left,
        reports: redacted.reports,
        revisions: redacted.revisions.len() as u64,
        remaining_revisions: redacted.left,
        remaining: answer.remaining.saturating_add(left),
        revision: answer.revision,
        journal_until: app.snapshots.filter(|_| has_journal).map(|every| clock::timestamp(until(app, every))),
        journal_keeps: has_journal && app.snapshots.is_none(),
        token: answer.head.token().encode(),
    })
}

/// The reports of a source that name a person, as many as are erased at once, and how many are left.
async fn named(app: &Arc<App>, source: String, person: RecordName) -> Result<(Vec<ReportName>, i32)> {
    let store = app.store.clone();
    let revision = store.head().revision;
    let find = move || {
        store.read(|c| {
            if read::source_at(c, &source, revision)?.is_none() {
                return Err(Error::not_found(&source));
            }
            // Under whichever of its names.
            let family = merges::family(c, &merges::survivor(c, &person, revision)?, revision)?;
            let mut names: Vec<String> = family.names().map(ToString::to_string).collect();
            names.push(person.to_string());
            read::reports_that_say(c, &source, &names, MAX_REDACTED_AT_ONCE)
        })
    };
    let (names, count) = blocking(find).await?;
    let left = i32::try_from(count - names.len()).unwrap_or(i32::MAX);
    let parse = |name: &String| name.parse().map_err(|_| Error::internal("a stored name cannot be read"));
    Ok((names.iter().map(parse).collect::<Result<_>>()?, left))
}

/// When snapshots that have what is erased are gone, and the journal is purged of it: after as many newer ones as are kept.
/// One is made if anything was recorded since the last, which the registry's day sees to. It is put off while the replica
/// whose turn it is writes free pages over, and how many that has nobody knows here: one more is counted.
fn until(app: &App, every: Duration) -> i64 {
    let every = i64::try_from(every.as_micros()).unwrap_or(i64::MAX).max(clock::DAY_US);
    let snapshots = i64::try_from(SNAPSHOTS_KEPT + 1).unwrap_or(i64::MAX);
    app.clock.now_us().saturating_add(every.saturating_mul(snapshots))
}
