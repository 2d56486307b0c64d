//! What a run came to, for people and as an object that says how it was measured.

use serde_json::{Map, Value, json};

use super::measure::{Measured, Times};
use crate::{
    cli::{
        client::{ClientArgs, Connection},
        error::CliError,
        output::{self, Out},
    },
    pb::{
        self,
        v1::{Filter, GetLogInfoRequest},
    },
};

/// What was run, against what: so that two results can be compared.
#[derive(Debug)]
pub struct Setting {
    command: &'static str,
    parameters: Map<String, Value>,
    server: Value,
}

impl Setting {
    /// Asks the server for its version, durability and size of log.
    ///
    /// # Errors
    ///
    /// What the server says.
    pub async fn ask(
        command: &'static str,
        client: &ClientArgs,
        connection: &Connection,
        parameters: &[Value],
    ) -> Result<Self, CliError> {
        let info = connection.log().get_log_info(GetLogInfoRequest {}).await?.into_inner();
        let info = pb::to_json("GetLogInfoResponse", &info);
        let field = |name: &str| info.get(name).cloned().unwrap_or(Value::Null);
        let server = json!({
            "url": client.server.server, "version": field("version"), "durability": field("durability"),
            "revision": field("revision"),
        });
        let parameters = parameters.iter().filter_map(Value::as_object).flatten();
        Ok(Self { command, parameters: parameters.map(|(k, v)| (k.clone(), v.clone())).collect(), server })
    }
}

/// Filters as a result tells them.
#[must_use]
pub fn filters(filters: &[Filter]) -> Value {
    filters.iter().map(|filter| pb::to_json("Filter", filter)).collect::<Vec<_>>().into()
}

/// A figure that not every command has: its name for people, its name in JSON, and the value.
pub type Extra = (&'static str, &'static str, Value);

/// How the calls of a command are called: what is counted, and what the times are of.
#[derive(Debug, Clone, Copy)]
pub struct Words {
    /// Such as `lookups`.
    pub calls: &'static str,
    /// Such as `latency`.
    pub times: &'static str,
}

/// Prints a run of calls.
///
/// # Errors
///
/// [`CliError::CallsFailed`] after everything was printed, if any call did.
pub fn print(
    client: &ClientArgs,
    setting: &Setting,
    words: Words,
    run: &Measured,
    extra: &[Extra],
) -> Result<(), CliError> {
    let calls = run.latency.count();
    let mut figures: Vec<Extra> = vec![
        (words.calls, "calls", json!(calls)),
        ("a second", "callsPerSecond", json!(round(run.per_second(calls)))),
        ("bytes a second", "bytesPerSecond", json!(round(run.per_second(run.bytes)))),
        ("seconds", "seconds", json!(run.took.as_secs_f64())),
    ];
    figures.extend(extra.iter().cloned());
    print_with(client, setting, run, &figures, &[(words.times, "latencyMs", &run.latency)])
}

/// Prints figures and times.
///
/// # Errors
///
/// As of [`print`].
pub fn print_with(
    client: &ClientArgs,
    setting: &Setting,
    run: &Measured,
    figures: &[Extra],
    times: &[(&str, &str, &Times)],
) -> Result<(), CliError> {
    let mut out = Out::new(client.output.output);
    if out.is_table() {
        for line in lines(figures, times, run) {
            out.line(line)?;
        }
    } else {
        out.object(&object(setting, figures, times, run))?;
    }
    out.flush()?;
    match run.failures() {
        0 => Ok(()),
        failed => Err(CliError::CallsFailed { failed }),
    }
}

fn lines(figures: &[Extra], times: &[(&str, &str, &Times)], run: &Measured) -> Vec<String> {
    let mut table = output::table(["", ""]);
    for (name, _, value) in figures {
        table.add_row([(*name).to_owned(), readable(value)]);
    }
    for (name, _, times) in times.iter().filter(|(_, _, times)| times.count() > 0) {
        for (percentile, ms) in times.in_ms() {
            table.add_row([format!("{name} {percentile}"), format!("{ms:.2} ms")]);
        }
    }
    if run.unsent > 0 {
        table.add_row(["due, but not sent".to_owned(), format!("{}: the rate is too high", run.unsent)]);
    }
    table.add_row(["errors".to_owned(), run.failures().to_string()]);
    // The line of headings is empty.
    let text = output::trimmed(&table);
    text.lines().skip(1).map(str::to_owned).chain(run.fault_lines().map(|line| format!("   {line}"))).collect()
}

fn object(setting: &Setting, figures: &[Extra], times: &[(&str, &str, &Times)], run: &Measured) -> Value {
    let mut object = Map::new();
    object.insert("command".into(), setting.command.into());
    object.insert("parameters".into(), setting.parameters.clone().into());
    object.insert("server".into(), setting.server.clone());
    object.extend(figures.iter().map(|(_, name, value)| ((*name).to_owned(), value.clone())));
    object.extend(times.iter().map(|(_, name, times)| ((*name).to_owned(), times.to_json())));
    object.insert("unsent".into(), run.unsent.into());
    object.insert("failed".into(), run.failures().into());
    object.insert("errors".into(), run.faults_json());
    object.into()
}

/// To a tenth, which is more than any run is exact to.
pub fn round(figure: f64) -> f64 {
    (figure * 10.0).round() / 10.0
}

/// Thousands apart.
fn readable(value: &Value) -> String {
    let text = match value {
        Value::String(text) => return text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(figure) if !number.is_u64() && figure < 100.0 => return format!("{figure:.1}"),
            Some(figure) => format!("{figure:.0}"),
            None => number.to_string(),
        },
        other => return other.to_string(),
    };
    let digits = text.len();
    text.chars().enumerate().fold(String::new(), |mut text, (at, digit)| {
        if at > 0 && (digits - at) % 3 == 0 {
            text.push('\u{a0}');
        }
        text.push(digit);
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_readable() {
        let read = |value: Value| readable(&value).replace('\u{a0}', " ");
        assert_eq!(read(json!(1_234_567)), "1 234 567");
        assert_eq!(read(json!(123)), "123");
        assert_eq!(read(json!(1234.56)), "1 235");
        assert_eq!(read(json!(9.87)), "9.9");
        assert_eq!(read(json!(7)), "7");
    }
}
