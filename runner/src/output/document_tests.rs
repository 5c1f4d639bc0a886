//! JSON and YAML: what they look like, and that a parser reads back what was written.

use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

use super::{Display, Mode, View, Writer, sample};
use crate::datasource::{DataSource, Event, Kind, Scalar, Slots, SourceKind, Value};

fn writer(mode: Mode, source: &DataSource) -> Writer {
    Writer::new(source, &View { mode, fields: None }, &Display::default())
}

fn write(mode: Mode, source: &DataSource, data: &[u8], slots: &mut Slots) -> String {
    let mut out = Vec::new();
    writer(mode, source).event(&Event { data, slots }, &mut out);
    String::from_utf8(out).unwrap()
}

fn sni(mode: Mode) -> String {
    let source = sample::sni();
    let mut out = Vec::new();
    let mut writer = writer(mode, &source);
    writer.header(&mut out);
    sample::with_event(&source, |event| writer.event(event, &mut out));
    String::from_utf8(out).unwrap()
}

/// A source with one field, `v`, of `len` bytes.
fn single(scalar: Scalar, array: bool, len: usize) -> DataSource {
    let mut source = DataSource::new("one", SourceKind::Single);
    let id = sample::add(&mut source, None, "v", scalar, 0, len as u32);
    source.fields[id].kind = Kind { scalar, array };
    source
}

fn one(mode: Mode, scalar: Scalar, array: bool, data: &[u8]) -> String {
    write(mode, &single(scalar, array, data.len()), data, &mut Slots::new(0))
}

fn yaml(text: &str) -> String {
    let line = one(Mode::Yaml, Scalar::String, false, text.as_bytes());
    line.strip_prefix("---\nv: ").unwrap().trim_end_matches('\n').to_owned()
}

