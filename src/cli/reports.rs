//! `attache reports`: what each source states about a record.

use clap::Args;

use super::{
    client::ClientArgs,
    error::CliError,
    fetch,
    kinds::Kind,
    output::{self, Format, Out},
    position::{self, Position},
    sheet::{self, Sheet},
    words,
};
use crate::pb::{self, v1::ListedReport};

/// Arguments of `attache reports`.
#[derive(Debug, Clone, Args)]
pub struct ReportsArgs {
    /// The record, such as visits/az-kz-2023; it may be retracted
    name: String,
    /// Show replaced and withdrawn versions too
    #[arg(long)]
    withdrawn: bool,
    /// As it was known then: an instant with offset, or a token
    #[arg(long, value_name = "TIME|TOKEN", value_parser = position::parse)]
    known_at: Option<Position>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Prints the reports, the highest in rank first.
///
/// # Errors
///
/// What the server says.
pub async fn run(args: &ReportsArgs) -> Result<(), CliError> {
    Kind::of_name(&args.name)?;
    let mut client = args.client.connect_with(&[Format::Csv]).await?.registry();
    let as_of = args.known_at.as_ref().map(Position::as_of);
    let reports = fetch::reports(&mut client, &args.name, args.withdrawn, as_of).await?;
    let mut out = Out::new(args.client.output.output);
    if out.is_table() {
        out.line(table(&reports))?;
    } else if out.format() == Format::Csv {
        sheet::write(&mut out, &Sheet::of_listed_reports(), "ListedReport", &reports)?;
    } else {
        for report in &reports {
            out.item(&pb::to_json("ListedReport", report))?;
        }
        out.end_items()?;
    }
    out.flush()
}

fn table(reports: &[ListedReport]) -> String {
    let mut table = output::table(["NAME", "SOURCE", "KIND", "PUBLISHED", "ACCOUNT", "REVISION", "ACTIVE"]);
    for listed in reports {
        let report = listed.report.clone().unwrap_or_default();
        let source = report.source.unwrap_or_default();
        table.add_row([
            report.name,
            source.name,
            words::human("SourceKind", source.kind),
            source.published.unwrap_or_default(),
            report.account,
            report.revision.to_string(),
            state(listed),
        ]);
    }
    output::trimmed(&table)
}

fn state(listed: &ListedReport) -> String {
    match (listed.active, listed.until_revision) {
        (true, _) => "yes".to_owned(),
        (false, 0) => "no".to_owned(),
        (false, until) => format!("until revision {until}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_withdrawn_report_says_until_when_it_stood() {
        assert_eq!(state(&ListedReport { active: true, ..ListedReport::default() }), "yes");
        let withdrawn = ListedReport { until_revision: 9, ..ListedReport::default() };
        assert_eq!(state(&withdrawn), "until revision 9");
        assert!(table(&[withdrawn]).contains("until revision 9"));
    }
}
