//! A small history in which everything is as promised, for tests that break it.
//!
//! One watch of two records over two servers: it leaves the first after revision 2, and reads to the end on the second.
//! Revision 2 has two events and comes in two frames.

use super::super::{
    super::history::{
        Acknowledged, Compared, Ending, Frame, History, Records, Seen, Selection, Stream, Tries, Watched, What,
    },
    Outcome, judge,
};
use crate::{
    domain::token::{Epoch, Phase, Token},
    pb::v1::EventType,
};

/// The guarantees that are broken once this is done to the history.
pub fn broken(change: impl FnOnce(&mut History)) -> Vec<&'static str> {
    let mut history = history();
    change(&mut history);
    judge(&history).into_iter().filter(|v| v.outcome == Outcome::Broken).map(|v| v.guarantee).collect()
}

/// The frames of a stream.
pub fn frames(history: &mut History, watch: usize, stream: usize) -> &mut Vec<Frame> {
    &mut history.watches[watch].streams[stream].frames
}

/// As promised.
pub fn history() -> History {
    let log = vec![event(1, 0), event(2, 0), event(2, 1), event(3, 0), event(4, 0)];
    let acknowledged = |revision: u64| Acknowledged {
        revision,
        token: whole(revision),
        events: log.iter().filter(|e| e.revision == revision).cloned().collect(),
    };
    let selection = Selection { names: (0..2).map(record).collect(), ..Selection::default() };
    let tried = || Tries { made: 1, elsewhere: 1, faults: Vec::new() };
    History {
        servers: vec!["http://a".into(), "http://b".into()],
        end: 4,
        acknowledged: (1..=4).map(acknowledged).collect(),
        selections: vec![(selection, log.clone())],
        logs: vec![log.clone(), log],
        watches: vec![watch()],
        reads: tried(),
        repeats: tried(),
    }
}

fn watch() -> Watched {
    let first = vec![
        frame(whole(0), What::Started),
        batch(whole(1), vec![event(1, 0)], false),
        batch(partial(2, 1), vec![event(2, 0)], true),
        batch(whole(2), vec![event(2, 1)], false),
        frame(whole(2), What::CaughtUp),
    ];
    let second = vec![
        frame(whole(2), What::Started),
        batch(whole(3), vec![event(3, 0)], false),
        frame(whole(3), What::CaughtUp),
        batch(whole(4), vec![event(4, 0)], false),
        frame(whole(4), What::Progress),
        frame(whole(4), What::End),
    ];
    let second = Stream { acknowledged: 3, until: true, ..stream(1, Some(whole(2)), second, Ending::Closed) };
    let records: Records = (0..2).map(|number| (record(number), 1)).collect();
    let compared = Compared { token: whole(2), server: 1, cached: records.clone(), listed: records };
    Watched {
        selection: 0,
        streams: vec![stream(0, None, first, Ending::Ours), second],
        compared: vec![compared],
        finished: true,
    }
}

/// A stream.
pub fn stream(server: usize, resumed: Option<Token>, frames: Vec<Frame>, ending: Ending) -> Stream {
    Stream { server, resumed, acknowledged: 0, until: false, frames, ending }
}

/// A frame.
pub fn frame(token: Token, what: What) -> Frame {
    Frame { token, what }
}

/// A frame with events.
pub fn batch(token: Token, events: Vec<Seen>, continued: bool) -> Frame {
    frame(token, What::Batch { events, continued })
}

/// An event about the record whose number is its index.
pub fn event(revision: u64, index: u32) -> Seen {
    let whole = revision * 10 + u64::from(index);
    Seen {
        id: format!("{revision}-{index}"),
        subject: record(index),
        event_type: EventType::Updated as i32,
        revision,
        index,
        whole,
        bare: whole + 1000,
    }
}

fn record(number: u32) -> String {
    format!("organizations/probe-r-{number}")
}

/// The position after a revision.
pub fn whole(revision: u64) -> Token {
    token(revision, Phase::Whole)
}

/// The position before an event of a revision.
pub fn partial(revision: u64, next: u32) -> Token {
    token(revision, Phase::Partial { next })
}

fn token(revision: u64, phase: Phase) -> Token {
    Token { epoch: Epoch::nil(), revision, hash: [0; 8], phase }
}
