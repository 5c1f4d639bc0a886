//! Tests of expressions: what they let through, and what is said about wrong ones.

use proptest::prelude::*;

use super::super::testing::{Source, bytes, event};
use super::*;
use crate::datasource::{Scalar, Slot};

fn source() -> DataSource {
    let mut ds = Source::new("open")
        .group("proc")
        .field("proc.comm", Scalar::CString, 16, "gadget_comm")
        .with("columns.alias", "comm")
        .number("proc.pid", Scalar::Uint32, "gadget_pid")
        .with("columns.alias", "pid")
        .number("proc.mntns_id", Scalar::Uint64, "gadget_mntns_id")
        .group("proc.parent")
        .field("proc.parent.comm", Scalar::CString, 16, "gadget_comm")
        .with("columns.alias", "comm")
        .with("columns.hidden", "true")
        .number("fd", Scalar::Uint32, "u32")
        .number("ret", Scalar::Int16, "s16")
        .number("ok", Scalar::Bool, "bool")
        .number("load", Scalar::Float64, "double")
        .field("fname", Scalar::CString, 32, "char")
        .group("dst")
        .with("columns.replace", "dst.endpoint")
        .field("list", Scalar::Uint16, 8, "u16")
        .number("in", Scalar::Uint8, "u8")
        .done();
    let list = ds.field("list").unwrap();
    ds.fields[list].kind.array = true;
    let dst = ds.field("dst");
    ds.add_slot_field(dst, "addr", Scalar::String, 0);
    ds.add_slot_field(dst, "endpoint", Scalar::String, 0);
    ds
}

fn verdict(ds: &DataSource, expression: &str) -> Verdict {
    let list: Vec<u8> = [1_u16, 2, 3, 500].iter().flat_map(|n| n.to_ne_bytes()).collect();
    let data = bytes(
        ds,
        &[
            ("proc.comm", b"curl"),
            ("proc.pid", &7_u32.to_ne_bytes()),
            ("proc.mntns_id", &u64::MAX.to_ne_bytes()),
            ("proc.parent.comm", b"sh"),
            ("fd", &3_u32.to_ne_bytes()),
            ("ret", &(-2_i16).to_ne_bytes()),
            ("ok", &[1]),
            ("load", &0.5_f64.to_ne_bytes()),
            ("fname", b"/lib/\xc3\x89t\xc3\xa9.so\xff"),
            ("list", &list),
            ("in", &[9]),
        ],
    );
    let mut filter = Expression::attach(ds, expression).unwrap_or_else(|e| panic!("{e}")).unwrap();
    event(ds, &data, |e| {
        let slot = |name| ds.slot(ds.field(name).unwrap()).unwrap();
        e.slots.set(slot("dst.addr"), Slot::Static("127.0.0.53"));
        e.slots.set(slot("dst.endpoint"), Slot::Static("127.0.0.53:53"));
        filter.process(e)
    })
}

fn passes(expression: &str) -> bool {
    verdict(&source(), expression) == Verdict::Pass
}

fn error(expression: &str) -> String {
    match Expression::attach(&source(), expression) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{expression} is no error"),
    }
}

