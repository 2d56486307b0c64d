//! The words that made-up records are made of.

use crate::cli::bench::draw::Draw;

/// Syllables that names and places are made of.
const SYLLABLES: &[&str] = &[
    "ba", "bel", "bor", "da", "dar", "den", "el", "far", "ga", "gor", "hal", "il", "ka", "kas", "kor", "la", "lan",
    "lem", "ma", "mar", "mir", "na", "nor", "ol", "or", "pa", "pol", "ra", "ren", "ros", "sa", "sel", "sha", "ta",
    "tam", "tor", "ul", "va", "ver", "vol", "ya", "zan", "zer", "zu",
];

const ENDINGS: &[&str] =
    &["ov", "sen", "man", "idze", "escu", "yan", "ski", "oglu", "ez", "ini", "ko", "ard", "wen", ""];

const PLACE_ENDINGS: &[&str] = &["burg", "abad", "ville", "grad", "stan", "mouth", "holm", "ton", "a", "o", "i", ""];

/// Those who print news, after the name of a place.
pub const PAPERS: &[&str] =
    &["Press Service", "Gazette", "News Agency", "Herald", "Defence Bulletin", "Observer", "Post"];

/// Ranks as they are stated.
pub const RANKS: &[&str] = &[
    "Colonel",
    "Brigadier General",
    "Major General",
    "Lieutenant General",
    "General",
    "Colonel General",
    "Rear Admiral",
    "Vice Admiral",
    "Admiral",
];

/// Posts of those who visit.
pub const POSTS: &[&str] = &[
    "Minister of Defence",
    "Deputy Minister of Defence",
    "Chief of the General Staff",
    "Commander of the Navy",
    "Commander of the Air Force",
    "Commander of the Land Forces",
    "Prime Minister",
    "Minister of Foreign Affairs",
    "Head of the Department for International Cooperation",
    "Secretary of the Security Council",
];

const WHO: &[&str] = &[
    "The delegation",
    "The guests",
    "The two sides",
    "The ministers",
    "Both staffs",
    "The working groups",
    "The hosts",
    "The commanders",
    "The heads of department",
    "The military attachés",
];

const DID: &[&str] = &[
    "toured",
    "were shown round",
    "held talks at",
    "exchanged views at",
    "laid flowers at",
    "were briefed at",
    "opened",
    "inspected",
    "attended a demonstration at",
    "paid a call at",
    "signed the guest book at",
    "reviewed the year's plan at",
];

const WHERE: &[&str] = &[
    "a training centre for mountain troops",
    "the naval base",
    "an air defence battery",
    "the staff college",
    "a military hospital",
    "the peacekeeping centre",
    "an aircraft repair works",
    "a mine clearance range",
    "the simulation centre",
    "a logistics depot",
    "the museum of the armed forces",
    "the cadet school",
    "a signals regiment",
    "the search and rescue centre",
    "a shipyard",
];

const ABOUT: &[&str] = &[
    "joint exercises",
    "the training of cadets",
    "mine clearance",
    "air traffic over the border",
    "spare parts",
    "the language training of officers",
    "medical evacuation",
    "maritime patrols",
    "the exchange of information",
    "military topography",
    "the next peacekeeping rotation",
    "cyber defence",
    "arms control",
    "the care of veterans",
    "winter training",
    "disaster relief",
];

const HOW: &[&str] = &[
    "and agreed to go on next year",
    "without naming dates",
    "and asked their experts to report",
    "in an expanded session",
    "behind closed doors",
    "and noted steady progress",
    "as foreseen in the plan for the year",
    "and set up a joint commission",
    "",
    "",
];

/// A name of two words.
pub fn name(draw: &mut Draw) -> String {
    let given = word(draw, 2, 2);
    let family = word(draw, 1, 3);
    let ending = draw.pick(ENDINGS);
    format!("{} {}", capital(&given), capital(&format!("{family}{ending}")))
}

/// The name of a town.
pub fn place(draw: &mut Draw) -> String {
    let stem = word(draw, 2, 2);
    capital(&format!("{stem}{}", draw.pick(PLACE_ENDINGS)))
}

/// So many sentences on what was done and talked about.
pub fn sentences(draw: &mut Draw, count: u64) -> String {
    let sentences: Vec<String> = (0..count).map(|_| sentence(draw)).collect();
    sentences.join(" ")
}

fn sentence(draw: &mut Draw) -> String {
    let (who, did, site, town) = (draw.pick(WHO), draw.pick(DID), draw.pick(WHERE), place(draw));
    let (about, how) = (draw.pick(ABOUT), draw.pick(HOW));
    let text = match draw.below(3) {
        0 => format!("{who} {did} {site} near {town} {how}"),
        1 => format!("{who} spoke about {about} and {} {how}", draw.pick(ABOUT)),
        _ => format!("In {town} {} {did} {site}, and spoke about {about}", lower(who)),
    };
    format!("{}.", text.trim_end())
}

/// As a part of a record's name.
pub fn slug(text: &str) -> String {
    text.to_lowercase().replace(' ', "-")
}

fn word(draw: &mut Draw, least: u64, most: u64) -> String {
    (0..draw.between(least, most)).map(|_| draw.pick(SYLLABLES)).collect()
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn lower(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}
