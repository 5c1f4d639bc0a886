//! Whatever is wrong, the error says what, on what, and what to do next; the exit code is 1.

use std::{fs, path::PathBuf};

use crate::support::Igx;

fn folder(igx: &Igx, yaml: &str, object: &str) -> PathBuf {
    let folder = igx.home.path().join("gadget");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("gadget.yaml"), yaml).unwrap();
    fs::write(folder.join("program.bpf.c"), object).unwrap();
    folder
}

#[test]
fn an_unknown_image_says_what_cannot_be_done() {
    let igx = Igx::new();
    let name = "ghcr.io/inspektor-gadget/gadget/trace_sni:latest";
    let said = igx.fails(&["run", name, "--host", "--disallow-pulling"]);
    assert!(said.contains(&format!("cannot pull {name}: --disallow-pulling is set")), "{said}");
    // Nobody listens on port 9.
    let said = igx.fails(&["run", "127.0.0.1:9/x", "--insecure-registries", "127.0.0.1:9"]);
    assert!(said.contains("cannot pull 127.0.0.1:9/x:latest: "), "{said}");
    let said = igx.fails(&["run", "nosuch", "--pull=never"]);
    assert!(said.contains("nosuch:latest is not in the store"), "{said}");
    let said = igx.fails(&["run", "Upper/Case"]);
    assert!(said.contains("lower"), "{said}");
}

#[test]
fn the_built_in_image_answers_only_to_its_bare_name() {
    let igx = Igx::new();
    for name in ["trace_sni:latest", "ghcr.io/inspektor-gadget/gadget/trace_sni"] {
        igx.fails(&["run", name, "--host", "-t", "1", "--pull=never"]);
    }
    igx.fails(&["run", "trace_sni", "--pull=always", "--disallow-pulling", "--host", "-t", "1"]);
    igx.ok(&["run", "trace_sni", "--pull=never", "--host", "-t", "1"]);
    assert!(igx.ok(&["image", "list"]).contains("trace_sni"));
}

#[test]
fn wrong_arguments_are_named() {
    let igx = Igx::new();
    for (args, wanted) in [
        (&["run", "trace_sni", "--nosuch"][..], "--nosuch"),
        (&["run", "trace_sni", "--host", "--pid", "abc"], "--pid"),
        (&["run", "trace_sni", "--host", "-o", "xml"], "json"),
        (&["run", "trace_sni", "--host", "--fields", "nmae"], "name"),
        (&["run", "trace_sni", "--host", "-F", "nmae==x"], "name"),
        (&["run", "trace_sni", "--host", "-F", "name"], "name"),
        (&["run", "trace_sni", "--host", "--comm", "a-name-of-17-byte"], "16 bytes"),
        (&["run", "trace_sni", "--host", "--docker-socketpath", "/nonexistent"], "/nonexistent"),
        (&["run", "trace_sni", "--host", "--timeout", "-1"], "--timeout"),
    ] {
        let said = igx.fails(args);
        assert!(said.contains(wanted), "{args:?}: {said}");
    }
}

#[test]
fn without_root_the_next_step_is_said() {
    let igx = Igx::new();
    let mut command = igx.as_nobody();
    let output =
        command.args(["--store", "/nonexistent/store", "run", "trace_sni", "--host"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("must be root") && said.contains("sudo igx run"), "{said}");
}

#[test]
fn broken_metadata_is_pointed_at() {
    let igx = Igx::new();
    let path = folder(&igx, "name: x\ndatasources: [1, 2\n", "int x;");
    let said = igx.fails(&["image", "build", path.to_str().unwrap(), "-t", "broken"]);
    assert!(said.contains("gadget.yaml, line "), "{said}");
}

#[test]
fn a_compiler_error_is_shown_as_clang_wrote_it() {
    let igx = Igx::new();
    let path = folder(&igx, "name: x\n", "int main( { }");
    let said = igx.fails(&["image", "build", path.to_str().unwrap(), "-t", "broken"]);
    assert!(said.contains("program.bpf.c:1") && said.contains("error:"), "{said}");
}

#[test]
fn an_object_that_sends_nothing_is_no_gadget_to_run() {
    let igx = Igx::new();
    let path =
        folder(&igx, "name: x\n", "char _license[] __attribute__((section(\"license\"))) = \"GPL\"; int x;");
    igx.ok(&["image", "build", path.to_str().unwrap(), "-t", "nothing"]);
    let said = igx.fails(&["run", "nothing", "--host"]);
    assert!(said.contains("no tracer"), "{said}");
}

#[test]
fn a_damaged_store_is_told_and_left_as_it_is() {
    let igx = Igx::new();
    let path =
        folder(&igx, "name: x\n", "char _license[] __attribute__((section(\"license\"))) = \"GPL\"; int x;");
    igx.ok(&["image", "build", path.to_str().unwrap(), "-t", "fine"]);
    let index = igx.store().join("index.json");
    let whole = fs::read(&index).unwrap();
    fs::write(&index, &whole[..whole.len() / 2]).unwrap();
    let said = igx.fails(&["run", "fine", "--host"]);
    assert!(said.contains("index.json"), "{said}");
    assert_eq!(fs::read(&index).unwrap(), &whole[..whole.len() / 2]);

    fs::write(&index, &whole).unwrap();
    for blob in fs::read_dir(igx.store().join("blobs/sha256")).unwrap() {
        let blob = blob.unwrap().path();
        let bytes = fs::read(&blob).unwrap();
        fs::remove_file(&blob).unwrap();
        fs::write(&blob, &bytes[..bytes.len() - 1]).unwrap();
    }
    let said = igx.fails(&["run", "fine", "--host"]);
    assert!(said.contains("sha256:"), "{said}");
}
