//! `attache history`: what each revision did to a record.

use clap::Args;

use super::{
    client::ClientArgs,
    error::CliError,
    fetch,
    kinds::Kind,
    output::{self, Format, Out},
    sheet::{self, Sheet},
    view, words,
};
use crate::pb::{
    self,
    v1::{Event, RevisionSummary},
};

/// Arguments of `attache history`.
#[derive(Debug, Clone, Args)]
pub struct HistoryArgs {
    /// The record, such as visits/az-kz-2023; it may be retracted
    name: String,
    #[command(flatten)]
    client: ClientArgs,
}

/// Prints the history, oldest first.
///
/// # Errors
///
/// What the server says.
pub async fn run(args: &HistoryArgs) -> Result<(), CliError> {
    Kind::of_name(&args.name)?;
    let mut client = args.client.connect_with(&[Format::Csv]).await?.registry();
    let revisions = fetch::revisions(&mut client, &args.name).await?;
    let mut out = Out::new(args.client.output.output);
    if out.is_table() {
        out.line(table(&revisions))?;
    } else if out.format() == Format::Csv {
        sheet::write(&mut out, &Sheet::of_revisions(), "RevisionSummary", &revisions)?;
    } else {
        for revision in &revisions {
            out.item(&pb::to_json("RevisionSummary", revision))?;
        }
        out.end_items()?;
    }
    out.flush()
}

fn table(revisions: &[RevisionSummary]) -> String {
    let mut table = output::table(["REVISION", "TIME", "WHO", "WHAT"]);
    for RevisionSummary { revision, time, principal, events, token: _ } in revisions {
        let time = time.map(|time| view::time(&time.to_string())).unwrap_or_default();
        let what: Vec<String> = events.iter().map(event).collect();
        table.add_row([revision.to_string(), time, principal.clone(), what.join("\n")]);
    }
    output::trimmed(&table)
}

/// `extended: …headline… [start, type]`.
fn event(event: &Event) -> String {
    let word = words::human("EventType", event.r#type);
    let paths = if event.fields.is_empty() { &event.changed_paths } else { &event.fields };
    let paths = if paths.is_empty() { String::new() } else { format!(" [{}]", paths.join(", ")) };
    match event.headline.is_empty() {
        true => format!("{word}{paths}"),
        false => format!("{word}: {}{paths}", event.headline),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::v1::EventType;

    #[test]
    fn a_revision_shows_headlines_and_changed_paths() {
        let extended = Event {
            r#type: EventType::Extended as i32,
            headline: "Visit of KZ to AZ".into(),
            changed_paths: vec!["start".into(), "type".into()],
            ..Event::default()
        };
        assert_eq!(event(&extended), "extended: Visit of KZ to AZ [start, type]");
        let revision = RevisionSummary { revision: 12, events: vec![extended], ..RevisionSummary::default() };
        assert!(table(&[revision]).lines().nth(1).unwrap().contains("12"));
    }
}
