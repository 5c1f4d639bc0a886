//! `login`: asks a registry whether it accepts a user's password, and keeps it.

use super::registry;
use anyhow::{Context, Result, bail, ensure};
use clap::{Arg, ArgAction, ArgMatches, Command};
use gadget::registry::{Client, Login, Secret};
use rustix::termios::{self, LocalModes, OptionalActions};
use std::io::{self, BufRead, IsTerminal, Read, Write};

/// Longest user or password, bytes.
const MAX: u64 = 64 << 10;

pub(super) fn command() -> Command {
    let switch = |name: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("BOOL")
            .num_args(0..=1)
            .require_equals(true)
            .default_value(default)
            .default_missing_value("true")
            .value_parser(clap::builder::BoolishValueParser::new())
            .hide_possible_values(true)
            .help_heading("Registries")
            .help(help)
    };
    Command::new("login")
        .about("Log in to a registry and keep the credentials")
        .arg(
            Arg::new("registry")
                .value_name("REGISTRY")
                .num_args(0..)
                .help("Such as ghcr.io or localhost:5000"),
        )
        .arg(Arg::new("username").short('u').long("username").value_name("NAME").help("The account"))
        .arg(
            Arg::new("password")
                .short('p')
                .long("password")
                .value_name("PASSWORD")
                .help("Its password; others on this machine can see it, so rather use --password-stdin"),
        )
        .arg(
            Arg::new("password-stdin")
                .long("password-stdin")
                .action(ArgAction::SetTrue)
                .help("Read the password from standard input"),
        )
        .args(registry::flags())
        .arg(switch("plain-http", "false", "Speak plain http to this registry"))
        .arg(switch("tls-verify", "true", "Check the registry's certificate"))
}

pub(super) fn run(matches: &ArgMatches, out: &mut impl Write, log: &mut impl Write) -> Result<()> {
    let named: Vec<_> = matches.get_many::<String>("registry").unwrap_or_default().collect();
    let [name] = named.as_slice() else { bail!("login requires exactly one registry argument") };
    let name = registry(name)?.to_owned();
    let mut config = registry::config(matches);
    config.authfile = config.authfile.or_else(super::ig::authfile);
    if matches.get_flag("plain-http") {
        config.insecure.push(name.clone());
    }
    config.verify_tls = matches.get_flag("tls-verify");
    let (user, password) = credentials(matches, log)?;
    ensure!(!user.is_empty() && !password.is_empty(), "username and password are required");
    let login = Login { registry: name, user, password: Secret::new(password) };
    if let Some(path) = Client::new(config)?.login(&login)? {
        writeln!(
            log,
            "WARNING! The password can be read in {} (it is not encrypted). A credential helper keeps it better: \
             name it there as \"credsStore\".",
            path.display()
        )?;
    }
    writeln!(out, "Login Succeeded")?;
    Ok(())
}

/// The host of a registry as it stands in the names of images.
pub(super) fn registry(typed: &str) -> Result<&str> {
    let image = format!("{typed}/x");
    let known = gadget::reference::Reference::parse(&image).is_ok_and(|image| image.domain() == typed);
    ensure!(
        known,
        "invalid registry address {typed:?}; write the host alone, such as ghcr.io or localhost:5000"
    );
    Ok(typed)
}

fn credentials(matches: &ArgMatches, log: &mut impl Write) -> Result<(String, String)> {
    let text = |id| matches.get_one::<String>(id).cloned();
    let from_stdin = matches.get_flag("password-stdin");
    let (user, password) = (text("username"), text("password"));
    ensure!(!(from_stdin && password.is_some()), "--password and --password-stdin are mutually exclusive");
    if let Some(password) = password {
        writeln!(log, "WARNING! Using --password via the CLI is insecure. Use --password-stdin.")?;
        return Ok((user.unwrap_or_default(), password));
    }
    let stdin = io::stdin();
    if from_stdin {
        let mut password = String::new();
        stdin.lock().take(MAX).read_to_string(&mut password).context("reading the password")?;
        return Ok((user.unwrap_or_default(), password.trim_end_matches(['\r', '\n']).to_owned()));
    }
    if !stdin.is_terminal() {
        return Ok((user.unwrap_or_default(), String::new()));
    }
    let user = match user {
        Some(user) => user,
        None => {
            write!(log, "Username: ")?;
            log.flush()?;
            let mut line = String::new();
            stdin.lock().take(MAX).read_line(&mut line)?;
            line.trim().to_owned()
        }
    };
    write!(log, "Password: ")?;
    log.flush()?;
    let password = read_hidden();
    writeln!(log)?;
    Ok((user, password.context("reading the password")?))
}

/// Reads a line from the terminal without showing it. Ctrl-C is read like any key, so that the terminal is always put
/// back as it was.
fn read_hidden() -> Result<String> {
    let stdin = io::stdin();
    let before = termios::tcgetattr(&stdin)?;
    let mut hidden = before.clone();
    hidden.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
    termios::tcsetattr(&stdin, OptionalActions::Flush, &hidden)?;
    let line = line_of_keys(stdin.lock().take(MAX).bytes());
    termios::tcsetattr(&stdin, OptionalActions::Flush, &before)?;
    line
}

/// The line that keys make.
fn line_of_keys(keys: impl Iterator<Item = io::Result<u8>>) -> Result<String> {
    let mut line = Vec::new();
    for key in keys {
        match key? {
            b'\r' | b'\n' | 4 => break,
            3 => bail!("interrupted"),
            8 | 127 => {
                line.pop();
            }
            21 => line.clear(),
            key => line.push(key),
        }
    }
    Ok(String::from_utf8(line)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> String {
        let matches = command().try_get_matches_from(line.split(' ')).unwrap();
        let (mut out, mut log) = (Vec::new(), Vec::new());
        let error = run(&matches, &mut out, &mut log).unwrap_err();
        assert!(out.is_empty());
        format!("{}{error}", String::from_utf8(log).unwrap())
    }

    #[test]
    fn says_what_is_missing() {
        insta::assert_snapshot!(said("login"), @"login requires exactly one registry argument");
        insta::assert_snapshot!(said("login a.io b.io"), @"login requires exactly one registry argument");
        insta::assert_snapshot!(said("login -u a -p b --password-stdin r.io"), @"--password and --password-stdin are mutually exclusive");
        insta::assert_snapshot!(said("login http://r.io"), @r#"invalid registry address "http://r.io"; write the host alone, such as ghcr.io or localhost:5000"#);
        insta::assert_snapshot!(said("login -p b r.io"), @r"
        WARNING! Using --password via the CLI is insecure. Use --password-stdin.
        username and password are required
        ");
    }

    #[test]
    fn keys_make_a_line() {
        let line =
            |keys: &[u8]| line_of_keys(keys.iter().copied().map(Ok)).map_err(|error| error.to_string());
        assert_eq!(line(b"secreX\x7ft\nmore"), Ok("secret".to_owned()));
        assert_eq!(line(b"wrong\x15right\r"), Ok("right".to_owned()));
        assert_eq!(line(b"\x7f\x08a\x04"), Ok("a".to_owned()));
        assert_eq!(line(b"ab\x03"), Err("interrupted".to_owned()));
    }
}
