//! Times as people write them.
//!
//! Must never: read the clock; `core` does no I/O.

use ::time::OffsetDateTime;
use ::time::format_description::well_known::Rfc3339;

/// Milliseconds since the epoch of an RFC 3339 time, or `None` where the text is none.
pub fn parse_rfc3339_ms(text: &str) -> Option<i64> {
    let nanos = OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp_nanos();
    i64::try_from(nanos.div_euclid(1_000_000)).ok()
}

/// When the month (UTC) of this time began, in milliseconds since the epoch; the time itself where it is outside of years 0 to 9999.
pub fn month_start_ms(ms: i64) -> i64 {
    let start = || {
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).ok()?;
        let start = time.date().replace_day(1).ok()?.midnight().assume_utc().unix_timestamp();
        start.checked_mul(1_000)
    };
    start().unwrap_or(ms)
}

/// When the month after it begins.
pub fn month_end_ms(ms: i64) -> i64 {
    // Whatever its length, 31 days after its start are in the next one.
    month_start_ms(month_start_ms(ms).saturating_add(31 * 24 * 3_600 * 1_000))
}

/// RFC 3339 in UTC, or the number itself where it is outside of years 0 to 9999.
pub fn format_rfc3339_ms(ms: i64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| ms.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_ends_where_the_next_begins() {
        for (within, begins, ends) in [
            ("2026-12-31T23:59:59.999Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("2024-02-01T00:00:00Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
            ("2026-04-30T12:00:00Z", "2026-04-01T00:00:00Z", "2026-05-01T00:00:00Z"),
        ] {
            let ms = parse_rfc3339_ms(within).unwrap();
            assert_eq!(format_rfc3339_ms(month_start_ms(ms)), begins);
            assert_eq!(format_rfc3339_ms(month_end_ms(ms)), ends);
        }
    }
}
