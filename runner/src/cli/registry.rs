//! The flags by which any command reaches registries, and what the library makes of them.

use super::images::Given;
use clap::{Arg, ArgAction};
use gadget::registry::Config;
use std::path::PathBuf;

const HEADING: &str = "Registries";

/// Flags of whatever speaks to a registry.
pub(crate) fn flags() -> [Arg; 3] {
    [
        authfile(),
        Arg::new("insecure-registries")
            .long("insecure-registries")
            .value_name("HOST,...")
            .value_delimiter(',')
            .action(ArgAction::Append)
            .help_heading(HEADING)
            .help("Registries to speak to over plain http, as host:port"),
        Arg::new("ca-file")
            .long("ca-file")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .action(ArgAction::Append)
            .help_heading(HEADING)
            .help("Certificates of authorities to trust besides the system's"),
    ]
}

/// Where credentials are.
pub(crate) fn authfile() -> Arg {
    Arg::new("authfile")
        .long("authfile")
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help_heading(HEADING)
        .help(
            "Where credentials are [default for root: /var/lib/igx/config.json; for others: \
             ~/.config/igx/config.json; if that is absent, those of docker and podman]",
        )
}

/// What the flags say, as far as the command has them.
pub(crate) fn config(given: &impl Given) -> Config {
    // A file that is named must be there; the usual one need not, even where settings name it.
    let usual = super::ig::authfile();
    let named = given.values("authfile").pop().map(PathBuf::from).filter(|path| Some(path) != usual.as_ref());
    Config {
        insecure: given.list("insecure-registries"),
        authfile: named.or(usual.filter(|path| path.exists())),
        ca_files: given.values("ca-file").into_iter().map(PathBuf::from).collect(),
        ..Config::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_a_configuration() {
        let command = clap::Command::new("x").args(flags());
        let line =
            "x --insecure-registries a:1,b --insecure-registries c --ca-file p --ca-file q --authfile f";
        let config = config(&command.try_get_matches_from(line.split(' ')).unwrap());
        assert_eq!(config.insecure, ["a:1", "b", "c"]);
        assert_eq!(config.ca_files, [PathBuf::from("p"), PathBuf::from("q")]);
        assert_eq!(config.authfile, Some(PathBuf::from("f")));
        assert!(config.verify_tls);
    }
}
