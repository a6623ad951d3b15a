//! Moments as a person types them.

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};

use crate::domain::time::CHINA_STANDARD_TIME;

/// Reads a moment: RFC 3339, a civil time in China Standard Time (`2026-03-01 10:00`), `now`, or a distance from now
/// (`+3d`, `-2h`, `+90m`).
///
/// # Errors
/// Says what is accepted.
pub fn read(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let text = text.trim();
    if text == "now" {
        return Ok(now);
    }
    if let Some(distance) = distance(text) {
        return now.checked_add(distance).map_err(|_| "lies too far away".to_owned());
    }
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    let civil: DateTime = text.parse().map_err(|_| {
        "expected 2026-03-01T10:00:00+08:00, 2026-03-01 10:00 (China Standard Time), now, or a distance such as +3d, -2h, +90m"
            .to_owned()
    })?;
    TimeZone::fixed(CHINA_STANDARD_TIME).to_timestamp(civil).map_err(|_| "lies too far away".to_owned())
}

fn distance(text: &str) -> Option<SignedDuration> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let unit = match text.as_bytes().last()? {
        b's' => 1,
        b'm' => 60,
        b'h' => 3_600,
        b'd' => 86_400,
        _ => return None,
    };
    let count: u32 = text.get(1..text.len() - 1)?.parse().ok()?;
    Some(SignedDuration::from_secs(sign * unit * i64::from(count)))
}

/// Converts a moment to the contract's form.
pub fn to_proto(moment: Timestamp) -> prost_types::Timestamp {
    let (mut seconds, mut nanos) = (moment.as_second(), moment.subsec_nanosecond());
    if nanos < 0 {
        seconds -= 1;
        nanos += 1_000_000_000;
    }
    prost_types::Timestamp { seconds, nanos }
}

/// Converts a moment of the contract; `None` when it is no moment.
pub fn from_proto(moment: &prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::new(moment.seconds, moment.nanos).ok()
}

/// Shows a moment of the contract in China Standard Time.
pub fn show(moment: &prost_types::Timestamp) -> String {
    from_proto(moment).map_or_else(
        || "no moment".to_owned(),
        |moment| CHINA_STANDARD_TIME.to_datetime(moment).strftime("%Y-%m-%d %H:%M:%S CST").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-03-01T02:00:00Z".parse().unwrap()
    }

    #[test]
    fn moments_are_read_in_every_form() {
        for (text, moment) in [
            ("now", "2026-03-01T02:00:00Z"),
            ("+3d", "2026-03-04T02:00:00Z"),
            ("-90m", "2026-03-01T00:30:00Z"),
            ("2026-03-01T10:00:00+08:00", "2026-03-01T02:00:00Z"),
            ("2026-03-01 10:00", "2026-03-01T02:00:00Z"),
            ("2026-03-01", "2026-02-28T16:00:00Z"),
        ] {
            assert_eq!(read(text, now()).unwrap().to_string(), moment, "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "+", "+d", "tomorrow", "+99999999999d", "2026-02-30"] {
            assert!(read(text, now()).is_err(), "{text}");
        }
    }

    #[test]
    fn moments_before_1970_keep_their_fraction_positive() {
        let moment: Timestamp = "1969-12-31T23:59:59.25Z".parse().unwrap();
        assert_eq!(to_proto(moment), prost_types::Timestamp { seconds: -1, nanos: 250_000_000 });
        assert_eq!(from_proto(&to_proto(moment)), Some(moment));
    }
}
