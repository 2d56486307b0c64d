//! Replays of the log: from the ring to many subscribers, from the store to one.

use std::{path::Path, time::Instant};

use attache::pb::v1::watch_events_request::Start;
use bytes::Bytes;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::{
    Outcome,
    bench::{BYTES, Bench, CHANNELS, FILERS, count, records},
    frames::{self, WATCH_EVENTS},
    load,
    raw::Caller,
    results::Goal,
    rows::Rows,
    servers::{
        attache::Attache,
        etcd::{self, Etcd},
        floor::{self, Floor},
        nats::Nats,
    },
    stores,
};

/// Subscribers of a warm replay.
const SUBSCRIBERS: usize = 100;
/// Records of the store of the warm replay: so few that the ring holds all of their events.
const WARM_RECORDS: u64 = 10_000;
/// Records of the store of the cold replay, if the large one has as many.
const COLD_RECORDS: u64 = 100_000;
/// Frames of the cold replay that its floor hands out, again and again.
const COLD_FRAMES: usize = 64;

/// Events of a measurement with one subscriber, who replays as often as that takes: one replay is over too soon.
const COLD_EVENTS: usize = 500_000;

/// Measures them.
pub async fn run(bench: &Bench) -> Outcome<Rows> {
    let (warm, cold) = (Warm::prepare(bench).await?, Cold::prepare(bench).await?);
    let mut rows = declare(bench, &warm, &cold);
    let etcd = match &bench.peers.etcd {
        Some(program) => Some(etcd_with_events(program, bench.scale.replayed, &mut rows).await?),
        None => None,
    };
    let nats = match &bench.peers.nats {
        Some(program) => Some(nats(program, &mut rows).await?),
        None => None,
    };
    for _ in bench.rounds() {
        rows.take("floor", warm.bare.replay(SUBSCRIBERS).await?);
        rows.take("warm", warm.ours.replay(SUBSCRIBERS).await?);
        if let Some((_etcd, source)) = &etcd {
            rows.take("etcd", source.replay(SUBSCRIBERS).await?);
        }
        if let Some(nats) = &nats {
            rows.take("nats", nats.fan_out(bench.scale.replayed, SUBSCRIBERS / CHANNELS).await?);
        }
        rows.take("cold-floor", cold.bare.replay_again().await?);
        rows.take("cold", cold.ours.replay_again().await?);
    }
    Ok(rows)
}

fn declare(bench: &Bench, warm: &Warm, cold: &Cold) -> Rows {
    let mut rows = Rows::new(format!(
        "{} events from the ring, {} bytes each, to {SUBSCRIBERS} subscribers on {CHANNELS} connections; cold: all {} \
         events of {} by a server with next to no ring, the file in the system's cache. etcd watches {} puts, one watch a stream; values and \
         messages of the peers have {BYTES} bytes. Client windows of 4 MiB a stream and 16 MiB a connection.",
        count(warm.events),
        warm.bytes,
        count(cold.events),
        records(cold.records),
        count(bench.scale.replayed),
    ));
    rows.row("floor", format!("bare tonic, the same frames to {SUBSCRIBERS} streams"), "events/s");
    rows.row("warm", format!("`WatchEvents` from the ring to {SUBSCRIBERS} subscribers"), "events/s")
        .against("floor", Some(Goal::at_least(0.7, 1.0)))
        .against("etcd", Some(Goal::at_least(4.0, 6.0)))
        .against("nats", Some(Goal::at_least(2.0, 3.0)));
    rows.row("cold-floor", format!("bare tonic, {COLD_FRAMES} of the frames again and again to 1 stream"), "events/s");
    rows.row("cold", "`WatchEvents` from the oldest event to 1 subscriber", "events/s")
        .goal(Goal::at_least(200_000.0, None))
        .against("cold-floor", Some(Goal::at_least(None, 0.5)));
    rows
}

/// Somebody who hands out events, and how they are asked for.
struct Source {
    channels: Vec<Channel>,
    path: &'static str,
    request: Bytes,
    /// Events of one stream, after which it is left.
    events: usize,
    count: fn(Bytes) -> Outcome<usize>,
    /// Whether the stream has to stay open in the other direction.
    both_ways: bool,
}

impl Source {
    /// Events a second to one subscriber, who comes again and again.
    async fn replay_again(&self) -> Outcome<f64> {
        let times = COLD_EVENTS.div_ceil(self.events.max(1));
        let mut seconds = 0.0;
        for _ in 0..times {
            seconds += self.events as f64 / self.replay(1).await?;
        }
        Ok((times * self.events) as f64 / seconds)
    }

