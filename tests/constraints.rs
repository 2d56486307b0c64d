//! The table of constraints, the contract's comments and what is refused say the same.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use attache::{
    domain::{
        constraints::{self, Constraint, EVERY_KIND, MAX_ITEMS, MAX_TEXT, ONE_OF, TABLE},
        error::{Error, Reason},
        name,
        report::Report,
    },
    pb::{self, v1},
};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _, Value};

const AT: &str = "reports[0]";

/// The fields that a row is about: one, or one of each kind of record.
fn fields_of(message: &str, field: &str) -> Vec<FieldDescriptor> {
    let messages = if message == EVERY_KIND { name::KINDS.map(name::message).to_vec() } else { vec![message] };
    let of = |message: &str| pb::POOL.get_message_by_name(&format!("attache.v1.{message}"))?.get_field_by_name(field);
    messages
        .into_iter()
        .map(|m| of(m).unwrap_or_else(|| panic!("{m}.{field} is in the table and not in the contract")))
        .collect()
}

fn rows() -> impl Iterator<Item = (FieldDescriptor, Constraint)> {
    TABLE.iter().flat_map(|(message, field, rules)| {
        let fields = fields_of(message, field);
        fields.into_iter().flat_map(|f| rules.iter().map(move |rule| (f.clone(), *rule)))
    })
}