#[test]
fn json_is_one_line_with_sorted_keys() {
    insta::assert_snapshot!(sni(Mode::Json), @r#"{"k8s":{"containerName":"","hostnetwork":false,"namespace":"","node":"","owner":{"kind":"","name":""},"podLabels":"","podName":""},"name":"example.com","netns_id":4026532001,"proc":{"comm":"wget","creds":{"gid":1111,"group":"","uid":1000,"user":""},"mntns_id":4026532002,"parent":{"comm":"sh","pid":4294967295,"tid":1},"pid":4321,"tid":4322},"runtime":{"containerId":"","containerImageDigest":"","containerImageName":"","containerName":"test-trace-sni","containerPid":4321,"containerStartedAt":1700000000000000000,"runtimeName":"docker"},"timestamp":"2024-01-01T00:00:00.123456789+01:00","timestamp_raw":1704063600123456789}"#);
}

#[test]
fn indented_json() {
    insta::assert_snapshot!(sni(Mode::JsonPretty), @r#"
    {
      "k8s": {
        "containerName": "",
        "hostnetwork": false,
        "namespace": "",
        "node": "",
        "owner": {
          "kind": "",
          "name": ""
        },
        "podLabels": "",
        "podName": ""
      },
      "name": "example.com",
      "netns_id": 4026532001,
      "proc": {
        "comm": "wget",
        "creds": {
          "gid": 1111,
          "group": "",
          "uid": 1000,
          "user": ""
        },
        "mntns_id": 4026532002,
        "parent": {
          "comm": "sh",
          "pid": 4294967295,
          "tid": 1
        },
        "pid": 4321,
        "tid": 4322
      },
      "runtime": {
        "containerId": "",
        "containerImageDigest": "",
        "containerImageName": "",
        "containerName": "test-trace-sni",
        "containerPid": 4321,
        "containerStartedAt": 1700000000000000000,
        "runtimeName": "docker"
      },
      "timestamp": "2024-01-01T00:00:00.123456789+01:00",
      "timestamp_raw": 1704063600123456789
    }
    "#);
}

#[test]
fn yaml_document() {
    insta::assert_snapshot!(sni(Mode::Yaml), @r#"
    ---
    k8s:
      containerName: ""
      hostnetwork: false
      namespace: ""
      node: ""
      owner:
        kind: ""
        name: ""
      podLabels: ""
      podName: ""
    name: example.com
    netns_id: 4026532001
    proc:
      comm: wget
      creds:
        gid: 1111
        group: ""
        uid: 1000
        user: ""
      mntns_id: 4026532002
      parent:
        comm: sh
        pid: 4294967295
        tid: 1
      pid: 4321
      tid: 4322
    runtime:
      containerId: ""
      containerImageDigest: ""
      containerImageName: ""
      containerName: test-trace-sni
      containerPid: 4321
      containerStartedAt: 1700000000000000000
      runtimeName: docker
    timestamp: "2024-01-01T00:00:00.123456789+01:00"
    timestamp_raw: 1704063600123456789
    "#);
}

#[test]
fn indented_json_says_the_same() {
    let parse = |mode| serde_json::from_str::<Json>(&sni(mode)).unwrap();
    assert_eq!(parse(Mode::JsonPretty), parse(Mode::Json));
}

#[test]
fn fields_left_out() {
    let mut source = sample::sni();
    for name in ["k8s", "runtime", "timestamp", "timestamp_raw", "netns_id", "proc.creds"] {
        let id = source.field(name).unwrap();
        source.fields[id].unreferenced = true;
    }
    for name in ["name", "proc.parent.comm", "proc.parent.pid", "proc.parent.tid", "proc.mntns_id"] {
        let id = source.field(name).unwrap();
        source.fields[id].annotations.set("json.skip", "true");
    }
    let mut slots = Slots::new(source.slots);
    let data = sample::data(b"wget", b"example.com");
    assert_eq!(
        write(Mode::Json, &source, &data, &mut slots),
        "{\"proc\":{\"comm\":\"wget\",\"parent\":{},\"pid\":4321,\"tid\":4322}}\n"
    );
    assert_eq!(
        write(Mode::Yaml, &source, &data, &mut slots),
        "---\nproc:\n  comm: wget\n  parent: {}\n  pid: 4321\n  tid: 4322\n"
    );
}

#[test]
fn a_source_without_fields() {
    let source = DataSource::new("empty", SourceKind::Single);
    let mut slots = Slots::new(0);
    assert_eq!(write(Mode::Json, &source, &[], &mut slots), "{}\n");
    assert_eq!(write(Mode::JsonPretty, &source, &[], &mut slots), "{}\n");
    assert_eq!(write(Mode::Yaml, &source, &[], &mut slots), "--- {}\n");
}

#[test]
fn a_name_taken_twice_is_written_once() {
    let mut source = single(Scalar::Uint8, false, 1);
    sample::add(&mut source, None, "v", Scalar::Uint8, 1, 1);
    assert_eq!(write(Mode::Json, &source, &[1, 2], &mut Slots::new(0)), "{\"v\":2}\n");
}

#[test]
fn numbers_keep_their_sign_and_size() {
    let json = |scalar, data: &[u8]| one(Mode::Json, scalar, false, data);
    assert_eq!(json(Scalar::Uint64, &[0xff; 8]), "{\"v\":18446744073709551615}\n");
    assert_eq!(json(Scalar::Int64, &i64::MIN.to_ne_bytes()), "{\"v\":-9223372036854775808}\n");
    assert_eq!(json(Scalar::Int8, &[0xff]), "{\"v\":-1}\n");
    assert_eq!(json(Scalar::Bool, &[1]), "{\"v\":true}\n");
    assert_eq!(json(Scalar::Float64, &f64::NAN.to_ne_bytes()), "{\"v\":null}\n");
    assert_eq!(json(Scalar::Float32, &0.1f32.to_ne_bytes()), "{\"v\":0.1}\n");
    assert_eq!(json(Scalar::Bytes, &[0xde, 0xad]), "{\"v\":\"dead\"}\n");
}

#[test]
fn arrays() {
    let max = [u64::MAX.to_ne_bytes(), 1u64.to_ne_bytes()].concat();
    assert_eq!(one(Mode::Json, Scalar::Uint64, true, &max), "{\"v\":[18446744073709551615,1]}\n");
    assert_eq!(one(Mode::Yaml, Scalar::Uint64, true, &max), "---\nv:\n- 18446744073709551615\n- 1\n");
    assert_eq!(one(Mode::Json, Scalar::Int8, true, &[]), "{\"v\":[]}\n");
    assert_eq!(one(Mode::Yaml, Scalar::Int8, true, &[]), "---\nv: []\n");
    assert_eq!(one(Mode::Json, Scalar::Bool, true, &[0, 1]), "{\"v\":[false,true]}\n");
    // Elements that nothing is known of, and bytes that make no whole element.
    assert_eq!(one(Mode::Json, Scalar::CString, true, b"ab"), "{\"v\":\"6162\"}\n");
    assert_eq!(one(Mode::Yaml, Scalar::Invalid, true, b"ab"), "---\nv: \"6162\"\n");
    assert_eq!(one(Mode::Json, Scalar::Uint32, true, &[1, 0]), "{\"v\":[]}\n");
}

#[test]
fn yaml_quotes_only_where_it_must() {
    for plain in [
        "wget",
        "a b",
        "/etc/ld.so.cache",
        "O_RDONLY|O_CLOEXEC",
        "-x",
        ":x",
        "10.0.0.1",
        "a:b",
        "a#b",
        "ünï",
        "1a",
        "-",
    ] {
        if plain != "-" {
            assert_eq!(yaml(plain), plain);
        }
    }
    for single in [
        "----------",
        "- a",
        "a: b",
        "a #b",
        " a",
        "a ",
        "#a",
        "[a",
        "{a}",
        "*a",
        "&a",
        "!a",
        "%a",
        "@a",
        "`a",
        "a:",
        "-",
        "...",
    ] {
        assert_eq!(yaml(single), format!("'{single}'"));
    }
    assert_eq!(yaml("'a"), "'''a'");
    for double in [
        "",
        "~",
        "null",
        "Null",
        "true",
        "False",
        "yes",
        "No",
        "on",
        "OFF",
        "y",
        "N",
        "1",
        "-1",
        "+1",
        "0x1F",
        "0o17",
        "1_000",
        "1.5",
        ".5",
        "5.",
        "1e3",
        "1E+3",
        ".inf",
        "-.INF",
        ".NaN",
        "12:30:45",
        "2026-11-23T04:45:25.559965731Z",
        "2024-01-01",
        "<<",
    ] {
        assert_eq!(yaml(double), format!("\"{double}\""));
    }
}

#[test]
fn yaml_escapes_what_a_terminal_acts_on() {
    assert_eq!(yaml("\x1b[2J\0\n\t\"\\"), r#""\x1b[2J\x00\n\t\"\\""#);
    assert_eq!(yaml("\u{9b}31m\u{202e}\u{feff}\u{e0001}"), r#""\u009b31m\u202e\ufeff\U000e0001""#);
    assert_eq!(one(Mode::Yaml, Scalar::String, false, b"a\xff"), "---\nv: \"a\u{fffd}\"\n");
}

/// Every kind of value, nested, with keys that YAML could misread.
fn every_kind() -> DataSource {
    let mut source = DataSource::new("all", SourceKind::Single);
    let group = source.add_group(None, "null");
    let inner = source.add_group(Some(group), "a: b");
    let mut offset = 0;
    for (index, (scalar, array, size)) in [
        (Scalar::Bool, false, 1),
        (Scalar::Int8, false, 1),
        (Scalar::Int16, false, 2),
        (Scalar::Int32, false, 4),
        (Scalar::Int64, false, 8),
        (Scalar::Uint8, false, 1),
        (Scalar::Uint16, false, 2),
        (Scalar::Uint32, false, 4),
        (Scalar::Uint64, false, 8),
        (Scalar::Float32, false, 4),
        (Scalar::Float64, false, 8),
        (Scalar::String, false, 6),
        (Scalar::CString, false, 6),
        (Scalar::Bytes, false, 5),
        (Scalar::Invalid, false, 2),
        (Scalar::Uint64, true, 16),
        (Scalar::Int16, true, 6),
        (Scalar::Float32, true, 8),
        (Scalar::Bool, true, 2),
        (Scalar::CString, true, 3),
    ]
    .into_iter()
    .enumerate()
    {
        let parent = [None, Some(group), Some(inner)][index % 3];
        let id = sample::add(&mut source, parent, &format!("{index}"), scalar, offset, size);
        source.fields[id].kind = Kind { scalar, array };
        offset += size;
    }
    source
}

/// What a parser should read: built field by field, without the writers.
fn expected(source: &DataSource, event: &Event<'_>, parent: Option<usize>) -> Json {
    let mut members = Map::new();
    for id in source.children(parent) {
        let value = if source.children(Some(id)).next().is_some() {
            expected(source, event, Some(id))
        } else {
            plain(source.accessor(id).kind().scalar, source.accessor(id).value(event))
        };
        members.insert(source.fields[id].name.clone(), value);
    }
    Json::Object(members)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// U+FFFD for each byte that is not UTF-8.
fn lossy(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '\u{fffd}'));
    }
    text
}

fn plain(scalar: Scalar, value: Value<'_>) -> Json {
    match value {
        Value::Unsigned(v) => json!(v),
        Value::Signed(v) => json!(v),
        Value::Float(v) if scalar == Scalar::Float32 => json!((v as f32).to_string().parse::<f64>().unwrap()),
        Value::Float(v) => json!(v),
        Value::Bool(v) => json!(v),
        Value::Text(v) => json!(lossy(v)),
        Value::Bytes(v) => json!(hex(v)),
        Value::Array(Scalar::Uint64, v) => {
            v.chunks(8).map(|c| json!(u64::from_ne_bytes(c.try_into().unwrap()))).collect()
        }
        Value::Array(Scalar::Int16, v) => {
            v.chunks(2).map(|c| json!(i16::from_ne_bytes(c.try_into().unwrap()))).collect()
        }
        Value::Array(Scalar::Float32, v) => v
            .chunks(4)
            .map(|c| {
                plain(Scalar::Float32, Value::Float(f64::from(f32::from_ne_bytes(c.try_into().unwrap()))))
            })
            .collect(),
        Value::Array(Scalar::Bool, v) => v.iter().map(|&b| json!(b == 1)).collect(),
        Value::Array(_, v) => json!(hex(v)),
    }
}

/// Equal, but for the last digit of a float and for how a whole float is stored.
fn same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| same(v, w)))
        }
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(v, w)| same(v, w)),
        (Json::Number(a), Json::Number(b)) if a.is_f64() || b.is_f64() => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            a == b || (a - b).abs() <= a.abs() * 1e-15
        }
        _ => a == b,
    }
}

