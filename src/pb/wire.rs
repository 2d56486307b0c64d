//! Messages as bytes: what was encoded once is told again by putting its bytes beside others, never by reading it.
//!
//! In protobuf the fields of a message may stand in any order, and the encoding of a message is the concatenation of its
//! fields (its specification, "Message Structure" and "Last One Wins"). So a frame is made of encoded events, an event of
//! an encoded event and an encoded record, and a response of an encoded record.

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::{
    Message as _,
    encoding::{
        DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, encoded_len_varint, key_len,
        skip_field,
    },
};

use super::{log, v1};

/// The numbers of the fields that are put together here; a test holds them against the descriptors.
pub mod number {
    /// `Event.record`.
    pub const EVENT_RECORD: u32 = 15;
    /// `Event.previous`.
    pub const EVENT_PREVIOUS: u32 = 16;
    /// `Event.left_filter`.
    pub const EVENT_LEFT_FILTER: u32 = 27;
    /// `EventBatch.events`.
    pub const BATCH_EVENTS: u32 = 1;
    /// `EventBatch.continued`.
    pub const BATCH_CONTINUED: u32 = 2;
    /// `WatchEventsResponse.token`.
    pub const FRAME_TOKEN: u32 = 1;
    /// `WatchEventsResponse.batch`.
    pub const FRAME_BATCH: u32 = 3;
    /// The record of every `Get…Response`.
    pub const GOT_RECORD: u32 = 1;
    /// `token` of every `Get…Response`.
    pub const GOT_TOKEN: u32 = 2;
    /// `EntryPayload.filings`.
    pub const PAYLOAD_FILINGS: u32 = 1;
    /// `EntryPayload.events`.
    pub const PAYLOAD_EVENTS: u32 = 3;
    /// `EntryPayload.results`.
    pub const PAYLOAD_RESULTS: u32 = 4;
    /// `Filing.file`.
    pub const FILING_FILE: u32 = 1;
    /// What a `Report` states: `visit` to `place`.
    pub const REPORT_CONTENT: std::ops::RangeInclusive<u32> = 4..=10;
}

/// An encoded message, in pieces.
#[derive(Debug, Clone, Default)]
pub struct Encoded(Vec<Bytes>);

impl Encoded {
    /// The message whose encoding these are, in order.
    #[must_use]
    pub fn of(pieces: Vec<Bytes>) -> Self {
        Self(pieces)
    }

    /// A record with the position it was read at, as every `Get…Response` has them; `None` if these are not the bytes of a
    /// record.
    #[must_use]
    pub fn answer(record: &Bytes, token: &str) -> Option<Self> {
        let content = content(record)?;
        let mut before = BytesMut::with_capacity(prefix_len(number::GOT_RECORD, content.len()));
        put_prefix(&mut before, number::GOT_RECORD, content.len());
        let mut after = BytesMut::with_capacity(field_len(number::GOT_TOKEN, token.as_bytes()));
        put(&mut after, number::GOT_TOKEN, token.as_bytes());
        Some(Self(vec![before.freeze(), content, after.freeze()]))
    }

    /// Its pieces, in order.
    pub fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        self.0.iter()
    }

    /// Its size in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }
}

/// The record of one kind that a `Record` is, encoded.
fn content(record: &Bytes) -> Option<Bytes> {
    let mut rest = record.clone();
    let (_, wire_type) = decode_key(&mut rest).ok()?;
    let length = decode_varint(&mut rest).ok()?;
    (wire_type == WireType::LengthDelimited && length == rest.len() as u64).then_some(rest)
}

/// The fields of an encoded message: the number of each, the whole of it with its key, and its content where it lies if it is
/// a text, bytes or a message. `None` if the bytes are not a message, or `take` says so.
pub fn each_whole_field<'b>(
    mut bytes: &'b [u8],
    mut take: impl FnMut(u32, &'b [u8], Option<&'b [u8]>) -> Option<()>,
) -> Option<()> {
    while !bytes.is_empty() {
        let field = bytes;
        let (number, wire_type) = decode_key(&mut bytes).ok()?;
        let content = if wire_type == WireType::LengthDelimited {
            let length = usize::try_from(decode_varint(&mut bytes).ok()?).ok()?;
            let (content, rest) = bytes.split_at_checked(length)?;
            bytes = rest;
            Some(content)
        } else {
            skip_field(wire_type, number, &mut bytes, DecodeContext::default()).ok()?;
            None
        };
        take(number, &field[..field.len() - bytes.len()], content)?;
    }
    Some(())
}

/// The texts, bytes and messages in an encoded message: each field's number, and its content where it lies; all else is
/// passed over. `None` if the bytes are not a message, or `take` says so.
pub fn each_field<'b>(bytes: &'b [u8], mut take: impl FnMut(u32, &'b [u8]) -> Option<()>) -> Option<()> {
    each_whole_field(bytes, |number, _, content| content.map_or(Some(()), |content| take(number, content)))
}

