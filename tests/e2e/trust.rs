//! Whose images are run: those that were built here, and others only where the user says so.

use std::fs;

use crate::support::with_trace_files;

#[test]
fn an_image_from_elsewhere_is_run_only_when_asked_to() {
    let igx = with_trace_files();
    igx.ok(&["run", "trace_files", "--host", "-t", "1"]);
    // As if the store had been unpacked from an archive: what was built here is not told in the store itself.
    fs::remove_file(igx.home.path().join("store.trusted.json")).unwrap();
    let said = igx.fails(&["run", "trace_files", "--host", "-t", "1"]);
    assert!(said.contains("cannot verify") && said.contains("--verify-image=false"), "{said}");
    igx.fails(&["run", "trace_files", "--host", "-t", "1", "--verify-image=true"]);
    let output = igx.output(&["run", "trace_files", "--host", "-t", "1", "--verify-image=false"]);
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
        let said = igx.fails(&["run", "trace_files", "--host", "-t", "1"]);
        assert!(said.contains("cannot verify"), "{said}");
    }
    fs::set_permissions(&list, fs::Permissions::from_mode(0o600)).unwrap();
    igx.ok(&["run", "trace_files", "--host", "-t", "1"]);
}
