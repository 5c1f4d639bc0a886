//! The flags about images, the same for every command that meets one, and what they mean to the library.
//!
//! `igx run` has to look at them before it can parse its command line, so they are read from [`Given`] and not from
//! what clap made of them.

use clap::{Arg, ArgAction, ArgMatches};
use gadget::policy::Policy;

use super::registry;
use crate::images::{Images, Pull};

/// Flags as they were given, by their long names.
pub(super) trait Given {
    /// Every value of a flag, in order.
    fn values(&self, flag: &str) -> Vec<String>;

    /// Every item of a flag that takes lists parted by commas.
    fn list(&self, flag: &str) -> Vec<String> {
        let values = self.values(flag);
        let items = values.iter().flat_map(|value| value.split(','));
        items.map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    /// Whether a switch is on; one that is not given is as `default` says, and only a plain no switches off.
    fn switch(&self, flag: &str, default: bool) -> bool {
        let no = |value: &String| {
            ["false", "no", "off", "0", "n", "f"].iter().any(|no| value.eq_ignore_ascii_case(no))
        };
        self.values(flag).last().map_or(default, |value| !no(value))
    }
}

impl Given for ArgMatches {
    fn values(&self, flag: &str) -> Vec<String> {
        let values = self.try_get_raw(flag).ok().flatten().into_iter().flatten();
        values.map(|value| value.to_string_lossy().into_owned()).collect()
    }
}

/// The flag of commands that verify: `--public-keys`.
pub(super) fn public_keys_arg() -> Arg {
    Arg::new("public-keys")
        .long("public-keys")
        .value_name("KEY,...")
        .action(ArgAction::Append)
        // A PEM text begins with dashes.
        .allow_hyphen_values(true)
        .help(
            "Public keys (PEM, or @FILE) of whom to trust [default: Inspektor Gadget's, for its own images]",
        )
}

/// Flags of commands that use images, besides those above: `--pull`, `--verify-image`, `--allowed-gadgets`,
/// `--disallow-pulling`.
#[cfg(feature = "ebpf")]
pub(super) fn policy_args() -> [Arg; 4] {
    [
        Arg::new("pull")
            .long("pull")
            .value_name("WHEN")
            .value_parser(["always", "missing", "never"])
            .default_value("missing")
            .help("When to fetch the image from its registry"),
        switch("verify-image", "Refuse an image that no trusted key has signed").default_value("true"),
        Arg::new("allowed-gadgets")
            .long("allowed-gadgets")
            .value_name("IMAGE,...")
            .action(ArgAction::Append)
            .help("Use only these: REPOSITORY:TAG or REPOSITORY@DIGEST; * at the end is for any ending"),
        switch("disallow-pulling", "Fetch nothing from registries")
            .default_value("false")
            .hide_default_value(true),
    ]
}

/// A flag that is true when named, and takes `=true` or `=false`.
#[cfg(feature = "ebpf")]
pub(super) fn switch(name: &str, help: &str) -> Arg {
    Arg::new(name.to_owned())
        .long(name.to_owned())
        .action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .hide_possible_values(true)
        .value_parser(clap::builder::BoolishValueParser::new())
        .value_name("BOOL")
        .help(help.to_owned())
}

/// Where images come from, and which may be used. A value that is none is told later, by clap.
pub(super) fn images(given: &impl Given) -> Images {
    let pull = match given.values("pull").last().map(String::as_str) {
        Some("always") => Pull::Always,
        Some("never") => Pull::Never,
        _ => Pull::Missing,
    };
    let policy = Policy {
        verify: given.switch("verify-image", true),
        public_keys: given.list("public-keys"),
        allowed_gadgets: given.list("allowed-gadgets"),
        disallow_pulling: given.switch("disallow-pulling", false),
    };
    Images { pull, policy, registry: registry::config(given) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Command;
    use std::path::Path;

    fn parsed(line: &[&str]) -> ArgMatches {
        let command = Command::new("x").args(registry::flags()).arg(public_keys_arg());
        #[cfg(feature = "ebpf")]
        let command = command.args(policy_args());
        command.try_get_matches_from([&["x"], line].concat()).unwrap()
    }

    #[test]
    fn nothing_given_is_the_safe_default() {
        let images = images(&parsed(&[]));
        assert!(images.policy.verify && !images.policy.disallow_pulling);
        assert!(images.policy.public_keys.is_empty() && images.policy.allowed_gadgets.is_empty());
        assert_eq!(images.pull, Pull::Missing);
        assert!(images.registry.insecure.is_empty() && images.registry.authfile.is_none());
    }

    #[test]
    fn lists_may_be_parted_by_commas_or_given_again() {
        let pem = "-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----";
        let matches = parsed(&[
            "--public-keys",
            pem,
            "--public-keys=@a,@b",
            "--insecure-registries",
            "a:1,b:2",
            "--ca-file",
            "a,b",
            "--insecure-registries=c:3",
        ]);
        let images = images(&matches);
        assert_eq!(images.policy.public_keys, [pem, "@a", "@b"]);
        assert_eq!(images.registry.insecure, ["a:1", "b:2", "c:3"]);
        assert_eq!(images.registry.ca_files, [Path::new("a,b")]);
    }

    #[cfg(feature = "ebpf")]
    #[test]
    fn only_a_plain_no_switches_verification_off() {
        let verify = |line: &[&str]| images(&parsed(line)).policy.verify;
        assert!(verify(&["--verify-image"]) && verify(&["--verify-image=yes"]));
        for no in ["false", "FALSE", "no", "off", "0"] {
            assert!(!verify(&[&format!("--verify-image={no}")]), "{no}");
        }
        let images = images(&parsed(&["--disallow-pulling", "--pull", "never", "--allowed-gadgets", "a,b*"]));
        assert!(images.policy.disallow_pulling);
        assert_eq!(images.pull, Pull::Never);
        assert_eq!(images.policy.allowed_gadgets, ["a", "b*"]);
    }
}
