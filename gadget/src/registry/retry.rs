//! Trying again what may go better the next time: an overloaded or restarting registry, a connection that broke.

use super::{Fault, Limits};
use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

/// The pauses of one piece of work.
pub(super) struct Backoff {
    limits: Limits,
    tried: u32,
    paused: Duration,
}

impl Backoff {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, tried: 1, paused: Duration::ZERO }
    }

    /// The work came forward: what went wrong before does not count any more.
    pub(super) fn forget(&mut self) {
        self.tried = 1;
    }

    /// Pauses if it is worth trying again, and gives the fault back if it is not.
    pub(super) async fn pause(&mut self, fault: Fault) -> Result<(), Fault> {
        match self.next(&fault, fraction()) {
            Some(pause) => {
                tokio::time::sleep(pause).await;
                Ok(())
            }
            None => Err(fault),
        }
    }

    /// How long to pause: what the registry asked for, or else twice as long each time, of which `fraction` (0 to 1)
    /// of one half is left to chance so that many clients do not come back together.
    fn next(&mut self, fault: &Fault, fraction: f64) -> Option<Duration> {
        if !fault.is_passing() || self.tried >= self.limits.tries {
            return None;
        }
        let doubled = self.limits.pause.saturating_mul(1 << (self.tried - 1).min(16));
        let pause = fault.retry_after().unwrap_or(doubled.mul_f64(0.5 + fraction / 2.0));
        let paused = self.paused.checked_add(pause).filter(|sum| *sum <= self.limits.pauses)?;
        self.paused = paused;
        self.tried += 1;
        Some(pause)
    }
}

impl Fault {
    /// Whether it may be gone a little later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::TooMany { .. } | Self::Refused(_) | Self::Dns(_) | Self::Broken { .. } => true,
            Self::Status { status, .. } => *status >= 500,
            _ => false,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooMany { after, .. } | Self::Status { after, .. } => *after,
            _ => None,
        }
    }
}

/// Does the work until it is done, or fails for good.
pub(super) async fn retried<T>(
    limits: Limits,
    mut attempt: impl AsyncFnMut() -> Result<T, Fault>,
) -> Result<T, Fault> {
    let mut backoff = Backoff::new(limits);
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(fault) => backoff.pause(fault).await?,
        }
    }
}

/// A number from 0 to 1 that differs from process to process.
fn fraction() -> f64 {
    f64::from(RandomState::new().build_hasher().finish() as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16, after: Option<u64>) -> Fault {
        let after = after.map(Duration::from_secs);
        Fault::Status { who: "registry".to_owned(), status, said: String::new(), after }
    }

    #[test]
    fn pauses_double_within_their_jitter() {
        let limits = Limits { pause: Duration::from_secs(1), ..Limits::default() };
        let mut least = Backoff::new(limits);
        let mut most = Backoff::new(limits);
        let secs = |backoff: &mut Backoff, fraction| {
            (0..5)
                .map(|_| backoff.next(&status(503, None), fraction).map(|d| d.as_secs_f64()))
                .collect::<Vec<_>>()
        };
        assert_eq!(secs(&mut least, 0.0), [Some(0.5), Some(1.0), Some(2.0), Some(4.0), None]);
        assert_eq!(secs(&mut most, 1.0), [Some(1.0), Some(2.0), Some(4.0), Some(8.0), None]);
    }

    #[test]
    fn the_registry_says_how_long_but_not_for_ever() {
        let mut backoff = Backoff::new(Limits::default());
        assert_eq!(backoff.next(&status(503, Some(20)), 0.5), Some(Duration::from_secs(20)));
        assert_eq!(backoff.next(&status(503, Some(20)), 0.5), None, "more than 30 s in all");
        assert_eq!(Backoff::new(Limits::default()).next(&status(503, Some(u64::MAX)), 0.5), None);
    }

    #[test]
    fn what_will_not_pass_is_not_tried_again() {
        for fault in [
            status(404, None),
            status(418, Some(1)),
            Fault::UnknownIssuer("h".to_owned()),
            Fault::WrongType("x".to_owned()),
        ] {
            assert_eq!(Backoff::new(Limits::default()).next(&fault, 0.5), None, "{fault}");
        }
    }
}
