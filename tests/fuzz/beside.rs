//! What is read beside the contract: headers of requests, and what the journal's servers say of themselves.

use attache::{journal::jetstream::Jsz, trace::Parent, transport::timeout};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    draw::Draw,
    harness::{Kept, Target, text},
};

pub const TRACE_PARENTS: Target = Target {
    name: "trace-parents",
    message: "",
    words: &["00", "-", "ff", "01", "0000000000000000", "A", "é"],
    input: |draw| {
        let part = |draw: &mut Draw<'_>, digits: usize| {
            if draw.once_in(10) { "0".repeat(digits) } else { draw.of(&["a1", "0f", "7c"]).repeat(digits / 2) }
        };
        let (trace, span) = (part(draw, 32), part(draw, 16));
        let (version, flags) = (draw.of(&["00", "00", "00", "01", "ff"]), draw.of(&["00", "01", "03", "fe"]));
        format!("{version}-{trace}-{span}-{flags}").into_bytes()
    },
    promise: trace_promise,
    few: 20_000,
};

#[test]
fn a_trace_parent_is_exactly_what_is_written_so_and_shows_as_itself() {
    TRACE_PARENTS.run();
}

fn trace_promise(input: &[u8]) -> Kept {
    let text = text(input);
    let parent = Parent::parse(&text);
    prop_assert_eq!(parent.is_some(), is_trace_parent(&text), "{:?}", text);
    if let Some(parent) = parent {
        let shown = format!("00-{}-{}-", parent.trace_id, parent.span_id);
        let flags = text.strip_prefix(&shown).and_then(|flags| u8::from_str_radix(flags, 16).ok());
        prop_assert_eq!(flags.map(|flags| flags % 2 == 1), Some(parent.is_sampled()), "{:?}", text);
    }
    Ok(())
}

/// Whether it is one of version 00, as W3C Trace Context writes them.
fn is_trace_parent(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_right = |(at, byte): (usize, &u8)| match at {
        2 | 35 | 52 => *byte == b'-',
        _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(byte),
    };
    let is_formed = bytes.len() == 55 && text.starts_with("00-") && bytes.iter().enumerate().all(is_right);
    is_formed && [3..35, 36..52].into_iter().all(|id| bytes[id].iter().any(|byte| *byte != b'0'))
}

pub const TIMEOUTS: Target = Target {
    name: "timeouts",
    message: "",
    words: &["0", "9", "+", "-", " ", "H", "M", "S", "m", "u", "n", "é"],
    input: |draw| {
        let digits = draw.list(9, |draw| draw.of(&["0", "1", "5", "9"]).to_owned()).concat();
        format!("{digits}{}", draw.of(&["H", "M", "S", "m", "u", "n", "s", ""])).into_bytes()
    },
    promise: timeout_promise,
    few: 20_000,
};

#[test]
fn a_timeout_is_at_most_eight_digits_and_a_unit_and_lasts_as_long_as_it_says() {
    TIMEOUTS.run();
}

fn timeout_promise(input: &[u8]) -> Kept {
    let text = text(input);
    let unit = [
        ('H', 3_600_000_000_000_u128),
        ('M', 60_000_000_000),
        ('S', 1_000_000_000),
        ('m', 1_000_000),
        ('u', 1_000),
        ('n', 1),
    ];
    let said = unit.into_iter().find_map(|(unit, nanoseconds)| {
        let digits = text.strip_suffix(unit)?;
        let is_number = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse::<u128>().expect("eight digits are a number") * nanoseconds)
    });
    prop_assert_eq!(timeout(&text).map(|timeout| timeout.as_nanos()), said, "{:?}", text);
    Ok(())
}

pub const MONITORS: Target = Target {
    name: "monitors",
    message: "",
    words: &["\"sync_always\":", "true", "false", "\"config\":", "\"server_id\":", "{", "}", ",", "null", "\"", "1"],
    input: |draw| {
        let id = [json!("NA"), json!("NB"), json!(""), json!("NA"), json!(7), Value::Null];
        let always = [json!(true), json!(true), json!(false), json!("true"), json!(1), Value::Null];
        let interval = [json!(120_000_000_000_u64), json!(0), json!(u64::MAX), json!(-1), json!("2m"), json!(0.5)];
        let one = |draw: &mut Draw<'_>, of: &[Value]| of[draw.number(of.len())].clone();
        let mut told = json!({ "server_id": one(draw, &id), "config": {}, "streams": 3 });
        for (name, of) in [("sync_always", &always), ("sync_interval", &interval)] {
            if !draw.once_in(4) {
                told["config"][name] = one(draw, of);
            }
        }
        told.to_string().into_bytes()
    },
    promise: monitor_promise,
    few: 5_000,
};

#[test]
fn a_server_is_taken_to_sync_if_its_answer_says_so_in_the_very_word() {
    MONITORS.run();
}

fn monitor_promise(input: &[u8]) -> Kept {
    let told = match Jsz::read(input) {
        Ok(told) => told,
        Err(why) => {
            prop_assert!(!why.is_empty());
            return Ok(());
        }
    };
    // What is passed over may be no JSON for another reader: a number that is too large.
    let Ok(said) = serde_json::from_slice::<Value>(input) else { return Ok(()) };
    let config = &said["config"];
    prop_assert_eq!(said["server_id"].as_str(), Some(told.server_id.as_str()));
    prop_assert_eq!(config["sync_always"].as_bool().unwrap_or(false), told.config.sync_always);
    prop_assert_eq!(config["sync_interval"].as_u64().unwrap_or(0), told.config.sync_interval);
    Ok(())
}
