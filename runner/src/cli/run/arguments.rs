//! A first look at the arguments of `igx run`, before its flags are known.
//!
//! A gadget brings its own flags, so the command line can be parsed only once the image is read; and the image is
//! named on that command line. A flag that is not known yet is taken to have a value if what follows it is no flag.

use std::{collections::BTreeMap, ffi::OsString};

use clap::{Arg, Command};

use super::super::images::Given;

/// What the first look tells.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// The image, unless there is none.
    pub(crate) image: Option<String>,
    /// Known flags by their long names, with their values in order; a switch has an empty one.
    flags: BTreeMap<String, Vec<String>>,
}

impl Arguments {
    /// Looks at the arguments of `run`; `None` if the command is not `run`.
    pub(crate) fn find(args: &[OsString]) -> Option<Self> {
        // What follows is a command of its own, with flags of its own.
        let args = args.split(|arg| arg == "--").next().unwrap_or_default();
        let globals = super::super::command();
        let run = super::command();
        let known: Vec<&Arg> = globals.get_arguments().collect();
        let mut words = Words { args: args.iter().skip(1), known, flags: BTreeMap::new() };
        if words.next_positional()? != run.get_name() {
            return None;
        }
        words.known.extend(Command::get_arguments(&run));
        let image = words.next_positional();
        // Flags may also follow the image.
        while words.next_positional().is_some() {}
        Some(Self { image, flags: words.flags })
    }

    /// Whether more is to be said on stderr.
    pub(crate) fn verbose(&self) -> bool {
        self.flags.contains_key("verbose")
    }

    /// The folder of the store, if one is named.
    pub(crate) fn store(&self) -> Option<&str> {
        self.flags.get("store")?.last().map(String::as_str)
    }

    /// Whether the store is that of the user who called sudo.
    pub(crate) fn store_of_user(&self) -> bool {
        self.switch("oci-store-user", false)
    }

    /// Whether a flag was given.
    pub(crate) fn has(&self, flag: &str) -> bool {
        self.flags.contains_key(flag)
    }
}

/// What is wrong with a value is told later, with the rest of the command line.
impl Given for Arguments {
    fn values(&self, flag: &str) -> Vec<String> {
        self.flags.get(flag).cloned().unwrap_or_default()
    }
}

struct Words<'a, I> {
    args: I,
    known: Vec<&'a Arg>,
    flags: BTreeMap<String, Vec<String>>,
}

impl<'a, I: Iterator<Item = &'a OsString> + Clone> Words<'a, I> {
    /// The next argument that is neither a flag nor a flag's value.
    fn next_positional(&mut self) -> Option<String> {
        while let Some(arg) = self.args.next() {
            let arg = arg.to_string_lossy();
            match arg.strip_prefix('-') {
                Some("") | None => return Some(arg.into_owned()),
                Some(flag) => self.flag(flag),
            }
        }
        None
    }

    /// Takes a flag, without its first dash, and its value.
    fn flag(&mut self, flag: &str) {
        let (name, attached) = match flag.strip_prefix('-') {
            Some(long) => long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value))),
            // -t5 and -t=5 carry their value; -t does not.
            None => {
                flag.char_indices().nth(1).map_or((flag, None), |(at, _)| (&flag[..at], Some(&flag[at..])))
            }
        };
        let known = match flag.starts_with('-') {
            true => self.known.iter().find(|a| {
                a.get_long() == Some(name) || a.get_all_aliases().is_some_and(|all| all.contains(&name))
            }),
            false => self.known.iter().find(|a| a.get_short() == name.chars().next()),
        };
        let takes_next = match known {
            Some(arg) => arg.get_action().takes_values() && !arg.is_require_equals_set(),
            None if matches!(name, "h" | "help") => false,
            None => self.args.clone().next().is_some_and(|next| !next.to_string_lossy().starts_with('-')),
        };
        let value = match attached {
            Some(value) => value.to_owned(),
            None if takes_next => {
                self.args.next().map(|v| v.to_string_lossy().into_owned()).unwrap_or_default()
            }
            None => String::new(),
        };
        if let Some(long) = known.and_then(|arg| arg.get_long()) {
            self.flags.entry(long.to_owned()).or_default().push(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::images::images, *};
    use crate::images::Pull;

    fn look(line: &str) -> Option<Arguments> {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        Arguments::find(&args)
    }

    #[test]
    fn the_image_is_found_among_known_and_unknown_flags() {
        for line in [
            "igx run trace_sni",
            "igx run --host trace_sni",
            "igx run -o json trace_sni",
            "igx run -ojson trace_sni",
            "igx run --verify-image=false trace_sni",
            "igx run --pid 12 trace_sni --tid 4",
            "igx run --timeout 5 -c web trace_sni",
            "igx run --runtime-containername web trace_sni",
            "igx -v run trace_sni",
            "igx --store /tmp/x run trace_sni",
            "igx run --store /tmp/x trace_sni",
            "igx run trace_sni -- ls other",
        ] {
            assert_eq!(look(line).unwrap().image.as_deref(), Some("trace_sni"), "{line}");
        }
        for line in ["igx run --help", "igx run", "igx run -- trace_sni"] {
            assert_eq!(look(line).unwrap().image, None, "{line}");
        }
        for line in ["igx image list", "igx image run", "igx", "igx -v"] {
            assert_eq!(look(line), None, "{line}");
        }
    }

    #[test]
    fn what_leads_to_the_image_is_known_before_and_behind_its_name() {
        for line in [
            "igx -v --store /tmp/x run --pull never --verify-image=false sni",
            "igx run sni --verify-image=true --verify-image=false --unknown value --pull=never --store=/tmp/x --verbose",
        ] {
            let arguments = look(line).unwrap();
            assert_eq!(arguments.image.as_deref(), Some("sni"));
            assert_eq!(arguments.store(), Some("/tmp/x"));
            let images = images(&arguments);
            assert_eq!(images.pull, Pull::Never);
            assert!(arguments.verbose() && !images.policy.verify && !arguments.store_of_user());
        }
        let line =
            "igx run sni --verify-image --public-keys -----BEGIN --public-keys=@b --oci-store-user -c web";
        let arguments = look(line).unwrap();
        let images = images(&arguments);
        assert!(images.policy.verify && !arguments.verbose() && arguments.store_of_user());
        assert_eq!(images.policy.public_keys, ["-----BEGIN", "@b"]);
        assert_eq!((images.pull, arguments.store()), (Pull::Missing, None));
        assert!(arguments.has("containername") && !arguments.has("pull"));
        let arguments = look("igx run sni -- x --pull never -v").unwrap();
        assert!(!arguments.has("pull") && !arguments.verbose());
    }
}
