//! `attache export`: everything that matches, one object or row per line.

use clap::{Args, ValueEnum};

use super::{
    client::{Registry, ServerArgs},
    cloud_events::cloud_event,
    error::CliError,
    fetch,
    filter_args::{DateArgs, FilterArgs},
    follow::Follower,
    kinds::Kind,
    output::{self, Format, Out, Progress},
    sheet::{self, Sheet},
    words,
};
use crate::pb::{
    self,
    v1::{
        Event, EventType, Filter, ListSourcesRequest, WatchEventsRequest,
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
    /// The sources that reports name
    Sources,
}

/// In what form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ExportFormat {
    /// One canonical proto JSON object per line
    #[default]
    Ndjson,
    /// Comma-separated values with a line of headings; records of one --kind have the columns of that kind
    Csv,
    /// Events as CloudEvents 1.0 in JSON, one per line
    Cloudevents,
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
    let filters = args.filters()?;
    let connection = args.server.connect().await?;
    let mut export = Export::begin(args.what, Rows::new(args.what, args.format, one_kind(&filters)))?;
    let token = if args.what == What::Sources {
        export.sources(&mut connection.registry()).await?
    } else {
        let mut follower = Follower::new(connection.feed(), request(args.what, filters));
        export.follow(&mut follower, &mut connection.registry()).await?
    };
    export.out.flush()?;
    let count = export.progress.count();
    drop(export);
    output::note(format_args!("{count} exported, up to position {token}"));
    Ok(())
}

impl ExportArgs {
    fn filters(&self) -> Result<Vec<Filter>, CliError> {
        let filters = self.filter.filters(&self.dates)?;
        let wrong = match (self.what, self.format) {
            (What::Sources, _) if !filters.is_empty() => "sources are exported whole: filters are for records",
            (What::Records | What::Reports | What::Sources, ExportFormat::Cloudevents) => {
                "--format cloudevents is for `attache export events`"
            }
            _ => return Ok(filters),
        };
        Err(CliError::Usage(wrong.into()))
    }
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

/// The kind that all filters ask for, if it is one.
fn one_kind(filters: &[Filter]) -> Option<Kind> {
    let [first, others @ ..] = filters else { return None };
    let [number] = first.kinds[..] else { return None };
    let same = others.iter().all(|filter| filter.kinds == first.kinds);
    let word = words::human("RecordKind", number);
    Kind::ALL.into_iter().find(|kind| same && kind.field() == word)
}

/// How what comes is written.
enum Rows {
    Json,
    CloudEvents,
    Sheet(Sheet),
    /// CSV has the columns of the record itself, not of the message that holds any kind.
    Records(Vec<(Kind, Sheet)>),
}

impl Rows {
    fn new(what: What, format: ExportFormat, kind: Option<Kind>) -> Self {
        match (format, what, kind) {
            (ExportFormat::Ndjson, ..) => Self::Json,
            (ExportFormat::Cloudevents, ..) => Self::CloudEvents,
            (_, What::Records, Some(kind)) => Self::Records(vec![(kind, Sheet::of_kind(kind))]),
            (_, What::Records, None) => Self::Records(Kind::ALL.map(|kind| (kind, Sheet::overview(kind))).into()),
            (_, What::Events, _) => Self::Sheet(Sheet::of_events()),
            (_, What::Reports, _) => Self::Sheet(Sheet::of_reports()),
            (_, What::Sources, _) => Self::Sheet(Sheet::of_sources()),
        }
    }

    fn headings(&self) -> Option<&Sheet> {
        match self {
            Self::Json | Self::CloudEvents => None,
            Self::Sheet(sheet) => Some(sheet),
            Self::Records(sheets) => sheets.first().map(|(_, sheet)| sheet),
        }
    }
}

struct Export {
    out: Out,
    progress: Progress,
    what: What,
    rows: Rows,
}

impl Export {
    /// Headings come even if nothing else does.
    fn begin(what: What, rows: Rows) -> Result<Self, CliError> {
        let mut out = Out::new(Format::Ndjson);
        if let Some(sheet) = rows.headings() {
            out.line(sheet::line(sheet.headings())?)?;
        }
        Ok(Self { out, progress: Progress::new("exported"), what, rows })
    }

