//! `image inspect` beside the peer's: what both tell of an image is the same, but for the order of lists that the peer
//! shuffles. `IGX_PEER` names a folder with its binary `ig` and exported images `*.tar`; without it, this is left out.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::support::{Igx, binary};

/// Guests in Go tell their version only to a host that starts their runtime.
const LEFT_OUT: [&str; 1] = ["wasm.gadgetAPIVersion"];
/// Annotations and tags of data sources for which there is no operator here yet.
const NOT_YET: [&str; 1] = ["metrics.print"];

#[test]
fn an_image_tells_what_it_tells_the_peer() {
    let mut compared = 0;
    each_image(|name, inspect| {
        let (theirs, ours) = inspect(&["-o", "json"]);
        let (theirs, ours) = (infos(&theirs), infos(&ours));
        for (key, theirs) in theirs.iter().filter(|(key, _)| !LEFT_OUT.contains(&key.as_str())) {
            assert_eq!(ours.get(key), Some(theirs), "{name}: {key}");
            compared += 1;
        }
    });
    assert!(compared > 0 || env::var_os("IGX_PEER").is_none());
}

#[test]
fn data_sources_are_those_of_the_peer() {
    let mut compared = 0;
    each_image(|name, inspect| {
        let (theirs, ours) = inspect(&["--show-datasources", "-o", "json"]);
        if ours == "[]\n" || NOT_YET.iter().any(|operator| theirs.contains(operator)) {
            eprintln!("left out: {name} needs operators that are not there yet");
            return;
        }
        assert_eq!(sources(&ours), sources(&theirs), "{name}");
        compared += 1;
    });
    assert!(compared > 0 || env::var_os("IGX_PEER").is_none());
}

/// Calls `compare` with the name of each of the peer's images and with what asks both for what they know of it: the
/// peer's answer comes first.
fn each_image(mut compare: impl FnMut(&str, &dyn Fn(&[&str]) -> (String, String))) {
    let Some(peer) = env::var_os("IGX_PEER").map(PathBuf::from).filter(|p| p.join("ig").exists()) else {
        eprintln!("left out: IGX_PEER names no folder with the peer's binary ig");
        return;
    };
    let igx = Igx::new();
    let state = igx.home.path().join("peer");
    fs::create_dir(&state).unwrap();
    let mut names: Vec<_> = fs::read_dir(&peer).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    for tar in names.iter().filter(|path| path.extension().is_some_and(|e| e == "tar")) {
        let name = tar.file_stem().unwrap().to_str().unwrap();
        ig(&peer, &state, &["image", "import", tar.to_str().unwrap()]);
        compare(name, &|args| {
            let theirs = [&["image", "inspect", name, "--verify-image=false"], args].concat();
            let ours = Command::new(binary())
                .arg("--store")
                .arg(state.join("oci-store"))
                .args(["image", "inspect", name])
                .args(args)
                .output()
                .unwrap();
            (ig(&peer, &state, &theirs), String::from_utf8(ours.stdout).unwrap())
        });
    }
}

/// The field that the peer does not have, at any data source with containers.
const OWN: &str = "runtime.containerSource";

/// Takes [`OWN`] out, as if it had never had a place among the others.
fn without_own(fields: &mut Vec<Value>) {
    let Some(at) = fields.iter().position(|field| field["fullName"] == OWN) else { return };
    let own = fields.remove(at);
    for field in fields {
        for (place, among) in
            [("index", "index"), ("parent", "index"), ("order", "index"), ("payloadIndex", "payloadIndex")]
        {
            if let Some(value) = field.get(place).and_then(Value::as_u64)
                && Some(value) > own[among].as_u64()
            {
                field[place] = (value - 1).into();
            }
        }
    }
}

/// Data sources by name, without what differs on purpose: the parent's thread ID is described and hidden here like
/// the parent's process ID, and a field that may have one of some values lists one more name of an error.
fn sources(text: &str) -> BTreeMap<String, Value> {
    let all: Vec<Value> = serde_json::from_str(text).unwrap();
    all.into_iter()
        .map(|mut source| {
            without_own(source["fields"].as_array_mut().unwrap());
            for field in source["fields"].as_array_mut().unwrap() {
                let annotations = field.get_mut("annotations").and_then(Value::as_object_mut);
                if let Some(Value::String(values)) = annotations.and_then(|a| a.get_mut("value.one-of")) {
                    *values = values.replace("EHWPOISON, ", "");
                }
                let tagged = field["tags"].as_array().is_some_and(|t| t.contains(&"type:gadget_ptid".into()));
                if let (true, Some(field)) = (tagged, field.as_object_mut()) {
                    field.retain(|key, _| key != "flags" && key != "annotations");
                }
            }
            (source["name"].as_str().unwrap().to_owned(), source)
        })
        .collect()
}

/// Runs the peer with its state in `state`, in namespaces of its own: it mounts file systems and looks at process 1.
fn ig(peer: &Path, state: &Path, args: &[&str]) -> String {
    let script = "mount --bind \"$0\" \"$1\" && shift && exec \"$@\"";
    fs::create_dir_all("/var/lib/ig").unwrap();
    let output = Command::new("unshare")
        .args(["-m", "-p", "-f", "--mount-proc", "sh", "-c", script])
        .arg(state)
        .arg("/var/lib/ig")
        .arg(peer.join("ig"))
        .arg("--auto-mount-filesystems")
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Content by key. Lists are sorted; an absent list is an empty one.
fn infos(text: &str) -> BTreeMap<String, (String, Value)> {
    let all: BTreeMap<String, Value> = serde_json::from_str(text).unwrap();
    all.into_iter()
        .map(|(key, info)| {
            let kind = info["contentType"].as_str().unwrap().to_owned();
            let content = info["content"].as_str().unwrap();
            let mut value = match kind.as_str() {
                "application/json" => serde_json::from_str(content).unwrap(),
                _ => Value::String(content.to_owned()),
            };
            if value.is_null() {
                value = Value::Array(Vec::new());
            }
            if let Value::Array(entries) = &mut value {
                entries.sort_by_key(Value::to_string);
            }
            (key, (kind, value))
        })
        .collect()
}
