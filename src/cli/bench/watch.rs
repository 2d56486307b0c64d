//! `attache bench watch`: many subscribers at once, to what is in the log or to what comes.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use clap::{Args, ValueEnum, value_parser};
use prost_types::Timestamp;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tonic::{Status, codec::Streaming};

use super::{
    load::{self, LoadArgs},
    measure::{Measured, Times},
    result::{self, Setting},
    skim::{Method, Skimmed},
};
use crate::{
    cli::{
        client::Connection,
        error::CliError,
        filter_args::{DateArgs, FilterArgs},
        output,
    },
    clock::{self, Clock as _, SystemClock, Ticks},
    pb::v1::{
        WatchEventsRequest,
        feed_service_server::SERVICE_NAME,
        watch_events_request::{Start, Until},
    },
    tasks::Tasks,
};

/// A replay is ended after so long.
const REPLAY_AT_MOST: Duration = Duration::from_secs(3600);

/// Where subscribers begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum From {
    /// The beginning of the log: each ends when it has caught up
    Oldest,
    /// Now: all end when the time is over
    Now,
}

/// Arguments of `attache bench watch`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "A replay lasts as long as it takes, without warm-up. The age of a live event is from its time in the \
    log to its receipt: by the clocks of both machines, so that it says something only if they agree."
)]
#[command(mut_arg("connections", |arg| arg.help("Connections that subscribers share")))]
#[command(mut_arg("streams", |arg| arg.help("Subscribers on each connection").default_value("10")))]
pub struct WatchArgs {
    /// Where subscribers begin
    #[arg(long, value_enum, default_value_t = From::Oldest, value_name = "POSITION")]
    start: From,
    /// So many subscribers more that stop reading after their first frame and stay, each on a connection of its own
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = value_parser!(u16).range(0..=1000))]
    slow: u16,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    dates: DateArgs,
    #[command(flatten)]
    load: LoadArgs,
}

/// Subscribes, and reads until everybody has caught up or the time is over.
///
/// # Errors
///
/// What the preparation ends with; [`CliError::CallsFailed`] if any watch failed.
pub async fn run(args: &WatchArgs) -> Result<(), CliError> {
    let request = args.request()?;
    let connections = args.load.connect().await?;
    let mut slow = Vec::new();
    for _ in 0..args.slow {
        slow.push(args.load.client.connect().await?);
    }
    let Some(first) = connections.first() else { return Ok(()) };
    let start = if args.start == From::Oldest { "oldest" } else { "now" };
    let more = json!({"start": start, "slow": args.slow, "filters": result::filters(&request.filters)});
    let setting = Setting::ask("watch", &args.load.client, first, &[args.load.to_json(), more]).await?;
    let seen = args.subscribe(&request, &connections, &slow).await;
    args.print(&setting, &seen)
}

impl WatchArgs {
    fn request(&self) -> Result<WatchEventsRequest, CliError> {
        let (start, until) = match self.start {
            From::Oldest => (Start::Oldest(()), Some(Until::CaughtUp(()))),
            From::Now => (Start::Now(()), None),
        };
        let filters = self.filter.filters(&self.dates)?;
        Ok(WatchEventsRequest { filters, start: Some(start), until, ..WatchEventsRequest::default() })
    }

    /// When counting begins, and when the run ends.
    fn times(&self) -> (Duration, Duration) {
        match self.start {
            From::Oldest => (Duration::ZERO, REPLAY_AT_MOST),
            From::Now => {
                let warm_up = Duration::from_secs(self.load.warm_up.into());
                (warm_up, warm_up + Duration::from_secs(self.load.seconds.into()))
            }
        }
    }

