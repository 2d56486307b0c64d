//! `attache redact`: erase reports, on every replica.

use clap::Args;

use super::{
    client::ClientArgs,
    error::CliError,
    output::{self, Out},
};
use crate::pb::{
    self,
    v1::{FiledAbout, RedactRequest, RedactResponse, redact_request::What},
};

/// Arguments of `attache redact`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Erases every version of the reports, what their records were while these stood, and what was told of that \
                  then. What is erased does not come back, unless its source files it again: stop that first. `--dry-run` \
                  says what it would be. A report on which very many revisions rest goes in parts, the oldest first: if the \
                  command ends before all are done, run it again. Backups, copies that others made, and files of the \
                  journal's servers are not reached."
)]
pub struct RedactArgs {
    /// The report, such as visits/az-kz-2023/reports/mod-kz, standing or withdrawn
    #[arg(value_name = "REPORT", required_unless_present = "source", conflicts_with_all = ["source", "person"])]
    report: Option<String>,
    /// In place of one report, with --person: those of this source, sources/…
    #[arg(long, value_name = "NAME", requires = "person")]
    source: Option<String>,
    /// With --source: of its reports those that name this person, persons/…
    #[arg(long, value_name = "NAME", requires = "source")]
    person: Option<String>,
    /// Why, in words; it is kept, so it must not repeat what is erased
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Say what would be erased, and erase nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    client: ClientArgs,
}

impl RedactArgs {
    fn request(&self) -> RedactRequest {
        let what = match (&self.report, &self.source, &self.person) {
            (Some(report), ..) => Some(What::Report(report.clone())),
            (None, Some(source), Some(person)) => {
                Some(What::FiledAbout(FiledAbout { source: source.clone(), person: person.clone() }))
            }
            // (clap asks for one of them.)
            _ => None,
        };
        RedactRequest { what, reason: self.reason.clone(), dry_run: self.dry_run }
    }
}

/// Erases, revision by revision until nothing is left, and prints what was erased.
///
/// # Errors
///
/// What the server says; what was erased before stays erased.
pub async fn run(args: &RedactArgs) -> Result<(), CliError> {
    let mut client = args.client.connect().await?.log();
    let mut out = Out::new(args.client.output.output);
    let request = args.request();
    loop {
        let answer = client.redact(request.clone()).await?.into_inner();
        if out.is_table() {
            out.line(text(&answer, args.dry_run))?;
        } else {
            out.object(&pb::to_json("RedactResponse", &answer))?;
        }
        out.flush()?;
        if answer.remaining == 0 || args.dry_run {
            return Ok(());
        }
        output::note(format!("{} reports are left", answer.remaining));
    }
}

/// What the answer says, in words.
fn text(answer: &RedactResponse, dry_run: bool) -> String {
    let mut parts =
        vec![if answer.reports.is_empty() { "nothing to erase".to_owned() } else { erased(answer, dry_run) }];
    let free = answer.free_bytes_left;
    if free > 0 {
        parts.push(format!("{free} bytes of the server's file that were free may have it until they are written over"));
    }
    parts.join("\n")
}

/// What no server reaches.
const COPIES: &str = "backups made before, and attache.schema-N.bak files and attache-behind-N folders beside stores, \
                      still have it: delete them";

/// What a purge does not reach.
const FILES: &str = "the files of the journal's servers have it for longer, since NATS does not write over what it purges: \
                     \"Erase what must not be kept\" in deploy/RUNBOOK.md";

fn erased(answer: &RedactResponse, dry_run: bool) -> String {
    let RedactResponse { reports, revisions, remaining, journal_until, journal_keeps, .. } = answer;
    let left = answer.remaining_revisions;
    let mut lines = vec![match (dry_run, left) {
        (true, _) => format!("would erase in {}:", counted(revisions + left)),
        (false, 0) => format!("erased in {}:", counted(*revisions)),
        (false, _) => format!("erased in {}, the oldest, and {left} are left:", counted(*revisions)),
    }];
    lines.extend(reports.iter().map(|report| format!("  {report}")));
    // (One that is erased in part was named.)
    let more = remaining - i32::from(left > 0);
    if dry_run && more > 0 {
        lines.push(format!("  and {more} more"));
    }
    if let Some(until) = journal_until {
        let until = jiff::Timestamp::from_second(until.seconds).map(|t| t.to_string()).unwrap_or_default();
        lines.push(format!("messages of the journal and snapshots beside it have it until {until} at the latest"));
        lines.push(FILES.to_owned());
    }
    if *journal_keeps {
        lines.push("the journal keeps it: no snapshots are made after which it could be purged".to_owned());
    }
    // Once, when all is done.
    if !dry_run && *remaining == 0 {
        lines.push(COPIES.to_owned());
    }
    lines.join("\n")
}

