//! A run described in a file, `igx run --file`: its image and its flags.
//!
//! The format is that of Inspektor Gadget's manifests (`kind: instance-spec`, version 1), whose parameters have long
//! names such as `operator.oci.ebpf.pid`; what comes after the operator is the flag.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::File,
    io::{Read, stdin},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use gadget::registry::{Client, Config, Limits};
use serde::Deserialize;

use super::{super::images::Given, Arguments};

/// Longest manifest, in bytes.
const MAX: u64 = 1 << 20;

/// How long a server may take to send one.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Manifest {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    api_version: serde_json::Value,
    #[serde(default)]
    image: String,
    #[serde(default)]
    param_values: BTreeMap<String, serde_json::Value>,
    // Instances that stay have these; a run has no use for them.
    #[serde(default, rename = "id")]
    _id: serde_json::Value,
    #[serde(default, rename = "name")]
    _name: serde_json::Value,
    #[serde(default, rename = "tags")]
    _tags: serde_json::Value,
    #[serde(default, rename = "nodes")]
    _nodes: serde_json::Value,
}

/// What of a parameter's long name is not the flag; longer ones first.
const PREFIXES: [&str; 4] = ["operator.oci.ebpf.", "operator.oci.wasm.", "custom.", "runtime."];

/// The command line with the image and the flags of the manifest that it names, if it names one.
///
/// # Errors
/// What is wrong with the manifest, or an image beside it.
pub(in crate::cli) fn expand(args: Vec<OsString>, found: &Arguments) -> anyhow::Result<Vec<OsString>> {
    let Some(path) = found.values("file").pop() else { return Ok(args) };
    ensure!(found.image.is_none(), "give an image or a manifest, not both");
    let mut described = read(&path)?;
    // What is typed wins.
    described.retain(|arg| {
        let flag = arg.to_str().and_then(|arg| arg.strip_prefix("--")?.split('=').next());
        flag.is_none_or(|flag| !found.has(flag))
    });
    let mut expanded = Vec::new();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let text = arg.to_string_lossy();
        match &*text {
            "--" => {
                expanded.push(arg);
                break;
            }
            "-f" | "--file" => {
                args.next();
                expanded.append(&mut described);
            }
            _ if text.starts_with("--file=") || (text.starts_with("-f") && !text.starts_with("--")) => {
                expanded.append(&mut described);
            }
            _ => expanded.push(arg),
        }
    }
    expanded.extend(args);
    Ok(expanded)
}

/// The image and the flags that the manifest at `path` stands for, a file or an address; `-` is stdin.
///
/// # Errors
/// If it cannot be read, or is no manifest of one run.
fn read(path: &str) -> anyhow::Result<Vec<OsString>> {
    let mut text = String::new();
    let at = || format!("reading the manifest {path}");
    if path.starts_with("http://") || path.starts_with("https://") {
        let limits = Limits { connect: PATIENCE, stall: PATIENCE, document: PATIENCE, ..Limits::default() };
        let client = Client::new(Config { limits, ..Config::default() })?;
        let bytes = client.document(path, MAX)?;
        return parse(&String::from_utf8(bytes).with_context(at)?).with_context(at);
    }
    let reader: Box<dyn Read> = match path {
        "-" => Box::new(stdin()),
        _ => Box::new(File::open(path).with_context(at)?),
    };
    reader.take(MAX + 1).read_to_string(&mut text).with_context(at)?;
    parse(&text).with_context(at)
}

fn parse(text: &str) -> anyhow::Result<Vec<OsString>> {
    ensure!(text.len() as u64 <= MAX, "it is longer than {MAX} bytes");
    let manifests: Vec<Manifest> = serde_saphyr::from_multiple(text)?;
    let [manifest] = manifests.as_slice() else {
        bail!("it describes {} runs: one is started at a time, so give one of them", manifests.len());
    };
    ensure!(manifest.kind == "instance-spec", "its kind is {:?}, not \"instance-spec\"", manifest.kind);
    ensure!(manifest.api_version == 1, "its apiVersion is {}, not 1", manifest.api_version);
    ensure!(!manifest.image.is_empty(), "it names no image");
    let mut args = vec![OsString::from(&manifest.image)];
    for (name, value) in &manifest.param_values {
        let value = match value {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Object(_) | serde_json::Value::Array(_) => bail!("{name} is not one value"),
            other => other.to_string(),
        };
        args.push(OsString::from(format!("--{}={value}", flag(name))));
    }
    Ok(args)
}

fn flag(name: &str) -> &str {
    if let Some(flag) = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)) {
        return flag;
    }
    let of_operator = name.strip_prefix("operator.").and_then(|rest| rest.split_once('.'));
    of_operator.map_or(name, |(_, flag)| flag)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "apiVersion: 1\nkind: instance-spec\n";

    fn line(text: &str) -> Result<String, String> {
        let args = parse(text).map_err(|error| format!("{error:#}"))?;
        Ok(args.iter().map(|arg| arg.to_string_lossy()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn parameters_become_flags() {
        let text = format!(
            "{HEAD}image: trace_sni\nname: x\ntags: [a]\nparamValues:\n  operator.oci.ebpf.pid: 7\n  operator.cli.output: json\n  operator.filter.filter.sni: name~x\n  operator.LocalManager.host: true\n"
        );
        assert_eq!(line(&text).unwrap(), "trace_sni --host=true --output=json --filter.sni=name~x --pid=7");
    }

    #[test]
    fn a_manifest_stands_for_what_it_says_unless_something_else_is_typed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.yaml");
        let text = format!(
            "{HEAD}image: trace_sni\nparamValues: {{operator.cli.output: json, operator.LocalManager.host: true}}"
        );
        std::fs::write(&path, text).unwrap();
        let expanded = |line: &str| {
            let line = line.replace("FILE", path.to_str().unwrap());
            let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let found = Arguments::find(&args).unwrap();
            let args = expand(args, &found).map_err(|error| format!("{error:#}"))?;
            Ok::<_, String>(args.iter().map(|arg| arg.to_string_lossy()).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(expanded("igx run -f FILE -v").unwrap(), "igx run trace_sni --host=true --output=json -v");
        assert_eq!(
            expanded("igx run -o yaml --file=FILE -- x -f y").unwrap(),
            "igx run -o yaml trace_sni --host=true -- x -f y"
        );
        assert_eq!(
            expanded("igx run trace_sni -f FILE").unwrap_err(),
            "give an image or a manifest, not both"
        );
        assert_eq!(expanded("igx run trace_sni").unwrap(), "igx run trace_sni");
    }

    #[test]
    fn what_is_no_manifest_is_told() {
        let error = |text: &str| line(text).unwrap_err();
        assert_eq!(error(""), "it describes 0 runs: one is started at a time, so give one of them");
        assert_eq!(error("image: x"), "its kind is \"\", not \"instance-spec\"");
        assert_eq!(error("kind: instance-spec\napiVersion: 2"), "its apiVersion is 2, not 1");
        assert_eq!(error(HEAD), "it names no image");
        let two = format!("{HEAD}image: x\n---\n{HEAD}image: y\n");
        assert_eq!(error(&two), "it describes 2 runs: one is started at a time, so give one of them");
        assert!(error("kind: [").contains("line 1"));
        assert!(error(&format!("{HEAD}image: x\nparams: 1")).contains("params"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in ".{0,200}") {
            let _ = parse(&text);
        }
    }
}
