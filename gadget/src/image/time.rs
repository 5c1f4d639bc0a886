//! When an image was made, as text.

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

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn known_dates() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_700_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(rfc3339(4_107_542_399), "2100-02-28T23:59:59Z");
        assert_eq!(rfc3339(super::END - 1), "9999-12-31T23:59:59Z");
    }
}