fn counted(revisions: u64) -> String {
    format!("{revisions} revision{}", if revisions == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_does_not_say_that_anything_was_erased() {
        let reports = vec!["visits/a/reports/b".to_owned()];
        let answer = RedactResponse { reports, revisions: 3, remaining: 2, ..RedactResponse::default() };
        assert_eq!(text(&answer, true), "would erase in 3 revisions:\n  visits/a/reports/b\n  and 2 more");
        assert_eq!(text(&answer, false), "erased in 3 revisions:\n  visits/a/reports/b");
    }

    #[test]
    fn one_revision_is_one() {
        let reports = vec!["visits/a/reports/b".to_owned()];
        let answer = RedactResponse { reports, revisions: 1, remaining: 1, ..RedactResponse::default() };
        assert_eq!(text(&answer, true), "would erase in 1 revision:\n  visits/a/reports/b\n  and 1 more");
        assert_eq!(text(&answer, false), "erased in 1 revision:\n  visits/a/reports/b");
    }

    #[test]
    fn a_report_that_is_erased_in_parts_says_how_much_is_left_and_a_dry_run_says_all() {
        let reports = vec!["visits/a/reports/b".to_owned()];
        let part = RedactResponse {
            reports,
            revisions: 1000,
            remaining: 1,
            remaining_revisions: 19_000,
            ..RedactResponse::default()
        };
        let said = "erased in 1000 revisions, the oldest, and 19000 are left:\n  visits/a/reports/b";
        assert_eq!(text(&part, false), said);
        assert_eq!(text(&part, true), "would erase in 20000 revisions:\n  visits/a/reports/b");
        let part = RedactResponse { remaining: 3, ..part };
        assert!(text(&part, true).ends_with("\n  and 2 more"), "{}", text(&part, true));
    }

    #[test]
    fn copies_that_still_have_it_are_told_of_when_all_is_erased() {
        let reports = vec!["visits/a/reports/b".to_owned()];
        let answer = RedactResponse { reports, revisions: 3, ..RedactResponse::default() };
        assert!(text(&answer, false).ends_with(COPIES), "{}", text(&answer, false));
        assert!(COPIES.contains("attache-behind-N"), "stores that were put aside too");
        assert!(!text(&answer, true).contains("backups"));
        assert_eq!(text(&RedactResponse::default(), false), "nothing to erase");
    }

    #[test]
    fn free_pages_that_still_have_it_are_told_of_whatever_was_erased_now() {
        let waits = RedactResponse { free_bytes_left: 8192, ..RedactResponse::default() };
        let said = "8192 bytes of the server's file that were free may have it until they are written over";
        assert_eq!(text(&waits, true), format!("nothing to erase\n{said}"));
        let reports = vec!["visits/a/reports/b".to_owned()];
        assert!(text(&RedactResponse { reports, ..waits }, false).ends_with(said));
    }

    #[test]
    fn how_long_a_journal_has_it_is_said() {
        let reports = vec!["visits/a/reports/b".to_owned()];
        let until = prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 };
        let answer = RedactResponse { reports, journal_until: Some(until), ..RedactResponse::default() };
        let said = format!("until 2023-11-14T22:13:20Z at the latest\n{FILES}");
        assert!(text(&answer, true).ends_with(&said), "{}", text(&answer, true));
        assert!(text(&answer, false).contains(&format!("{said}\nbackups made before")));
        assert!(FILES.contains("RUNBOOK"), "what to do about that");
        let answer = RedactResponse { journal_until: None, journal_keeps: true, ..answer };
        assert!(text(&answer, false).contains("the journal keeps it"));
    }
}
