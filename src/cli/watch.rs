//! `attache watch`: events as they come.

use std::pin::pin;

use clap::Args;

use super::{
    client::ClientArgs,
    cloud_events::cloud_event,
    dates,
    error::CliError,
    filter_args::{DateArgs, FilterArgs},
    follow::Follower,
    output::{self, Format, Out},
    position::{self, Position},
    view, words,
};
use crate::pb::{
    self,
    v1::{
        Event, EventClass, EventType, WatchEventsRequest, WatchEventsResponse,
        watch_events_request::{Start, Until},
        watch_events_response::Frame,
    },
};

/// Room for the longest type that comes often.
const TYPE_WIDTH: usize = 20;

/// Arguments of `attache watch`.
#[derive(Debug, Clone, Args)]
pub struct WatchArgs {
    /// Where to start: oldest, now, snapshot (the records themselves, then what changes), a token, or an instant
    #[arg(long, default_value = "now", value_name = "POSITION", value_parser = start)]
    from: Start,
    /// When to end: caught-up, or a token whose events are the last; never if absent
    #[arg(long, value_name = "POSITION", value_parser = until)]
    until: Option<Until>,
    /// Events of this type only, such as agreement-signed; repeatable
    #[arg(long, value_name = "TYPE", value_parser = words::parser("EventType"))]
    event: Vec<i32>,
    /// Print whole frames, with their tokens; as JSON unless -o says otherwise
    #[arg(long)]
    frames: bool,
    /// Let registry events carry the record before the change
    #[arg(long)]
    previous: bool,
    #[command(flatten)]
    filter: FilterArgs,
    /// About what happened then or later: a date in EDTF, such as 2023
    #[arg(long, visible_alias = "occurred-since", value_name = "DATE", help_heading = "Filter")]
    #[arg(value_parser = dates::edtf)]
    since: Option<String>,
    /// About what happened then or earlier
    #[arg(long, value_name = "DATE", help_heading = "Filter", value_parser = dates::edtf)]
    occurred_until: Option<String>,
    /// Within these dates for certain; otherwise "maybe" is enough
    #[arg(long, help_heading = "Filter")]
    definite: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// Prints events until the end asked for, or Ctrl-C.
///
/// # Errors
///
/// What the server says.
pub async fn run(args: &WatchArgs) -> Result<(), CliError> {
    let request = args.request()?;
    let mut out = Out::new(args.format());
    // Listened to from before the first event: a signal between two frames is not lost.
    let mut interrupt = pin!(tokio::signal::ctrl_c());
    let feed = tokio::select! {
        connection = args.client.connect_with(&[Format::Cloudevents]) => connection?.feed(),
        _ = &mut interrupt => return Ok(()),
    };
    let mut follower = Follower::new(feed, request);
    loop {
        let next = tokio::select! {
            next = follower.next() => next,
            _ = &mut interrupt => {
                resume_hint(&follower);
                return Ok(());
            }
        };
        match next {
            Ok(Some(frame)) => print(&mut out, &frame, args.frames)?,
            Ok(None) => return Ok(()),
            Err(error) => {
                resume_hint(&follower);
                return Err(error);
            }
        }
    }
}

fn resume_hint(follower: &Follower) {
    if let Some(token) = follower.token() {
        output::note(format_args!("to go on from here: --from {token}"));
    }
}

fn print(out: &mut Out, frame: &WatchEventsResponse, whole: bool) -> Result<(), CliError> {
    if whole {
        out.object(&pb::to_json("WatchEventsResponse", frame))?;
    } else if let Some(Frame::Batch(batch)) = &frame.frame {
        for event in &batch.events {
            match out.format() {
                Format::Table => out.line(line(event))?,
                Format::Cloudevents => out.object(&cloud_event(event))?,
                _ => out.object(&pb::to_json("Event", event))?,
            }
        }
    }
    out.flush()
}

/// One readable line: time, type, headline, subject.
#[must_use]
pub fn line(event: &Event) -> String {
    let time = event.time.map(|time| view::time(&time.to_string())).unwrap_or_default();
    let word = format!("{:TYPE_WIDTH$}", words::human("EventType", event.r#type));
    let left = if event.left_filter { " (does not match any more)" } else { "" };
    let fields = if event.fields.is_empty() { String::new() } else { format!(" [{}]", event.fields.join(", ")) };
    let head = format!("{} {}", output::dim(time), output::colour(colour(event), word));
    // Two spaces: a headline ends in words, and the name begins with some.
    format!("{head} {}{fields}{left}  {}", event.headline, output::dim(&event.subject))
}

/// Red for what is withdrawn or contested, green for what is new, yellow for changes, blue for the world's events.
fn colour(event: &Event) -> u8 {
    match event.r#type() {
        EventType::Retracted | EventType::Disputed | EventType::MilestoneWithdrawn => 31,
        EventType::Recorded | EventType::Restored | EventType::Settled => 32,
        EventType::Updated | EventType::Corrected | EventType::Extended => 33,
        _ if event.event_class() == EventClass::Cooperation => 34,
        _ => 39,
    }
}

impl WatchArgs {
    /// Frames have no table.
    fn format(&self) -> Format {
        match self.client.output.output {
            Format::Table if self.frames => Format::Ndjson,
            format => format,
        }
    }

    fn request(&self) -> Result<WatchEventsRequest, CliError> {
        if self.frames && self.format() == Format::Cloudevents {
            return Err(CliError::Usage("--frames are no CloudEvents: leave out --frames, or take -o ndjson".into()));
        }
        let Self { since, occurred_until, definite, .. } = self;
        let dates = DateArgs { since: since.clone(), until: occurred_until.clone(), definite: *definite };
        Ok(WatchEventsRequest {
            filters: self.filter.filters(&dates)?,
            event_types: self.event.clone(),
            include_previous: self.previous,
            start: Some(self.from.clone()),
            until: self.until.clone(),
            ..WatchEventsRequest::default()
        })
    }
}

fn start(text: &str) -> Result<Start, String> {
    Ok(match text {
        "oldest" => Start::Oldest(()),
        "now" => Start::Now(()),
        "snapshot" => Start::Snapshot(()),
        _ => match position::parse(text) {
            Ok(Position::Token(token)) => Start::After(token),
            Ok(Position::Time(time)) => Start::FromTime(position::to_proto(time)),
            Err(_) => {
                let expected = "oldest, now, snapshot, a token, or an instant with offset is expected";
                return Err(format!("{expected}, such as 2023-10-07T18:00:00+04:00; --since takes a date"));
            }
        },
    })
}

fn until(text: &str) -> Result<Until, String> {
    match (text, position::parse(text)) {
        ("caught-up" | "caught_up", _) => Ok(Until::CaughtUp(())),
        (_, Ok(Position::Token(token))) => Ok(Until::Through(token)),
        _ => Err("caught-up or a token is expected; --occurred-until takes a date".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: WatchArgs,
    }

    const TOKEN: &str = "ATb1xFucjE6Zty3Qyy9NK3cAAAAAAAAAGE2QP9pi6W6YAL8Ly2A";

    fn request(line: &str) -> WatchEventsRequest {
        Line::parse_from(std::iter::once("x").chain(line.split_whitespace())).args.request().unwrap()
    }

    #[test]
    fn a_watch_starts_now_and_never_ends_unless_told_otherwise() {
        let request = request("");
        assert_eq!(request.start, Some(Start::Now(())));
        assert_eq!(request.until, None);
        assert!(request.filters.is_empty() && request.event_types.is_empty());
    }

    #[test]
    fn start_and_end_are_taken_by_word_token_or_instant() {
        assert_eq!(request("--from oldest --until caught-up").until, Some(Until::CaughtUp(())));
        assert_eq!(request(&format!("--from {TOKEN}")).start, Some(Start::After(TOKEN.into())));
        assert!(matches!(request("--from 2023-10-07T00:00:00Z").start, Some(Start::FromTime(_))));
        assert_eq!(request(&format!("--until {TOKEN}")).until, Some(Until::Through(TOKEN.into())));
    }

    #[test]
    fn a_wrong_word_is_answered_with_the_flag_and_what_is_expected() {
        for (line, words) in [
            (["--from", "yesterday"], ["--from", "oldest, now, snapshot, a token"]),
            (["--until", "2024-06"], ["--until", "--occurred-until takes a date"]),
            (["--until", "never"], ["--until", "caught-up or a token"]),
            (["--since", "soon"], ["--since", "EDTF"]),
            (["--occurred-until", "31.12.2024"], ["--occurred-until", "EDTF"]),
        ] {
            let error = Line::try_parse_from(["x"].into_iter().chain(line)).unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
    }

    #[test]
    fn frames_are_no_cloud_events() {
        let parse = |line: &str| Line::parse_from(std::iter::once("x").chain(line.split_whitespace())).args.request();
        assert!(parse("--frames -o cloudevents").is_err());
        assert!(parse("-o cloudevents").is_ok());
    }

    #[test]
    fn dates_of_what_happened_have_flags_of_their_own() {
        let filters = request("--since 2023 --occurred-until 2024-06").filters;
        let occurred = filters[0].occurred.clone().unwrap();
        assert_eq!((occurred.from.as_str(), occurred.until.as_str()), ("2023", "2024-06"));
    }

    #[test]
    fn an_event_is_one_line_of_time_type_headline_and_subject() {
        let event = Event {
            r#type: EventType::AgreementSigned as i32,
            time: Some(prost_types::Timestamp { seconds: 0, nanos: 0 }),
            headline: "AZ and KZ signed a plan".into(),
            subject: "agreements/plan".into(),
            ..Event::default()
        };
        let plain = anstream::adapter::strip_str(&line(&event)).to_string();
        assert_eq!(plain, "1970-01-01 00:00:00Z agreement signed     AZ and KZ signed a plan  agreements/plan");
    }
}
