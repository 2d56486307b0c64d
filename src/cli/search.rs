//! `attache search`: records by words.

use clap::Args;

use super::{
    client::ClientArgs,
    error::CliError,
    fetch,
    filter_args::{DateArgs, FilterArgs},
    output::{self, Out},
    position::{self, Position},
    view::{of_record, summary, text},
};
use crate::pb::{
    self,
    v1::{AsOf, Filter, Highlight, SearchRecordsRequest, SearchResult},
};

/// Arguments of `attache search`.
#[derive(Debug, Clone, Args)]
pub struct SearchArgs {
    /// The words, in any language and spelling; a record must have all of them
    #[arg(required = true, value_name = "TEXT")]
    text: Vec<String>,
    /// At most this many
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = super::list::limit)]
    limit: usize,
    /// As it was known then: an instant with offset, or a token
    #[arg(long, value_name = "TIME|TOKEN", value_parser = position::parse)]
    known_at: Option<Position>,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    dates: DateArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// Prints what is found, best first: a table with the words marked where they stand, or the records.
///
/// # Errors
///
/// What the server says.
pub async fn run(args: &SearchArgs) -> Result<(), CliError> {
    let filters = args.filter.filters(&args.dates)?;
    let as_of = args.known_at.as_ref().map(Position::as_of);
    let (results, more) = find(args, filters, as_of).await?;
    let mut out = Out::new(args.client.output.output);
    if out.is_table() {
        if !results.is_empty() {
            out.line(table(&results))?;
        }
    } else {
        for result in &results {
            // Of any kind: the message that says which.
            let record = result.record.as_ref().ok_or(CliError::Broken("it has no record in it"))?;
            out.item(&pb::to_json("Record", record))?;
        }
        out.end_items()?;
    }
    out.flush()?;
    match (results.len(), more) {
        (0, _) => output::note("nothing matches"),
        (count, true) => output::note(format_args!("{count} shown, there are more: --limit N shows them")),
        _ => {}
    }
    Ok(())
}

async fn find(
    args: &SearchArgs,
    filters: Vec<Filter>,
    as_of: Option<AsOf>,
) -> Result<(Vec<SearchResult>, bool), CliError> {
    let mut client = args.client.connect().await?.registry();
    let query = args.text.join(" ");
    let mut request = SearchRecordsRequest { query, filters, as_of, ..SearchRecordsRequest::default() };
    let mut results = Vec::new();
    loop {
        request.page_size = fetch::page_size(Some(args.limit));
        let answer = client.search_records(request.clone()).await?.into_inner();
        results.extend(answer.results);
        let more = !answer.next_page_token.is_empty();
        if results.len() >= args.limit || !more {
            let more = more || answer.incomplete || results.len() > args.limit;
            results.truncate(args.limit);
            return Ok((results, more));
        }
        request.page_token = answer.next_page_token;
    }
}

fn table(results: &[SearchResult]) -> String {
    let mut table = output::table(["NAME", "WHEN", "WHAT", "FOUND IN"]);
    for result in results {
        let Ok((kind, record)) = of_record(result.record.as_ref()) else { continue };
        let found = result.highlights.first().map(found_in).unwrap_or_default();
        table.add_row([
            text(&record, "name").to_owned(),
            summary::when(&record),
            summary::one_line(kind, &record),
            found,
        ]);
    }
    output::trimmed(&table)
}

/// The text with its matches in brackets: a table has no colours inside.
fn found_in(highlight: &Highlight) -> String {
    let mut marked = String::new();
    for (at, c) in highlight.text.chars().enumerate() {
        let here = |place: u32| usize::try_from(place).is_ok_and(|place| place == at);
        if highlight.ranges.iter().any(|r| here(r.end)) {
            marked.push(']');
        }
        if highlight.ranges.iter().any(|r| here(r.begin)) {
            marked.push('[');
        }
        marked.push(c);
    }
    let length = highlight.text.chars().count();
    if highlight.ranges.iter().any(|r| usize::try_from(r.end).is_ok_and(|end| end == length)) {
        marked.push(']');
    }
    let field = highlight.path.trim_end_matches(".text");
    format!("{field}: {}", short(&marked))
}

/// What fits a line: from a little before the first bracket.
fn short(marked: &str) -> String {
    const WIDTH: usize = 60;
    let characters: Vec<char> = marked.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let first = characters.iter().position(|c| *c == '[').unwrap_or(0);
    let from = if characters.len() <= WIDTH { 0 } else { first.saturating_sub(WIDTH / 3) };
    let until = (from + WIDTH).min(characters.len());
    let before = if from > 0 { "…" } else { "" };
    let after = if until < characters.len() { "…" } else { "" };
    format!("{before}{}{after}", characters[from..until].iter().collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::v1::TextRange;

    fn marked(text: &str, ranges: &[(u32, u32)]) -> String {
        let ranges = ranges.iter().map(|(begin, end)| TextRange { begin: *begin, end: *end }).collect();
        found_in(&Highlight { path: "names[0].text".into(), text: text.into(), ranges })
    }

    #[test]
    fn matches_are_marked_in_the_spelling_that_stands() {
        assert_eq!(marked("Руслан Жаксылыков", &[(7, 17)]), "names[0]: Руслан [Жаксылыков]");
        assert_eq!(marked("a b c", &[(0, 1), (4, 5)]), "names[0]: [a] b [c]");
    }

    #[test]
    fn a_long_text_is_shown_around_the_match() {
        let shown = marked(&format!("{} x {}", "a".repeat(200), "b".repeat(200)), &[(201, 202)]);
        assert!(shown.contains(" [x] ") && shown.contains('…') && shown.chars().count() < 80, "{shown}");
    }
}
