//! Names close to a mistyped one, for error messages.

use std::fmt;

/// Names longer than this many bytes are not compared: nothing is called so, and the comparison is quadratic.
const LONGEST: usize = 128;

/// How many names are suggested.
const MOST: usize = 3;

/// Names close to one that does not exist, the closest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suggestion(pub Vec<String>);

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [] => Ok(()),
            names => write!(f, " (did you mean {}?)", names.join(" or ")),
        }
    }
}

/// The names that `typed` was probably meant to be, in any case. Each candidate is a spelling to compare with and the
/// name to suggest for it.
pub fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = (&'a str, &'a str)>) -> Suggestion {
    let typed = typed.trim().to_lowercase();
    if typed.is_empty() || typed.len() > LONGEST {
        return Suggestion::default();
    }
    // A third of the letters may be wrong: enough for slips, too little for another word.
    let allowed = (typed.chars().count() / 3).max(1);
    let mut near: Vec<(usize, &str)> = candidates
        .into_iter()
        .filter(|(spelling, _)| spelling.len() <= LONGEST)
        .map(|(spelling, name)| (distance(&typed, &spelling.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= allowed)
        .collect();
    near.sort_by_key(|&(distance, name)| (distance, name.matches('.').count()));
    let mut names: Vec<String> = Vec::new();
    for (_, name) in near {
        if names.len() < MOST && !names.iter().any(|n| n == name) {
            names.push(name.to_owned());
        }
    }
    Suggestion(names)
}

/// Edit distance: letters inserted, removed, replaced, or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suggest(typed: &str, names: &[&str]) -> Vec<String> {
        nearest(typed, names.iter().map(|&name| (name, name))).0
    }

    #[test]
    fn distance_counts_slips() {
        for (a, b, wanted) in [
            ("", "", 0),
            ("", "abc", 3),
            ("comm", "comm", 0),
            ("comm", "com", 1),
            ("comm", "cmom", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), wanted, "{a} {b}");
            assert_eq!(distance(b, a), wanted, "{b} {a}");
        }
    }

    #[test]
    fn nearest_come_first_and_once() {
        let candidates =
            [("como", "x.y.comm"), ("proc.comm", "proc.comm"), ("comm", "proc.comm"), ("command", "x")];
        assert_eq!(nearest("conm", candidates).0, ["proc.comm"]);
        assert_eq!(nearest("comk", candidates).0, ["proc.comm", "x.y.comm"], "the less deep first");
        assert_eq!(suggest(" FPTAH ", &["fname", "fpath"]), ["fpath"]);
        assert!(suggest("quic_version", &["name"]).is_empty());
        assert!(suggest("", &["a"]).is_empty());
    }

    #[test]
    fn a_few_are_enough() {
        assert_eq!(suggest("aa", &["ab", "ac", "ad", "ae"]).len(), MOST);
    }

    #[test]
    fn a_very_long_name_is_near_nothing() {
        let long = "a".repeat(1_000_000);
        assert!(suggest(&long, &["a"]).is_empty());
        assert!(suggest("a", &[&long]).is_empty());
    }
}