    /// Events a second, over all subscribers.
    async fn replay(&self, subscribers: usize) -> Outcome<f64> {
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        for channel in self.channels.iter().cycle().take(subscribers) {
            let mut caller = Caller::new(channel, self.path);
            let (request, events, count, both_ways) = (self.request.clone(), self.events, self.count, self.both_ways);
            tasks.spawn(async move {
                let mut frames =
                    if both_ways { caller.open_stream(request).await? } else { caller.stream(request).await? };
                let mut came = 0;
                while came < events {
                    let frame = frames.message().await?.ok_or("a stream ended before its last event")?;
                    came += count(frame)?;
                }
                Outcome::Ok(came)
            });
        }
        let mut events = 0;
        while let Some(came) = tasks.join_next().await {
            events += came??;
        }
        Ok(events as f64 / began.elapsed().as_secs_f64())
    }
}

async fn ours(server: &Attache, request: Bytes, events: usize) -> Outcome<Source> {
    let channels = server.channels().await?;
    Ok(Source { channels, path: WATCH_EVENTS, request, events, count: frames::count, both_ways: false })
}

async fn bare(floor: &Floor, times: usize, events: usize) -> Outcome<Source> {
    let (channels, request) = (floor.channels().await?, floor::times(times));
    Ok(Source { channels, path: floor::STREAM, request, events, count: frames::count, both_ways: false })
}

/// A log that the ring holds, and a floor with its last frames.
struct Warm {
    ours: Source,
    bare: Source,
    events: usize,
    /// Of an event.
    bytes: usize,
    _servers: (Attache, Floor),
}

impl Warm {
    async fn prepare(bench: &Bench) -> Outcome<Self> {
        let server = Attache::empty()?;
        server.fill(0, WARM_RECORDS).await?;
        let channels = server.channels().await?;
        let (start, events) = frames::before_the_end(&channels[0], bench.scale.replayed).await?;
        let request = frames::replay(start);
        let mut stream = Caller::new(&channels[0], WATCH_EVENTS).stream(request.clone()).await?;
        let mut frames = Vec::new();
        while let Some(frame) = stream.message().await? {
            frames.push(frame);
        }
        let bytes = frames.iter().map(Bytes::len).sum::<usize>() / events.max(1);
        let floor = Floor::start(&Bytes::new(), &frames)?;
        let (ours, bare) = (ours(&server, request, events).await?, bare(&floor, 1, events).await?);
        Ok(Self { ours, bare, events, bytes, _servers: (server, floor) })
    }
}

/// A log that is longer than the ring, and a floor with some of its frames.
struct Cold {
    ours: Source,
    bare: Source,
    events: usize,
    records: u64,
    _servers: (Attache, Floor),
}

impl Cold {
    async fn prepare(bench: &Bench) -> Outcome<Self> {
        let records = COLD_RECORDS.min(bench.records);
        let server = Attache::without_ring(&stores::kept(records).await?).await?;
        let channels = server.channels().await?;
        let (mut some, mut of_some) = (Vec::new(), 0);
        let mut keep = |frame: Bytes| {
            let events = frames::count(frame.clone()).unwrap_or(0);
            if events > 0 && some.len() < COLD_FRAMES {
                of_some += events;
                some.push(frame);
            }
        };
        let events = frames::all(&channels[0], &mut keep).await?;
        let floor = Floor::start(&Bytes::new(), &some)?;
        let ours = ours(&server, frames::replay(Start::Oldest(())), events).await?;
        let bare = bare(&floor, events.div_ceil(of_some.max(1)), events).await?;
        Ok(Self { ours, bare, events, records, _servers: (server, floor) })
    }
}

/// etcd with as many events, for those who watch from its first revision on.
async fn etcd_with_events(program: &Path, events: usize, rows: &mut Rows) -> Outcome<(Etcd, Source)> {
    rows.row("etcd", format!("etcd watch, from an old revision to {SUBSCRIBERS} watchers"), "events/s");
    let etcd = Etcd::start(program).await?;
    let channels = etcd.channels().await?;
    load::calls(&etcd.wires().await?, FILERS, etcd::PUT, (0..events).map(etcd::put).collect()).await?;
    let (request, count) = (etcd::watch(), etcd::events as fn(Bytes) -> Outcome<usize>);
    Ok((etcd, Source { channels, path: etcd::WATCH, request, events, count, both_ways: true }))
}

async fn nats(program: &Path, rows: &mut Rows) -> Outcome<Nats> {
    rows.row("nats", format!("NATS core, to {SUBSCRIBERS} subscribers"), "events/s");
    Nats::start(program).await
}
