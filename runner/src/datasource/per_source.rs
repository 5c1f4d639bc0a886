//! Values of flags that may differ by data source: `5`, or `open:5,start:7`.

use super::{Suggestion, nearest};

/// A flag names a data source that is not there.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("--{flag}: the gadget has no data source {name:?}{nearest}; it is for {available}")]
pub struct UnknownSource {
    /// The flag, without its dashes.
    pub flag: String,
    /// What was typed.
    pub name: String,
    /// What it is similar to.
    pub nearest: Suggestion,
    /// The data sources that the flag is for, joined by commas.
    pub available: String,
}

/// The value of `flag` for each of the data sources `names`. `separator` stands between the parts for different data
/// sources; a part without a name is for those that no other part names.
///
/// # Errors
/// When a part is for a data source that is none of these.
pub fn per_source<'t>(
    flag: &str,
    value: &'t str,
    separator: char,
    names: &[&str],
) -> Result<Vec<Option<&'t str>>, UnknownSource> {
    let mut values = vec![None; names.len()];
    let mut general = None;
    for part in value.split(separator).map(str::trim).filter(|part| !part.is_empty()) {
        let Some((name, value)) = part.split_once(':') else {
            general = Some(part);
            continue;
        };
        let at = names.iter().position(|known| *known == name.trim()).ok_or_else(|| UnknownSource {
            flag: flag.to_owned(),
            name: name.trim().to_owned(),
            nearest: nearest(name, names.iter().map(|known| (*known, *known))),
            available: names.join(", "),
        })?;
        values[at] = Some(value.trim());
    }
    Ok(values.into_iter().map(|value| value.or(general)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_or_one_for_each() {
        let of = |value| per_source("max-entries", value, ',', &["files", "sockets"]).unwrap();
        assert_eq!(of(""), [None, None]);
        assert_eq!(of("5"), [Some("5"), Some("5")]);
        assert_eq!(of("sockets:7"), [None, Some("7")]);
        assert_eq!(of("5, sockets: 7"), [Some("5"), Some("7")]);
        assert_eq!(
            per_source("sort", "files:a,-b;sockets:c", ';', &["files", "sockets"]).unwrap(),
            [Some("a,-b"), Some("c")]
        );
    }

    #[test]
    fn an_unknown_data_source_is_an_error() {
        let error = per_source("sort", "flies:a", ';', &["files", "sockets"]).unwrap_err();
        insta::assert_snapshot!(error, @r#"--sort: the gadget has no data source "flies" (did you mean files?); it is for files, sockets"#);
    }
}
