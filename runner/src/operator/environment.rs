//! Fields with what variables of this process' environment hold: the same for every event, such as the name of the
//! machine or of its zone, to be told apart where events of many come together.
//!
//! Which there are, the data source's annotations say: `env.fields.FIELD: VARIABLE`. An image comes from elsewhere and
//! whoever runs it may have secrets there, so only variables that were allowed by name are shown.

use std::{env, sync::Arc};

use crate::datasource::{DataSource, Event, Scalar, Slot};

use super::{Operator, Verdict};

/// What the annotations begin with.
const PREFIX: &str = "env.fields.";

/// A variable that may not be shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "field {field:?} of data source {source_name:?} shows the environment variable {variable:?}: \
     allow that with --env-vars {variable}"
)]
pub struct NotAllowed {
    /// Who wants it.
    pub source_name: String,
    /// As what.
    pub field: String,
    /// Its name.
    pub variable: String,
}

/// The operator that fills the fields.
pub struct Environment(Vec<(usize, Slot)>);

/// Fields and variables.
fn wanted(ds: &DataSource) -> impl Iterator<Item = (&str, &str)> {
    let of = |(key, variable)| Some((str::strip_prefix(key, PREFIX)?, variable));
    let all = ds.annotations.iter().map(|(key, variable)| (key.as_str(), variable.as_str()));
    all.filter_map(of).filter(|(field, _)| !field.is_empty())
}

impl Environment {
    /// Whether all that the data source wants to show may be shown.
    ///
    /// # Errors
    /// With the first variable that is not among the `allowed`.
    pub fn check(ds: &DataSource, allowed: &[String]) -> Result<(), NotAllowed> {
        let other = wanted(ds).find(|(_, variable)| !allowed.iter().any(|allowed| allowed == variable));
        other.map_or(Ok(()), |(field, variable)| {
            Err(NotAllowed {
                source_name: ds.name.clone(),
                field: field.to_owned(),
                variable: variable.to_owned(),
            })
        })
    }

    /// Adds the fields; `None` if there are none. Only `allowed` variables are read. One that is not set is empty.
    pub fn attach(ds: &mut DataSource, allowed: &[String]) -> Option<Box<dyn Operator>> {
        let wanted: Vec<_> = wanted(ds).map(|(field, name)| (field.to_owned(), name.to_owned())).collect();
        let mut values = Vec::new();
        for (field, variable) in &wanted {
            if ds.field(field).is_some() {
                tracing::warn!("{PREFIX}{field}: {} has such a field already", ds.name);
                continue;
            }
            let slot = ds.slots;
            ds.add_slot_field(None, field, Scalar::String, 0);
            let value = env::var_os(variable).filter(|_| allowed.contains(variable)).unwrap_or_default();
            values.push((slot, Slot::Shared(Arc::from(value.to_string_lossy()))));
        }
        if values.is_empty() { None } else { Some(Box::new(Self(values))) }
    }
}

impl Operator for Environment {
    fn name(&self) -> &'static str {
        "environment"
    }

    fn process(&mut self, event: &mut Event<'_>) -> Verdict {
        for (slot, value) in &self.0 {
            event.slots.set(*slot, value.clone());
        }
        Verdict::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Source, event, text};
    use super::*;

    fn source(annotations: &[(&str, &str)]) -> DataSource {
        let mut ds = Source::new("start").number("pid", Scalar::Uint32, "gadget_pid").done();
        let owned = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        ds.annotations.extend(owned);
        ds
    }

    #[test]
    fn fields_have_what_allowed_variables_hold() {
        let annotations = [
            ("env.fields.tool", "CARGO_PKG_NAME"),
            ("env.fields.home", "CARGO_MANIFEST_DIR"),
            ("env.fields.none", "IGX_TEST_NO_SUCH_VARIABLE"),
            ("env.fields.pid", "CARGO_PKG_NAME"),
            ("env.fields.", "CARGO_PKG_NAME"),
        ];
        let mut ds = source(&annotations);
        let allowed = ["CARGO_PKG_NAME".to_owned(), "IGX_TEST_NO_SUCH_VARIABLE".to_owned()];
        let mut operator = Environment::attach(&mut ds, &allowed).unwrap();
        let names: Vec<_> = ds.fields.iter().map(|field| field.full_name.as_str()).collect();
        assert_eq!(names, ["pid", "home", "none", "tool"]);
        let values = event(&ds, &[0; 4], |event| {
            assert_eq!(operator.process(event), Verdict::Pass);
            ["tool", "home", "none"].map(|field| text(&ds, event, field))
        });
        assert_eq!(values, [env!("CARGO_PKG_NAME"), "", ""]);
        assert!(Environment::attach(&mut source(&[("env.other", "PATH")]), &allowed).is_none());
    }

    #[test]
    fn other_variables_are_refused() {
        let ds = source(&[("env.fields.zone", "ZONE")]);
        assert_eq!(Environment::check(&ds, &["ZONE".to_owned()]), Ok(()));
        insta::assert_snapshot!(
            Environment::check(&ds, &["zone".to_owned()]).unwrap_err(),
            @r#"field "zone" of data source "start" shows the environment variable "ZONE": allow that with --env-vars ZONE"#
        );
        assert_eq!(Environment::check(&source(&[]), &[]), Ok(()));
    }
}