#[test]
fn true_for_the_event() {
    for expression in [
        // Fields, by name and by alias, in any case.
        "fd == 3",
        "FD == 3",
        "comm == 'curl' && pid == 7",
        "proc.comm == \"curl\" and proc?.pid == 7",
        "proc[\"comm\"] == 'curl'",
        "$env[\"in\"] == 9 && $env.fd == 3",
        "proc.parent.comm == `sh`",
        "ok",
        "ok == true",
        "ok != false",
        "!(fd == 4)",
        "not (fd == 4)",
        // Numbers of any width and sign.
        "ret == -2 && ret < 0 && ret > -3",
        "proc.mntns_id == 18446744073709551615",
        "proc.mntns_id > ret",
        "proc.mntns_id + 1 > proc.mntns_id",
        "load == 0.5 and load < fd",
        "fd / 2 == 1.5",
        "fd % 2 == 1",
        "-7 % 2 == -1",
        "2 ** 3 ** 2 == 512",
        "2 ^ 3 == 8",
        "-fd == -3",
        "1 + 2 * 3 == 7",
        "(1 + 2) * 3 == 9",
        "0x1f == 31",
        "1 < fd <= 3 < 4",
        "abs(ret) == 2",
        "max(1, fd, 2) == 3 && min(1.5, fd) == 1.5",
        "floor(1.7) == 1 && ceil(1.2) == 2 && round(2.5) == 3",
        "int(1.9) == 1 && int('12') == 12 && float('1.5') == 1.5",
        // Text.
        "fname startsWith '/lib' && fname contains 't' && proc.comm endsWith \"rl\"",
        "fname matches '^/lib/.*[.]so'",
        "not (fname matches 'python')",
        "fname not matches 'python'",
        "fname not contains 'python'",
        "proc.comm < 'd' && proc.comm > 'curk'",
        "'a' + proc.comm + 'b' == 'acurlb'",
        "lower('ÉTÉ') == 'été' && upper(comm) == 'CURL'",
        "lower(fname) contains 'été'",
        "len(comm) == 4 && len('été') == 3 && len(list) == 4",
        "trim('  a b\\t') == 'a b' && trim('--a-', '-') == 'a'",
        "trimPrefix(fname, '/lib/') startsWith 'É' && trimSuffix(comm, 'rl') == 'cu'",
        "replace('a.b.c', '.', '--') == 'a--b--c'",
        "hasPrefix(comm, 'cu') && hasSuffix(comm, 'rl')",
        "indexOf(comm, 'r') == 2 && lastIndexOf('a.b.c', '.') == 3 && indexOf(comm, 'x') == -1",
        "comm[0:2] == 'cu' && comm[-2:] == 'rl' && comm[:1] == 'c' && comm[9:] == ''",
        "string(fd) + string(ok) == '3true'",
        "split('a.b.c', '.')[1] == 'b' && split('a.b.c', '.')[-1] == 'c'",
        "'b' in split('a.b.c', '.') && len(split('abc', '')) == 3 && last(split('a.b', '.')) == 'b'",
        "comm | upper() == 'CURL'",
        "comm | trimPrefix('c') | len() == 3",
        // Lists.
        "fd in [1, 2, 3] && fd not in [4]",
        "comm in ['wget', 'curl']",
        "fd in 1..3 and 4 not in 1..3",
        "fd in [fd, 9] && comm in ['x', comm] && 0.5 in [0.5, 1] && load in [1, 0.5]",
        "500 in list && 4 not in list && list[3] == 500 && list[-1] == 500",
        "first(list) == 1 && last(list) == 500 && sum(list) == 506",
        "any(list, # > 100) && all(list, {# > 0}) && none(list, # == 4) && one(list, # == 2)",
        "count(list, # < 4) == 3 && sum(1..100) == 5050",
        "any(['a', 'b'], any(['b'], # == 'b') && # == 'a')",
        // Networks.
        "dst.addr in cidr('127.0.0.0/8')",
        "dst in cidr('10.0.0.0/8', '127.0.0.0/8')",
        "dst.addr not in cidr(['10.0.0.0/8', '::1/128'])",
        "dst == '127.0.0.53:53'",
        // Choices and names.
        "fd == 3 ? ok : false",
        "(ok ? 1 : 2) == 1",
        "if ok { fd == 3 } else { false }",
        "let n = fd + 1; n == 4",
        "let a = fd; let b = a + a; b + a == 9",
        "let fd = 5; fd == 5",
        "nil == nil && comm != nil && (comm ?? 'x') == 'curl' && (nil ?? 5) == 5",
        "false or false || true and not false",
        "fd == 3 // a comment",
    ] {
        assert!(passes(expression), "{expression}");
        assert!(
            !passes(&format!("not ({})", expression.split(" //").next().unwrap()))
                || expression.contains("let"),
            "not {expression}"
        );
    }
}

