//! The binary as people and scripts use it, against a server that it starts itself.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
};

use attache::pb::{
    self,
    v1::{self, EventType, Verdict},
};
use prost::Message as _;
use serde_json::Value;

const ATTACHE: &str = env!("CARGO_BIN_EXE_attache");

/// What a command ended with.
struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Ended {
    /// Standard output of a command that did what it was asked.
    fn done(self) -> String {
        assert_eq!(self.code, 0, "{}\n{}", self.out, self.err);
        self.out
    }

    fn lines<M: prost::Message + Default>(self, message: &str) -> Vec<M> {
        let out = self.done();
        out.lines().map(|l| pb::from_json(message, l).unwrap_or_else(|e| panic!("{message}: {e}: {l}"))).collect()
    }
}

/// A line of arguments; none of ours has spaces inside.
fn attache(server: &str, line: &str, input: &str) -> Ended {
    let mut child = Command::new(ATTACHE)
        .args(line.split_whitespace())
        .env("ATTACHE_SERVER", server)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads no input may have ended.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let ended = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Ended { code: ended.status.code().expect("no signal"), out: text(ended.stdout), err: text(ended.stderr) }
}

/// A server with the sample; it is killed with the test.
struct Served {
    child: Child,
    url: String,
    /// What it says when it starts.
    greeting: Vec<String>,
}

