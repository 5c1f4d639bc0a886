//! Times of day in this machine's zone.
//!
//! The C library already knows `TZ`, `/etc/localtime` and the zone files, so it is asked instead of a crate that would
//! bring its own reader of them. It is asked once per second of events, not once per event.
#![allow(unsafe_code, reason = "localtime_r has no safe wrapper")]

use std::mem::MaybeUninit;

/// A second of the calendar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Civil {
    pub(super) year: i32,
    /// From 0.
    pub(super) month: u32,
    /// From 1.
    pub(super) day: u32,
    /// From Sunday, which is 0.
    pub(super) weekday: u32,
    pub(super) hour: u32,
    pub(super) minute: u32,
    pub(super) second: u32,
    /// Seconds east of Greenwich.
    pub(super) offset: i32,
}

/// Turns seconds since the Unix epoch into local time.
pub(super) type Zone = fn(i64) -> Civil;

/// The zone of this process. A time that the C library cannot tell is the epoch.
pub(super) fn local(seconds: i64) -> Civil {
    let mut tm = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are valid for the call, and all zeroes is a valid `tm`. Nothing in this program changes the
    // environment once threads run, which is what localtime_r could race with.
    let tm = unsafe {
        libc::localtime_r(&seconds, tm.as_mut_ptr());
        tm.assume_init()
    };
    let number = |value: i32| u32::try_from(value).unwrap_or(0);
    Civil {
        year: tm.tm_year.saturating_add(1900),
        month: number(tm.tm_mon),
        day: number(tm.tm_mday),
        weekday: number(tm.tm_wday),
        hour: number(tm.tm_hour),
        minute: number(tm.tm_min),
        second: number(tm.tm_sec),
        offset: i32::try_from(tm.tm_gmtoff).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_time_is_utc_plus_its_offset() {
        let civil = local(1_795_409_129);
        let seconds = i64::from(civil.hour * 3600 + civil.minute * 60 + civil.second);
        let utc = (seconds - i64::from(civil.offset)).rem_euclid(86_400);
        assert_eq!(utc, 1_795_409_129 % 86_400);
        assert_eq!((civil.year, civil.month), (2026, 10));
    }

    #[test]
    fn a_time_past_all_calendars() {
        assert_eq!(local(i64::MAX).day, 0);
    }
}
