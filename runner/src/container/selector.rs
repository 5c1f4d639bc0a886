//! Which containers a user asked for.
//!
//! The words are those of `--containername` and its kin: comma lists, `!x` excludes, nothing selects all.

use std::collections::BTreeMap;

use super::Container;

/// The most digits of an image's identifier or digest that are compared, as short identifiers are shown.
const SHORT_HASH: usize = 12;
/// The fewest that are worth comparing.
const SHORTEST_HASH: usize = 4;

/// The texts of the flags a [`Selector`] is parsed from; an empty one sets no condition.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filters<'a> {
    /// Container names as the runtime has them.
    pub container_name: &'a str,
    /// Image digests, with or without algorithm, at least their first 4 digits.
    pub image_digest: &'a str,
    /// Image identifiers, likewise.
    pub image_id: &'a str,
    /// Namespaces of pods.
    pub k8s_namespace: &'a str,
    /// Names of pods.
    pub k8s_pod_name: &'a str,
    /// Names of containers in pods.
    pub k8s_container_name: &'a str,
    /// Labels of pods: `k=v,…`, excluded as `!k=v` or `k=!v`.
    pub k8s_labels: &'a str,
}

/// A selector that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// An entry is no `key=value`.
    #[error("label selector {0:?} is not key=value: write it like app=web,tier=!db")]
    Label(String),
    /// An image's identifier or digest is none.
    #[error(
        "image selector {0:?} is no identifier or digest: give at least the first {SHORTEST_HASH} hexadecimal \
         digits of one, as list-containers shows it"
    )]
    Hash(String),
}

/// Says of a container whether it was asked for. The default selects all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    container_name: Names,
    image_digest: Hashes,
    image_id: Hashes,
    k8s_namespace: Names,
    k8s_pod_name: Names,
    k8s_container_name: Names,
    labels: Vec<Label>,
}

impl Selector {
    /// Parses the flags' texts.
    ///
    /// # Errors
    /// [`SelectorError::Label`] if a label entry has not exactly one `=`, [`SelectorError::Hash`] if an image's
    /// identifier or digest is not at least four hexadecimal digits.
    pub fn parse(filters: &Filters<'_>) -> Result<Self, SelectorError> {
        Ok(Self {
            container_name: Names::parse(filters.container_name),
            image_digest: Hashes::parse(filters.image_digest)?,
            image_id: Hashes::parse(filters.image_id)?,
            k8s_namespace: Names::parse(filters.k8s_namespace),
            k8s_pod_name: Names::parse(filters.k8s_pod_name),
            k8s_container_name: Names::parse(filters.k8s_container_name),
            labels: entries(filters.k8s_labels).map(Label::parse).collect::<Result<_, _>>()?,
        })
    }

    /// Whether it selects every container, whatever its name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether `container` was asked for.
    #[must_use]
    pub fn matches(&self, container: &Container) -> bool {
        self.container_name.matches(&container.name)
            && self.image_digest.matches(&container.image_digest)
            && self.image_id.matches(&container.image_id)
            && self.k8s_namespace.matches(&container.k8s.namespace)
            && self.k8s_pod_name.matches(&container.k8s.pod_name)
            && self.k8s_container_name.matches(&container.k8s.container_name)
            && self.labels.iter().all(|label| label.matches(&container.k8s.pod_labels))
    }
}

/// One list of names: any of the included ones (if there are any), and none of the excluded ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Names {
    included: Vec<String>,
    excluded: Vec<String>,
}

impl Names {
    fn parse(text: &str) -> Self {
        let mut names = Self::default();
        for entry in entries(text) {
            match entry.strip_prefix('!') {
                Some("") => {}
                Some(name) => names.excluded.push(name.to_owned()),
                None => names.included.push(entry.to_owned()),
            }
        }
        names
    }

    fn matches(&self, name: &str) -> bool {
        self.matches_by(|other| other == name)
    }

    fn matches_by(&self, is_it: impl Fn(&String) -> bool) -> bool {
        (self.included.is_empty() || self.included.iter().any(&is_it)) && !self.excluded.iter().any(is_it)
    }
}

/// One list of hashes, each by its first digits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Hashes(Names);

