//! Dates as images and registries write them.

use super::Error;
use std::time::{SystemTime, UNIX_EPOCH};

/// First second of the year 10000, which RFC 3339 cannot write.
const END: u64 = 253_402_300_800;

/// The date for a new image, RFC 3339 in UTC: `SOURCE_DATE_EPOCH` if it is set, so that builds can be repeated, else
/// now.
pub fn created() -> Result<String, Error> {
    let Some(epoch) = std::env::var_os("SOURCE_DATE_EPOCH") else {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        return Ok(rfc3339(now.min(END - 1)));
    };
    let text = epoch.to_string_lossy();
    match text.parse::<u64>() {
        Ok(seconds) if seconds < END => Ok(rfc3339(seconds)),
        _ => Err(Error::Epoch(text.into_owned())),
    }
}

/// Seconds since 1970 as RFC 3339 in UTC. The civil date is Howard Hinnant's `civil_from_days`, which counts years
/// from March so that the leap day comes last.
pub fn rfc3339(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Seconds since 1970 of an RFC 3339 date; `None` if it is none, or one before 1970.
pub fn seconds_of_rfc3339(date: &str) -> Option<u64> {
    let zone = date.get(19..)?;
    let zone = zone.strip_prefix('.').map_or(zone, |z| z.trim_start_matches(|c: char| c.is_ascii_digit()));
    let offset = match zone.split_at_checked(1)? {
        ("Z", "") => 0,
        (sign @ ("+" | "-"), rest) => {
            let (hours, minutes) = rest.split_once(':')?;
            let minutes = minutes.parse::<i64>().ok()?.checked_mul(60)?;
            let offset = hours.parse::<i64>().ok()?.checked_mul(3600)?.checked_add(minutes)?;
            if sign == "+" { offset } else { -offset }
        }
        _ => return None,
    };
    let number = |range: std::ops::Range<usize>| date.get(range)?.parse::<i64>().ok();
    let days = days(number(0..4)?, number(5..7)?, number(8..10)?);
    seconds_of(days, date.get(11..19)?)?.checked_sub(offset)?.try_into().ok()
}

/// Seconds since 1970 of a date in HTTP's preferred form, `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7); `None` if
/// it is none.
#[cfg(feature = "registry")]
pub(crate) fn seconds_of_http_date(date: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, date) = date.split_once(", ")?;
    let words: Vec<&str> = date.splitn(6, ' ').collect();
    let [day, month, year, time, "GMT"] = words[..] else { return None };
    let month = MONTHS.iter().position(|known| *known == month)? as i64 + 1;
    let year = year.parse().ok().filter(|year| (1970..10_000).contains(year))?;
    seconds_of(days(year, month, day.parse::<u8>().ok()?.into()), time)?.try_into().ok()
}

/// Days since 1970 of a civil date, counting years from March so that the leap day comes last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    year * 365 + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (153 * month + 2) / 5
        + day
        - 719_469
}

/// Seconds of so many days and a time of the day, `HH:MM:SS`.
fn seconds_of(days: i64, time: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| time.get(range)?.parse::<i64>().ok();
    Some(days * 86_400 + number(0..2)? * 3600 + number(3..5)? * 60 + number(6..8)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_700_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(rfc3339(4_107_542_399), "2100-02-28T23:59:59Z");
        assert_eq!(rfc3339(END - 1), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn dates_that_were_written_are_read() {
        for seconds in [0, 951_782_400, 1_700_000_000, 4_107_542_399, END - 1] {
            assert_eq!(seconds_of_rfc3339(&rfc3339(seconds)), Some(seconds));
        }
        assert_eq!(seconds_of_rfc3339("2023-11-14T23:13:20.123+01:00"), Some(1_700_000_000));
        for bad in ["", "2023-11-14", "2023-11-14T22:13:20", "1969-12-31T23:59:59Z", "2023-11-14T22:13:20+1"]
        {
            assert_eq!(seconds_of_rfc3339(bad), None, "{bad}");
        }
    }

    #[cfg(feature = "registry")]
    #[test]
    fn dates_of_http() {
        assert_eq!(seconds_of_http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(seconds_of_http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        for bad in [
            "",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 99999999999 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
        ] {
            assert_eq!(seconds_of_http_date(bad), None, "{bad}");
        }
    }
}
