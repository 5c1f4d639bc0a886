use super::{super::command, *};

fn settings(file: &str, environment: &[(&str, &str)]) -> anyhow::Result<Settings> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("config.yaml");
    std::fs::write(&path, file)?;
    let variables = environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Settings::read(Some(path), variables, &command())
}

fn applied(file: &str, environment: &[(&str, &str)], line: &str) -> String {
    let args = line.split(' ').map(OsString::from).collect();
    let settings = settings(file, environment).unwrap();
    let args = settings.apply(args, &command()).args;
    args.iter().map(|arg| arg.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[test]
fn flags_win_over_the_environment_which_wins_over_the_file() {
    let file = "run: {output: json, fields: [a, b]}\nverify-image: false\nverbose: true\n";
    let run = |environment: &[(&str, &str)], line: &str| applied(file, environment, line);
    assert_eq!(run(&[], "igx run x"), "igx run --fields=a,b --output=json --verbose --verify-image=false x");
    let rest = "--fields=a,b --verbose --verify-image=false";
    assert_eq!(
        run(&[("IGX_OUTPUT", "yaml")], "igx run x"),
        format!("igx run {} x", rest.replace("--verbose", "--output=yaml --verbose"))
    );
    assert_eq!(run(&[("IGX_OUTPUT", "yaml")], "igx run x -ojson"), format!("igx run {rest} x -ojson"));
    assert_eq!(run(&[("IGX_OUTPUT", "")], "igx run -o none x"), format!("igx run {rest} -o none x"));
    // What is said of runs is not for others.
    assert_eq!(
        run(&[("IGX_OUTPUT", "x")], "igx --store run image list"),
        "igx --store run image list --verbose"
    );
    assert_eq!(run(&[], "igx"), "igx");
}

#[test]
fn what_is_empty_is_not_set_unless_that_is_a_choice() {
    let file = "authfile: ''\nverbose: ''\nstore:\nrun: {timestamp-format: '', host: '', timeout: '', color: '', \
                fields: '', symbolizers: '', socket-enricher-fields: ''}\n";
    assert_eq!(applied(file, &[], "igx run x"), "igx run --socket-enricher-fields= --symbolizers= x");
    assert_eq!(
        applied("verify-image: false\nrun: {verify-image: ''}", &[], "igx run"),
        "igx run --verify-image=false"
    );
}

#[test]
fn a_command_that_is_typed_wins_over_settings_that_do_not_go_with_it() {
    let file = "run: {host: true, containername: web, quiet: true}\n";
    assert_eq!(applied(file, &[], "igx run x -- ls"), "igx run --quiet x -- ls");
    assert_eq!(applied(file, &[], "igx run x"), "igx run --containername=web --host=true --quiet x");
}

#[test]
fn errors_name_where_a_flag_comes_from() {
    let settings = settings("run: {count: 5}", &[]);
    assert!(settings.is_err());
    let settings = self::settings("run: {color: mauve}", &[("IGX_TIMEOUT", "abc")]).unwrap();
    let said = |line: &str| {
        let applied = settings.apply(line.split(' ').map(OsString::from).collect(), &command());
        let error = command().try_get_matches_from(&applied.args).unwrap_err();
        applied.explained(error.into()).to_string()
    };
    assert!(said("igx run --color=never x").contains("\n  tip: --timeout comes from IGX_TIMEOUT\n"));
    let file = said("igx run --timeout 5 x");
    assert!(file.contains("tip: --color comes from /") && file.contains("/config.yaml\n"), "{file}");
    assert!(!said("igx run --timeout x --color=never").contains(" comes from "));
    let applied = settings.apply(vec!["igx".into(), "run".into()], &command());
    let other = |text: &'static str| super::super::message(&applied.explained(anyhow::anyhow!(text)));
    assert_eq!(other("--timeout: no"), "--timeout: no (--timeout comes from IGX_TIMEOUT)");
    assert_eq!(other("--timeouts: no, --fields"), "--timeouts: no, --fields");
}

#[test]
fn what_needs_no_settings_is_known() {
    let needless =
        |line: &str| are_needless(&line.split(' ').map(OsString::from).collect::<Vec<_>>(), &command());
    for line in
        ["igx", "igx run --help", "igx config default", "igx version", "igx completion bash", "igx --version"]
    {
        assert!(needless(line), "{line}");
    }
    for line in ["igx run x", "igx config view", "igx run x -- ls --help"] {
        assert!(!needless(line), "{line}");
    }
}

#[test]
fn mistakes_in_the_file_are_told() {
    let error = |file: &str| format!("{:#}", settings(file, &[]).unwrap_err());
    assert!(error("outptu: json").ends_with(": there is no setting \"outptu\" (did you mean output?)"));
    assert!(error("output: json").ends_with("it belongs under run, as in 'run: {output: ...}'"));
    assert!(error("run: {output: {a: 1}}").ends_with("output is neither a value nor a list of values"));
    assert!(error("- a").ends_with("it is no list of keys and values"));
    assert!(settings("", &[]).is_ok());
    let missing = Settings::read(Some("/nonexistent".into()), std::iter::empty(), &command()).unwrap_err();
    assert_eq!(
        format!("{missing:#}"),
        "reading settings from /nonexistent: No such file or directory (os error 2)"
    );
}
