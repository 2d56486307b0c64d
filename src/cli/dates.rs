//! Dates as flags take them, read here so that a typing error is answered at once.

use jiff::civil;

use crate::domain::date::Date;

/// A date in EDTF, such as `2023`, `2023-10` or `2023-10-05`; kept as it was typed.
///
/// # Errors
///
/// What is expected.
pub fn edtf(text: &str) -> Result<String, String> {
    Date::parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// A single day, such as `2024-06-01`.
///
/// # Errors
///
/// What is expected.
pub fn day(text: &str) -> Result<String, String> {
    let day: Result<civil::Date, _> = text.parse();
    match day {
        // jiff reads more forms of a day than the contract has.
        Ok(day) if day.to_string() == text => Ok(text.to_owned()),
        _ => Err("a day is expected: YYYY-MM-DD, such as 2024-06-01".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_may_be_vague_and_a_day_may_not() {
        for date in ["2023", "2023-10", "2023-10-05", "2023~", "../2023"] {
            assert_eq!(edtf(date).as_deref(), Ok(date));
        }
        for wrong in ["", "soon", "5.10.2023", "2023-13", "2023-10-05T12:00:00"] {
            assert!(edtf(wrong).is_err(), "{wrong}");
        }
        assert_eq!(day("2024-06-01").as_deref(), Ok("2024-06-01"));
        for wrong in ["2024", "2024-06", "20240601", "2024-06-01T00:00", "2024-02-30", "today"] {
            assert!(day(wrong).unwrap_err().contains("YYYY-MM-DD"), "{wrong}");
        }
    }
}
