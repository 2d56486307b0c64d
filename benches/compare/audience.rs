//! Subscribers while reports are filed.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use attache::pb::v1::EventType;
use bytes::Bytes;
use prost::Message as _;
use tokio::task::JoinSet;
use tonic::{Streaming, transport::Channel};

use crate::{
    Outcome,
    filers::Filings,
    frames::{self, Frame, Told},
    raw::Caller,
    times::Times,
};

/// Nothing more comes after a silence of so long.
const SILENCE: Duration = Duration::from_millis(300);
/// Who is still told something after so long is told without end.
const LAST_WAIT: Duration = Duration::from_secs(60);
/// Streams that are opened at once on a connection.
const AT_ONCE: usize = 20;

/// Opens a stream on each of the connections in turn, and waits for the first frame of each.
pub async fn open(
    channels: &[Channel],
    count: usize,
    path: &'static str,
    request: &Bytes,
) -> Outcome<Vec<Streaming<Bytes>>> {
    let mut tasks = JoinSet::new();
    for lane in 0..channels.len() * AT_ONCE {
        let (channel, request) = (channels[lane % channels.len()].clone(), request.clone());
        let own = (lane..count).step_by(channels.len() * AT_ONCE).count();
        tasks.spawn(async move {
            let mut streams = Vec::with_capacity(own);
            for _ in 0..own {
                let mut stream = Caller::new(&channel, path).stream(request.clone()).await?;
                stream.message().await?;
                streams.push(stream);
            }
            Outcome::Ok(streams)
        });
    }
    let mut streams = Vec::with_capacity(count);
    while let Some(opened) = tasks.join_next().await {
        streams.append(&mut opened??);
    }
    Ok(streams)
}

/// What an audience saw.
#[derive(Default)]
struct Seen {
    events: AtomicU64,
    /// From the sending of a filing to its first event.
    times: Mutex<Times>,
}

/// Subscribers who read whatever comes.
pub struct Audience {
    seen: Arc<Seen>,
    began: Instant,
    /// They end when the audience is dropped.
    tasks: JoinSet<Outcome<()>>,
}

/// What filings came to, as their subscribers saw it.
pub struct Delivered {
    /// Events a second, over all of them.
    pub rate: f64,
    /// From the sending of a filing to its event.
    pub times: Times,
}

impl Audience {
    /// Gathers subscribers to everything, of whom the first so many look at what they get and when.
    pub async fn gather(channels: &[Channel], count: usize, watchful: usize, filings: &Arc<Filings>) -> Outcome<Self> {
        let seen = Arc::new(Seen::default());
        let streams = open(channels, count, frames::WATCH_EVENTS, &frames::live()).await?;
        let mut tasks = JoinSet::new();
        for (at, stream) in streams.into_iter().enumerate() {
            let watched = (at < watchful).then(|| Arc::clone(filings));
            tasks.spawn(read(stream, Arc::clone(&seen), watched));
        }
        Ok(Self { seen, began: Instant::now(), tasks })
    }

    /// Takes in one more, who only counts.
    pub fn join(&mut self, stream: Streaming<Bytes>) {
        self.tasks.spawn(read(stream, Arc::clone(&self.seen), None));
    }

    /// Waits until nothing more comes, and says what came.
    pub async fn leave(mut self) -> Outcome<Delivered> {
        let (mut before, mut last) = (self.seen.events.load(Ordering::Relaxed), self.began.elapsed());
        let mut silence = Instant::now();
        let waiting = Instant::now();
        while silence.elapsed() < SILENCE && waiting.elapsed() < LAST_WAIT {
            tokio::time::sleep(Duration::from_millis(2)).await;
            let now = self.seen.events.load(Ordering::Relaxed);
            if now > before {
                (before, last, silence) = (now, self.began.elapsed(), Instant::now());
            }
        }
        if let Some(ended) = self.tasks.try_join_next() {
            ended??;
            return Err("a subscriber's stream ended".into());
        }
        let times = std::mem::take(&mut *self.seen.times.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Delivered { rate: before as f64 / last.as_secs_f64(), times })
    }
}

async fn read(mut stream: Streaming<Bytes>, seen: Arc<Seen>, filings: Option<Arc<Filings>>) -> Outcome<()> {
    while let Some(frame) = stream.message().await? {
        let Some(filings) = &filings else {
            seen.events.fetch_add(frames::count(frame)? as u64, Ordering::Relaxed);
            continue;
        };
        let frame = Frame::decode(frame)?;
        let mut times = Times::default();
        for event in frame.events() {
            let told = Told::decode(event.clone())?;
            if told.r#type == EventType::Recorded as i32 {
                filings.age(&told.subject).into_iter().for_each(|age| times.add(age));
            }
        }
        seen.events.fetch_add(frame.events().len() as u64, Ordering::Relaxed);
        seen.times.lock().unwrap_or_else(PoisonError::into_inner).merge(times);
    }
    Ok(())
}
