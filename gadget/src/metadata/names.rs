//! A map whose keys are looked up without regard to case and kept as they were written.

use std::collections::BTreeMap;

/// A map by name. Sorted by the lower-cased name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names<T>(BTreeMap<String, (String, T)>);

impl<T> Names<T> {
    /// Finds a value; the case of `name` does not matter.
    pub fn get(&self, name: &str) -> Option<&T> {
        match self.0.get(name) {
            Some((_, value)) => Some(value),
            None => self.0.get(&name.to_lowercase()).map(|(_, value)| value),
        }
    }

    /// Sets a value and returns the one that was there under the same name.
    pub fn insert(&mut self, name: String, value: T) -> Option<T> {
        self.0.insert(name.to_lowercase(), (name, value)).map(|(_, old)| old)
    }

    /// The value under this name, to be changed; the default one if there is none.
    pub fn or_default(&mut self, name: &str) -> &mut T
    where
        T: Default,
    {
        &mut self.0.entry(name.to_lowercase()).or_insert_with(|| (name.to_owned(), T::default())).1
    }

    /// Names as they were written, with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.values().map(|(name, value)| (name.as_str(), value))
    }

    /// Names in lower case, with their values.
    pub fn iter_lower(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().map(|(lower, (_, value))| (lower.as_str(), value))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> FromIterator<(String, T)> for Names<T> {
    fn from_iter<I: IntoIterator<Item = (String, T)>>(pairs: I) -> Self {
        let mut names = Self::default();
        for (name, value) in pairs {
            names.insert(name, value);
        }
        names
    }
}

impl<T> IntoIterator for Names<T> {
    type Item = (String, T);
    type IntoIter = std::collections::btree_map::IntoValues<String, (String, T)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_values()
    }
}