    async fn subscribe(&self, request: &WatchEventsRequest, connections: &[Connection], slow: &[Connection]) -> Seen {
        let (warm_up, end) = self.times();
        let stop = CancellationToken::new();
        let since = Arc::new(Since { began: clock::ticks(), began_us: SystemClock.now_us(), warm_up });
        let (readers, sleepers, timer) = (Tasks::default(), Tasks::default(), Tasks::default());
        let interrupt = load::Interrupt::listen().await;
        let mut parts = Vec::new();
        for connection in connections {
            let seen = Arc::new(Mutex::new(Seen::default()));
            for _ in 0..self.load.streams {
                let subscriber = Subscriber { seen: Arc::clone(&seen), since: Arc::clone(&since), stop: stop.clone() };
                drop(readers.spawn("subscriber", subscriber.read(watch(connection), request.clone())));
            }
            parts.push(seen);
        }
        for connection in slow {
            let seen = Arc::new(Mutex::new(Seen::default()));
            let subscriber = Subscriber { seen: Arc::clone(&seen), since: Arc::clone(&since), stop: stop.clone() };
            drop(sleepers.spawn("slow subscriber", subscriber.stall(watch(connection), request.clone())));
            parts.push(seen);
        }
        let over = stop.clone();
        drop(timer.spawn("end of the run", async move {
            tokio::select! {
                () = tokio::time::sleep(end) => over.cancel(),
                () = over.cancelled() => {}
            }
        }));
        let bar = load::bar(0, "{spinner} {msg}");
        let count = || parts.iter().map(|part| lock(part).events).sum::<u64>();
        load::until_drained(&readers, &stop, interrupt, || bar.set_message(format!("{} deliveries", count()))).await;
        bar.finish_and_clear();
        let mut seen = Seen::default();
        // Those who sleep stay until the last reader is done.
        stop.cancel();
        sleepers.drained().await;
        timer.drained().await;
        parts.iter().for_each(|part| seen.merge(&lock(part)));
        if self.start == From::Now {
            // A quiet second is one of the run.
            seen.run.took = end.saturating_sub(warm_up).min(since.began.elapsed().saturating_sub(warm_up));
        }
        seen
    }

    fn print(&self, setting: &Setting, seen: &Seen) -> Result<(), CliError> {
        if seen.events == 0 {
            output::note("nothing was delivered: nothing matches, or nobody filed meanwhile");
        }
        let run = &seen.run;
        let subscribers = u64::from(self.load.connections) * u64::from(self.load.streams);
        let figures = [
            ("subscribers", "subscribers", json!(subscribers)),
            ("slow subscribers", "slow", json!(self.slow)),
            ("deliveries", "calls", json!(seen.events)),
            ("a second", "callsPerSecond", json!(result::round(run.per_second(seen.events)))),
            ("bytes a second", "bytesPerSecond", json!(result::round(run.per_second(run.bytes)))),
            ("frames", "frames", json!(seen.frames)),
            ("seconds", "seconds", json!(run.took.as_secs_f64())),
        ];
        let times = [("first events", "firstEventsMs", &seen.first), ("age", "ageMs", &seen.age)];
        result::print_with(&self.load.client, setting, run, &figures, &times)
    }
}

fn watch(connection: &Connection) -> Method {
    Method::new(connection.wire(), SERVICE_NAME, "WatchEvents")
}

/// What the subscribers of a connection saw.
#[derive(Debug, Default)]
struct Seen {
    /// Bytes, time and failures.
    run: Measured,
    events: u64,
    frames: u64,
    /// From the request to the first events.
    first: Times,
    /// Of live events, from their time in the log to their receipt.
    age: Times,
}

impl Seen {
    fn merge(&mut self, other: &Self) {
        let Self { run, events, frames, first, age } = other;
        self.run.merge(run);
        self.events += events;
        self.frames += frames;
        self.first.merge(first);
        self.age.merge(age);
    }
}

/// When the run began, by both clocks.
struct Since {
    began: Ticks,
    began_us: i64,
    warm_up: Duration,
}

struct Subscriber {
    seen: Arc<Mutex<Seen>>,
    since: Arc<Since>,
    stop: CancellationToken,
}

impl Subscriber {
    /// Reads to the end, or until the run is stopped.
    async fn read(self, mut method: Method, request: WatchEventsRequest) {
        tokio::select! {
            ended = self.follow(&mut method, request) => if let Err(status) = ended {
                lock(&self.seen).run.failed(&status);
            },
            () = self.stop.cancelled() => {}
        }
    }