#[test]
fn false_for_the_event() {
    for expression in [
        "false",
        "fd == 4",
        "comm == 'cur'",
        "comm == 'curl '",
        "dst.addr in cidr('10.0.0.0/8')",
        "ok and fd > 3",
    ] {
        assert!(!passes(expression), "{expression}");
    }
}

#[test]
fn equalities_are_known() {
    let ds = source();
    let of = |expression: &str| {
        let all = equalities(&ds, expression).into_iter();
        all.map(|(id, value)| format!("{}={value}", ds.fields[id].full_name)).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(of("pid == 7 && (3 == fd and ok) && ret != 2"), "proc.pid=7 fd=3");
    for none in [
        "pid == 7 || fd == 3",
        "not (pid == 7)",
        "let pid = 5; pid == 7",
        "pid == fd",
        "pid == 7 ? ok : ok",
        "pid ==",
    ] {
        assert_eq!(of(none), "", "{none}");
    }
}

#[test]
fn nothing_is_no_filter() {
    for empty in ["", " ", "\n"] {
        assert!(Expression::attach(&source(), empty).unwrap().is_none(), "{empty:?}");
    }
}

#[test]
fn what_fails_for_an_event_drops_it() {
    for expression in [
        "fd % (fd - 3) == 0",
        "not (fd % (fd - 3) == 0)",
        "list[9] == 0",
        "int(comm) == 0",
        "not (int(comm) == 0)",
        "proc.mntns_id * proc.mntns_id * proc.mntns_id > 0",
        "all(1..100000000, # > 0)",
        "any(1..1000, any(1..1000, any(1..1000, # < 0)))",
    ] {
        assert!(!passes(expression), "{expression}");
    }
    // What is not looked at cannot fail.
    assert!(passes("ok || int(comm) == 0"));
    assert!(passes("not ok && int(comm) == 0 or true"));
}

#[test]
fn text_made_for_an_event_is_bounded() {
    let mut expression = "comm".to_owned();
    for _ in 0..16 {
        expression = format!("replace({expression}, 'c', 'cccccccccccccccc')");
    }
    assert!(!passes(&format!("len({expression}) > 0")));
}

#[test]
fn messages() {
    let expressions = [
        "nosuch == 1",
        "fnmae == 'x'",
        "fd",
        "fd == '3'",
        "fd = 3",
        "fd == 3 &&",
        "fd == 3 fd",
        "ok and fd",
        "proc == 1",
        "proc.comm in 'curl'",
        "comm in [1, 2]",
        "fd in ['a']",
        "[1, 'a'] == 1",
        "[] == 1",
        "comm matches '['",
        "comm matches fname",
        "comm contains 3",
        "dst.addr in cidr('127.0.0.0')",
        "dst.addr in cidr(comm)",
        "len(fd) == 3",
        "lwoer(comm) == 'a'",
        "lower() == 'a'",
        "comm + 1 == 'a'",
        "ok < ok",
        "# > 3",
        "(fd == 3",
        "fd & 3",
        "'abc",
        "comm.x == 'a'",
        "ok ? 1 : 'a'",
        "let a = b; true",
        "comm ==\n  fname ==\n  nosuch",
    ];
    let all: Vec<String> = expressions.iter().map(|expression| error(expression)).collect();
    insta::assert_snapshot!(all.join("\n"), @r#"
    filter expression: data source "open" has no field "nosuch"; it shows comm, pid, proc.mntns_id, fd, ret, ok, load, fname, dst, list, in, dst.addr, dst.endpoint, and `igx run IMAGE --help` tells what else it has (1:1)
     | nosuch == 1
     | ^
    filter expression: data source "open" has no field "fnmae" (did you mean fname?) (1:1)
     | fnmae == 'x'
     | ^
    filter expression: a filter must be true or false, but this is a whole number (1:1)
     | fd
     | ^
    filter expression: == cannot compare a whole number with text (1:4)
     | fd == '3'
     | ...^
    filter expression: compare with ==, not with = (1:4)
     | fd = 3
     | ...^
    filter expression: something is missing at the end (1:11)
     | fd == 3 &&
     | ..........^
    filter expression: "fd" is not expected here (1:9)
     | fd == 3 fd
     | ........^
    filter expression: expected true or false, but this is a whole number (1:8)
     | ok and fd
     | .......^
    filter expression: field "proc" of data source "open" holds a struct: name one of proc.comm, proc.pid, proc.mntns_id, proc.parent (1:1)
     | proc == 1
     | ^
    filter expression: in looks into lists and networks; for text, write: text contains part (1:11)
     | proc.comm in 'curl'
     | ..........^
    filter expression: in looks for text in a list of whole numbers (1:6)
     | comm in [1, 2]
     | .....^
    filter expression: in looks for a whole number in a list of texts (1:4)
     | fd in ['a']
     | ...^
    filter expression: a list holds true or false, numbers or texts, all of one type; this is text (1:5)
     | [1, 'a'] == 1
     | ....^
    filter expression: the list is empty (1:1)
     | [] == 1
     | ^
    filter expression: this is not a regular expression that can be used: regex parse error:
        [
        ^
    error: unclosed character class (1:14)
     | comm matches '['
     | .............^
    filter expression: the regular expression behind matches must be written out (1:14)
     | comm matches fname
     | .............^
    filter expression: expected text, but this is a whole number (1:15)
     | comm contains 3
     | ..............^
    filter expression: "127.0.0.0" is no network; write one as "10.0.0.0/8" (1:18)
     | dst.addr in cidr('127.0.0.0')
     | .................^
    filter expression: the networks of cidr() must be written out, as "10.0.0.0/8" (1:18)
     | dst.addr in cidr(comm)
     | .................^
    filter expression: expected text or a list, but this is a whole number (1:5)
     | len(fd) == 3
     | ....^
    filter expression: there is no function "lwoer" (did you mean lower?); there are abs, all, any, ceil, cidr, count, first, float, floor, hasPrefix, hasSuffix, indexOf, int, last, lastIndexOf, len, lower, max, min, none, one, replace, round, split, string, sum, trim, trimPrefix, trimSuffix, upper (1:1)
     | lwoer(comm) == 'a'
     | ^
    filter expression: lower is called as lower(text) (1:1)
     | lower() == 'a'
     | ^
    filter expression: + does not work with text and a whole number (1:6)
     | comm + 1 == 'a'
     | .....^
    filter expression: < does not work with true or false (1:4)
     | ok < ok
     | ...^
    filter expression: # is the element that a predicate, as of any(), looks at (1:1)
     | # > 3
     | ^
    filter expression: expected ")" before the end (1:9)
     | (fd == 3
     | ........^
    filter expression: '&' means nothing here (1:4)
     | fd & 3
     | ...^
    filter expression: the text does not end: a ' is missing (1:1)
     | 'abc
     | ^
    filter expression: data source "open" has no field "comm.x" (did you mean proc.comm or proc.parent.comm?) (1:1)
     | comm.x == 'a'
     | ^
    filter expression: both ends of ?: must be of one type, but are a whole number and text (1:4)
     | ok ? 1 : 'a'
     | ...^
    filter expression: data source "open" has no field "b"; it shows comm, pid, proc.mntns_id, fd, ret, ok, load, fname, dst, list, in, dst.addr, dst.endpoint, and `igx run IMAGE --help` tells what else it has (1:9)
     | let a = b; true
     | ........^
    filter expression: data source "open" has no field "nosuch"; it shows comm, pid, proc.mntns_id, fd, ret, ok, load, fname, dst, list, in, dst.addr, dst.endpoint, and `igx run IMAGE --help` tells what else it has (3:3)
     |   nosuch
     | ..^
    "#);
}

#[test]
fn a_long_line_is_shown_around_the_mistake() {
    let expression = format!("{}nosuch", "fd == 3 or ".repeat(40));
    insta::assert_snapshot!(error(&expression), @r#"
    filter expression: data source "open" has no field "nosuch"; it shows comm, pid, proc.mntns_id, fd, ret, ok, load, fname, dst, list, in, dst.addr, dst.endpoint, and `igx run IMAGE --help` tells what else it has (1:441)
     | 3 or fd == 3 or fd == 3 or fd == 3 or fd == 3 or nosuch
     | .................................................^
    "#);
}

#[test]
fn hostile_expressions_are_refused() {
    let deep = |open: &str, close: &str| format!("{}ok{}", open.repeat(5000), close.repeat(5000));
    let doubling: String =
        (0..60).fold("let a0 = fd; ".to_owned(), |text, n| format!("{text}let a{} = a{n} + a{n}; ", n + 1));
    for expression in [
        deep("(", ")"),
        deep("!", ""),
        deep("not ", ""),
        format!("{} == 1", deep("[", "]")),
        format!("{}fd == 1", "-".repeat(5000)),
        format!("fd{} == 1", "+1".repeat(5000)),
        format!("fd{} == 1", "[0]".repeat(5000)),
        format!("fd{} == 1", ".a".repeat(5000)),
        format!("fd{} == 1", "|abs()".repeat(2000)),
        format!("ok{}", "?ok:ok".repeat(2000)),
        format!("{doubling} true"),
        format!("comm matches '{}'", "(a{1000}){1000}"),
        format!("comm matches '{}'", "a".repeat(5000)),
        vec!["comm matches 'a'"; 40].join(" or "),
        "x".repeat(MAX_LENGTH + 1),
    ] {
        assert!(!error(&expression).is_empty());
    }
    // Many are no deeper than one.
    assert!(passes(&format!("{}fd == 3", "fd == 4 or ".repeat(1000))));
}

#[test]
fn a_hostile_pattern_matches_in_time_that_grows_with_the_text() {
    assert!(!passes("(fname + fname + fname + fname) matches '^(([a-z/])*)*$!'"));
}

proptest! {
    #[test]
    fn any_text_is_an_expression_or_an_error(expression in "\\PC{0,60}") {
        let _ = Expression::attach(&source(), &expression);
    }

    #[test]
    fn any_words_are_an_expression_or_an_error(
        words in prop::collection::vec(prop::sample::select(vec![
            "fd", "ok", "comm", "list", "load", "proc", ".", "dst", "addr", "1", "2.5", "'a'", "true", "nil", "==",
            "<", "in", "not", "and", "or", "!", "-", "+", "*", "/", "%", "**", "..", "(", ")", "[", "]", "{", "}",
            ",", ":", "?", "??", "|", "#", "let", "=", ";", "if", "else", "any", "all", "len", "lower", "split",
            "cidr", "contains", "matches", "min", "string", "int",
        ]), 0..24)
    ) {
        let ds = source();
        if let Ok(Some(_)) = Expression::attach(&ds, &words.join(" ")) {
            let _ = verdict(&ds, &words.join(" "));
        }
    }

    #[test]
    fn numbers_compare_as_numbers(fd in any::<u32>(), with in any::<i64>()) {
        let ds = source();
        let data = bytes(&ds, &[("fd", &fd.to_ne_bytes())]);
        let fd = i64::from(fd);
        for (sign, holds) in [
            ("==", fd == with), ("!=", fd != with), ("<", fd < with), ("<=", fd <= with), (">", fd > with), (">=", fd >= with),
        ] {
            let mut filter = Expression::attach(&ds, &format!("fd {sign} {with}")).unwrap().unwrap();
            prop_assert_eq!(event(&ds, &data, |e| filter.process(e)) == Verdict::Pass, holds);
        }
    }
}
