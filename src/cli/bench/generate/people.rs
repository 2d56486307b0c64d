//! Officials: whoever heads a visit is a record of its own, and the same in both.

use super::{
    FIRST_PERSON, ROUND, records,
    words::{self, POSTS, RANKS},
};
use crate::{
    cli::bench::draw::Draw,
    pb::v1::{EdtfDate, Name, Person, PersonRef, Posting, RankHeld},
};

/// Rounds before a visit whose officials may head it: each heads a few visits, over some time.
const IN_OFFICE_ROUNDS: u64 = 400;

/// Keeps the numbers drawn for an official apart from those of the record.
const SALT: u64 = 0x00ff_1c1a;

/// Somebody in office.
#[derive(Debug, Clone)]
pub struct Official {
    number: u64,
    /// Whose.
    pub state: &'static str,
    name: String,
    rank: Option<&'static str>,
    /// As stated.
    pub post: &'static str,
}

/// The official who is record number so many.
pub fn official(seed: u64, number: u64) -> Official {
    let draw = &mut Draw::of(seed ^ SALT, number);
    let state = records::state(draw);
    let post = draw.pick(POSTS);
    let rank = draw.chance(60).then(|| draw.pick(RANKS));
    Official { number, state, name: words::name(draw), rank, post }
}

/// One whose record comes before this number, or in the same round.
pub fn in_office(draw: &mut Draw, seed: u64, number: u64) -> Official {
    let round = number / ROUND - draw.below(IN_OFFICE_ROUNDS.min(number / ROUND + 1));
    official(seed, round * ROUND + FIRST_PERSON + draw.below(ROUND - FIRST_PERSON))
}

/// The host, who has no record: the same one for some years.
pub fn host(seed: u64, state: &str, year: i16) -> PersonRef {
    let letters = state.bytes().fold(0, |number, letter| number * 256 + u64::from(letter));
    let term = u64::try_from(year / 6).unwrap_or(0);
    let draw = &mut Draw::of(seed ^ SALT, letters << 32 | term);
    let rank = draw.chance(60).then(|| draw.pick(RANKS).to_owned());
    PersonRef { name_as_stated: Some(words::name(draw)), rank_as_stated: rank, ..PersonRef::default() }
}

impl Official {
    /// The name of the record.
    pub fn record(&self) -> String {
        format!("persons/{}-{}", words::slug(&self.name), self.number)
    }

    /// As a visit refers to it.
    pub fn reference(&self) -> PersonRef {
        PersonRef {
            person: Some(self.record()),
            name_as_stated: Some(self.name.clone()),
            rank_as_stated: self.rank.map(str::to_owned),
            post_as_stated: Some(self.post.to_owned()),
            ..PersonRef::default()
        }
    }

    /// The record.
    pub fn person(&self, draw: &mut Draw) -> Person {
        let start = EdtfDate { edtf: records::day(draw).year().to_string(), ..EdtfDate::default() };
        let posting = Posting {
            post: self.post.to_owned(),
            state: Some(self.state.to_owned()),
            start: Some(start),
            ..Posting::default()
        };
        let rank = |rank: &str| RankHeld { rank: rank.to_owned(), ..RankHeld::default() };
        let count = draw.between(1, 4);
        Person {
            names: vec![Name { text: self.name.clone(), ..Name::default() }],
            postings: vec![posting],
            ranks: self.rank.map(rank).into_iter().collect(),
            summary: Some(words::sentences(draw, count)),
            ..Person::default()
        }
    }
}