impl Served {
    fn sample() -> Self {
        let mut child = Command::new(ATTACHE)
            .args(["serve", "--sample", "--listen", "127.0.0.1:0", "--admin", "none"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut line = || lines.next().expect("the server starts").unwrap();
        let first = line();
        let url = first.strip_prefix("listening on ").expect("the address, first of all").to_owned();
        let greeting = std::iter::once(first).chain(std::iter::repeat_with(line).take(6)).collect();
        Self { child, url, greeting }
    }

    fn run(&self, line: &str) -> Ended {
        attache(&self.url, line, "")
    }

    fn fed(&self, line: &str, input: &str) -> Ended {
        attache(&self.url, line, input)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_first_user_sees_what_the_issue_promises() {
    let served = Served::sample();
    let greeting = served.greeting.join("\n");
    assert!(greeting.contains("loaded the sample") && greeting.matches("\n  attache ").count() == 3, "{greeting}");

    let visits = served.run("list visits --state AZ --state KZ").done();
    let seed = visits.lines().find(|l| l.contains("visits/kz-mod-az-2023-10")).expect("the seed visit");
    assert!(seed.contains("2023-10-06") && seed.contains("AZ KZ"), "{seed}");
    assert!(!visits.contains("visits/ge-mod-az-2016-12"), "both states were asked for");

    let explained = explain(&served, "visits/kz-mod-az-2023-10");
    let field = |path: &str, fields: &[v1::FieldExplanation]| fields.iter().find(|f| f.path == path).cloned().unwrap();
    let visit_type = field("type", &explained.fields);
    assert_eq!((visit_type.disputed, visit_type.account.as_str()), (false, "organizations/kz-ministry-of-defence"));
    assert!(format!("{:?}", visit_type.value).contains("VISIT_TYPE_OFFICIAL"));
    let refined = visit_type.accounts.iter().find(|a| a.account == "organizations/az-ministry-of-defence").unwrap();
    assert_eq!(refined.verdict(), Verdict::Refines);

    let plan = explain(&served, "agreements/az-kz-military-cooperation-plan-2024");
    let act = field("actions[concluded].type", &plan.fields);
    let said: Vec<_> =
        act.accounts.iter().map(|a| (a.account.as_str(), a.verdict(), format!("{:?}", a.value))).collect();
    assert!(act.disputed && said.len() == 2, "{said:?}");
    assert!(
        said.iter().any(|(a, _, v)| *a == "organizations/az-ministry-of-defence" && v.contains("ACTION_TYPE_SIGNED"))
    );
    assert!(said.iter().any(|(a, v, w)| {
        *a == "organizations/kz-ministry-of-defence" && *v == Verdict::Conflicts && w.contains("ACTION_TYPE_ENDORSED")
    }));

    // The same for people.
    let page = served.run("get visits/kz-mod-az-2023-10 --explain").done();
    let told = under(&page, "type ");
    assert!(told[0].contains("official (“официальный визит”)"), "{page}");
    assert!(told[1].contains("organizations/kz-ministry-of-defence, tamasha-170926"), "{page}");
    assert!(told[2].contains("“visit” — organizations/az-ministry-of-defence is refined"), "{page}");
    let page = served.run("get agreements/az-kz-military-cooperation-plan-2024 --explain").done();
    let told = under(&page, "actions[concluded].type ");
    assert!(told[0].contains("disputed"), "{page}");
    assert!(told.iter().any(|l| l.contains("organizations/kz-ministry-of-defence conflicts")), "{page}");
    let record = served.run("get agreements/az-kz-military-cooperation-plan-2024").done();
    assert!(record.contains("not stated"), "{record}");

    let line = "watch --from oldest --until caught-up --event AGREEMENT_SIGNED -o ndjson";
    let signings: Vec<v1::Event> = served.run(line).lines("Event");
    assert!(signings.iter().all(|e| e.r#type() == EventType::AgreementSigned));
    for year in [2024, 2025, 2026] {
        let plan = format!("agreements/az-kz-military-cooperation-plan-{year}");
        assert_eq!(signings.iter().filter(|e| e.subject == plan).count(), 1, "{plan}");
    }
}

/// What the README's walk has its reader type, in order, with what it shows below.
fn walk() -> Vec<(String, String)> {
    let readme = include_str!("../README.md");
    let walk = readme.split("\n## ").find(|part| part.starts_with("A walk\n")).expect("a walk");
    let mut steps: Vec<(String, String)> = Vec::new();
    for block in walk.split("```").skip(1).step_by(2) {
        let (language, text) = block.split_once('\n').expect("lines");
        for line in text.lines() {
            let typed = line.strip_prefix("$ ").or((language == "sh").then_some(line));
            if let Some(typed) = typed {
                steps.push((typed.to_owned(), String::new()));
            } else if let Some((_, shown)) = steps.last_mut() {
                shown.push_str(line);
                shown.push('\n');
            }
        }
    }
    steps
}

#[test]
fn the_walk_of_the_readme_can_be_walked_line_by_line() {
    let (served, folder) = (Served::sample(), tempfile::tempdir().unwrap());
    let beside = Path::new(ATTACHE).parent().expect("a folder").display();
    let path = format!("{beside}:{}", std::env::var("PATH").unwrap_or_default());
    let mut walked = 0;
    for (line, shown) in walk() {
        if let Some(name) = line.strip_prefix("cat ") {
            std::fs::write(folder.path().join(name), shown).unwrap();
            continue;
        }
        // It is left running.
        if line == "attache watch --from now" {
            continue;
        }
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(&line).current_dir(folder.path()).stdin(Stdio::null());
        let ended = shell.env("PATH", &path).env("ATTACHE_SERVER", &served.url).output().unwrap();
        assert!(ended.status.success(), "{line}: {}", String::from_utf8_lossy(&ended.stderr));
        walked += 1;
    }
    assert!(walked > 12, "the walk is read: {walked}");
}

#[test]
fn a_relation_is_shown_in_a_hundred_columns_and_given_to_scripts_in_three_forms() {
    let served = Served::sample();
    let shown = served.run("relationship az KZ --valid-at 2026-11-23").done();
    assert!(shown.lines().all(|line| line.chars().count() <= 100), "{shown}");
    assert!(shown.starts_with("AZ – KZ, as of 2026-11-23\n"), "{shown}");
    for part in [
        "AZ to KZ: 1 known",
        "last  2025-10-31  visits/az-mod-kz-2025-10",
        "nobody claims to have watched visits, meetings, agreements, exercises",
        "actions[concluded].type",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let chain = shown.lines().find(|l| l.contains("az-kz-military-cooperation-plan: ")).expect("the series of plans");
    let places: Vec<_> = ["2024", "2025", "2026"].iter().map(|year| chain.find(year).expect("each plan")).collect();
    assert!(places.is_sorted(), "{chain}");
    let months = |line: &str| line.chars().filter(|c| "·▁▂▃▄▅▆▇█".contains(*c)).count();
    let drawn = shown.lines().find(|l| l.starts_with("  visits ")).expect("a line of the timeline");
    assert_eq!(
        months(drawn),
        39,
        "from the first month that has something to the one ahead in which a plan ends: {shown}"
    );
    let few = served.run("relationship AZ KZ --valid-at 2026-11-23 --months 12").done();
    let drawn = few.lines().find(|l| l.starts_with("  visits ")).expect("a line of the timeline");
    assert!(months(drawn) == 13 && few.contains("before that: visits 3"), "{few}");

    let earlier = served.run("relationship AZ KZ --valid-at 2024-06-01").done();
    assert!(earlier.contains("next  2024-06-07  visits/kz-mod-az-2024-06"), "{earlier}");

    let relation: v1::Relationship =
        pb::from_json("Relationship", &served.run("relationship AZ KZ -o json").done()).unwrap();
    let lines: Vec<v1::Relationship> = served.run("relationship AZ KZ -o ndjson").lines("Relationship");
    assert_eq!(lines, [relation]);
    let rows = served.run("relationship AZ KZ -o csv").done();
    assert!(rows.starts_with("what,guest,host,count,") && rows.contains("\nvisits,KZ,AZ,2,"), "{rows}");
    let rows = served.run("relationship AZ KZ -o csv --part timeline").done();
    assert!(rows.contains("\n2023-10,1,0,0,1,0,partly\n"), "{rows}");
}

#[test]
fn the_relations_of_one_state_are_ranked() {
    let served = Served::sample();
    let shown = served.run("relationship AZ").done();
    let first = shown.lines().find(|l| l.starts_with(" KZ ")).expect("the relation with most records");
    assert!(shown.find(" KZ ").unwrap() < shown.find(" GE ").unwrap(), "{shown}");
    assert!(first.contains("3+") && first.contains('–'), "at least three visits, no meeting known: {first}");
    let listed: Vec<v1::RelationshipSummary> = served.run("relationship AZ -o ndjson").lines("RelationshipSummary");
    assert_eq!(listed[0].state, "KZ");
    assert_eq!(served.run("relationship AZ -o csv").done().lines().count(), listed.len() + 1);
    assert_eq!(served.run("relationship Azerbaijan").code, 64);
    assert_eq!(served.run("relationship AZ KZ --valid-at yesterday").code, 1);
    assert_eq!(served.run("relationship").code, 64);
}

/// The line that begins like this, and what is indented below it.
fn under<'a>(page: &'a str, label: &str) -> Vec<&'a str> {
    let mut lines = page.lines().skip_while(|line| !line.starts_with(label));
    let first = lines.next().unwrap_or_else(|| panic!("{label} is not in {page}"));
    std::iter::once(first).chain(lines.take_while(|line| line.starts_with(' '))).collect()
}

fn explain(served: &Served, name: &str) -> v1::ExplainRecordResponse {
    let json = served.run(&format!("get {name} --explain -o json")).done();
    pb::from_json("ExplainRecordResponse", &json).unwrap()
}

#[test]
fn a_report_goes_from_template_to_history_and_out_again() {
    let served = Served::sample();
    let folder = tempfile::tempdir().unwrap();
    for (kind, collection) in [
        ("visit", "visits"),
        ("meeting", "meetings"),
        ("agreement", "agreements"),
        ("exercise", "exercises"),
        ("person", "persons"),
        ("organization", "organizations"),
        ("place", "places"),
    ] {
        let file = folder.path().join(format!("{kind}.json"));
        std::fs::write(&file, served.run(&format!("template {kind}")).done()).unwrap();
        let (file, name) = (file.display(), format!("{collection}/example"));
        let revision = |served: &Served| served.run("log -o json").done();

        let before = revision(&served);
        let dry = served.run(&format!("file --dry-run {file}")).done();
        assert!(dry.contains("nothing was filed") && revision(&served) == before, "{dry}");
        assert_eq!(served.run(&format!("get {name}")).code, 2, "{kind}");

        let filed: Vec<v1::FileReportsResponse> =
            served.run(&format!("file {file} -o ndjson")).lines("FileReportsResponse");
        assert_eq!(filed[0].results[0].outcome(), v1::FilingOutcome::Recorded, "{kind}");
        let again: Vec<v1::FileReportsResponse> =
            served.run(&format!("file {file} -o ndjson")).lines("FileReportsResponse");
        assert_eq!(again[0].results[0].outcome(), v1::FilingOutcome::NoChange, "{kind}");
        assert!(served.run(&format!("get {name}")).done().contains(&name), "{kind}");

        let report = filed[0].results[0].report.clone();
        let retracted = served.run(&format!("retract report {report} --reason filer_error")).done();
        assert!(retracted.contains("1 report withdrawn"), "{retracted}");
        let gone = served.run(&format!("get {name}"));
        assert!(
            gone.code == 2 && gone.err.contains("RECORD_RETRACTED") && gone.err.contains("last_token"),
            "{}",
            gone.err
        );
        let stood = served.run(&format!("get {name} --known-at {}", filed[0].token)).done();
        assert!(stood.contains(&name), "{stood}");
        let history: Vec<v1::RevisionSummary> =
            served.run(&format!("history {name} -o ndjson")).lines("RevisionSummary");
        let told: Vec<_> = history.iter().map(|r| r.events[0].r#type()).collect();
        assert_eq!(told, [EventType::Recorded, EventType::Retracted], "{kind}");
    }
}

#[test]
fn search_and_match_find_what_is_there_under_other_names() {
    let served = Served::sample();
    for spelling in ["Jaksilykov", "Жаксылыков", "Zkahsylykof"] {
        let table = served.run(&format!("search {spelling}")).done();
        let first = table.lines().nth(1).expect("something is found");
        assert!(first.contains("persons/ruslan-zhaksylykov") && first.contains('['), "{spelling}: {table}");
    }
    let records: Vec<v1::Record> =
        served.run("search ruslan zhaksylykov --kind visit --state AZ -o ndjson").lines("Record");
    assert!(!records.is_empty() && records.iter().all(|r| matches!(r.kind, Some(v1::record::Kind::Visit(_)))));
    let nothing = served.run("search nothing-of-the-kind");
    assert!(nothing.err.contains("nothing matches") && nothing.done().is_empty());
    assert_eq!(served.run("search *").code, 1);

    let person = r#"{"person": {"names": [{"text": "Р. Жаксылыков"}]}}"#;
    let table = served.fed("match -", person).done();
    assert!(table.contains("persons/ruslan-zhaksylykov") && table.contains("name alike"), "{table}");
    let answers: Vec<v1::MatchRecordsResponse> = served
        .fed("match - -o ndjson", &format!("{person}\n{{\"person\": {{\"names\": [{{\"text\": \"Nobody\"}}]}}}}"))
        .lines("MatchRecordsResponse");
    assert_eq!(answers.iter().map(|a| a.candidates.is_empty()).collect::<Vec<_>>(), [false, true]);
    assert_eq!(served.fed("match -", r#"{"person": {}}"#).code, 1);
}

#[test]
fn what_is_filed_may_come_from_standard_input() {
    let served = Served::sample();
    let source = r#"{"name":"sources/desk-1","publisher":{"nameAsStated":"Desk"},"kind":"SOURCE_KIND_SECONDARY"}"#;
    let report =
        |id: &str| format!(r#"{{"record":"visits/{id}","source":{source},"visit":{{"summary":"from a pipe"}}}}"#);
    let lines = format!("{}\n// a remark\n{}\n", report("pipe-1"), report("pipe-2"));
    let filed: Vec<v1::FileReportsResponse> = served.fed("file - -o ndjson", &lines).lines("FileReportsResponse");
    assert_eq!(
        filed[0].results.iter().map(|r| r.record.as_str()).collect::<Vec<_>>(),
        ["visits/pipe-1", "visits/pipe-2"]
    );
    // The same id with another body.
    served.fed("file - --request-id once", &report("pipe-3")).done();
    let reused = served.fed("file - --request-id once", &report("pipe-4"));
    assert!(reused.code == 1 && reused.err.contains("REQUEST_ID_REUSED"), "{}", reused.err);
    assert_eq!(served.run("get visits/pipe-4").code, 2);
}

#[test]
fn every_line_of_ndjson_is_the_message_it_claims_to_be() {
    let served = Served::sample();
    let visits: Vec<v1::Visit> = served.run("list visits --all -o ndjson").lines("Visit");
    assert!(visits.len() > 5 && visits.iter().all(|v| v.name.starts_with("visits/")));
    let one: Vec<v1::Visit> = served.run("get visits/kz-mod-az-2023-10 -o ndjson").lines("Visit");
    assert_eq!(one[0], *visits.iter().find(|v| v.name == one[0].name).unwrap());
    let sources: Vec<v1::Source> = served.run("list sources --all -o ndjson").lines("Source");
    assert!(sources.iter().any(|s| s.name == "sources/azernews-215764"));
    let reports: Vec<v1::ListedReport> = served.run("reports visits/kz-mod-az-2023-10 -o ndjson").lines("ListedReport");
    assert!(reports.len() > 1 && reports.iter().all(|r| r.active));
    let events: Vec<v1::Event> = served.run("watch --from oldest --until caught-up -o ndjson").lines("Event");
    let ids: Vec<_> = events.iter().map(|e| (e.revision, e.index)).collect();
    assert!(ids.is_sorted() && ids.len() > 50);
    let frames: Vec<v1::WatchEventsResponse> =
        served.run("watch --from oldest --until caught-up --frames -o ndjson").lines("WatchEventsResponse");
    assert!(frames.iter().all(|f| !f.token.is_empty()));
    use v1::watch_events_response::Frame;
    assert!(matches!(frames.first().unwrap().frame, Some(Frame::Started(_))));
    assert!(matches!(frames.last().unwrap().frame, Some(Frame::End(_))));

    let exported: Vec<v1::Event> = served.run("export events").lines("Event");
    assert_eq!(exported, events);
    let records: Vec<v1::Record> = served.run("export records").lines("Record");
    let exported: Vec<v1::Visit> = records
        .iter()
        .filter_map(|r| if let Some(v1::record::Kind::Visit(v)) = &r.kind { Some(v.clone()) } else { None })
        .collect();
    assert_eq!((exported.len(), records.len() > exported.len()), (visits.len(), true));
    let reports: Vec<v1::Report> = served.run("export reports").lines("Report");
    assert!(reports.len() > 60 && reports.iter().all(|r| r.source.is_some()));
    let only: Vec<v1::Record> = served.run("export records --kind person").lines("Record");
    assert!(!only.is_empty() && only.iter().all(|r| matches!(r.kind, Some(v1::record::Kind::Person(_)))));
}

/// What is shown of a record fits a page where there is no terminal.
#[test]
fn records_and_explanations_are_no_wider_than_a_page() {
    let served = Served::sample();
    for line in ["get visits/kz-mod-az-2023-10", "get agreements/az-kz-military-cooperation-plan-2024"] {
        for line in [line.to_owned(), format!("{line} --explain")] {
            let page = served.run(&line).done();
            // A name or path is not broken, so that it can be copied.
            let of_words = page.lines().filter(|line| line.trim().contains(' '));
            let widest = of_words.max_by_key(|line| line.chars().count()).unwrap();
            assert!(widest.chars().count() <= 100, "{line}: {widest}");
        }
    }
}

fn sheet(csv: &str) -> (Vec<String>, Vec<Vec<String>>) {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let cells = |record: &csv::StringRecord| record.iter().map(str::to_owned).collect::<Vec<_>>();
    let headings = cells(reader.headers().unwrap());
    (headings, reader.records().map(|record| cells(&record.unwrap())).collect())
}

#[test]
fn csv_has_a_row_for_every_record_and_gives_awkward_text_back() {
    let served = Served::sample();
    let awkward = "Сказал: \"да\", потом — нет;\nвторая строка, с запятой";
    let source = r#"{"name":"sources/desk-9","publisher":{"nameAsStated":"Desk"},"kind":"SOURCE_KIND_SECONDARY"}"#;
    let visit = serde_json::json!({"summary": awkward, "guests": [{"state": "KZ"}, {"state": "UZ"}],
                                   "start": {"edtf": "2021-05~"}, "type": "VISIT_TYPE_OFFICIAL_WORKING"});
    served.fed("file -", &format!(r#"{{"record":"visits/awkward","source":{source},"visit":{visit}}}"#)).done();

    let visits: Vec<v1::Visit> = served.run("list visits --all -o ndjson").lines("Visit");
    let (headings, rows) = sheet(&served.run("list visits --all -o csv").done());
    let at = |name: &str| headings.iter().position(|h| h == name).unwrap_or_else(|| panic!("{name}"));
    assert_eq!(rows.len(), visits.len());
    let row = rows.iter().find(|row| row[0] == "visits/awkward").unwrap();
    assert_eq!(row[at("summary")], awkward);
    let shown = ["guests", "start", "type", "disputed"].map(|name| row[at(name)].as_str());
    assert_eq!(shown, ["KZ; UZ", "2021-05~", "official-working", ""]);

    let (exported, of_visits) = sheet(&served.run("export records --kind visit --format csv").done());
    assert_eq!(exported, headings, "a list and an export have the same columns");
    assert_eq!(of_visits.len(), rows.len());
    let (headings, rows) = sheet(&served.run("export records --format csv").done());
    assert_eq!((headings[0].as_str(), headings[1].as_str()), ("name", "what"));
    assert_eq!(rows.len(), served.run("export records").lines::<v1::Record>("Record").len());
    for (what, message) in [("reports", "Report"), ("events", "Event"), ("sources", "Source")] {
        let (headings, rows) = sheet(&served.run(&format!("export {what} --format csv")).done());
        let lines = served.run(&format!("export {what}")).done().lines().count();
        assert!(rows.len() == lines && lines > 20, "{message}: {} of {lines}", rows.len());
        assert!(rows.iter().all(|row| !row[0].is_empty()), "{headings:?}");
    }
    for line in ["reports visits/awkward -o csv", "history visits/awkward -o csv", "list sources -o csv"] {
        assert!(!sheet(&served.run(line).done()).1.is_empty(), "{line}");
    }
    let (_, none) = sheet(&served.run("list visits --state FR --state JP -o csv").done());
    assert!(none.is_empty(), "headings alone");
}

#[test]
fn cloud_events_have_every_attribute_that_the_specification_demands() {
    let served = Served::sample();
    let events: Vec<v1::Event> = served.run("export events").lines("Event");
    let exported = served.run("export events --format cloudevents").done();
    assert_eq!(served.run("watch --from oldest --until caught-up -o cloudevents").done(), exported);
    let cloud: Vec<Value> = exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(cloud.len(), events.len());
    for (cloud, event) in cloud.iter().zip(&events) {
        let attribute = |name: &str| cloud[name].as_str().unwrap_or_default().to_owned();
        assert_eq!(attribute("specversion"), "1.0");
        assert_eq!(attribute("datacontenttype"), "application/json");
        assert_eq!((attribute("id"), attribute("source")), (event.id.clone(), event.source.clone()));
        assert_eq!(
            (attribute("subject"), &attribute("time")),
            (event.subject.clone(), &event.time.unwrap().to_string())
        );
        assert_eq!(
            (attribute("revision"), cloud["index"].as_u64()),
            (event.revision.to_string(), Some(event.index.into()))
        );
        let words = event.r#type().as_str_name().trim_start_matches("EVENT_TYPE_").to_lowercase().replace('_', "-");
        assert_eq!(attribute("type"), format!("attache.v1.{words}"));
        let data: v1::Event = pb::from_json("Event", &cloud["data"].to_string()).unwrap();
        assert_eq!(data, *event);
        let names = cloud.as_object().unwrap().keys().filter(|name| *name != "data");
        for name in names {
            assert!(name.len() <= 20 && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()), "{name}");
        }
    }
}

#[test]
fn hints_name_what_to_try_next() {
    let served = Served::sample();
    let typo = r#"{"record":"visits/x","source":{"name":"sources/s"},"visit":{"tpye":"VISIT_TYPE_STATE"}}"#;
    for (line, input, code, word) in [
        ("cursor get desk", "", 2, "attache cursor commit"),
        ("list visits --known-at 1990-01-01T00:00:00Z", "", 1, "--valid-at"),
        ("file -", typo, 64, "visit.tpye: no field tpye; did you mean type?"),
        ("list visits --filter {\"kinds\":[\"VISIT\"]}", "", 64, "did you mean RECORD_KIND_VISIT?"),
        ("list visits --visit-type oficial", "", 64, "did you mean official?"),
        ("list visits --kind agreement", "", 64, "this is a list of visits"),
        ("list visits --status in-force", "", 64, "--status in-force"),
        ("list visits --status expird", "", 64, "did you mean expired?"),
        ("list persons --valid-at 2024-01-01", "", 64, "--valid-at: persons have no status"),
        ("list sources --valid-at 2024-01-01", "", 64, "--valid-at"),
        ("list visits --valid-at 2024", "", 64, "--valid-at"),
        ("list visits --since soon", "", 64, "--since"),
        ("list visits --until 1.1.2024", "", 64, "--until"),
        ("list visits --known-at yesterday", "", 64, "--known-at"),
        ("watch --from yesterday", "", 64, "--from"),
        ("watch --until 2024", "", 64, "--until"),
        ("get visits/kz-mod-az-2023-10 -o csv", "", 64, "-o csv"),
        ("file - -o csv", typo, 64, "did you mean"),
        ("export records --format cloudevents", "", 64, "export events"),
    ] {
        let ended = served.fed(line, input);
        assert_eq!(ended.code, code, "{line}: {}", ended.err);
        assert!(ended.err.contains(word), "{line}: {}", ended.err);
    }
    let source = r#"{"name":"sources/s","publisher":{"nameAsStated":"S"},"kind":"SOURCE_KIND_SECONDARY"}"#;
    let report = format!(r#"{{"record":"visits/x","source":{source},"visit":{{"summary":"s"}}}}"#);
    let refused = served.fed("file - -o csv", &report);
    assert!(refused.code == 64 && refused.err.contains("-o csv"), "{}", refused.err);
    assert_eq!(served.run("get visits/x").code, 2, "refused before it was filed");
}

#[test]
fn exit_codes_say_what_a_script_may_do_next() {
    let served = Served::sample();
    for (line, input, code, word) in [
        ("list visits", "", 0, ""),
        ("list visits --filter {\"hosts\":[\"QQ\"]}", "", 1, "FILTER_INVALID"),
        ("file -", r#"{"record":"visits/x","visit":{}}"#, 1, "reports[0].source"),
        ("get visits/nobody", "", 2, "RECORD_NOT_FOUND"),
        ("history visits/nobody", "", 2, "RECORD_NOT_FOUND"),
        ("retract source sources/nobody --reason filer_error", "", 2, "RECORD_NOT_FOUND"),
        ("get nonsense", "", 64, "no name of a record"),
        ("list ships", "", 64, "ships"),
        ("file /nowhere.json", "", 64, "/nowhere.json"),
        ("file -", "{", 64, "line"),
        ("serve --listen 0.0.0.0:0 --in-memory", "", 64, "--insecure-listen"),
        ("serve --listen nowhere --in-memory", "", 64, "nowhere"),
        ("serve --config /nowhere.toml", "", 64, "/nowhere.toml"),
    ] {
        let ended = served.fed(line, input);
        assert_eq!(ended.code, code, "{line}: {}", ended.err);
        assert!(ended.err.contains(word), "{line}: {}", ended.err);
        assert!(code == 0 || ended.out.is_empty(), "{line}: {}", ended.out);
        assert!(!ended.err.contains('\u{1b}'), "{line}: colour where no terminal is: {:?}", ended.err);
    }
    let nobody = attache("http://127.0.0.1:1", "list visits", "");
    assert!(nobody.code == 3 && nobody.err.contains("attache serve"), "{}", nobody.err);
}

#[test]
fn health_log_descriptors_and_completions_answer() {
    let served = Served::sample();
    let health = served.run("health -o ndjson").done();
    let states: Vec<Value> = health.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(states.len(), 5);
    assert!(states.iter().all(|s| s["status"] == "SERVING"), "{health}");
    assert_eq!(attache("http://127.0.0.1:1", "health", "").code, 3);

    let info: v1::GetLogInfoResponse = pb::from_json("GetLogInfoResponse", &served.run("log -o json").done()).unwrap();
    assert!(info.revision > 0 && !info.token.is_empty());

    // Without a server.
    let ended = Command::new(ATTACHE).arg("descriptors").output().unwrap();
    let set = prost_types::FileDescriptorSet::decode(ended.stdout.as_slice()).unwrap();
    let file = set.file.iter().find(|f| f.name() == "attache/v1/registry_service.proto").unwrap();
    assert!(file.source_code_info.is_some(), "with comments");
    for shell in ["bash", "zsh", "fish"] {
        let script = attache("", &format!("completions {shell}"), "").done();
        assert!(script.contains("attache"), "{shell}");
    }
}

#[test]
fn a_server_that_is_told_to_stop_ends_in_good_order_and_logs_without_colour() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(ATTACHE)
        .args(["serve", "--listen", "127.0.0.1:0", "--log", "debug", "--data-dir"])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    out.read_line(&mut first).unwrap();
    let url = first.trim().strip_prefix("listening on ").unwrap().to_owned();
    attache(&url, "list visits", "").done();
    let told = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(told.success() && child.wait().unwrap().success());
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(!log.contains('\u{1b}'), "{log:?}");
    let line = log.lines().find(|l| l.contains("ListVisits")).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("request_id"), "{line}");
}
