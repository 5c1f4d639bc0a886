//! Annotations that whoever runs a gadget sets in place of its author's: `--annotate sni.name:columns.width=60`.

use std::str::FromStr;

use gadget::metadata::Metadata;

use crate::datasource::{DataSource, Suggestion, UnknownField, UnknownSource, nearest};

/// An annotation of a data source or of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    source: String,
    field: Option<String>,
    key: String,
    value: String,
}

/// Why there is no such annotation.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// It is not of that form.
    #[error("annotation {0:?} is incomplete: write SOURCE:KEY=VALUE or SOURCE.FIELD:KEY=VALUE")]
    Form(String),
    /// The gadget has no such data source.
    #[error(transparent)]
    Source(#[from] UnknownSource),
    /// The data source has no such field.
    #[error(transparent)]
    Field(#[from] UnknownField),
}

impl FromStr for Annotation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parts = || {
            let (subject, assignment) = text.split_once(':')?;
            let (key, value) = assignment.split_once('=')?;
            let (source, field) = match subject.split_once('.') {
                Some((source, field)) => (source, Some(field)),
                None => (subject, None),
            };
            let whole = !source.is_empty() && field != Some("") && !key.is_empty();
            let (field, key, value) = (field.map(str::to_owned), key.to_owned(), value.to_owned());
            whole.then(|| Self { source: source.to_owned(), field, key, value })
        };
        parts().ok_or_else(|| Error::Form(text.to_owned()))
    }
}

impl Annotation {
    /// All of lists that are joined by commas.
    ///
    /// # Errors
    /// When one is not complete.
    pub fn list(texts: &[String]) -> Result<Vec<Self>, Error> {
        let each = texts.iter().flat_map(|text| text.split(',')).map(str::trim);
        each.filter(|text| !text.is_empty()).map(str::parse).collect()
    }

    /// Sets it in a gadget's description.
    pub(super) fn set(&self, metadata: &mut Metadata) {
        let source = metadata.datasources.or_default(&self.source);
        let annotations = match &self.field {
            Some(field) => &mut source.fields.or_default(field).annotations,
            None => &mut source.annotations,
        };
        annotations.insert(self.key.clone(), self.value.clone());
    }

    /// Says if it is of something that the gadget does not have.
    ///
    /// # Errors
    /// Then, with the names that may have been meant.
    pub fn check(&self, sources: &[DataSource]) -> Result<(), Error> {
        let names = || sources.iter().map(|source| source.name.as_str());
        let Some(source) = sources.iter().find(|source| source.name.eq_ignore_ascii_case(&self.source))
        else {
            return Err(Error::Source(UnknownSource {
                flag: "annotate".to_owned(),
                name: self.source.clone(),
                nearest: nearest(&self.source, names().map(|name| (name, name))),
                available: names().collect::<Vec<_>>().join(", "),
            }));
        };
        let Some(field) = self.field.as_deref().filter(|field| source.field(field).is_none()) else {
            return Ok(());
        };
        // Descriptions know fields by their full names only.
        let id = source.resolve(field)?;
        let nearest = Suggestion(vec![source.fields[id].full_name.clone()]);
        let (typed, source_name) = (field.to_owned(), source.name.clone());
        Err(UnknownField::Mistyped { typed, source_name, nearest }.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasource::sample;

    #[test]
    fn annotations_are_of_sources_and_fields() {
        let list =
            ["sni:cli.clear-screen-before=true, sni.proc.pid:columns.width=7".to_owned(), "a:b=".to_owned()];
        let list = Annotation::list(&list).unwrap();
        let mut metadata = Metadata::default();
        list.iter().for_each(|annotation| annotation.set(&mut metadata));
        let source = metadata.datasources.get("sni").unwrap();
        assert_eq!(source.annotations.get("cli.clear-screen-before").map(String::as_str), Some("true"));
        let field = source.fields.get("proc.pid").unwrap();
        assert_eq!(field.annotations.get("columns.width").map(String::as_str), Some("7"));
        assert_eq!(list.len(), 3);
    }

    #[test]
    fn mistakes_are_told() {
        let error = |text: &str| {
            let annotation = text.parse::<Annotation>();
            annotation
                .and_then(|a| a.check(&[sample::sni()]))
                .map_or_else(|error| error.to_string(), |()| String::new())
        };
        for text in ["", "sni", "sni:", "sni:x", "sni:=x", ":a=b", "sni.:a=b", ".x:a=b"] {
            assert_eq!(error(text), Error::Form(text.to_owned()).to_string());
        }
        assert_eq!(error("SNI.name:a=b"), "");
        insta::assert_snapshot!(error("sin:a=b"), @r#"--annotate: the gadget has no data source "sin" (did you mean sni?); it is for sni"#);
        insta::assert_snapshot!(error("sni.nmae:a=b"), @r#"data source "sni" has no field "nmae" (did you mean name or k8s.owner.name?)"#);
        insta::assert_snapshot!(error("sni.proc.uid:a=b"), @r#"data source "sni" has no field "proc.uid" (did you mean proc.creds.uid?)"#);
    }
}
