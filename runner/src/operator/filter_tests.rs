//! Tests of filter rules: what they let through, and what is said about wrong ones.

use proptest::prelude::*;

use super::super::testing::{Source, bytes, event};
use super::*;

fn source() -> DataSource {
    let mut ds = Source::new("open")
        .group("proc")
        .field("proc.comm", Scalar::CString, 16, "gadget_comm")
        .with("columns.alias", "comm")
        .number("proc.pid", Scalar::Uint32, "gadget_pid")
        .with("columns.alias", "pid")
        .with("columns.hidden", "true")
        .group("proc.parent")
        .field("proc.parent.comm", Scalar::CString, 16, "gadget_comm")
        .with("columns.alias", "comm")
        .number("proc.parent.pid", Scalar::Uint32, "gadget_pid")
        .with("columns.alias", "pid")
        .number("fd", Scalar::Uint32, "u32")
        .number("ret", Scalar::Int16, "s16")
        .number("ok", Scalar::Bool, "bool")
        .number("load", Scalar::Float64, "double")
        .field("fname", Scalar::CString, 32, "char")
        .group("src")
        .with("columns.replace", "fname")
        .number("gone", Scalar::Uint8, "u8")
        .field("list", Scalar::Uint32, 16, "u32")
        .done();
    let gone = ds.field("gone").unwrap();
    ds.fields[gone].unreferenced = true;
    let list = ds.field("list").unwrap();
    ds.fields[list].kind.array = true;
    ds
}

fn passes(filter: &str) -> bool {
    let ds = source();
    let data = bytes(
        &ds,
        &[
            ("proc.comm", b"curl"),
            ("proc.pid", &7_u32.to_ne_bytes()),
            ("proc.parent.comm", b"sh"),
            ("proc.parent.pid", &8_u32.to_ne_bytes()),
            ("fd", &3_u32.to_ne_bytes()),
            ("ret", &(-2_i16).to_ne_bytes()),
            ("ok", &[1]),
            ("load", &0.5_f64.to_ne_bytes()),
            ("fname", b"/lib/a,b.so\xff"),
        ],
    );
    let mut filter = Filter::attach(&ds, filter).unwrap().unwrap();
    event(&ds, &data, |e| filter.process(e)) == Verdict::Pass
}

fn error(filter: &str) -> String {
    match Filter::attach(&source(), filter) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{filter} is no error"),
    }
}

#[test]
fn rules() {
    for (filter, pass) in [
        ("fd=3", true),
        ("fd==3", true),
        ("fd==4", false),
        ("fd!=3", false),
        ("fd!=4", true),
        ("fd<4", true),
        ("fd<3", false),
        ("fd<=3", true),
        ("fd>2", true),
        ("fd>3", false),
        ("fd>=3", true),
        ("FD==3", true),
        ("ret==-2", true),
        ("ret<0", true),
        ("ret>-3", true),
        ("ok==true", true),
        ("ok==1", true),
        ("ok!=false", true),
        ("ok!=1", false),
        ("ok==0", false),
        ("load>0.25", true),
        ("load==0.5", true),
        ("load==NaN", false),
        ("load!=NaN", true),
        ("proc.comm==curl", true),
        ("proc.comm==curl ", false),
        ("proc.comm==cur", false),
        ("proc.comm<d", true),
        ("proc.comm>curk", true),
        ("fname~^/lib", true),
        ("fname~\\.so", true),
        ("fname~^\\.so", false),
        ("fname!~\\.so", false),
        ("fname!~(?i)PERL", true),
        ("fname~a\\,b", true),
        ("fname~\\d", false),
        ("src~a\\,b", true),
    ] {
        assert_eq!(passes(filter), pass, "{filter}");
    }
}

#[test]
fn all_rules_must_hold() {
    assert!(passes("fd==3,proc.comm==curl"));
    assert!(!passes("fd==3,proc.comm==wget"));
    assert!(!passes("fd==4,proc.comm==curl"));
    assert!(passes(",fd==3,,"));
}

