//! From the tree to the types.

use super::yaml::{Fault, Node, Value};
use super::{CustomParam, DataSource, Field, Metadata, Names, Param, Params, Perf, Program};

type Result<T> = std::result::Result<T, Fault>;

pub(super) fn metadata(root: Node) -> Result<Metadata> {
    let mut table = Table::new(root, "the file")?;
    let mut params = table.get("params", params)?;
    for (name, param) in table.names("ebpfparams", param)? {
        if params.ebpf.get(&name).is_none() {
            params.ebpf.insert(name, param);
        }
    }
    Ok(Metadata {
        name: table.get("name", text)?,
        description: table.get("description", text)?,
        homepage_url: table.get("homepageurl", text)?,
        documentation_url: table.get("documentationurl", text)?,
        source_url: table.get("sourceurl", text)?,
        annotations: table.names("annotations", text)?,
        datasources: table.names("datasources", data_source)?,
        params,
        param_defaults: table.names("paramdefaults", text)?,
        programs: table.names("programs", program)?,
        operator: table.names("operator", json)?,
    })
}

fn data_source(node: Node) -> Result<DataSource> {
    let mut table = Table::new(node, "a data source")?;
    Ok(DataSource {
        annotations: table.names("annotations", text)?,
        tags: table.get("tags", texts)?,
        fields: table.names("fields", field)?,
    })
}

fn field(node: Node) -> Result<Field> {
    let mut table = Table::new(node, "a field")?;
    Ok(Field { annotations: table.names("annotations", text)?, tags: table.get("tags", texts)? })
}

fn params(node: Node) -> Result<Params> {
    let mut table = Table::new(node, "params")?;
    Ok(Params {
        ebpf: table.names("ebpf", param)?,
        wasm: table.names("wasm", param)?,
        custom: table.names("custom", custom)?,
    })
}

fn param(node: Node) -> Result<Param> {
    let mut table = Table::new(node, "a parameter")?;
    Ok(Param {
        key: table.get("key", text)?,
        alternative_key: table.get("alternativekey", text)?,
        alias: table.get("alias", text)?,
        title: table.get("title", text)?,
        default_value: table.get("defaultvalue", |node| text(node).map(Some))?,
        description: table.get("description", text)?,
        is_mandatory: table.get("ismandatory", boolean)?,
        tags: table.get("tags", texts)?,
        type_hint: table.get("type", text)?,
        value_hint: table.get("valuehint", text)?,
        possible_values: table.get("possiblevalues", texts)?,
    })
}

fn custom(node: Node) -> Result<CustomParam> {
    let mut table = Table::new(node, "a parameter")?;
    Ok(CustomParam {
        description: table.get("description", text)?,
        default_value: table.get("defaultvalue", |node| text(node).map(Some))?,
        alias: table.get("alias", text)?,
        values: table
            .names("values", |node| Table::new(node, "a value of a custom parameter")?.get("patch", json))?,
        patch: table.get("patch", json)?,
    })
}

fn program(node: Node) -> Result<Program> {
    let mut table = Table::new(node, "a program")?;
    let perf = |node| {
        let mut table = Table::new(node, "perf")?;
        Ok(Some(Perf {
            kind: table.get("type", text)?,
            config: table.get("config", text)?,
            sample_type: table.get("sampletype", text)?,
        }))
    };
    Ok(Program {
        attach_to: table.get("attach_to", text)?,
        perf: table.get("perf", perf)?,
        sampler_frequency: table
            .get("sampler", |node| Table::new(node, "sampler")?.get("frequency", count))?,
    })
}

/// A map whose known keys are taken out one by one; what is left is unknown and dropped.
struct Table(Vec<(String, Node)>);

impl Table {
    fn new(node: Node, what: &str) -> Result<Self> {
        let pairs = entries(node, what)?;
        Ok(Self(pairs.into_iter().map(|(name, node)| (name.to_lowercase(), node)).collect()))
    }

    /// The value under a lower-case key; a missing or empty one is the default.
    fn get<T: Default>(&mut self, key: &str, decode: impl FnOnce(Node) -> Result<T>) -> Result<T> {
        match self.0.iter().position(|(name, _)| name == key) {
            Some(at) => match self.0.swap_remove(at).1 {
                Node { value: Value::Null, .. } => Ok(T::default()),
                node => decode(node),
            },
            None => Ok(T::default()),
        }
    }

    fn names<T>(&mut self, key: &str, decode: impl Fn(Node) -> Result<T>) -> Result<Names<T>> {
        self.get(key, |node| names(node, decode))
    }
}

fn names<T>(node: Node, decode: impl Fn(Node) -> Result<T>) -> Result<Names<T>> {
    entries(node, "this")?.into_iter().map(|(name, node)| Ok((name, decode(node)?))).collect()
}

/// The pairs of a map. No value at all is an empty map; keys that differ only in case are a fault, for one would be
/// lost.
fn entries(node: Node, what: &str) -> Result<Vec<(String, Node)>> {
    let pairs = match node.value {
        Value::Null => Vec::new(),
        Value::Map(pairs) => pairs,
        other => {
            return Err(Fault { at: node.at, why: format!("{what} must be a map, not {}", other.what()) });
        }
    };
    let mut seen = std::collections::BTreeSet::new();
    let mut all = Vec::with_capacity(pairs.len());
    for (key, node) in pairs {
        let at = key.at;
        let name = text(key)?;
        if !seen.insert(name.to_lowercase()) {
            return Err(Fault {
                at,
                why: format!("key {name:?} is there twice; upper and lower case are the same"),
            });
        }
        all.push((name, node));
    }
    Ok(all)
}

fn text(node: Node) -> Result<String> {
    match node.value {
        Value::Null => Ok(String::new()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Number(value) => Ok(value.to_string()),
        Value::Text(value) => Ok(value),
        other => wrong(node.at, "text, a number, true or false", &other),
    }
}

fn texts(node: Node) -> Result<Vec<String>> {
    match node.value {
        Value::List(list) => list.into_iter().map(text).collect(),
        other => wrong(node.at, "a list", &other),
    }
}

fn boolean(node: Node) -> Result<bool> {
    match node.value {
        Value::Bool(value) => Ok(value),
        Value::Text(value) if value == "true" || value == "false" => Ok(value == "true"),
        other => wrong(node.at, "true or false", &other),
    }
}

fn count(node: Node) -> Result<Option<u64>> {
    match node.value {
        Value::Number(value) if value.as_u64().is_some() => Ok(value.as_u64()),
        other => wrong(node.at, "a whole number from 0", &other),
    }
}

/// Any value, its keys in lower case.
pub(super) fn json(node: Node) -> Result<serde_json::Value> {
    use serde_json::Value as Json;
    Ok(match node.value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(value),
        Value::Number(value) => Json::Number(value),
        Value::Text(value) => Json::String(value),
        Value::List(list) => Json::Array(list.into_iter().map(json).collect::<Result<_>>()?),
        map @ Value::Map(_) => entries(Node { value: map, at: node.at }, "this")?
            .into_iter()
            .map(|(name, node)| Ok((name.to_lowercase(), json(node)?)))
            .collect::<Result<_>>()
            .map(Json::Object)?,
    })
}

fn wrong<T>(at: serde_saphyr::Location, wanted: &str, found: &Value) -> Result<T> {
    Err(Fault { at, why: format!("this must be {wanted}, not {}", found.what()) })
}

impl Value {
    fn what(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}
