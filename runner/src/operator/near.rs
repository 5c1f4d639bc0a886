//! Names that look like a mistyped one, for error messages.

/// How many names are worth showing.
const MOST: usize = 3;

/// Longest name that is compared, in bytes; a longer one is near to nothing.
const LONGEST: usize = 64;

/// The candidates that `name` was probably meant to be, nearest first, at most three.
///
/// A candidate is near if a few letters differ (a third of the name, at least one), in any case, or if its last part is
/// the name: `comm` is near to `proc.comm`.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let name = name.trim();
    if name.is_empty() || name.len() > LONGEST {
        return Vec::new();
    }
    let name = name.to_lowercase();
    let most = (name.chars().count() / 3).max(1);
    let mut near: Vec<(usize, &str)> = candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= 2 * LONGEST)
        .filter_map(|candidate| {
            let lower = candidate.to_lowercase();
            let last = lower.rsplit('.').next().unwrap_or(&lower);
            let distance = distance(&name, &lower).min(distance(&name, last) + usize::from(last != lower));
            (distance <= most).then_some((distance, candidate))
        })
        .collect();
    near.sort_by_key(|&(distance, candidate)| (distance, candidate.matches('.').count()));
    near.dedup_by_key(|&mut (_, candidate)| candidate);
    near.into_iter().take(MOST).map(|(_, candidate)| candidate).collect()
}

/// How many letters must be inserted, removed, replaced, or swapped with their neighbour to turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut before = vec![0; b.len() + 1];
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

    const FIELDS: [&str; 7] =
        ["proc.parent.comm", "proc.comm", "proc.pid", "fname", "fpath", "fd", "runtime.containerName"];

    #[test]
    fn names_meant() {
        for (name, meant) in [
            ("fnmae", vec!["fname"]),
            (" fd ", vec!["fd"]),
            ("FPATH", vec!["fpath"]),
            ("comm", vec!["proc.comm", "proc.parent.comm"]),
            ("containername", vec!["runtime.containerName"]),
            ("runtime.containrName", vec!["runtime.containerName"]),
            ("quic_version", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(nearest(name, FIELDS), meant, "{name:?}");
        }
    }

    #[test]
    fn at_most_three() {
        assert_eq!(nearest("aa", ["ab", "ac", "ad", "ae"]).len(), 3);
    }

    #[test]
    fn distances() {
        for (a, b, d) in
            [("", "", 0), ("abc", "abc", 0), ("abc", "acb", 1), ("abc", "", 3), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(a, b), d, "{a} {b}");
            assert_eq!(distance(b, a), d, "{b} {a}");
        }
    }

    #[test]
    fn long_names_cost_little() {
        let long = "x".repeat(1 << 20);
        assert!(nearest(&long, ["name"]).is_empty());
        assert!(nearest("name", [long.as_str()]).is_empty());
    }
}
