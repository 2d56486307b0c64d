//! `attache export`: everything that matches, one JSON object per line.

use clap::{Args, ValueEnum};

use super::{
    client::{Registry, ServerArgs},
    error::CliError,
    fetch,
    filter_args::{DateArgs, FilterArgs},
    follow::Follower,
    output::{self, Format, Out, Progress},
};
use crate::pb::{
    self,
    v1::{
        Event, EventType, Filter, WatchEventsRequest,
        watch_events_request::{Start, Until},
        watch_events_response::Frame,
    },
};

/// What is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// Records as they stand, all at one position
    Records,
    /// Events from the oldest retained on
    Events,
    /// What each source states about each record
    Reports,
}

/// In what form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ExportFormat {
    /// One canonical proto JSON object per line
    #[default]
    Ndjson,
}

/// Arguments of `attache export`.
#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    /// What to export
    #[arg(value_enum)]
    what: What,
    /// In what form
    #[arg(long, value_enum, default_value_t)]
    format: ExportFormat,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    dates: DateArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// Writes the export to standard output, and its position to standard error.
///
/// # Errors
///
/// What the server says; what was written before is valid.
pub async fn run(args: &ExportArgs) -> Result<(), CliError> {
    let filters = args.filter.filters(&args.dates)?;
    let connection = args.server.connect().await?;
    let mut follower = Follower::new(connection.feed(), request(args.what, filters));
    let mut export = Export { out: Out::new(args.format.into()), progress: Progress::new("exported") };
    while let Some(frame) = follower.next().await? {
        if let Some(Frame::Batch(batch)) = &frame.frame {
            for event in &batch.events {
                export.event(args.what, event, &mut connection.registry()).await?;
            }
            export.out.flush()?;
        }
    }
    export.out.flush()?;
    let count = export.progress.count();
    drop(export);
    let token = follower.token().unwrap_or_default();
    output::note(format_args!("{count} exported, up to position {token}"));
    Ok(())
}

fn request(what: What, filters: Vec<Filter>) -> WatchEventsRequest {
    let names_only = (what == What::Reports).then(|| prost_types::FieldMask { paths: vec!["name".into()] });
    let start = if what == What::Events { Start::Oldest(()) } else { Start::Snapshot(()) };
    WatchEventsRequest {
        filters,
        read_mask: names_only,
        start: Some(start),
        until: Some(Until::CaughtUp(())),
        ..WatchEventsRequest::default()
    }
}

struct Export {
    out: Out,
    progress: Progress,
}

impl Export {
    async fn event(&mut self, what: What, event: &Event, registry: &mut Registry) -> Result<(), CliError> {
        let snapshot = event.r#type() == EventType::Snapshot;
        match (what, &event.record) {
            (What::Events, _) => self.write("Event", event),
            (What::Records, Some(record)) if snapshot => self.write("Record", record),
            (What::Reports, _) if snapshot => {
                for listed in fetch::reports(registry, &event.subject, false, None).await? {
                    self.write("Report", &listed.report.unwrap_or_default())?;
                }
                Ok(())
            }
            // What changed after the snapshot belongs to the next export.
            _ => Ok(()),
        }
    }

    fn write<M: prost::Message>(&mut self, message: &str, value: &M) -> Result<(), CliError> {
        self.progress.add(1);
        self.out.object(&pb::to_json(message, value))
    }
}

impl From<ExportFormat> for Format {
    fn from(format: ExportFormat) -> Self {
        match format {
            ExportFormat::Ndjson => Self::Ndjson,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_export_ends_by_itself() {
        for what in [What::Records, What::Events, What::Reports] {
            assert_eq!(request(what, vec![]).until, Some(Until::CaughtUp(())));
        }
        assert_eq!(request(What::Events, vec![]).start, Some(Start::Oldest(())));
        assert_eq!(request(What::Records, vec![]).start, Some(Start::Snapshot(())));
    }
}
