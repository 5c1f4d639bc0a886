//! Metadata beside the program.

use super::{build, folder, options};
use crate::build::Options;
use std::fs;

const SOURCE: &str = r#"
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include <gadget/types.h>
#include <gadget/macros.h>
#include <gadget/buffer.h>
struct event { gadget_timestamp timestamp_raw; struct gadget_process proc; int answer; };
GADGET_TRACER_MAP(events, 4096);
GADGET_TRACER(answers, events, event);
const volatile bool loud = false;
GADGET_PARAM(loud);
const int fixed[2] = {1, 2};
int changing;
static volatile int hidden;
SEC("socket") int prog(struct __sk_buff *skb) { return fixed[skb->len & 1] + changing + hidden + loud; }
char _license[] SEC("license") = "GPL";
"#;

fn faults(yaml: &str) -> String {
    let folder = folder(&[("program.bpf.c", SOURCE), ("gadget.yaml", yaml)]);
    match build(folder.path(), &options()) {
        Ok(built) => built.warnings,
        Err(error) => error.to_string(),
    }
}

#[test]
fn parameters_must_be_constants_that_a_runner_sets() {
    insta::assert_snapshot!(faults("name: x\nparams:\n  ebpf:\n    lound: {key: a}\n    fixed: {key: b}\n    changing: {key: c}\n    hidden: {key: d}\n"), @r#"
    gadget.yaml, line 4, column 5: variable "lound" not found in eBPF object; did you mean "loud"?
      4 |     lound: {key: a}
        |     ^
    gadget.yaml, line 5, column 5: "fixed" is not volatile; declare it const volatile
      5 |     fixed: {key: b}
        |     ^
    gadget.yaml, line 6, column 5: "changing" is not const; declare it const volatile
      6 |     changing: {key: c}
        |     ^
    gadget.yaml, line 7, column 5: "hidden" is not a global variable; take away static
      7 |     hidden: {key: d}
        |     ^
    "#);
    insta::assert_snapshot!(faults("params:\n  ebpf:\n    loud: {key: ''}\n"), @r#"
    gadget.yaml: the gadget has no name; add name: at the top
    gadget.yaml, line 3, column 5: param "loud" has an empty key; give params.ebpf.loud a key
      3 |     loud: {key: ''}
        |     ^
    "#);
    assert_eq!(faults("name: x\nparams:\n  ebpf:\n    loud: {key: loud}\n"), "");
}

#[test]
fn names_that_look_mistyped_are_told() {
    insta::assert_snapshot!(faults("name: x\ndatasources:\n  answer:\n  answers:\n    fields:\n      anwser: {}\n      timestamp: {}\n      proc.pid: {}\n      k8s.namespace: {}\n"), @r#"
    warning: gadget.yaml, line 3, column 3: the program has no data source "answer"; did you mean "answers"?
      3 |   answer:
        |   ^
    warning: gadget.yaml, line 6, column 7: the program has no field "anwser"; did you mean "answer"?
      6 |       anwser: {}
        |       ^
    "#);
}

#[test]
fn metadata_is_completed_and_kept() {
    let update = Options { update_metadata: true, ..options() };
    let fresh = folder(&[("program.bpf.c", SOURCE)]);
    build(fresh.path(), &update).unwrap();
    insta::assert_snapshot!(fs::read_to_string(fresh.path().join("gadget.yaml")).unwrap(), @r#"
    name: "TODO: Fill the gadget name"
    description: "TODO: Fill the gadget description"
    homepageURL: "TODO: Fill the gadget homepage URL"
    documentationURL: "TODO: Fill the gadget documentation URL"
    sourceURL: "TODO: Fill the gadget source code URL"
    datasources:
      answers:
        fields:
          timestamp_raw:
            annotations:
              description: "TODO: Fill field description"
          proc:
            annotations:
              description: "TODO: Fill field description"
          answer:
            annotations:
              description: "TODO: Fill field description"
    params:
      ebpf:
        loud:
          key: loud
          description: "TODO: Fill parameter description"
    "#);
    let kept = "# mine\nname: x # short\nebpfParams: {loud: {key: l}} # old\nfuture: [1]\ndatasources:\n  answers:\n    fields:\n      # known\n      answer:\n      proc: {}\n";
    let old = folder(&[("program.bpf.c", SOURCE), ("gadget.yaml", kept)]);
    let image = build(old.path(), &update).unwrap().image;
    let text = fs::read_to_string(old.path().join("gadget.yaml")).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert!(kept.lines().all(|line| lines.contains(&line)), "{text}");
    assert!(text.contains("timestamp_raw:") && !text.contains("params:\n"), "{text}");
    // The image has what was written, and there is nothing to add to it.
    assert!(image.blobs.iter().any(|blob| blob.bytes == text.as_bytes()));
    assert_eq!(build(old.path(), &update).unwrap().image.digest(), image.digest());
}
