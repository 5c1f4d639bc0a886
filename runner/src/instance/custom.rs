//! Parameters of a gadget's own making (`params.custom` in gadget.yaml): what is chosen patches the rest of gadget.yaml.
//!
//! Of a patch, the settings of operators are applied (`operator.<name>.<key>`). A text in it may name a parameter, as in
//! `{{call .getParamValue "custom.interval"}}`, which stands for its value.

use std::collections::BTreeMap;

use gadget::metadata::{CustomParam, Metadata};
use serde_json::Value;

/// What stands before the name of a parameter, and after it.
const CALL: [&str; 2] = ["{{call .getParamValue \"custom.", "\"}}"];

/// The parameters that do anything, by name.
pub(super) fn params(metadata: &Metadata) -> impl Iterator<Item = (&str, &CustomParam)> {
    metadata.params.custom.iter().filter(|(_, param)| !param.values.is_empty() || !param.patch.is_null())
}

/// The settings of the operator `name` with what the values of parameters make of them.
pub(super) fn settings(metadata: &Metadata, name: &str, given: &BTreeMap<String, String>) -> Value {
    let mut settings = metadata.operator.get(name).cloned().unwrap_or(Value::Null);
    let value = |key: &str| {
        let default = || metadata.params.custom.get(key).and_then(|param| param.default_value.clone());
        given.get(key).cloned().or_else(default).unwrap_or_default()
    };
    for (key, param) in params(metadata) {
        let patch = param.values.get(&value(key)).unwrap_or(&param.patch);
        if let Some(patch) = patch.get("operator").and_then(|operators| operators.get(name)) {
            merge(&mut settings, patch, &value);
        }
    }
    settings
}

fn merge(into: &mut Value, patch: &Value, value: &dyn Fn(&str) -> String) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, patch) in patch {
                merge(into.entry(key.clone()).or_insert(Value::Null), patch, value);
            }
        }
        (into, Value::String(text)) => *into = Value::String(filled(text, value)),
        (into, patch) => *into = patch.clone(),
    }
}

/// The text with the values of the parameters that it names.
fn filled(text: &str, value: &dyn Fn(&str) -> String) -> String {
    let [before, after] = CALL;
    let mut done = String::new();
    let mut rest = text;
    while let Some((head, tail)) = rest.split_once(before) {
        let Some((key, tail)) = tail.split_once(after) else { break };
        done.push_str(head);
        done.push_str(&value(key));
        rest = tail;
    }
    done.push_str(rest);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_chosen_patches_the_settings() {
        let yaml = r#"
name: top
operator: {process: {emitstats: true, interval: 3s}}
params:
  custom:
    interval:
      defaultValue: 5s
      patch: {operator: {process: {interval: '{{call .getParamValue "custom.interval"}}'}}}
    sort:
      defaultValue: a
      values: {a: {patch: {operator: {process: {fields: one}}}}, b: {patch: {operator: {process: {fields: two}}}}}
    idle: {defaultValue: x}
"#;
        let metadata = Metadata::parse(yaml.as_bytes()).unwrap();
        let settings = |given: &[(&str, &str)]| {
            let given = given.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            settings(&metadata, "process", &given).to_string()
        };
        assert_eq!(settings(&[]), r#"{"emitstats":true,"fields":"one","interval":"5s"}"#);
        assert_eq!(
            settings(&[("interval", "9s"), ("sort", "b")]),
            r#"{"emitstats":true,"fields":"two","interval":"9s"}"#
        );
        assert_eq!(params(&metadata).map(|(name, _)| name).collect::<Vec<_>>(), ["interval", "sort"]);
    }

    #[test]
    fn texts_that_call_something_else_stay() {
        let value = |key: &str| format!("<{key}>");
        assert_eq!(filled("a {{call .getConfig \"x\"}}", &value), "a {{call .getConfig \"x\"}}");
        assert_eq!(
            filled(r#"{{call .getParamValue "custom.a"}}-{{call .getParamValue "custom."#, &value),
            r#"<a>-{{call .getParamValue "custom."#
        );
    }
}
