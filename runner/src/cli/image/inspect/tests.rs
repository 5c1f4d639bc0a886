//! What people and scripts see of the gadget that the binary carries, and what hostile images can do: nothing.
//!
//! Snapshots leave out what depends on the compiler that built the object.

// They look at the image that the binary carries.
#![cfg(feature = "ebpf")]

use super::*;
use crate::instance;
use gadget::object::{Code, Object};
use proptest::prelude::*;

fn inspect(image: &GadgetImage, args: &[&str]) -> Result<String> {
    let words = ["inspect", "trace_sni"].iter().chain(args);
    let matches = command().try_get_matches_from(words)?;
    let reference = Reference::parse("trace_sni")?;
    let (mut out, mut log) = (Vec::new(), Vec::new());
    show(&matches, image, &Named { typed: "trace_sni", reference: &reference }, &mut out, &mut log)?;
    assert_eq!(String::from_utf8_lossy(&log), "");
    Ok(String::from_utf8(out)?)
}

fn ours(args: &[&str]) -> String {
    inspect(&instance::built_in_image().unwrap(), args).unwrap()
}

fn fails(args: &[&str]) -> String {
    inspect(&instance::built_in_image().unwrap(), args).unwrap_err().to_string()
}

#[test]
fn all_keys_are_there() {
    let all: serde_json::Value = serde_json::from_str(&ours(&["-o", "json"])).unwrap();
    let types: Vec<_> =
        all.as_object().unwrap().iter().map(|(k, v)| format!("{k} {}", v["contentType"])).collect();
    insta::assert_snapshot!(types.join("\n"), @r#"
    ebpf.flowchart "text/mermaid"
    ebpf.maps "application/json"
    ebpf.programs "application/json"
    ebpf.sections "application/json"
    ebpf.sequence "text/mermaid"
    ebpf.variables "application/json"
    oci.created "text/plain"
    oci.digest "text/plain"
    oci.manifest "application/json"
    oci.metadata "text/yaml"
    oci.repository "text/plain"
    oci.tag "text/plain"
    wasm.gadgetAPIVersion "text/plain"
    wasm.upcalls "application/json"
    "#);
    assert_eq!(ours(&["-o", "json"]), ours(&["-o", "json"]));
    assert_eq!(ours(&["--extra-info", "oci.repository"]), "trace_sni\n");
}

#[test]
fn charts_of_our_own_gadget() {
    // Compilers differ in the order in which maps are used.
    let mut lines: Vec<_> = ours(&["--extra-info", "ebpf.flowchart"]).lines().map(str::to_owned).collect();
    assert_eq!(lines[0], "flowchart LR");
    lines.sort();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    datagrams[("datagrams")]
    datagrams_lost_samples[("datagrams_lost_samples")]
    events[("events")]
    events_lost_samples[("events_lost_samples")]
    flowchart LR
    gadget_mntns_filter_map[("gadget_mntns_filter_map")]
    gadget_sockets[("gadget_sockets")]
    gadget_unowned[("gadget_unowned")]
    ig_trace_sni -- "EventOutput" --> datagrams
    ig_trace_sni -- "EventOutput" --> events
    ig_trace_sni -- "Lookup" --> datagrams_lost_samples
    ig_trace_sni -- "Lookup" --> events_lost_samples
    ig_trace_sni -- "Lookup" --> gadget_mntns_filter_map
    ig_trace_sni -- "Lookup" --> gadget_sockets
    ig_trace_sni -- "Lookup" --> gadget_unowned
    ig_trace_sni -- "Lookup" --> igx_containers
    ig_trace_sni -- "Lookup" --> igx_sockets
    ig_trace_sni -- "Lookup" --> sni_datagram
    ig_trace_sni -- "Lookup" --> sni_flows
    ig_trace_sni -- "Lookup" --> sni_large
    ig_trace_sni -- "Lookup" --> sni_openings
    ig_trace_sni -- "Lookup" --> sni_shares
    ig_trace_sni -- "Lookup" --> sni_small
    ig_trace_sni -- "Lookup" --> sni_unread
    ig_trace_sni -- "Lookup+Update" --> sni_sightings
    ig_trace_sni -- "Lookup+Update+Delete" --> sni_flow_index
    ig_trace_sni["ig_trace_sni"]
    igx_containers[("igx_containers")]
    igx_sockets[("igx_sockets")]
    sni_datagram[("sni_datagram")]
    sni_flow_index[("sni_flow_index")]
    sni_flows[("sni_flows")]
    sni_large[("sni_large")]
    sni_openings[("sni_openings")]
    sni_shares[("sni_shares")]
    sni_sightings[("sni_sightings")]
    sni_small[("sni_small")]
    sni_unread[("sni_unread")]
    "#);
    let sequence = ours(&["--extra-info", "ebpf.sequence"]);
    assert!(
        sequence.starts_with(
            "sequenceDiagram\nbox eBPF Programs\nparticipant ig_trace_sni\nend\nbox eBPF Maps\n"
        )
    );
    for (_, map) in lines.iter().filter_map(|line| line.split_once(" --> ")) {
        assert!(sequence.contains(&format!("ig_trace_sni->>{map}: ")), "{map}: {sequence}");
    }
}

#[test]
fn a_listing_has_lines_of_source_and_relocations() {
    let programs: serde_json::Value =
        serde_json::from_str(&ours(&["--extra-info", "ebpf.programs"])).unwrap();
    let keys: Vec<_> = programs[0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["Section", "Source", "SourceWithRelocation"]);
    let source = programs[0]["Source"].as_str().unwrap();
    assert!(source.contains(": Exit\n") && source.contains("; "), "{source}");
    assert!(source.contains("Call FnMapLookupElem") && source.contains("<gadget_sockets>"), "{source}");
}

#[test]
fn data_sources_of_our_own_gadget() {
    let names =
        ours(&["--show-datasources", "--jsonpath", "[0].fields[?@.parent == 2].fullName", "-o", "json"]);
    insta::assert_snapshot!(names, @r#"["proc.comm","proc.pid","proc.tid","proc.mntns_id","proc.creds","proc.parent"]"#);
    insta::assert_snapshot!(ours(&["--show-datasources", "--jsonpath", "[0].fields[4]", "-o", "yaml"]), @r#"
    annotations:
      columns.alias: pid
      columns.alignment: right
      columns.ellipsis: end
      columns.minwidth: "7"
      columns.width: "16"
      description: "Process ID"
    flags: 24
    fullName: proc.pid
    index: 4
    kind: 8
    name: pid
    offs: 32
    parent: 2
    size: 4
    tags:
      - "type:gadget_pid"
      - "type:__u32"
      - "type:unsigned int"
      - "name:pid"
      - "src:ebpf"
    "#);
    assert!(ours(&["--show-datasources"]).starts_with("[\n  {\n    \"name\": \"sni\",\n    \"type\": 1,\n"));
}

#[test]
fn one_part_by_its_path() {
    let part = |path| ours(&["--extra-info", "ebpf.maps", "-o", "json", "--jsonpath", path]);
    assert_eq!(part("[?@.Name == 'events'].Type"), "[\"RingBuf\"]\n");
    assert_eq!(
        ours(&["--extra-info", "oci.metadata", "--jsonpath", ".name"]),
        "trace sni
"
    );
    insta::assert_snapshot!(fails(&["--jsonpath", ".a"]), @r#"jsonpath ".a" can only be used with extra info or show-datasources"#);
    insta::assert_snapshot!(fails(&["--extra-info", "ebpf.maps", "--jsonpath", "[0].nosuch.x"]), @r#"resolving path "[0].nosuch.x": unknown key nosuch"#);
    insta::assert_snapshot!(fails(&["--extra-info", "ebpf.maps", "--jsonpath", "[["]), @r#"parsing path "[[": at position 1, parser error"#);
    insta::assert_snapshot!(fails(&["--extra-info", "oci.tag", "--jsonpath", ".a"]), @r#"jsonpath ".a" can only be used with JSON or YAML content: extra info "oci.tag" is text/plain"#);
    assert!(
        fails(&["--extra-info", "nosuch"])
            .starts_with("extra info \"nosuch\" not found; there is: ebpf.flowchart, ")
    );
}

#[test]
fn nothing_in_an_image_reaches_a_terminal_as_a_command() {
    let mut image = instance::built_in_image().unwrap();
    let hostile = "a\u{1b}]0;x\u{7}\u{9b}31m\u{202e}b\r";
    image.metadata = br#"name: "a\u001b]0;x\u0007\u009b31m\u202eb\r""#.to_vec();
    image.annotations.insert(gadget::image::CREATED.to_owned(), hostile.to_owned());
    let mut texts = vec![inspect(&image, &["--extra-info", "oci.created"]).unwrap()];
    texts.push(inspect(&image, &["--extra-info", "oci.metadata", "--jsonpath", ".name"]).unwrap());
    for mode in ["json", "jsonpretty", "yaml"] {
        texts.push(inspect(&image, &["-o", mode]).unwrap());
        texts.push(inspect(&image, &["-o", mode, "--extra-info", "oci.metadata"]).unwrap());
    }
    for text in texts {
        assert!(!text.chars().any(|c| c.is_control() && c != '\n' || c == '\u{202e}'), "{text:?}");
    }
}

#[test]
fn yaml_says_what_json_says() {
    let json: serde_json::Value = serde_json::from_str(&ours(&["--show-datasources", "-o", "json"])).unwrap();
    let yaml: serde_json::Value =
        serde_saphyr::from_str(&ours(&["--show-datasources", "-o", "yaml"])).unwrap();
    assert_eq!(json, yaml);
    let all: serde_json::Value = serde_json::from_str(&ours(&["-o", "json"])).unwrap();
    let yaml: serde_json::Value = serde_saphyr::from_str(&ours(&["-o", "yaml"])).unwrap();
    assert_eq!(all, yaml);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damaged_objects_do_no_harm(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = trace_sni::OBJECT.to_vec();
        for (at, byte) in changes {
            *at.get_mut(&mut bytes) = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let maps = Object::parse(&bytes).map(|object| object.maps).unwrap_or_default();
        if let Ok(code) = Code::parse(&bytes) {
            let _ = code.describe_programs();
            let _ = (code.flowchart(&maps), code.sequence());
        }
    }

    #[test]
    fn any_path_is_an_answer_or_an_error(path in ".{0,40}") {
        let value = serde_json::json!([{"a": {"b": [1, 2]}}, "x"]);
        let _ = query::find(&value, &path);
    }
}