impl Hashes {
    fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut names = Names::parse(text);
        for name in names.included.iter_mut().chain(&mut names.excluded) {
            let digits = short_hash(name).to_ascii_lowercase();
            if digits.len() < SHORTEST_HASH || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(SelectorError::Hash(name.clone()));
            }
            *name = digits;
        }
        Ok(Self(names))
    }

    fn matches(&self, hash: &str) -> bool {
        let digits = short_hash(hash);
        self.0.matches_by(|wanted| digits.starts_with(wanted.as_str()))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Label {
    key: String,
    value: String,
    excluded: bool,
}

impl Label {
    fn parse(entry: &str) -> Result<Self, SelectorError> {
        let (key, value) = entry
            .split_once('=')
            .filter(|(key, value)| !key.trim_start_matches('!').is_empty() && !value.contains('='))
            .ok_or_else(|| SelectorError::Label(entry.to_owned()))?;
        let excluded = key.starts_with('!') || value.starts_with('!');
        let bare = |text: &str| text.strip_prefix('!').unwrap_or(text).to_owned();
        Ok(Self { key: bare(key), value: bare(value), excluded })
    }

    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        (labels.get(&self.key) == Some(&self.value)) != self.excluded
    }
}

fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

/// The first digits of a hash, without its algorithm.
fn short_hash(hash: &str) -> &str {
    let digits = hash.rsplit_once(':').map_or(hash, |(_, digits)| digits);
    digits.char_indices().nth(SHORT_HASH).map_or(digits, |(end, _)| &digits[..end])
}

#[cfg(test)]
mod tests {
    use super::super::tests::paper;
    use super::*;

    fn selects(filters: Filters<'_>, change: impl FnOnce(&mut Container)) -> bool {
        let mut container = paper("c", 1, 1);
        change(&mut container);
        Selector::parse(&filters).unwrap().matches(&container)
    }

    #[test]
    fn names_include_and_exclude() {
        let named = |list, name: &str| {
            selects(Filters { container_name: list, ..Filters::default() }, |container| {
                container.name = name.into();
            })
        };
        assert!(named("", "web"));
        assert!(named("db, web", "web"));
        assert!(!named("db", "web"));
        assert!(!named("we", "web"));
        assert!(!named("!web", "web"));
        assert!(named("!web", "db"));
        assert!(!named("web,!web", "web"));
        assert!(named("!", "web"));
    }

    #[test]
    fn every_condition_holds() {
        let filters = Filters { k8s_namespace: "prod", k8s_pod_name: "!b", ..Filters::default() };
        let pod = |namespace: &str, name: &str| {
            selects(filters, |container| {
                container.k8s.namespace = namespace.into();
                container.k8s.pod_name = name.into();
            })
        };
        assert!(pod("prod", "a"));
        assert!(!pod("prod", "b"));
        assert!(!pod("test", "a"));
    }

    #[test]
    fn digests_compare_by_their_first_digits_up_to_twelve() {
        let digest = |wanted| {
            selects(Filters { image_digest: wanted, ..Filters::default() }, |container| {
                container.image_digest = "sha256:0123456789abcdef".into();
            })
        };
        assert!(digest("sha256:0123456789abcdef"));
        assert!(digest("0123456789abcdef"));
        assert!(digest("0123456789ab"));
        assert!(!digest("0123456789ac"));
        assert!(digest("0123456789abffff"));
        assert!(digest("01234") && digest("sha256:0123,ffff") && digest("0123456789AB"));
        assert!(!digest("01235"));
        assert!(!digest("!sha256:0123456789ab") && !digest("!0123"));
        assert!(digest("!01235"));
        for bad in ["012", "!012", "sha256:", "nginx", "web:latest"] {
            let filters = Filters { image_id: bad, ..Filters::default() };
            let error = SelectorError::Hash(bad.trim_start_matches('!').to_owned());
            assert_eq!(Selector::parse(&filters), Err(error));
        }
    }

    #[test]
    fn labels_compare_key_and_value() {
        let labelled = |wanted| {
            selects(Filters { k8s_labels: wanted, ..Filters::default() }, |container| {
                container.k8s.pod_labels.insert("app".to_owned(), "web".to_owned());
            })
        };
        assert!(labelled("app=web"));
        assert!(!labelled("app=web,tier=db"));
        assert!(!labelled("!app=web"));
        assert!(!labelled("app=!web"));
        assert!(labelled("app=!db,tier=!db"));
        for bad in ["app", "=web", "a=b=c", "!=x"] {
            let filters = Filters { k8s_labels: bad, ..Filters::default() };
            assert_eq!(Selector::parse(&filters), Err(SelectorError::Label(bad.to_owned())));
        }
    }

    #[test]
    fn nothing_asked_is_everything() {
        assert!(Selector::parse(&Filters::default()).unwrap().is_empty());
        let filters = Filters { container_name: "a", ..Filters::default() };
        assert!(!Selector::parse(&filters).unwrap().is_empty());
    }
}
