//! Every request of the contract, as it comes over the wire: it is answered, or refused with what is wrong and where.

use std::{sync::LazyLock, time::Duration};

use attache::{
    domain::error::Reason,
    pb::{
        self,
        v1::{self, retract_reports_request::Selection},
    },
};
use proptest::prelude::*;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, MethodDescriptor, Value};
use tokio::runtime::{Builder, Runtime};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    common::{self, TestServer, raw},
    draw::Draw,
    harness::{Kept, Target},
    messages,
};

/// What is not answered by then hangs.
const LIMIT: Duration = Duration::from_secs(30);
/// What no request brings about.
const NEVER: [Reason; 6] = [
    Reason::Unspecified,
    Reason::Internal,
    Reason::OutcomeUnknown,
    Reason::Deadline,
    Reason::LogDiverged,
    Reason::EntryCorrupt,
];
/// Fields that take a position.
const POSITIONS: [&str; 5] = ["at_least", "after", "through", "position", "after_token"];

/// The line before a request's bytes says whose it is; the rest of the grammar is the messages'.
pub const CALLS: Target = Target {
    name: "calls",
    message: "",
    words: &["visits/a", "sources/a", "AZ", "2023-10", "\x0a", "\x12\x02", "\x1a\x04", "\x28\x01", "\u{2}"],
    input: request,
    promise,
    few: 1_000,
};

#[test]
fn every_request_of_the_contract_is_answered_or_refused_with_its_field() {
    CALLS.run();
}

fn request(draw: &mut Draw<'_>) -> Vec<u8> {
    let method = &SERVED.methods[draw.number(SERVED.methods.len())];
    let input = method.input();
    let mut asked = messages::message(draw, input.name());
    if input.get_field_by_name("reports").is_some() {
        let reports = draw.list(3, |draw| Value::Message(messages::report(draw)));
        asked.set_field_by_name("reports", Value::List(reports));
    }
    for field in POSITIONS {
        if input.get_field_by_name(field).is_some() && draw.once_in(3) {
            asked.set_field_by_name(field, Value::String(SERVED.token.clone()));
        }
    }
    [path(method).as_bytes(), b"\n", &asked.encode_to_vec()].concat()
}

/// A server with something in it, of which nothing changes any more.
struct Served {
    runtime: Runtime,
    server: TestServer,
    /// All but the one whose request says nothing, and whose answer is the whole store.
    methods: Vec<MethodDescriptor>,
    /// Its newest position.
    token: String,
}

static SERVED: LazyLock<Served> = LazyLock::new(|| {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (server, token) = runtime.block_on(registry());
    let services = pb::POOL.services().filter(|service| service.package_name() == "attache.v1");
    let methods = services.flat_map(|service| service.methods().collect::<Vec<_>>());
    let methods = methods.filter(|method| method.name() != "Backup").collect();
    Served { runtime, server, methods, token }
});

/// Of the names that requests ask for some stand, one is merged, and one is retracted.
async fn registry() -> (TestServer, String) {
    let server = TestServer::start().await;
    let visit = |id: &str| common::visit_report(id, "a", "KZ", "AZ", "2023-10-06");
    let agreement = common::agreement_report("a", "b", ["AZ", "KZ"], "2023-10-06");
    server.file(vec![visit("a"), visit("b"), visit("0"), agreement]).await;
    let merge = v1::MergeRecordsRequest {
        loser: "visits/0".into(),
        survivor: "visits/a".into(),
        source: Some(v1::Source { kind: v1::SourceKind::Editor.into(), ..common::source("editor") }),
        ..Default::default()
    };
    server.filing().merge_records(merge).await.expect("they are one");
    let token = server.withdraw(Selection::Source("sources/b".into())).await.token;
    (server, token)
}

/// Where a method is called.
fn path(method: &MethodDescriptor) -> String {
    format!("{}/{}", method.parent_service().full_name(), method.name())
}

impl Served {
    /// The method that an input names, and the bytes of its request.
    fn asked<'a>(&'a self, input: &'a [u8]) -> Option<(&'a MethodDescriptor, &'a [u8])> {
        let end = input.iter().position(|byte| *byte == b'\n')?;
        let named = std::str::from_utf8(&input[..end]).ok()?;
        let method = self.methods.iter().find(|method| path(method) == named)?;
        Some((method, &input[end + 1..]))
    }

    fn ask(&self, method: &MethodDescriptor, body: &[u8]) -> raw::Answer {
        let path = path(method);
        let call = raw::call(&self.server.channel, &path, raw::framed(body), &[]);
        let answered = self.runtime.block_on(async { tokio::time::timeout(LIMIT, call).await });
        answered.unwrap_or_else(|_| panic!("{path} is not answered within {LIMIT:?}"))
    }
}

fn promise(input: &[u8]) -> Kept {
    let Some((method, body)) = SERVED.asked(input) else { return Ok(()) };
    let body = harmless(&method.input(), body);
    let answer = SERVED.ask(method, &body);
    check(&method.input(), &answer.status)?;
    if method.parent_service().name() == "RegistryService" {
        let again = SERVED.ask(method, &body);
        let (one, other) = ((answer.status.code(), answer.body), (again.status.code(), again.body));
        prop_assert_eq!(one, other, "one question has two answers");
    }
    Ok(())
}

/// The same request, but it changes nothing, and a watch ends: of a field that is there twice the last counts.
fn harmless(asked: &MessageDescriptor, body: &[u8]) -> Vec<u8> {
    let Ok(read) = DynamicMessage::decode(asked.clone(), body) else { return body.to_vec() };
    let mut more = DynamicMessage::new(asked.clone());
    for field in ["validate_only", "dry_run"] {
        // (Nothing happens where there is no such field.)
        more.set_field_by_name(field, Value::Bool(true));
    }
    let ends = ["caught_up", "through"].into_iter().any(|field| read.has_field_by_name(field));
    if let Some(until) = asked.get_field_by_name("caught_up").filter(|_| !ends) {
        more.set_field(&until, Value::default_value(&until.kind()));
    }
    [body, &more.encode_to_vec()].concat()
}

/// A status of the catalogue; one that blames the request says which of its fields, and why.
fn check(asked: &MessageDescriptor, status: &Status) -> Kept {
    if status.code() == Code::Ok {
        return Ok(());
    }
    let word = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    let reason = Reason::from_str_name(&format!("ERROR_REASON_{word}"));
    prop_assert!(reason.is_some_and(|reason| !NEVER.contains(&reason)), "{:?}", status);
    if status.code() != Code::InvalidArgument {
        return Ok(());
    }
    let wrong = status.get_details_bad_request().map(|request| request.field_violations).unwrap_or_default();
    prop_assert!(!wrong.is_empty(), "{:?}", status);
    for violation in wrong {
        let first = violation.field.split(['.', '[']).next().unwrap_or_default();
        let is_choice = asked.oneofs().any(|choice| choice.name() == first);
        let is_there = first == "(message)" || is_choice || asked.get_field_by_name(first).is_some();
        prop_assert!(is_there, "{:?} is no field of {}", violation.field, asked.name());
        prop_assert!(!violation.description.is_empty(), "{}", violation.field);
    }
    Ok(())
}