proptest! {
    #[test]
    fn parsers_read_back_what_was_written(data in prop::collection::vec(any::<u8>(), 128)) {
        let source = every_kind();
        let mut slots = Slots::new(source.slots);
        let event = Event { data: &data, slots: &mut slots };
        let expected = expected(&source, &event, None);
        for mode in [Mode::Json, Mode::JsonPretty] {
            let text = write(mode, &source, &data, &mut Slots::new(source.slots));
            let parsed: Json = serde_json::from_str(&text).unwrap();
            prop_assert!(same(&parsed, &expected), "{parsed}\n{expected}");
        }
        let text = write(Mode::Yaml, &source, &data, &mut Slots::new(source.slots));
        let parsed: Json = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        prop_assert!(same(&parsed, &expected), "{text}\n{parsed}\n{expected}");
    }

    #[test]
    fn any_text_is_read_back(text in prop_oneof![
        any::<Vec<u8>>(),
        ".{0,40}".prop_map(String::into_bytes),
        "[-+.:# '\"0-9a-fxeTZyn~\\[\\]{},&*!|>%@`?=<\\\\\n\t]{0,12}".prop_map(String::into_bytes),
    ]) {
        let expected = json!({ "v": lossy(&text) });
        let written = one(Mode::Json, Scalar::String, false, &text);
        prop_assert_eq!(&serde_json::from_str::<Json>(&written).unwrap(), &expected);
        prop_assert_eq!(written.lines().count(), 1);
        let written = one(Mode::Yaml, Scalar::String, false, &text);
        let parsed = serde_saphyr::from_str::<Json>(&written).unwrap_or_else(|e| panic!("{e}: {written}"));
        prop_assert_eq!(&parsed, &expected);
        prop_assert!(!written.chars().any(|c| c.is_control() && c != '\n'));
    }
}
