//! Names close to a mistyped one, for error messages.

use super::Suggestion;

/// Names longer than this are not compared: no field is called so, and the comparison is quadratic.
const LONGEST: usize = 128;

/// How many names are suggested.
const MOST: usize = 3;

/// The names nearest to `wanted`. Each candidate is a spelling to compare with and the name to suggest for it.
pub(super) fn suggest<'a>(wanted: &str, candidates: impl Iterator<Item = (&'a str, &'a str)>) -> Suggestion {
    let wanted = wanted.to_ascii_lowercase();
    if wanted.len() > LONGEST {
        return Suggestion::default();
    }
    // A third of the letters may be wrong: enough for slips, too little for another word.
    let allowed = (wanted.chars().count() / 3).max(1);
    let mut near: Vec<(usize, &str)> = candidates
        .filter(|(spelling, _)| spelling.len() <= LONGEST)
        .map(|(spelling, name)| (distance(&wanted, &spelling.to_ascii_lowercase()), name))
        .filter(|(distance, _)| *distance <= allowed)
        .collect();
    near.sort_by_key(|(distance, _)| *distance);
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

    #[test]
    fn distance_counts_slips() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("comm", "comm"), 0);
        assert_eq!(distance("comm", "com"), 1);
        assert_eq!(distance("comm", "cmom"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn nearest_come_first_and_once() {
        let candidates =
            [("proc.comm", "proc.comm"), ("comm", "proc.comm"), ("name", "name"), ("command", "x")];
        assert_eq!(suggest("conm", candidates.into_iter()), Suggestion(vec!["proc.comm".to_owned()]));
    }

    #[test]
    fn a_very_long_name_is_near_nothing() {
        let long = "a".repeat(1_000_000);
        assert_eq!(suggest(&long, [("a", "a")].into_iter()), Suggestion::default());
    }
}