/// The comment at a place of the contract, on one line.
fn comment(message: &MessageDescriptor, path: &[i32]) -> String {
    let file = message.parent_file();
    let locations = file.file_descriptor_proto().source_code_info.iter().flat_map(|info| &info.location);
    let found = locations.into_iter().find(|l| l.path == path).map(|l| l.leading_comments().to_owned());
    found.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn values_of(field: &FieldDescriptor) -> Option<prost_reflect::EnumDescriptor> {
    if let Kind::Enum(values) = field.kind() { Some(values) } else { None }
}

#[test]
fn every_row_is_about_a_field_of_its_type() {
    for (field, rule) in rows() {
        let is_text = matches!(field.kind(), Kind::String);
        let fits = match rule {
            Constraint::Required | Constraint::Output => true,
            Constraint::Number(from, to) => matches!(field.kind(), Kind::Int32 | Kind::Double) && from < to,
            Constraint::WordsOf(word) => {
                let of = field.parent_message().get_field_by_name(word);
                let has_other = |f: FieldDescriptor| {
                    values_of(&f).is_some_and(|e| e.values().any(|v| v.name().ends_with("_OTHER")))
                };
                field.is_list() && of.is_some_and(has_other)
            }
            _ => is_text,
        };
        assert!(fits, "{} cannot be {rule:?}", field.full_name());
    }
    for (message, fields) in ONE_OF {
        fields.iter().for_each(|field| assert_eq!(fields_of(message, field).len(), 1));
    }
}

#[test]
fn every_field_is_in_at_most_one_row() {
    let names: Vec<_> = TABLE.iter().map(|(message, field, _)| (message, field)).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
}

/// Every vocabulary that has OTHER has words beside it, or nobody could say what it is.
#[test]
fn other_always_has_a_field_for_the_words() {
    for message in reached().keys() {
        let descriptor = pb::descriptor(message);
        for field in descriptor.fields() {
            let Some(values) = values_of(&field) else { continue };
            if values.values().any(|v| v.name().ends_with("_OTHER")) {
                let is_for_it = |rule: &Constraint| matches!(rule, Constraint::WordsOf(word) if *word == field.name());
                let words = descriptor.fields().any(|f| constraints::of(message, f.name()).iter().any(is_for_it));
                assert!(words, "{}", field.full_name());
            }
        }
    }
}

/// Words one of which a comment must have to state a constraint.
fn words_of(rule: Constraint) -> Vec<String> {
    let name = |kind: &v1::RecordKind| format!("`{}/{{id}}`", name::collection(*kind));
    match rule {
        Constraint::Required => vec!["Required".into()],
        Constraint::Output => vec!["Output only".into()],
        Constraint::Record(kind) => vec![name(&kind)],
        Constraint::Records(kinds) => vec![kinds.iter().map(name).collect::<Vec<_>>().join(" or ")],
        Constraint::AnyRecord => vec!["any kind".into()],
        Constraint::Source => vec!["`sources/{id}`".into()],
        Constraint::State => vec!["tate code".into(), "codes as in Party".into()],
        Constraint::Edtf => vec!["EDTF".into()],
        Constraint::Published => {
            vec!["a day \"2023-10-07\", which counts to 23:59:59 UTC, or an instant with offset".into()]
        }
        Constraint::Language => vec!["BCP 47 tag".into()],
        Constraint::Script => vec!["ISO 15924 code".into()],
        Constraint::Uri => vec!["a URI".into()],
        Constraint::Key => vec!["Key ".into(), "key ".into()],
        Constraint::Text(max) => vec![format!("at most {max} characters")],
        Constraint::Number(from, to) => vec![format!("From {from} to {to}")],
        Constraint::WordsOf(_) => vec!["as the source words".into(), "As the source words".into()],
    }
}

#[test]
fn the_contract_states_every_constraint_in_words() {
    let mut missing = Vec::new();
    for (field, rule) in rows() {
        let comment = comment(field.parent_message(), field.path());
        if !words_of(rule).iter().any(|words| comment.contains(words.as_str())) {
            missing.push(format!("{}: {rule:?} is not in {comment:?}", field.full_name()));
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// The words of OTHER are asked for where the value is described.
#[test]
fn the_contract_says_of_every_other_that_words_are_required() {
    for (field, rule) in rows() {
        let Constraint::WordsOf(word) = rule else { continue };
        let of = field.parent_message().get_field_by_name(word).unwrap();
        let values = values_of(&of).unwrap();
        let other = values.values().find(|v| v.name().ends_with("_OTHER")).unwrap();
        let file = values.parent_file();
        let locations = &file.file_descriptor_proto().source_code_info.as_ref().unwrap().location;
        let place = locations.iter().find(|l| l.path == other.path()).unwrap();
        assert!(place.leading_comments().contains("as-stated text is required"), "{}", other.full_name());
    }
}

#[test]
fn the_contract_states_the_bounds_without_a_row_and_what_needs_one_of_several() {
    let common = pb::descriptor("EdtfDate").parent_file();
    let head = common.file_descriptor_proto().source_code_info.as_ref().unwrap();
    let head: Vec<&str> = head.location.iter().flat_map(|l| &l.leading_detached_comments).map(String::as_str).collect();
    let head = head.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(head.contains(&format!("at most {MAX_TEXT} characters")), "{head}");
    assert!(head.contains(&format!("at most {MAX_ITEMS} elements")), "{head}");
    for (message, fields) in ONE_OF {
        let message = pb::descriptor(message);
        let names: Vec<String> = fields.iter().map(|f| format!("`{f}`")).collect();
        let words = format!("One of {} is required", names.join(" and "));
        assert!(comment(&message, message.path()).contains(&words), "{}: {words}", message.name());
    }
}

// What is filed: the smallest report that contains a field.

/// The way from a report to a message: the field of the root that it begins with, and the fields that lead there.
#[derive(Debug, Clone)]
struct Route {
    root: &'static str,
    fields: Vec<FieldDescriptor>,
}

/// The shortest way to every message that a filer can send inside a report or its source.
fn reached() -> BTreeMap<String, Route> {
    let roots = name::KINDS.map(name::message).into_iter().chain(["Source"]);
    let mut routes = BTreeMap::new();
    let mut open: VecDeque<(MessageDescriptor, Route)> =
        roots.map(|root| (pb::descriptor(root), Route { root, fields: Vec::new() })).collect();
    while let Some((message, route)) = open.pop_front() {
        if routes.contains_key(message.name()) {
            continue;
        }
        for field in message.fields() {
            let is_output = constraints::of(message.name(), field.name()).contains(&Constraint::Output);
            if let (Kind::Message(inner), false) = (field.kind(), is_output) {
                let fields = route.fields.iter().cloned().chain([field]).collect();
                open.push_back((inner, Route { root: route.root, fields }));
            }
        }
        routes.insert(message.name().to_owned(), route);
    }
    routes
}

/// A message with nothing but what it must have.
fn minimal(message: &MessageDescriptor) -> DynamicMessage {
    let mut minimal = DynamicMessage::new(message.clone());
    let of_one = ONE_OF.iter().find(|(m, _)| *m == message.name()).map(|(_, fields)| fields[0]);
    for field in message.fields() {
        let required = constraints::of(message.name(), field.name()).contains(&Constraint::Required);
        if required || of_one == Some(field.name()) {
            set(&mut minimal, &field, conforming(&field));
        }
    }
    minimal
}

/// Sets a field, as the only element if it is a list.
fn set(message: &mut DynamicMessage, field: &FieldDescriptor, value: Value) {
    let value = if field.is_list() && value.as_list().is_none() { Value::List(vec![value]) } else { value };
    message.set_field(field, value);
}

/// A value that every constraint of the field allows.
fn conforming(field: &FieldDescriptor) -> Value {
    let message = field.parent_message();
    let rules = constraints::of(message.name(), field.name());
    match field.kind() {
        Kind::Message(inner) => Value::Message(minimal(&inner)),
        Kind::Enum(values) => Value::EnumNumber(values.values().nth(1).unwrap().number()),
        Kind::String => Value::String(rules.iter().find_map(|r| text_of(*r)).unwrap_or_else(|| "word".into())),
        Kind::Int32 => Value::I32(number_of(rules, |from, _| from) as i32),
        Kind::Double => Value::F64(number_of(rules, |from, _| from)),
        Kind::Bool => Value::Bool(true),
        other => panic!("{other:?} is no type of a field that is filed"),
    }
}

fn text_of(rule: Constraint) -> Option<String> {
    let record = |kind: v1::RecordKind| Some(format!("{}/a", name::collection(kind)));
    match rule {
        Constraint::Record(kind) => record(kind),
        Constraint::Records(kinds) => record(*kinds.last()?),
        Constraint::AnyRecord => record(v1::RecordKind::Place),
        Constraint::Source => Some("sources/b".into()),
        Constraint::State => Some("AZ".into()),
        Constraint::Edtf => Some("2023-10-06".into()),
        Constraint::Published => Some("2023-10-07T10:00:00+04:00".into()),
        Constraint::Language => Some("az-Latn".into()),
        Constraint::Script => Some("Cyrl".into()),
        Constraint::Uri => Some("https://example.org/a".into()),
        Constraint::Key => Some("a-key".into()),
        Constraint::Text(max) => Some("a".repeat(max)),
        _ => None,
    }
}

fn number_of(rules: &[Constraint], pick: impl Fn(f64, f64) -> f64) -> f64 {
    rules.iter().find_map(|r| if let Constraint::Number(a, b) = r { Some(pick(*a, *b)) } else { None }).unwrap_or(1.0)
}

/// A value that this one constraint forbids; `None` if it forbids by absence.
fn violating(field: &FieldDescriptor, rule: Constraint) -> Option<Value> {
    let text = match rule {
        Constraint::Required | Constraint::Output | Constraint::WordsOf(_) => return None,
        Constraint::Number(_, to) if field.kind() == Kind::Double => return Some(Value::F64(to + 1.0)),
        Constraint::Number(_, to) => return Some(Value::I32(to as i32 + 1)),
        Constraint::Record(v1::RecordKind::Agreement) => "visits/a".into(),
        Constraint::Record(_) => "agreements/a".into(),
        Constraint::Records(_) => "persons/a".into(),
        Constraint::AnyRecord => "sources/a".into(),
        Constraint::Source => "visits/a".into(),
        Constraint::State => "XX".into(),
        Constraint::Edtf => "2023-02-30".into(),
        Constraint::Published => "2023-10".into(),
        Constraint::Language => "Russian".into(),
        Constraint::Script => "cyrillic".into(),
        Constraint::Uri => "example".into(),
        Constraint::Key => "A key".into(),
        Constraint::Text(max) => "a".repeat(max + 1),
    };
    Some(Value::String(text))
}

/// Files the smallest report around a message, and says at which path the message is.
fn file(route: &Route, message: &DynamicMessage) -> (Result<Report, Error>, String) {
    let mut path = String::new();
    let root = place(&pb::descriptor(route.root), &route.fields, message, &mut path);
    let mut report = DynamicMessage::new(pb::descriptor("Report"));
    let mut source = minimal(&pb::descriptor("Source"));
    let kind = name::KINDS.into_iter().find(|k| name::message(*k) == route.root);
    if kind.is_none() {
        source = root.clone();
    }
    let kind = kind.unwrap_or(v1::RecordKind::Place);
    let content = if route.root == "Source" { minimal(&pb::descriptor("Place")) } else { root };
    report.set_field_by_name("record", Value::String(format!("{}/a", name::collection(kind))));
    report.set_field_by_name("source", Value::Message(source));
    report.set_field_by_name(&name::message(kind).to_lowercase(), Value::Message(content));
    let report: v1::Report = report.transcode_to().unwrap();
    (Report::parse(&report, None, AT), format!("{AT}.{}{path}", route.root.to_lowercase()))
}

/// The message inside the smallest message of the root's type.
fn place(
    root: &MessageDescriptor,
    fields: &[FieldDescriptor],
    message: &DynamicMessage,
    path: &mut String,
) -> DynamicMessage {
    let Some((field, rest)) = fields.split_first() else { return message.clone() };
    path.push_str(&format!(".{}{}", field.name(), if field.is_list() { "[0]" } else { "" }));
    let Kind::Message(inner) = field.kind() else { panic!("a way leads through messages") };
    let inner = place(&inner, rest, message, path);
    let mut outer = minimal(root);
    set(&mut outer, field, Value::Message(inner));
    outer
}

#[track_caller]
fn assert_refused(outcome: (Result<Report, Error>, String), field: &str) {
    let (parsed, at) = outcome;
    let path = if field.is_empty() { at } else { format!("{at}.{field}") };
    let error = parsed.map(|r| r.name.clone()).expect_err(&path);
    assert_eq!(error.reason, Reason::FieldInvalid, "{path}");
    // A wrong name may be wrong in two ways; it is one field.
    let fields: BTreeSet<&str> = error.violations.iter().map(|v| v.field.as_str()).collect();
    assert_eq!(fields, BTreeSet::from([path.as_str()]), "{error}");
}

#[track_caller]
fn assert_accepted(outcome: (Result<Report, Error>, String), what: &str) -> Report {
    outcome.0.unwrap_or_else(|e| panic!("{} {what}: {e}", outcome.1))
}

/// What else must be stated where this field is.
fn with_companions(message: &mut DynamicMessage, field: &FieldDescriptor) {
    if field.full_name() == "attache.v1.Source.derived_from" {
        let origin = message.descriptor().get_field_by_name("origin").unwrap();
        message.set_field(&origin, conforming(&origin));
    }
}

fn refused_at(field: &FieldDescriptor) -> String {
    format!("{}{}", field.name(), if field.is_list() { "[0]" } else { "" })
}

#[test]
fn what_a_row_forbids_is_refused_with_its_path_and_what_it_allows_is_accepted() {
    let routes = reached();
    for (field, rule) in rows() {
        let message = field.parent_message();
        let route = &routes[message.name()];
        let mut good = minimal(message);
        with_companions(&mut good, &field);
        match rule {
            Constraint::Required => {
                let mut bad = good.clone();
                bad.clear_field(&field);
                assert_refused(file(route, &bad), field.name());
                assert_accepted(file(route, &good), field.name());
            }
            Constraint::Output => {
                let without = assert_accepted(file(route, &good), field.name()).stored().clone();
                let sent = match field.kind() {
                    Kind::Message(inner) => Value::Message(DynamicMessage::new(inner)),
                    _ => Value::String("sent by the filer".into()),
                };
                good.set_field(&field, sent);
                assert!(good.has_field(&field));
                let with = assert_accepted(file(route, &good), field.name()).stored().clone();
                assert_eq!(with, without, "{} is the registry's alone", field.full_name());
            }
            Constraint::WordsOf(word) => {
                let of = message.get_field_by_name(word).unwrap();
                let other = values_of(&of).unwrap().values().find(|v| v.name().ends_with("_OTHER")).unwrap().number();
                set(&mut good, &of, Value::EnumNumber(other));
                assert_refused(file(route, &good), field.name());
                set(&mut good, &field, conforming(&field));
                assert_accepted(file(route, &good), field.name());
            }
            _ => {
                set(&mut good, &field, conforming(&field));
                assert_accepted(file(route, &good), field.name());
                set(&mut good, &field, violating(&field, rule).unwrap());
                assert_refused(file(route, &good), &refused_at(&field));
            }
        }
        if let Constraint::Number(from, _) = rule {
            let below = if field.kind() == Kind::Double { Value::F64(from - 1.0) } else { Value::I32(from as i32 - 1) };
            set(&mut good, &field, below);
            assert_refused(file(route, &good), &refused_at(&field));
        }
    }
}

#[test]
fn one_of_several_fields_suffices_and_none_does_not() {
    let routes = reached();
    for (message, fields) in ONE_OF {
        let descriptor = pb::descriptor(message);
        assert_refused(file(&routes[*message], &DynamicMessage::new(descriptor.clone())), "");
        for field in *fields {
            let field = descriptor.get_field_by_name(field).unwrap();
            let mut good = DynamicMessage::new(descriptor.clone());
            set(&mut good, &field, conforming(&field));
            assert_accepted(file(&routes[*message], &good), field.name());
        }
    }
}

/// Without a row: a text has 1000 characters and something in it, a list 256 elements, an enum a value.
#[test]
fn what_has_no_row_has_the_bounds_of_its_type() {
    let bounded =
        |rules: &[Constraint]| rules.iter().all(|r| matches!(r, Constraint::Required | Constraint::WordsOf(_)));
    let mut seen = BTreeSet::new();
    for (name, route) in reached() {
        for field in pb::descriptor(&name).fields() {
            let rules = constraints::of(&name, field.name());
            if rules.contains(&Constraint::Output) {
                continue;
            }
            let with = |value: Value| {
                let mut message = minimal(&pb::descriptor(&name));
                with_companions(&mut message, &field);
                set(&mut message, &field, value);
                file(&route, &message)
            };
            if field.kind() == Kind::String && bounded(rules) {
                assert_accepted(with(Value::String("ə".repeat(MAX_TEXT))), field.name());
                assert_refused(with(Value::String("ə".repeat(MAX_TEXT + 1))), &refused_at(&field));
                assert_refused(with(Value::String(" \n".into())), &refused_at(&field));
                assert_refused(with(Value::String("a\u{0}b".into())), &refused_at(&field));
                seen.insert("text");
            }
            if let Kind::Enum(values) = field.kind() {
                let undefined = values.values().map(|v| v.number()).max().unwrap() + 1;
                assert_refused(with(Value::EnumNumber(undefined)), &refused_at(&field));
                seen.insert("enum");
            }
            if field.is_list() {
                let of = |count| Value::List(vec![conforming(&field); count]);
                assert_accepted(with(of(MAX_ITEMS)), field.name());
                assert_refused(with(of(MAX_ITEMS + 1)), field.name());
                seen.insert("list");
            }
        }
    }
    assert_eq!(seen.len(), 3);
}

// Bad input as filers send it.

fn request(json: &str) -> v1::FileReportsRequest {
    pb::from_json("FileReportsRequest", json).expect("the JSON of a request")
}

/// Reads the first report of a request, whose source is secondary unless the report names one.
fn parse(report: &str) -> Result<Report, Error> {
    let source = r#"{"name": "sources/b", "publisher": {"nameAsStated": "B"}, "kind": "SOURCE_KIND_SECONDARY"}"#;
    let request = request(&format!(r#"{{"source": {source}, "reports": [{report}]}}"#));
    Report::parse(&request.reports[0], request.source.as_ref(), AT)
}

#[track_caller]
fn assert_wrong(report: &str, path: &str) {
    let error = parse(report).map(|r| r.name.clone()).expect_err(path);
    assert_eq!(error.reason, Reason::FieldInvalid);
    let fields: Vec<&str> = error.violations.iter().map(|v| v.field.as_str()).collect();
    assert_eq!(fields, [format!("{AT}.{path}")], "{error}");
}

#[test]
fn a_day_that_no_calendar_has_is_refused() {
    assert_wrong(r#"{"record": "visits/a", "visit": {"start": {"edtf": "2023-02-30"}}}"#, "visit.start.edtf");
}

#[test]
fn a_code_that_names_no_state_is_refused() {
    assert_wrong(
        r#"{"record": "visits/a", "visit": {"guests": [{"state": "KZ"}, {"state": "UK"}]}}"#,
        "visit.guests[1].state",
    );
}

#[test]
fn a_name_of_ten_thousand_characters_is_refused_and_not_repeated_in_full() {
    let long = "a".repeat(10_000);
    let error = parse(&format!(r#"{{"record": "visits/{long}", "visit": {{}}}}"#)).unwrap_err();
    assert_eq!((error.reason, error.violations[0].field.as_str()), (Reason::FieldInvalid, "reports[0].record"));
    assert!(error.message.len() < 1000);
    assert_wrong(
        &format!(r#"{{"record": "persons/a", "person": {{"names": [{{"text": "{long}"}}]}}}}"#),
        "person.names[0].text",
    );
}

#[test]
fn content_of_another_kind_than_the_name_says_is_refused() {
    assert_wrong(r#"{"record": "agreements/a", "visit": {}}"#, "visit");
}

#[test]
fn a_content_that_names_another_record_is_refused() {
    assert_wrong(r#"{"record": "visits/a", "visit": {"name": "visits/b"}}"#, "visit.name");
    assert!(parse(r#"{"record": "visits/a", "visit": {"name": "visits/a"}}"#).is_ok());
}

#[test]
fn a_report_without_content_is_refused() {
    let error = parse(r#"{"record": "visits/a"}"#).unwrap_err();
    assert_eq!((error.reason, error.violations[0].field.as_str()), (Reason::FieldInvalid, AT));
}

#[test]
fn a_report_above_64_kib_is_too_large_whatever_else_is_wrong_with_it() {
    let name = format!(r#"{{"text": "{}"}}"#, "ş".repeat(1000));
    let names = |count: usize| vec![name.as_str(); count].join(",");
    let person = |count| format!(r#"{{"record": "persons/a", "person": {{"names": [{}]}}}}"#, names(count));
    assert!(parse(&person(32)).is_ok());
    let error = parse(&person(33)).unwrap_err();
    assert_eq!((error.reason, error.metadata["limit"].as_str()), (Reason::TooLarge, "65536"));
}

#[test]
fn ids_of_probes_are_reserved() {
    assert_wrong(r#"{"record": "visits/probe-a", "visit": {}}"#, "record");
    assert!(parse(r#"{"record": "visits/probe", "visit": {}}"#).is_ok());
}

#[test]
fn a_key_used_twice_in_one_list_is_refused() {
    let items = r#"[{"key": "k", "kind": "ITINERARY_KIND_ARRIVAL"}, {"key": "k", "kind": "ITINERARY_KIND_MEETING"}]"#;
    assert_wrong(&format!(r#"{{"record": "visits/a", "visit": {{"itinerary": {items}}}}}"#), "visit.itinerary[1].key");
}

#[test]
fn other_without_words_is_refused() {
    assert_wrong(r#"{"record": "visits/a", "visit": {"type": "VISIT_TYPE_OTHER"}}"#, "visit.type_as_stated");
    assert_wrong(
        r#"{"record": "visits/a", "visit": {"topics": ["TOPIC_CYBER", "TOPIC_OTHER"]}}"#,
        "visit.topics_as_stated",
    );
}

#[test]
fn a_list_of_257_elements_is_refused_as_a_whole() {
    let states = vec![r#"{"state": "AZ"}"#; 257].join(",");
    assert_wrong(&format!(r#"{{"record": "visits/a", "visit": {{"hosts": [{states}]}}}}"#), "visit.hosts");
}

#[test]
fn only_rulings_consider_accounts() {
    assert_wrong(r#"{"record": "visits/a", "visit": {}, "considered": ["named/b"]}"#, "considered");
    let ruling = r#"{"record": "visits/a", "visit": {}, "considered": ["named/b"],
        "source": {"name": "sources/r", "publisher": {"nameAsStated": "Desk"}, "kind": "SOURCE_KIND_EDITOR"}}"#;
    assert_eq!(&*parse(ruling).unwrap().account, "sources/r");
}

#[test]
fn a_range_that_ends_before_it_begins_is_refused() {
    assert_wrong(
        r#"{"record": "visits/a", "visit": {"durationDays": {"min": 3, "max": 2}}}"#,
        "visit.duration_days.max",
    );
}

#[test]
fn a_military_site_is_not_located_to_the_point() {
    let place = |precision: &str| {
        format!(
            r#"{{"record": "places/a", "place": {{"kind": "PLACE_KIND_MILITARY_SITE",
                "coordinates": {{"latitude": 40.4, "longitude": 49.9, "precision": "COORDINATE_PRECISION_{precision}"}}}}}}"#
        )
    };
    assert_wrong(&place("POINT"), "place.coordinates.precision");
    assert!(parse(&place("CITY")).is_ok());
}

#[test]
fn a_copy_that_says_nothing_of_whose_words_it_carries_is_refused() {
    let report = r#"{"record": "visits/a", "visit": {}, "source": {"name": "sources/c", "publisher": {"nameAsStated": "C"},
        "kind": "SOURCE_KIND_SYNDICATED_COPY", "derivedFrom": "sources/b"}}"#;
    assert_wrong(report, "source.origin");
}

#[test]
fn every_wrong_field_is_named_at_once() {
    let error =
        parse(r#"{"record": "trips/a", "visit": {"start": {"edtf": "06.10.2023"}, "hosts": [{"state": "az"}]}}"#)
            .unwrap_err();
    let fields: Vec<&str> = error.violations.iter().map(|v| v.field.as_str()).collect();
    assert_eq!(fields, ["reports[0].record", "reports[0].visit.hosts[0].state", "reports[0].visit.start.edtf"]);
}