/// What an entry's payload tells the store and the feed as it is encoded: reports, records and events, left as bytes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Payload {
    /// `EntryPayload.filings`.
    #[prost(message, repeated, tag = "1")]
    pub filings: Vec<Filing>,
    /// `EntryPayload.changes`.
    #[prost(message, repeated, tag = "2")]
    pub changes: Vec<Change>,
    /// `EntryPayload.events`.
    #[prost(message, repeated, tag = "3")]
    pub events: Vec<Stored>,
}

/// What applying an entry asks of its payload: all but its events, its results and what its reports state, which stay as they
/// are encoded. `None` if it cannot be read. Whether the rest can be was for whoever chained it to see: the payload's digest says
/// that these are its bytes.
#[must_use]
pub fn acts(payload: &[u8]) -> Option<log::EntryPayload> {
    let mut acts = log::EntryPayload::default();
    each_whole_field(payload, |number, whole, content| {
        match number {
            number::PAYLOAD_EVENTS | number::PAYLOAD_RESULTS => {}
            number::PAYLOAD_FILINGS => acts.filings.push(act(content?)?),
            _ => acts.merge(whole).ok()?,
        }
        Some(())
    })?;
    Some(acts)
}

fn act(filing: &[u8]) -> Option<log::Filing> {
    let mut act = log::Filing::default();
    each_whole_field(filing, |number, whole, content| {
        if number == number::FILING_FILE {
            let mut report = v1::Report::default();
            each_whole_field(content?, |number, whole, _| match number::REPORT_CONTENT.contains(&number) {
                true => Some(()),
                false => report.merge(whole).ok(),
            })?;
            act.act = Some(log::filing::Act::File(report));
        } else {
            act.merge(whole).ok()?;
        }
        Some(())
    })?;
    Some(act)
}

/// `Filing`, less all acts but one.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Filing {
    /// The report that is filed, encoded.
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub file: Option<Bytes>,
}

/// `RecordChange`, less its milestones.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Change {
    /// The record's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The record afterwards, encoded.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub record: Option<Bytes>,
}

/// `StoredEvent`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Stored {
    /// The event, encoded.
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub event: Option<Bytes>,
    /// Index of its change.
    #[prost(uint32, tag = "2")]
    pub change: u32,
    /// Of a withdrawal: the revision of the event that it withdraws.
    #[prost(uint64, tag = "3")]
    pub original_revision: u64,
    /// The record that event was about, if not this one.
    #[prost(string, tag = "4")]
    pub original_subject: String,
}

/// What selecting an event asks of it.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct EventHead {
    /// `Event.type`.
    #[prost(enumeration = "super::v1::EventType", tag = "3")]
    pub r#type: i32,
    /// `Event.index`.
    #[prost(uint32, tag = "8")]
    pub index: u32,
    /// `Event.withdrawn_type`.
    #[prost(enumeration = "super::v1::EventType", tag = "22")]
    pub withdrawn_type: i32,
}

/// The bytes of a field's key and length, before content of `length` bytes.
#[must_use]
pub fn prefix_len(number: u32, length: usize) -> usize {
    key_len(number) + encoded_len_varint(length as u64)
}

/// Writes the key and length of a field whose content of `length` bytes follows.
pub fn put_prefix(into: &mut BytesMut, number: u32, length: usize) {
    encode_key(number, WireType::LengthDelimited, into);
    encode_varint(length as u64, into);
}

/// Writes a field of text, bytes or an encoded message.
pub fn put(into: &mut BytesMut, number: u32, content: &[u8]) {
    put_prefix(into, number, content.len());
    into.put_slice(content);
}

/// Writes content behind its size, which is known when it is written: most sizes need one byte.
pub fn put_sized<T>(into: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let at = into.len();
    into.push(0);
    let done = content(into);
    let size = (into.len() - at - 1) as u64;
    let more = encoded_len_varint(size) - 1;
    if more > 0 {
        let end = into.len();
        into.resize(end + more, 0);
        into.copy_within(at + 1..end, at + 1 + more);
    }
    encode_varint(size, &mut &mut into[at..=at + more]);
    done
}

/// The size of a field of text, bytes or an encoded message.
#[must_use]
pub fn field_len(number: u32, content: &[u8]) -> usize {
    prefix_len(number, content.len()) + content.len()
}

/// Writes a field that is true.
pub fn put_true(into: &mut BytesMut, number: u32) {
    encode_key(number, WireType::Varint, into);
    encode_varint(1, into);
}

/// The size of a field that is true.
#[must_use]
pub fn true_len(number: u32) -> usize {
    key_len(number) + 1
}

#[cfg(test)]
mod tests {
    use prost_reflect::MessageDescriptor;

    use super::*;
    use crate::{
        domain::name::{self, KINDS},
        pb,
    };

    fn tag(message: &MessageDescriptor, field: &str) -> u32 {
        message.get_field_by_name(field).unwrap_or_else(|| panic!("{field}")).number()
    }