    async fn follow(&self, method: &mut Method, request: WatchEventsRequest) -> Result<(), Status> {
        let asked = self.since.began.elapsed();
        let mut frames: Streaming<Skimmed<Frame>> = method.stream(request).await?;
        let mut waits = true;
        while let Some(Skimmed { message, bytes }) = frames.message().await? {
            let now = self.since.began.elapsed();
            let events = message.batch.map(|batch| batch.events).unwrap_or_default();
            if now >= self.since.warm_up {
                let first = (waits && !events.is_empty()).then(|| now.saturating_sub(asked));
                self.count(&events, bytes, now, first);
            }
            waits &= events.is_empty();
            if message.end.is_some() {
                return Ok(());
            }
            if message.going_away.is_some() {
                return Err(Status::unavailable("the server is going away"));
            }
        }
        Err(Status::unavailable("the stream ended before its end was told"))
    }

    fn count(&self, events: &[Told], bytes: u64, now: Duration, first: Option<Duration>) {
        let mut seen = lock(&self.seen);
        seen.frames += 1;
        seen.events += events.len() as u64;
        seen.run.bytes += bytes;
        seen.run.took = seen.run.took.max(now.saturating_sub(self.since.warm_up));
        if let Some(first) = first {
            seen.first.add(first);
        }
        for time in events.iter().filter_map(|event| event.time).map(|time| clock::micros(&time)) {
            // The age of what is replayed is no delay.
            if time >= self.since.began_us {
                seen.age.add(Duration::from_micros(clock::age_us(time)));
            }
        }
    }

    /// Reads one frame, and then none until the run is over.
    async fn stall(self, mut method: Method, request: WatchEventsRequest) {
        let mut held = None;
        tokio::select! {
            first = async {
                let mut frames: Streaming<Skimmed<Frame>> = method.stream(request).await?;
                frames.message().await?;
                Ok::<_, Status>(frames)
            } => match first {
                Ok(frames) => held = Some(frames),
                Err(status) => lock(&self.seen).run.failed(&status),
            },
            () = self.stop.cancelled() => {}
        }
        self.stop.cancelled().await;
        drop(held);
    }
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is read of a frame.
#[derive(Clone, PartialEq, prost::Message)]
struct Frame {
    #[prost(message, optional, tag = "3")]
    batch: Option<Batch>,
    #[prost(message, optional, tag = "7")]
    going_away: Option<()>,
    #[prost(message, optional, tag = "8")]
    end: Option<()>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Batch {
    #[prost(message, repeated, tag = "1")]
    events: Vec<Told>,
}

/// What is read of an event.
#[derive(Clone, PartialEq, prost::Message)]
struct Told {
    #[prost(message, optional, tag = "6")]
    time: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::pb::v1::{self, watch_events_response as pb};

    fn skim(frame: pb::Frame) -> Frame {
        let whole = v1::WatchEventsResponse { token: "t".into(), frame: Some(frame) };
        Frame::decode(whole.encode_to_vec().as_slice()).unwrap()
    }

    #[test]
    fn a_skimmed_frame_says_what_the_whole_says() {
        let time = Timestamp { seconds: 7, nanos: 8 };
        let event = v1::Event { id: "1-0".into(), time: Some(time), ..v1::Event::default() };
        let batch = v1::EventBatch { events: vec![event.clone(), event], continued: false };
        let told = skim(pb::Frame::Batch(batch)).batch.unwrap().events;
        assert_eq!(told, vec![Told { time: Some(time) }, Told { time: Some(time) }]);
        assert!(skim(pb::Frame::End(v1::WatchEnd {})).end.is_some());
        assert!(skim(pb::Frame::GoingAway(v1::GoingAway::default())).going_away.is_some());
        assert_eq!(skim(pb::Frame::CaughtUp(v1::CaughtUp {})), Frame::default());
    }
}
