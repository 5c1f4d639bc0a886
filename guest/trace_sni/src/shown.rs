//! Which hellos in datagrams were shown already: the eBPF program, which sees to that for TCP, cannot read them.

use std::collections::VecDeque;

/// Hellos that are remembered.
const KEPT: usize = 1024;
/// As long as the eBPF program remembers, in nanoseconds.
const LIFETIME: u64 = 30_000_000_000;

/// The hellos shown last, by their random bytes.
#[derive(Default)]
pub(crate) struct Shown(VecDeque<Sighting>);

struct Sighting {
    random: [u8; 32],
    time: u64,
    owned: bool,
}

impl Shown {
    /// Whether a hello that passed at `time`, in nanoseconds, is to be shown: one that was not, or only without its
    /// owner.
    pub(crate) fn is_first(&mut self, random: &[u8; 32], time: u64, owned: bool) -> bool {
        while self.0.front().is_some_and(|old| time.saturating_sub(old.time) > LIFETIME) {
            self.0.pop_front();
        }
        if self.0.iter().any(|old| old.random == *random && (old.owned || !owned)) {
            return false;
        }
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(Sighting { random: *random, time, owned });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT, LIFETIME, Shown};

    #[test]
    fn a_random_is_new_once_and_again_with_an_owner_or_much_later() {
        let mut shown = Shown::default();
        assert!(shown.is_first(&[1; 32], 1, false));
        assert!(!shown.is_first(&[1; 32], 2, false));
        assert!(shown.is_first(&[1; 32], 3, true));
        assert!(!shown.is_first(&[1; 32], 4, true));
        assert!(shown.is_first(&[2; 32], 5, true));
        assert!(shown.is_first(&[1; 32], LIFETIME + 5, true));
    }

    #[test]
    fn only_so_many_are_kept() {
        let mut shown = Shown::default();
        for number in 0..2 * KEPT as u64 {
            let mut random = [0; 32];
            random[..8].copy_from_slice(&number.to_le_bytes());
            assert!(shown.is_first(&random, 1, true));
        }
        assert_eq!(shown.0.len(), KEPT);
    }
}
