//! State codes: ISO 3166-1 alpha-2, ISO 3166-3 for former states, and the project's own table. Never mapped to a successor.

/// Former states, by their four-letter code (ISO 3166-3).
pub const FORMER: &[(&str, &str)] = &[
    ("AIDJ", "French Afars and Issas"),
    ("ANHH", "Netherlands Antilles"),
    ("BQAQ", "British Antarctic Territory"),
    ("BUMM", "Burma"),
    ("BYAA", "Byelorussian SSR"),
    ("CSHH", "Czechoslovakia"),
    ("CSXX", "Serbia and Montenegro"),
    ("CTKI", "Canton and Enderbury Islands"),
    ("DDDE", "German Democratic Republic"),
    ("DYBJ", "Dahomey"),
    ("FQHH", "French Southern and Antarctic Territories"),
    ("FXFR", "Metropolitan France"),
    ("GEHH", "Gilbert and Ellice Islands"),
    ("HVBF", "Upper Volta"),
    ("JTUM", "Johnston Island"),
    ("MIUM", "Midway Islands"),
    ("NHVU", "New Hebrides"),
    ("NQAQ", "Dronning Maud Land"),
    ("NTHH", "Neutral Zone"),
    ("PCHH", "Pacific Islands (Trust Territory)"),
    ("PUUM", "US Miscellaneous Pacific Islands"),
    ("PZPA", "Panama Canal Zone"),
    ("RHZW", "Southern Rhodesia"),
    ("SKIN", "Sikkim"),
    ("SUHH", "Soviet Union"),
    ("TPTL", "East Timor"),
    ("VDVN", "Viet-Nam, Democratic Republic of"),
    ("WKUM", "Wake Island"),
    ("YDYE", "Yemen, Democratic"),
    ("YUCS", "Yugoslavia"),
    ("ZRCD", "Zaire"),
];

/// States that ISO 3166 does not know: the project's own table.
pub const OWN: &[(&str, &str)] = &[
    ("x-austria-hungary", "Austria-Hungary"),
    ("x-baden", "Grand Duchy of Baden"),
    ("x-bavaria", "Kingdom of Bavaria"),
    ("x-congo-free-state", "Congo Free State"),
    ("x-danzig", "Free City of Danzig"),
    ("x-hawaii", "Kingdom of Hawaii"),
    ("x-hejaz", "Kingdom of Hejaz"),
    ("x-kosovo", "Kosovo"),
    ("x-malaya", "Federation of Malaya"),
    ("x-ottoman-empire", "Ottoman Empire"),
    ("x-prussia", "Prussia"),
    ("x-russian-empire", "Russian Empire"),
    ("x-sardinia", "Kingdom of Sardinia"),
    ("x-serbs-croats-slovenes", "Kingdom of Serbs, Croats and Slovenes"),
    ("x-south-vietnam", "Viet-Nam, Republic of"),
    ("x-sweden-norway", "Sweden and Norway"),
    ("x-tanganyika", "Tanganyika"),
    ("x-texas", "Republic of Texas"),
    ("x-united-arab-republic", "United Arab Republic"),
    ("x-wurttemberg", "Kingdom of Wurttemberg"),
    ("x-yemen-arab-republic", "Yemen Arab Republic"),
];

/// Whether a text is a state code.
#[must_use]
pub fn is_state(code: &str) -> bool {
    let listed = |table: &[(&str, &str)]| table.iter().any(|(known, _)| *known == code);
    match code.len() {
        2 => code.bytes().all(|b| b.is_ascii_uppercase()) && rust_iso3166::from_alpha2(code).is_some(),
        4 => listed(FORMER),
        _ => listed(OWN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn present_former_and_own_codes_are_states_and_nothing_else_is() {
        for good in ["AZ", "KZ", "GB", "SUHH", "DDDE", "YUCS", "x-hawaii", "x-prussia"] {
            assert!(is_state(good), "{good}");
        }
        for bad in ["", "az", "XX", "UK", "SU", "AZE", "x-atlantis", "Azerbaijan"] {
            assert!(!is_state(bad), "{bad}");
        }
    }
}
