//! Finding, keeping and forgetting credentials.

use super::*;
use proptest::prelude::*;
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

/// The first of these that a file of this content has for a repository, as `user:password`, or the fault.
fn found(content: &str, registry: &str, repository: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    fs::write(&path, content).unwrap();
    show(AuthFile::read(&path).and_then(|file| file.find(registry, repository)), folder.path())
}

fn show(found: Result<Option<Credential>, Error>, folder: &Path) -> String {
    match found {
        Ok(None) => "nothing".to_owned(),
        Ok(Some(Credential::Password { user, password })) => format!("{user}:{}", password.expose()),
        Ok(Some(Credential::Identity(token))) => format!("identity {}", token.expose()),
        Ok(Some(Credential::Token(token))) => format!("token {}", token.expose()),
        Err(error) => error.to_string().replace(folder.to_str().unwrap(), "DIR"),
    }
}

// "a:b", "c:d" and so on in base64.
const FILE: &str = r#"{"auths":{
    "https://index.docker.io/v1/": {"auth":"aHViOmlv"},
    "https://old.example/v2/": {"auth":"b2xkOnVybA=="},
    "r.example:5000": {"auth":"cG9ydDo1MDAw"},
    "r.example": {"username":"plain","password":"te:xt"},
    "r.example/team": {"auth":"dGVhbTp4"},
    "r.example/team/app": {"auth":"YXBwOng="},
    "id.example": {"auth":"dTpw","identitytoken":"idt"},
    "tok.example": {"registrytoken":"rt"},
    "empty.example": {}
}}"#;

