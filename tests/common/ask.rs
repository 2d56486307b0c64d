//! Lookups of any kind by descriptors, so that one test serves all seven.

use attache::{
    domain::name::message,
    pb::{
        self,
        v1::{self, RecordKind, as_of::Position},
    },
};
use prost::Message as _;
use prost_reflect::{DynamicMessage, Value};
use tonic::{Code, Status};

use super::{TestServer, raw};

/// A page of records of one kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    pub records: Vec<DynamicMessage>,
    pub next: String,
    pub token: String,
}

impl Listed {
    pub fn names(&self) -> Vec<String> {
        self.records.iter().map(|r| text(r, "name")).collect()
    }
}

/// A text of a message.
pub fn text(message: &DynamicMessage, field: &str) -> String {
    message.get_field_by_name(field).and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

async fn call(server: &TestServer, rpc: &str, body: Vec<u8>) -> Result<DynamicMessage, Status> {
    let method = format!("attache.v1.RegistryService/{rpc}");
    let answer = raw::call(&server.channel, &method, raw::framed(&body), &[]).await;
    if answer.status.code() != Code::Ok {
        return Err(answer.status);
    }
    Ok(DynamicMessage::decode(pb::descriptor(&format!("{rpc}Response")), &answer.body[5..]).unwrap())
}

/// A page of a kind; the requests of all kinds have the same fields.
pub async fn list(server: &TestServer, kind: RecordKind, request: &v1::ListVisitsRequest) -> Result<Listed, Status> {
    let rpc = format!("List{}s", message(kind));
    let answer = call(server, &rpc, request.encode_to_vec()).await?;
    let field = format!("{}s", message(kind).to_lowercase());
    let records = answer.get_field_by_name(&field).unwrap().into_owned();
    let of_list = |v: &Value| v.as_message().unwrap().clone();
    Ok(Listed {
        records: records.as_list().unwrap().iter().map(of_list).collect(),
        next: text(&answer, "next_page_token"),
        token: text(&answer, "token"),
    })
}

/// A record of a kind, and the token it was read at.
pub async fn get(
    server: &TestServer,
    kind: RecordKind,
    request: &v1::GetVisitRequest,
) -> Result<(DynamicMessage, String), Status> {
    let answer = call(server, &format!("Get{}", message(kind)), request.encode_to_vec()).await?;
    let record = answer.get_field_by_name(&message(kind).to_lowercase()).unwrap().into_owned();
    Ok((record.as_message().unwrap().clone(), text(&answer, "token")))
}

/// The registry as of a token.
pub fn as_of(token: &str) -> Option<v1::AsOf> {
    Some(v1::AsOf { position: Some(Position::Token(token.into())) })
}

/// The registry as of a time.
pub fn as_of_time(time: prost_types::Timestamp) -> Option<v1::AsOf> {
    Some(v1::AsOf { position: Some(Position::Time(time)) })
}

/// The reason that a refusal gives.
pub fn reason(status: &Status) -> String {
    use tonic_types::StatusExt as _;
    status.get_details_error_info().map(|i| i.reason).unwrap_or_default()
}
