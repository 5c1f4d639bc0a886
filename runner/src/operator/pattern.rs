//! Regular expressions of filters, which may come from far away: how large one may become is bounded, and so is, by
//! the way that they are matched, the time that one takes.

use regex::bytes::{Regex, RegexBuilder};

/// Bytes of the longest regular expression.
const MAX_LENGTH: usize = 4 << 10;

/// Bytes of memory that a compiled one may take, and as many again for what matching it learns.
const MAX_SIZE: usize = 1 << 20;

/// Compiles a regular expression; what matches need not be UTF-8.
///
/// # Errors
/// When it is none, or is too large; tells why.
pub(super) fn compile(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > MAX_LENGTH {
        return Err(format!("it is longer than {} KiB", MAX_LENGTH >> 10));
    }
    let compiled = RegexBuilder::new(pattern).size_limit(MAX_SIZE).dfa_size_limit(MAX_SIZE).build();
    compiled.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "it needs too much memory".to_owned(),
        error => error.to_string(),
    })
}