    /// Until the end of the watch; the position reached.
    async fn follow(&mut self, follower: &mut Follower, registry: &mut Registry) -> Result<String, CliError> {
        while let Some(frame) = follower.next().await? {
            if let Some(Frame::Batch(batch)) = &frame.frame {
                for event in &batch.events {
                    self.event(event, registry).await?;
                }
                self.out.flush()?;
            }
        }
        Ok(follower.token().unwrap_or_default().to_owned())
    }

    async fn event(&mut self, event: &Event, registry: &mut Registry) -> Result<(), CliError> {
        let snapshot = event.r#type() == EventType::Snapshot;
        match (self.what, &event.record) {
            (What::Events, _) if matches!(self.rows, Rows::CloudEvents) => {
                self.progress.add(1);
                self.out.object(&cloud_event(event))
            }
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

    async fn sources(&mut self, registry: &mut Registry) -> Result<String, CliError> {
        let mut request = ListSourcesRequest { page_size: fetch::page_size(None), ..ListSourcesRequest::default() };
        loop {
            let answer = registry.list_sources(request.clone()).await?.into_inner();
            for source in &answer.sources {
                self.write("Source", source)?;
            }
            if answer.next_page_token.is_empty() {
                return Ok(answer.token);
            }
            request.page_token = answer.next_page_token;
        }
    }

    fn write<M: prost::Message>(&mut self, message: &str, value: &M) -> Result<(), CliError> {
        self.progress.add(1);
        let json = pb::to_json(message, value);
        let row = match &self.rows {
            Rows::Json | Rows::CloudEvents => return self.out.object(&json),
            Rows::Sheet(sheet) => sheet.row(&json),
            Rows::Records(sheets) => {
                let of = |(kind, sheet): &(Kind, Sheet)| json.get(kind.field()).map(|record| sheet.row(record));
                sheets.iter().find_map(of).unwrap_or_default()
            }
        };
        self.out.line(sheet::line(row)?)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: ExportArgs,
    }

    fn args(line: &str) -> ExportArgs {
        Line::parse_from(std::iter::once("x").chain(line.split_whitespace())).args
    }

    #[test]
    fn every_export_ends_by_itself() {
        for what in [What::Records, What::Events, What::Reports] {
            assert_eq!(request(what, vec![]).until, Some(Until::CaughtUp(())));
        }
        assert_eq!(request(What::Events, vec![]).start, Some(Start::Oldest(())));
        assert_eq!(request(What::Records, vec![]).start, Some(Start::Snapshot(())));
    }

    #[test]
    fn records_of_one_kind_are_known_by_their_filters() {
        let kind = |line| one_kind(&args(line).filters().unwrap());
        assert_eq!(kind("records --kind visit --state AZ"), Some(Kind::Visit));
        assert_eq!(kind("records --state AZ"), None);
        assert_eq!(kind("records"), None);
        assert_eq!(kind("records --kind visit --kind meeting"), None);
        assert_eq!(kind(r#"records --kind visit --filter {"kinds":["RECORD_KIND_MEETING"]}"#), None);
        assert_eq!(kind(r#"records --kind place --filter {"kinds":["RECORD_KIND_PLACE"]}"#), Some(Kind::Place));
    }

    #[test]
    fn a_form_that_does_not_fit_is_refused() {
        assert!(args("records --format cloudevents").filters().is_err());
        assert!(args("events --format cloudevents").filters().is_ok());
        assert!(args("sources --state AZ").filters().is_err());
        assert!(args("sources --format csv").filters().is_ok());
    }
}
