//! Whose images are run: those that were built here, and others only where the user says so.

use std::fs;

use crate::support::{Igx, with_trace_files};

const RUN: [&str; 5] = ["run", "trace_files", "--host", "--pull=never", "-t1"];

/// As if the store had been unpacked from an archive: what was built here is not told in the store itself.
fn forget_what_was_built_here(igx: &Igx) {
    fs::remove_file(igx.home.path().join("store.trusted.json")).unwrap();
}

#[test]
fn an_image_from_elsewhere_is_run_only_when_asked_to() {
    let igx = with_trace_files();
    igx.ok(&RUN);
    forget_what_was_built_here(&igx);
    let said = igx.fails(&RUN);
    assert!(said.contains("cannot verify") && said.contains("there is no signature of it"), "{said}");
    assert!(said.contains("--public-keys @cosign.pub") && said.contains("--verify-image=false"), "{said}");
    assert!(said.contains("--pull=never keeps from"), "{said}");
    igx.fails(&[&RUN[..], &["--verify-image=true"]].concat());
    let output = igx.output(&[&RUN[..], &["--verify-image=false"]].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("without verifying its signature"), "{said}");
}

#[test]
fn a_list_of_trusted_images_that_others_may_write_counts_for_nothing() {
    use std::os::unix::fs::PermissionsExt as _;
    let igx = with_trace_files();
    let list = igx.home.path().join("store.trusted.json");
    for mode in [0o620, 0o602] {
        fs::set_permissions(&list, fs::Permissions::from_mode(mode)).unwrap();
        let said = igx.fails(&RUN);
        assert!(said.contains("cannot verify"), "{said}");
    }
    fs::set_permissions(&list, fs::Permissions::from_mode(0o600)).unwrap();
    igx.ok(&RUN);
}

#[test]
fn an_image_that_nobody_is_known_for_is_refused_without_asking_its_registry() {
    let igx = with_trace_files();
    igx.ok(&["image", "tag", "trace_files", "127.0.0.1:9/x/trace_files"]);
    forget_what_was_built_here(&igx);
    let said = igx.fails(&["run", "127.0.0.1:9/x/trace_files", "--host", "-t1"]);
    assert!(
        said.contains("no public key is known for it") && said.contains("--verify-image=false"),
        "{said}"
    );
    let said = igx.fails(&["image", "verify", "127.0.0.1:9/x/trace_files"]);
    assert!(said.contains("no public key is known for it") && !said.contains("--verify-image"), "{said}");
}

#[test]
fn only_allowed_gadgets_are_run_and_nothing_is_pulled_when_that_is_forbidden() {
    let igx = with_trace_files();
    let run = |flags: &[&'static str]| [&RUN[..], flags].concat();
    igx.ok(&run(&["--allowed-gadgets", "trace_files"]));
    igx.ok(&run(&["--allowed-gadgets=reg.io/*,ghcr.io/inspektor-gadget/*"]));
    let said = igx.fails(&run(&["--allowed-gadgets", "reg.io/*"]));
    assert!(said.contains("is not one of the allowed gadgets: reg.io/*"), "{said}");
    // Port 9 is nobody's: whoever asked it would say so.
    let absent = ["run", "127.0.0.1:9/x", "--insecure-registries", "127.0.0.1:9"];
    let said = igx.fails(&[&absent[..], &["--disallow-pulling"]].concat());
    assert!(said.contains("--disallow-pulling is set"), "{said}");
    let said = igx.fails(&[&absent[..], &["--allowed-gadgets", "trace_files"]].concat());
    assert!(said.contains("is not one of the allowed gadgets"), "{said}");
    let said = igx.fails(&[&absent[..], &["--pull=never"]].concat());
    assert!(said.contains("is not in the store"), "{said}");
}