#[test]
fn the_most_particular_key_counts() {
    for (registry, repository, expected) in [
        ("docker.io", "a/b", "hub:io"),
        ("index.docker.io", "a/b", "hub:io"),
        ("old.example", "a", "old:url"),
        ("r.example", "a", "plain:te:xt"),
        ("R.Example", "a", "plain:te:xt"),
        ("r.example:5000", "team/app", "port:5000"),
        ("r.example", "team", "team:x"),
        ("r.example", "teams/x", "plain:te:xt"),
        ("r.example", "team/app/x", "app:x"),
        ("r.example", "team/application", "team:x"),
        ("id.example", "a", "identity idt"),
        ("tok.example", "a", "token rt"),
        ("empty.example", "a", "nothing"),
        ("example", "a", "nothing"),
    ] {
        assert_eq!(found(FILE, registry, repository), expected, "{registry}/{repository}");
    }
    assert_eq!(found(r#"{"auths":{"docker.io":{"auth":"YTpi"}}}"#, "docker.io", "x/y"), "a:b");
}

#[test]
fn damage_is_told_without_telling_secrets() {
    assert_eq!(found("", "r", "a"), "nothing");
    insta::assert_snapshot!(found("{\"auths\": \"hunter2", "r", "a"), @"the credentials in DIR/config.json are damaged: EOF while parsing a string at line 1 column 18; mend the file, or name another with --authfile");
    insta::assert_snapshot!(found("[\"hunter2\"]", "r", "a"), @"the credentials in DIR/config.json are damaged: it is no JSON object; mend the file, or name another with --authfile");
    insta::assert_snapshot!(found(r#"{"auths":{"r":{"auth":"hunter2"}}}"#, "r", "a"), @r#"the credentials in DIR/config.json are damaged: "auth" of "r" is not USER:PASSWORD in base64; mend the file, or name another with --authfile"#);
    insta::assert_snapshot!(found(&format!("{{\"a\":\"{}\"}}", "x".repeat(2 << 20)), "r", "a"), @"the credentials in DIR/config.json are damaged: it has more than 1048576 bytes; mend the file, or name another with --authfile");
    assert_eq!(format!("{:?}", Credential::Token(Secret::new("hunter2"))), "Token(***)");
}

#[test]
fn places_are_where_others_look() {
    let show = |places: Places| {
        let all = [places.own].into_iter().chain(places.others);
        all.map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ")
    };
    let home = Path::new("/home/u");
    insta::assert_snapshot!(show(Places::new(true, home, |_| None)), @"/var/lib/igx/config.json /home/u/.docker/config.json /home/u/.config/containers/auth.json");
    insta::assert_snapshot!(show(Places::new(false, home, |name| Some(format!("/env/{name}").into()))), @"/env/XDG_CONFIG_HOME/igx/config.json /env/DOCKER_CONFIG/config.json /env/XDG_RUNTIME_DIR/containers/auth.json /env/XDG_CONFIG_HOME/containers/auth.json");
}

#[test]
fn others_are_asked_where_we_have_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let source = Source::at(Places { own: at("own"), others: vec![at("docker"), at("podman")] });
    let find = || show(source.find("r", "a"), folder.path());
    assert_eq!(find(), "nothing");
    fs::write(at("podman"), r#"{"auths":{"r":{"auth":"cDpv"}}}"#).unwrap();
    assert_eq!(find(), "p:o");
    fs::write(at("docker"), r#"{"auths":{"r":{"auth":"ZDpv"}}}"#).unwrap();
    assert_eq!(find(), "d:o");
    fs::write(at("own"), r#"{"auths":{}}"#).unwrap();
    assert_eq!(find(), "nothing");
    let named = Source::new(Some(at("nosuch")));
    insta::assert_snapshot!(show(named.find("r", "a"), folder.path()), @"there is no file of credentials DIR/nosuch; 'igx login REGISTRY --authfile DIR/nosuch' makes it");
}

#[test]
fn what_is_kept_leaves_the_rest_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/config.json");
    let source = Source::new(Some(path.clone()));
    assert_eq!(source.store("r.example", "u", &Secret::new("p:w")).unwrap(), Some(path.clone()));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    fs::write(&path, r#"{"HttpHeaders":{"a":"b"},"auths":{"https://index.docker.io/v1/":{"auth":"YTpi"},"r.example/x":{}}}"#).unwrap();
    source.store("docker.io", "u", &Secret::new("p")).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let kept = r#"{"HttpHeaders":{"a":"b"},"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"},"r.example/x":{}}}"#;
    assert_eq!(text.replace(['\n', '\t', ' '], ""), kept);
    assert!(text.starts_with("{\n\t\"HttpHeaders\""), "{text}");
    assert!(matches!(source.erase(Some("r.example")), Err(Error::NotLoggedIn(_))));
    source.erase(Some("docker.io")).unwrap();
    assert!(!fs::read_to_string(&path).unwrap().contains("docker.io"));
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing half-written is left");
}

/// A helper that keeps one password in a file beside it, and a file that names it; `PATH` finds it meanwhile.
fn with_helper(body: &str, test: impl FnOnce(&Path, &Path)) {
    let folder = tempfile::tempdir().unwrap();
    let name =
        format!("test-{}", folder.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.'));
    let program = helpers().join(format!("docker-credential-{name}"));
    let kept = folder.path().join("kept");
    // Written by another process: what this one has open for writing, a child of another test may have as well, and
    // then the kernel does not execute it (ETXTBSY).
    let script = format!("#!/bin/sh\nKEPT={}\n{body}", kept.display());
    let write = "printf %s \"$1\" >\"$0\" && chmod 755 \"$0\"";
    let written = std::process::Command::new("sh").args(["-c", write]).arg(&program).arg(script).status();
    assert!(written.unwrap().success());
    let path = folder.path().join("config.json");
    fs::write(&path, format!(r#"{{"credsStore":"{name}"}}"#)).unwrap();
    test(&path, &kept);
    fs::remove_file(&program).unwrap();
}

/// A folder of the tests' own that is in `PATH`: cargo puts the one of the test's libraries there for no program.
fn helpers() -> PathBuf {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let writable = |folder: &PathBuf| tempfile::tempfile_in(folder).is_ok();
    std::env::split_paths(&folders).find(writable).unwrap()
}

const KEEPER: &str = r#"case $1 in
store) cat > $KEPT ;;
get) [ -s $KEPT ] && [ "$(cat)" = "https://index.docker.io/v1/" ] && cat $KEPT || { echo "credentials not found in native keychain"; exit 1; } ;;
erase) rm $KEPT ;;
esac
"#;

#[test]
fn a_helper_keeps_what_the_file_does_not() {
    with_helper(KEEPER, |path, kept| {
        let source = Source::new(Some(path.to_owned()));
        assert_eq!(source.find("docker.io", "a").unwrap(), None);
        assert_eq!(source.store("docker.io", "u", &Secret::new("hunter2")).unwrap(), None);
        assert!(!fs::read_to_string(path).unwrap().contains("hunter2"));
        assert!(fs::read_to_string(kept).unwrap().contains("hunter2"));
        let password = Secret::new("hunter2");
        assert_eq!(
            source.find("docker.io", "a").unwrap(),
            Some(Credential::Password { user: "u".to_owned(), password })
        );
        assert_eq!(source.find("other.example", "a").unwrap(), None);
        source.erase(Some("docker.io")).unwrap();
        assert!(!kept.exists());
        assert!(source.erase(Some("docker.io")).is_err());
    });
}

#[test]
fn a_helper_gives_tokens_too() {
    with_helper(r#"echo '{"ServerURL":"r","Username":"<token>","Secret":"idt"}'"#, |path, _| {
        let found = AuthFile::read(path).unwrap().find("r.example", "a").unwrap();
        assert_eq!(found, Some(Credential::Identity(Secret::new("idt"))));
    });
}

#[test]
fn a_helper_that_fails_is_named() {
    with_helper("echo 'no keychain'; exit 3", |path, _| {
        let error = AuthFile::read(path).unwrap().find("r.example", "a").unwrap_err().to_string();
        assert!(
            error.contains("docker-credential-test-") && error.ends_with(": exit status: 3: no keychain"),
            "{error}"
        );
    });
    insta::assert_snapshot!(found(r#"{"credsStore":"../../tmp/evil"}"#, "r", "a"), @r#"the credential helper "docker-credential-../../tmp/evil", which DIR/config.json names: a helper's name may hold only A-Z, a-z, 0-9, '.', '_' and '-'"#);
    insta::assert_snapshot!(found(r#"{"credHelpers":{"r":"no-such-helper"}}"#, "r", "a"), @r#"the credential helper "docker-credential-no-such-helper", which DIR/config.json names: No such file or directory (os error 2); install it, or name another file with --authfile"#);
    assert_eq!(found(r#"{"credHelpers":{"other":"no-such-helper"}}"#, "r", "a"), "nothing");
}

proptest! {
    #[test]
    fn any_file_is_survived(content in "\\PC{0,200}") {
        let _ = found(&content, "r", "a");
    }

    #[test]
    fn any_entry_is_survived(auth in "\\PC{0,40}", key in "[a-z:/.]{0,12}") {
        let _ = found(&serde_json::json!({"auths": {key: {"auth": auth}}}).to_string(), "r", "a");
    }
}