#[test]
fn equalities_are_known() {
    let ds = source();
    let of = |filter: &str| {
        let all = equalities(&ds, filter).into_iter();
        all.map(|(id, value)| format!("{}={value}", ds.fields[id].full_name)).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(of("fd==3,proc.pid=7,ret!=2,load<=1,fname~x=y,nosuch==1,pid"), "fd=3 proc.pid=7");
    assert_eq!(of("fd===3,fd!=4,ret>=1,fname!~a"), "");
}

#[test]
fn no_rules_no_filter() {
    for empty in ["", ",", ",,"] {
        assert!(Filter::attach(&source(), empty).unwrap().is_none(), "{empty:?}");
    }
}

#[test]
fn an_alias_means_the_visible_field_and_then_the_least_deep() {
    assert!(passes("comm==curl"));
    assert!(passes("COMM==curl"));
    assert!(passes("pid==8"), "proc.pid is hidden");
}

#[test]
fn a_field_that_an_operator_fills() {
    let mut ds = Source::new("s").done();
    let id = ds.add_slot_field(None, "user", Scalar::String, 0);
    let slot = ds.slot(id).unwrap();
    let mut filter = Filter::attach(&ds, "user==root").unwrap().unwrap();
    event(&ds, &[], |e| {
        assert_eq!(filter.process(e), Verdict::Drop);
        e.slots.set(slot, crate::datasource::Slot::Static("root"));
        assert_eq!(filter.process(e), Verdict::Pass);
    });
}

#[test]
fn messages() {
    let rules = [
        "fd",
        "fd=",
        "fd===3",
        "fd=!3",
        "fnmae==x",
        " fd ==3",
        "=3",
        "gone==1",
        "fd==abc",
        "fd==-1",
        "fd==99999999999",
        "ret==40000",
        "fd~3",
        "proc==1",
        "list==1",
        "ok==yes",
        "ok<1",
        "load==x",
    ];
    let all: Vec<String> = rules.iter().map(|rule| error(rule)).collect();
    insta::assert_snapshot!(all.join("\n"), @r#"
    filter rule "fd" is incomplete: write FIELD OPERATOR VALUE without spaces, such as proc.comm==curl
    filter rule "fd=" is incomplete: write FIELD OPERATOR VALUE without spaces, such as proc.comm==curl
    filter rule "fd===3": "===" is no operator; there are ==, !=, <, <=, >, >=, ~ and !~
    filter rule "fd=!3": "=!" is no operator; there are ==, !=, <, <=, >, >=, ~ and !~
    filter rule "fnmae==x": data source "open" has no field "fnmae" (did you mean fname?)
    filter rule " fd ==3": data source "open" has no field " fd " (did you mean fd?)
    filter rule "=3": data source "open" has no field ""; it shows comm, proc.parent.comm, pid, fd, ret, ok, load, fname, src, list, and `igx run IMAGE --help` tells what else it has
    filter rule "gone==1": data source "open" has no field "gone"; it shows comm, proc.parent.comm, pid, fd, ret, ok, load, fname, src, list, and `igx run IMAGE --help` tells what else it has
    filter rule "fd==abc": "abc" is no value for field "fd", which takes a number from 0 to 4294967295
    filter rule "fd==-1": "-1" is no value for field "fd", which takes a number from 0 to 4294967295
    filter rule "fd==99999999999": "99999999999" is no value for field "fd", which takes a number from 0 to 4294967295
    filter rule "ret==40000": "40000" is no value for field "ret", which takes a number from -32768 to 32767
    filter rule "fd~3": ~ and !~ compare text, but field "fd" of data source "open" holds a number from 0 to 4294967295
    filter rule "proc==1": field "proc" of data source "open" holds a struct or raw bytes, which cannot be compared
    filter rule "list==1": field "list" of data source "open" holds an array, which cannot be compared
    filter rule "ok==yes": field "ok" is true or false; use == or != with one of them
    filter rule "ok<1": field "ok" is true or false; use == or != with one of them
    filter rule "load==x": "x" is no value for field "load", which takes a decimal number
    "#);
}

#[test]
fn a_wrong_regular_expression() {
    let message = error("fname~[");
    assert!(message.starts_with("filter rule \"fname~[\": \"[\" is not a regular expression: "), "{message}");
}

#[test]
fn a_wrong_rule_after_a_right_one() {
    assert!(error("fd==3,nosuch==1").contains("\"nosuch==1\""));
}

proptest! {
    #[test]
    fn any_text_is_a_filter_or_an_error(filter in "[a-z.,=!<>~\\\\0-9 é]{0,40}") {
        let _ = Filter::attach(&source(), &filter);
    }

    #[test]
    fn numbers_compare_as_numbers(fd in any::<u32>(), with in any::<u32>()) {
        let ds = source();
        let data = bytes(&ds, &[("fd", &fd.to_ne_bytes())]);
        for (operator, holds) in
            [("==", fd == with), ("!=", fd != with), ("<", fd < with), ("<=", fd <= with), (">", fd > with), (">=", fd >= with)]
        {
            let mut filter = Filter::attach(&ds, &format!("fd{operator}{with}")).unwrap().unwrap();
            prop_assert_eq!(event(&ds, &data, |e| filter.process(e)) == Verdict::Pass, holds);
        }
    }
}
