//! `attache log`: the log's epoch, ends, durability and limits.

use clap::Args;

use super::{
    client::ClientArgs,
    error::CliError,
    output::{self, Out},
    view, words,
};
use crate::pb::{
    self,
    v1::{Durability, GetLogInfoRequest, GetLogInfoResponse},
};

/// Arguments of `attache log`.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    #[command(flatten)]
    pub(super) client: ClientArgs,
}

/// Prints what the server says about its log.
///
/// # Errors
///
/// What the server says.
pub async fn run(args: &LogArgs) -> Result<(), CliError> {
    let mut client = args.client.connect().await?.log();
    let info = client.get_log_info(GetLogInfoRequest {}).await?.into_inner();
    let mut out = Out::new(args.client.output.output);
    if out.is_table() {
        out.line(text(&info))?;
    } else {
        out.object(&pb::to_json("GetLogInfoResponse", &info))?;
    }
    out.flush()
}

fn text(info: &GetLogInfoResponse) -> String {
    let recorded = info.recorded_at.map_or_else(|| "never".to_owned(), |time| view::time(&time.to_string()));
    let day = if info.day.is_empty() { "none yet".to_owned() } else { info.day.clone() };
    let fields = [
        ("version", info.version.clone()),
        ("epoch", info.epoch.clone()),
        ("revision", info.revision.to_string()),
        ("recorded", recorded),
        ("day", day),
        ("newest position", info.token.clone()),
        ("oldest position", info.oldest_token.clone()),
        ("durability", durability(info.durability())),
    ];
    let mut lines: Vec<_> = fields.iter().map(|(label, value)| format!("{:17} {value}", format!("{label}:"))).collect();
    if !info.limits.is_empty() {
        let mut table = output::table(["LIMIT", "VALUE"]);
        for limit in &info.limits {
            table.add_row([limit.name.clone(), limit.value.to_string()]);
        }
        lines.push(format!("\n{}", output::trimmed(&table)));
    }
    lines.join("\n")
}

fn durability(durability: Durability) -> String {
    let word = words::human("Durability", durability as i32);
    match durability {
        Durability::Synced => format!("{word}: what is acknowledged survives loss of power"),
        Durability::Unsynced => format!("{word}: what is acknowledged survives the end of the process only"),
        Durability::Copied => format!("{word}: what is acknowledged survives loss of power of a minority of servers"),
        Durability::Unspecified => "not stated".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::v1::Limit;

    #[test]
    fn the_log_says_what_an_answer_survives_and_its_limits() {
        let info = GetLogInfoResponse {
            durability: Durability::Unsynced as i32,
            day: "2023-10-07".into(),
            limits: vec![Limit { name: "max_report_bytes".into(), value: 65536 }],
            ..GetLogInfoResponse::default()
        };
        let text = text(&info);
        assert!(
            text.contains("survives the end of the process only") && text.contains("recorded:         never"),
            "{text}"
        );
        assert!(text.lines().any(|line| line == "day:              2023-10-07"), "{text}");
        assert!(text.lines().any(|line| line.contains("max_report_bytes") && line.contains("65536")), "{text}");
    }
}