    #[test]
    fn the_numbers_are_those_of_the_contract() {
        let of = |message: &str, field: &str| tag(&pb::descriptor(message), field);
        let of_log = |message: &str, field: &str| {
            tag(&pb::POOL.get_message_by_name(&format!("attache.log.v1.{message}")).unwrap(), field)
        };
        let stated = [
            (number::EVENT_RECORD, of("Event", "record")),
            (number::EVENT_PREVIOUS, of("Event", "previous")),
            (number::EVENT_LEFT_FILTER, of("Event", "left_filter")),
            (number::BATCH_EVENTS, of("EventBatch", "events")),
            (number::BATCH_CONTINUED, of("EventBatch", "continued")),
            (number::FRAME_TOKEN, of("WatchEventsResponse", "token")),
            (number::FRAME_BATCH, of("WatchEventsResponse", "batch")),
            (number::PAYLOAD_FILINGS, of_log("EntryPayload", "filings")),
            (number::PAYLOAD_EVENTS, of_log("EntryPayload", "events")),
            (number::PAYLOAD_RESULTS, of_log("EntryPayload", "results")),
            (number::FILING_FILE, of_log("Filing", "file")),
        ];
        for (here, there) in stated {
            assert_eq!(here, there);
        }
        let content = pb::descriptor("Report").oneofs().next().unwrap();
        assert!(content.fields().map(|f| f.number()).eq(number::REPORT_CONTENT), "{content:?}");
        for kind in KINDS {
            let message = name::message(kind);
            let got = pb::descriptor(&format!("Get{message}Response"));
            let record = got.fields().find(|f| f.kind().as_message().is_some_and(|m| m.name() == message)).unwrap();
            assert_eq!((record.number(), tag(&got, "token")), (number::GOT_RECORD, number::GOT_TOKEN), "{message}");
        }
    }

    #[test]
    fn a_payload_read_as_bytes_says_what_it_says_read_whole() {
        let event = v1::Event {
            r#type: v1::EventType::MilestoneWithdrawn.into(),
            index: 7,
            withdrawn_type: v1::EventType::VisitBegan.into(),
            headline: "A visit".into(),
            ..Default::default()
        };
        let record = v1::Record {
            kind: Some(v1::record::Kind::Visit(v1::Visit { name: "visits/a".into(), ..Default::default() })),
        };
        let content = Some(v1::report::Content::Place(v1::Place::default()));
        let source = Some(v1::Source { name: "sources/s".into(), ..Default::default() });
        let report =
            v1::Report { name: "visits/a/reports/s".into(), etag: "e".into(), content, source, ..Default::default() };
        let whole = log::EntryPayload {
            filings: vec![
                log::Filing { act: Some(log::filing::Act::Withdraw("visits/b/reports/s".into())) },
                log::Filing { act: Some(log::filing::Act::File(report.clone())) },
            ],
            changes: vec![
                log::RecordChange {
                    name: "visits/a".into(),
                    record: Some(record.clone()),
                    milestones: vec![log::Milestone::default()],
                    ..Default::default()
                },
                log::RecordChange { name: "visits/b".into(), ..Default::default() },
            ],
            events: vec![log::StoredEvent {
                event: Some(event.clone()),
                change: 1,
                original_revision: 9,
                original_subject: "visits/c".into(),
            }],
            results: vec![v1::FilingResult::default()],
            remaining: 3,
            day: Some(log::Day { day: "2023-05-01".into(), ..Default::default() }),
            redacted_by: 7,
            ..Default::default()
        };
        let bytes = whole.encode_to_vec();
        let mut acts_alone = whole.clone();
        acts_alone.events.clear();
        acts_alone.results.clear();
        if let Some(log::filing::Act::File(report)) = &mut acts_alone.filings[1].act {
            report.content = None;
        }
        assert_eq!(acts(&bytes), Some(acts_alone));
        assert_eq!(acts(&bytes[..bytes.len() - 1]), None, "half of one");
        let read = Payload::decode(bytes.as_slice()).unwrap();
        assert_eq!(read.filings[0].file, None);
        assert_eq!(v1::Report::decode(read.filings[1].file.clone().unwrap()).unwrap(), report);
        assert_eq!(read.changes[0].name, "visits/a");
        assert_eq!(v1::Record::decode(read.changes[0].record.clone().unwrap()).unwrap(), record);
        assert_eq!((read.changes[1].name.as_str(), &read.changes[1].record), ("visits/b", &None));
        let stored = &read.events[0];
        assert_eq!((stored.change, stored.original_revision, stored.original_subject.as_str()), (1, 9, "visits/c"));
        let bytes = stored.event.clone().unwrap();
        assert_eq!(v1::Event::decode(bytes.clone()).unwrap(), event);
        let head = EventHead::decode(bytes).unwrap();
        assert_eq!((head.r#type, head.index, head.withdrawn_type), (event.r#type, 7, event.withdrawn_type));
    }
}
