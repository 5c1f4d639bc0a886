use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> Metadata {
    Metadata::parse(text.as_bytes()).unwrap()
}

fn fault(text: &str) -> String {
    Metadata::parse(text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn keys_are_matched_without_regard_to_case() {
    let metadata = parse(
        "Name: x\nhomepageURL: u\ndataSources:\n  Procs:\n    Fields:\n      memoryRSS:\n        annotations:\n          columns.maxWidth: 12\n          columns.hidden: true\nfuture: {a: 1}\n",
    );
    assert_eq!((metadata.name.as_str(), metadata.homepage_url.as_str()), ("x", "u"));
    let field = metadata.datasources.get("procs").and_then(|d| d.fields.get("MEMORYRSS")).unwrap();
    assert_eq!(field.annotations.get("columns.maxwidth").map(String::as_str), Some("12"));
    assert_eq!(field.annotations.get("columns.hidden").map(String::as_str), Some("true"));
    let fields = &metadata.datasources.get("PROCS").unwrap().fields;
    assert_eq!(fields.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["memoryRSS"]);
}

#[test]
fn params_of_every_kind() {
    let metadata = parse(
        "params:\n  ebpf:\n    targ_pid: {key: pid, defaultValue: 0, isMandatory: true, possibleValues: [1, b]}\n  custom:\n    count:\n      defaultValue: 0\n      values: {one: {patch: {Operator: {A: 1}}}}\nebpfParams:\n  old: {key: o}\n  targ_pid: {key: lost}\nparamDefaults:\n  operator.oci.ebpf.map-fetch-interval: 0\nprograms:\n  p: {attach_to: t, perf: {type: hardware, config: c, sampleType: s}, sampler: {frequency: 49}}\noperator:\n  process: {emitStats: true}\n",
    );
    let pid = metadata.params.ebpf.get("targ_pid").unwrap();
    assert_eq!((pid.key.as_str(), pid.default_value.as_deref(), pid.is_mandatory), ("pid", Some("0"), true));
    assert_eq!(pid.possible_values, ["1", "b"]);
    assert_eq!(metadata.params.ebpf.get("old").map(|p| p.key.as_str()), Some("o"));
    let custom = metadata.params.custom.get("count").unwrap();
    assert_eq!(custom.values.get("one").unwrap()["operator"]["a"], 1);
    assert_eq!(metadata.programs.get("p").unwrap().sampler_frequency, Some(49));
    assert_eq!(metadata.operator.get("process").unwrap()["emitstats"], true);
}

#[test]
fn empty_files_say_nothing() {
    for text in ["", "\n", "# only a comment\n", "---\n", "datasources:\nparams:\n  ebpf:\n"] {
        assert_eq!(parse(text), Metadata::default(), "{text:?}");
    }
}

#[test]
fn errors_point_at_their_place() {
    insta::assert_snapshot!(fault("name: x\ndatasources:\n  sni: [1]\n"), @r#"
    gadget.yaml, line 3, column 8: a data source must be a map, not a list
      3 |   sni: [1]
        |        ^
    "#);
    insta::assert_snapshot!(fault("name: [a]\n"), @r#"
    gadget.yaml, line 1, column 7: this must be text, a number, true or false, not a list
      1 | name: [a]
        |       ^
    "#);
    insta::assert_snapshot!(fault("just text\n"), @r#"
    gadget.yaml, line 1, column 1: the file must be a map, not text
      1 | just text
        | ^
    "#);
    insta::assert_snapshot!(fault("name: x\nName: y\n"), @r#"
    gadget.yaml, line 2, column 1: key "Name" is there twice; upper and lower case are the same
      2 | Name: y
        | ^
    "#);
    insta::assert_snapshot!(fault("name: x\nname: y\n"), @r#"
    gadget.yaml, line 2, column 1: duplicate mapping key: name
      2 | name: y
        | ^
    "#);
    insta::assert_snapshot!(fault("name: \"x\n"), @r#"
    gadget.yaml, line 1, column 7: unclosed quote
      1 | name: "x
        |       ^
    "#);
    insta::assert_snapshot!(Metadata::parse(b"name: x\nurl: \xff\n").unwrap_err(), @"gadget.yaml, line 2, column 6: the file is not UTF-8 text; save it as UTF-8");
}

#[test]
fn bombs_are_refused() {
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..12 {
        let refs = vec![format!("*a{}", level - 1); 10].join(",");
        bomb += &format!("a{level}: &a{level} [{refs}]\n");
    }
    assert!(Metadata::parse(bomb.as_bytes()).is_err());
    assert!(Metadata::parse(format!("a: {}", "[".repeat(50_000)).as_bytes()).is_err());
    assert!(Metadata::parse(format!("a: {}1{}", "[".repeat(200), "]".repeat(200)).as_bytes()).is_err());
    assert_eq!(Metadata::parse(&vec![b'#'; MAX_SIZE + 1]), Err(Error::TooLarge(MAX_SIZE + 1)));
}

#[test]
fn validation_tells_all_faults() {
    let metadata = parse("params:\n  ebpf:\n    a: {}\n  wasm:\n    b: {key: ' '}\n");
    insta::assert_snapshot!(metadata.validate().unwrap_err(), @r#"
    gadget.yaml: the gadget has no name; add name: at the top
    gadget.yaml: param "a" has an empty key; give params.ebpf.a a key
    gadget.yaml: param "b" has an empty key; give params.wasm.b a key
    "#);
    assert_eq!(parse("name: x").validate(), Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200), yaml in "[a-z:\\[\\]{}&* \n-]{0,200}") {
        let _ = Metadata::parse(&bytes);
        let _ = Metadata::parse(yaml.as_bytes());
    }
}
