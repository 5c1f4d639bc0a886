//! A first look at the arguments of `igx run`, before its flags are known.
//!
//! A gadget brings its own flags, so the command line can be parsed only once the image is read; and the image is
//! named on that command line. A flag that is not known yet is taken to have a value if what follows it is no flag.

use std::{collections::BTreeMap, ffi::OsString};

use clap::{Arg, Command};

use crate::instance::Pull;

/// What the first look tells.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// The image, unless there is none.
    pub(crate) image: Option<String>,
    /// Known flags by their long names, with their values; a switch has an empty one.
    flags: BTreeMap<String, String>,
}

impl Arguments {
    /// Looks at the arguments of `run`; `None` if the command is not `run`.
    pub(crate) fn find(args: &[OsString]) -> Option<Self> {
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
        self.flags.get("store").map(String::as_str)
    }

    /// When the image is fetched. A value that is none is told later, with the rest of the command line.
    pub(crate) fn pull(&self) -> Pull {
        match self.flags.get("pull").map(String::as_str) {
            Some("always") => Pull::Always,
            Some("never") => Pull::Never,
            _ => Pull::Missing,
        }
    }

    /// Whether an image that cannot be trusted is refused. Only a plain no switches that off.
    pub(crate) fn verify_image(&self) -> bool {
        !matches!(
            self.flags.get("verify-image").map(String::as_str),
            Some("false" | "no" | "off" | "0" | "n" | "f")
        )
    }
}

struct Words<'a, I> {
    args: I,
    known: Vec<&'a Arg>,
    flags: BTreeMap<String, String>,
}

impl<'a, I: Iterator<Item = &'a OsString> + Clone> Words<'a, I> {
    /// The next argument that is neither a flag nor a flag's value.
    fn next_positional(&mut self) -> Option<String> {
        while let Some(arg) = self.args.next() {
            let arg = arg.to_string_lossy();
            match arg.strip_prefix('-') {
                Some("-") => return self.args.next().map(|a| a.to_string_lossy().into_owned()),
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
            self.flags.insert(long.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        ] {
            assert_eq!(look(line).unwrap().image.as_deref(), Some("trace_sni"), "{line}");
        }
        for line in ["igx run --help", "igx run"] {
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
            "igx run sni --verify-image=false --unknown value --pull=never --store=/tmp/x --verbose",
        ] {
            let arguments = look(line).unwrap();
            assert_eq!(arguments.image.as_deref(), Some("sni"));
            assert_eq!(arguments.store(), Some("/tmp/x"));
            assert_eq!(arguments.pull(), Pull::Never);
            assert!(arguments.verbose() && !arguments.verify_image());
        }
        let arguments = look("igx run sni --verify-image").unwrap();
        assert!(arguments.verify_image() && !arguments.verbose());
        assert_eq!((arguments.pull(), arguments.store()), (Pull::Missing, None));
    }
}
