//! `image inspect` beside the peer's: what both tell of an image is the same, but for the order of lists that the peer
//! shuffles. `IGX_PEER` names a folder with its binary `ig` and exported images `*.tar`; without it, this is left out.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::support::Igx;

/// Guests in Go tell their version only to a host that starts their runtime.
const LEFT_OUT: [&str; 1] = ["wasm.gadgetAPIVersion"];

#[test]
fn an_image_tells_what_it_tells_the_peer() {
    let Some(peer) = env::var_os("IGX_PEER").map(PathBuf::from).filter(|p| p.join("ig").exists()) else {
        eprintln!("left out: IGX_PEER names no folder with the peer's binary ig");
        return;
    };
    let igx = Igx::new();
    let state = igx.home.path().join("peer");
    fs::create_dir(&state).unwrap();
    let mut compared = 0;
    let mut names: Vec<_> = fs::read_dir(&peer).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    for tar in names.iter().filter(|path| path.extension().is_some_and(|e| e == "tar")) {
        let name = tar.file_stem().unwrap().to_str().unwrap();
        ig(&peer, &state, &["image", "import", tar.to_str().unwrap()]);
        let theirs = ig(&peer, &state, &["image", "inspect", name, "--verify-image=false", "-o", "json"]);
        let ours = Command::new(env!("CARGO_BIN_EXE_igx"))
            .arg("--store")
            .arg(state.join("oci-store"))
            .args(["image", "inspect", name, "-o", "json"])
            .output()
            .unwrap();
        let (theirs, ours) = (infos(&theirs), infos(&String::from_utf8(ours.stdout).unwrap()));
        for (key, theirs) in theirs.iter().filter(|(key, _)| !LEFT_OUT.contains(&key.as_str())) {
            assert_eq!(ours.get(key), Some(theirs), "{name}: {key}");
            compared += 1;
        }
    }
    assert!(compared > 0, "{} holds no images", peer.display());
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
