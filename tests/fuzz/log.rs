//! What the journal and the store's log hold.

use attache::{
    domain::{error::Reason, facets::Facets, token::GENESIS},
    pb::{
        log::{Batch, Entry, EntryPayload, filing::Act},
        v1,
        wire::{self, EventHead, Payload},
    },
    store::log::StoredEntry,
    writer::batch_end,
};
use proptest::prelude::*;
use prost::Message as _;

use crate::{
    draw::Draw,
    harness::{Kept, Target},
    messages,
};

pub const BATCHES: Target = Target {
    name: "batches",
    message: "attache.log.v1.Batch",
    words: &["\x0a\x02", "\x12\x10", "\x2a\x20", "\x32\x02"],
    input: |draw| batch(draw).encode_to_vec(),
    promise: batch_promise,
    few: 5_000,
};

#[test]
fn a_batch_ends_where_its_entries_end_and_says_so_if_it_cannot_be_read() {
    BATCHES.run();
}

fn batch(draw: &mut Draw<'_>) -> Batch {
    let entry = |draw: &mut Draw<'_>| Entry {
        header: messages::message(draw, "attache.log.v1.EntryHeader").encode_to_vec(),
        payload: if draw.once_in(2) { payload(draw) } else { draw.noise(20) }.into(),
    };
    let hash: [u8; 32] = draw.exactly();
    Batch {
        format: 1,
        epoch: draw.exactly::<16>().to_vec(),
        batch_id: draw.exactly::<16>().to_vec(),
        first_revision: [0, 1, 7, u64::MAX][draw.number(4)],
        previous_hash: if draw.once_in(8) { draw.noise(40) } else { hash.to_vec() },
        entries: draw.list(3, entry),
    }
}

fn batch_promise(input: &[u8]) -> Kept {
    let batch = match (batch_end(input, 3), Batch::decode(input)) {
        (Ok((epoch, last, hash)), Ok(batch)) => {
            prop_assert_eq!(epoch.as_bytes().as_slice(), batch.epoch.as_slice());
            let entries = batch.entries.len() as u64;
            let end = batch.first_revision.checked_add(entries).map(|end| end.saturating_sub(1));
            prop_assert_eq!(Some(last), end);
            prop_assert_eq!(entries == 0, hash.as_slice() == batch.previous_hash.as_slice(), "the chain stands still");
            batch
        }
        (Err(error), batch) => {
            prop_assert_eq!(error.reason, Reason::EntryCorrupt);
            prop_assert!(error.message.contains("batch at 3"), "{}", error);
            let Ok(batch) = batch else { return Ok(()) };
            batch
        }
        (Ok(_), Err(error)) => return Err(TestCaseError::fail(format!("it ends and cannot be read: {error}"))),
    };
    // As the store keeps them.
    for (revision, entry) in (1..).zip(batch.entries) {
        let (header, payload) = (entry.header, entry.payload);
        let stored = StoredEntry { revision, hash: GENESIS, recorded_at_us: 0, header, payload };
        for error in [stored.header().err(), stored.payload().err()].into_iter().flatten() {
            prop_assert_eq!(error.reason, Reason::EntryCorrupt);
            prop_assert!(error.message.contains(&format!("entry {revision}")), "{}", error);
        }
    }
    Ok(())
}

pub const PAYLOADS: Target = Target {
    name: "payloads",
    message: "attache.log.v1.EntryPayload",
    words: &["\x0a\x02", "\x12\x10", "\x1a\x20", "visits/a"],
    input: payload,
    promise: payload_promise,
    few: 2_000,
};

#[test]
fn a_payload_tells_the_feed_in_bytes_what_it_says_when_it_is_read() {
    PAYLOADS.run();
}

fn payload(draw: &mut Draw<'_>) -> Vec<u8> {
    messages::message(draw, "attache.log.v1.EntryPayload").encode_to_vec()
}

fn payload_promise(input: &[u8]) -> Kept {
    // (Of facets, the same bytes are something else: they are stored beside the log.)
    if let Ok(facets) = Facets::from_stored(input) {
        prop_assert_eq!(Facets::from_stored(&facets.to_stored()).ok(), Some(facets));
    }
    let Ok(whole) = EntryPayload::decode(input) else { return Ok(()) };
    // As this program writes it: of what is written twice over, the last counts, and bytes cannot know that.
    let whole_bytes = whole.encode_to_vec();
    let read = Payload::decode(whole_bytes.as_slice()).map_err(|e| TestCaseError::fail(e.to_string()))?;
    prop_assert_eq!(read.filings.len(), whole.filings.len());
    for (bytes, filing) in read.filings.iter().zip(&whole.filings) {
        let report = match &filing.act {
            Some(Act::File(report)) => Some(report.encode_to_vec()),
            _ => None,
        };
        prop_assert_eq!(bytes.file.as_deref(), report.as_deref());
    }
    let mut acts = EntryPayload { events: Vec::new(), results: Vec::new(), ..whole.clone() };
    for filing in &mut acts.filings {
        if let Some(Act::File(report)) = &mut filing.act {
            report.content = None;
        }
    }
    // (By their bytes: a number may be none, and is not equal to itself then.)
    prop_assert_eq!(wire::acts(&whole_bytes).map(|read| read.encode_to_vec()), Some(acts.encode_to_vec()));
    prop_assert_eq!(read.changes.len(), whole.changes.len());
    prop_assert_eq!(read.events.len(), whole.events.len());
    for (bytes, change) in read.changes.iter().zip(&whole.changes) {
        prop_assert_eq!(&bytes.name, &change.name);
        let record = change.record.as_ref().map(v1::Record::encode_to_vec);
        prop_assert_eq!(bytes.record.as_deref(), record.as_deref());
    }
    for (bytes, stored) in read.events.iter().zip(&whole.events) {
        let event = stored.event.as_ref().map(v1::Event::encode_to_vec);
        prop_assert_eq!(bytes.event.as_deref(), event.as_deref());
        prop_assert_eq!((bytes.change, bytes.original_revision), (stored.change, stored.original_revision));
        prop_assert_eq!(&bytes.original_subject, &stored.original_subject);
        let (Some(bytes), Some(event)) = (&bytes.event, &stored.event) else { continue };
        let head = EventHead::decode(bytes.clone()).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let of_event = (event.r#type, event.index, event.withdrawn_type);
        prop_assert_eq!((head.r#type, head.index, head.withdrawn_type), of_event);
    }
    Ok(())
}
