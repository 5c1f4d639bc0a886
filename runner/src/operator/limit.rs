//! Cuts batches, as `--max-entries` says.

use super::{Operator, Verdict};
use crate::datasource::{Event, Packet};

/// A limit that is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("--max-entries: {0:?} is no limit; write how many entries of a batch to show, or -1 for all")]
pub struct Error(String);

/// The operator that leaves out what goes beyond a limit.
pub struct Limit(usize);

impl Limit {
    /// Compiles a limit. `None` if it is -1: all is shown.
    ///
    /// # Errors
    /// When it is no number, or one below -1.
    pub fn attach(limit: &str) -> Result<Option<Box<dyn Operator>>, Error> {
        match limit.trim() {
            "-1" => Ok(None),
            other => {
                let limit = other.parse().map_err(|_| Error(other.to_owned()))?;
                Ok(Some(Box::new(Self(limit))))
            }
        }
    }
}

impl Operator for Limit {
    fn name(&self) -> &'static str {
        "limiter"
    }

    fn process(&mut self, _: &mut Event<'_>) -> Verdict {
        Verdict::Pass
    }

    fn arrange(&mut self, batch: &mut Vec<Packet>) {
        batch.truncate(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_cut() {
        for (limit, left) in [("0", 0), ("2", 2), ("9", 3)] {
            let mut batch: Vec<Packet> = (0..3).map(|_| Packet::default()).collect();
            Limit::attach(limit).unwrap().unwrap().arrange(&mut batch);
            assert_eq!(batch.len(), left, "{limit}");
        }
        assert!(Limit::attach("-1").unwrap().is_none());
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        for wrong in ["", "x", "-2", "1.5"] {
            assert!(Limit::attach(wrong).is_err(), "{wrong}");
        }
        insta::assert_snapshot!(Error("x".to_owned()), @r#"--max-entries: "x" is no limit; write how many entries of a batch to show, or -1 for all"#);
    }
}
