//! Finding the image among the arguments of `igx run`, before its flags are known.
//!
//! A gadget brings its own flags, so the command line can be parsed only once the image is read; and the image is
//! named on that command line. A flag that is not known yet is taken to have a value if what follows it is no flag.

use std::ffi::OsString;

use clap::Command;

/// What the first look at the arguments tells.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// The image, unless there is none.
    pub(crate) image: Option<String>,
}

impl Arguments {
    /// Looks for `run IMAGE`; `None` if the command is not `run`.
    pub(crate) fn find(args: &[OsString]) -> Option<Self> {
        let globals = super::super::command();
        let mut words = Words { args: args.iter().skip(1), known: &globals };
        if words.next_positional()? != "run" {
            return None;
        }
        let run = super::command();
        words.known = &run;
        Some(Self { image: words.next_positional() })
    }
}

struct Words<'a, I> {
    args: I,
    known: &'a Command,
}

impl<'a, I: Iterator<Item = &'a OsString> + Clone> Words<'a, I> {
    /// The next argument that is neither a flag nor a flag's value.
    fn next_positional(&mut self) -> Option<String> {
        while let Some(arg) = self.args.next() {
            let arg = arg.to_string_lossy();
            if arg == "--" {
                return self.args.next().map(|a| a.to_string_lossy().into_owned());
            }
            match arg.strip_prefix('-') {
                Some("") | None => return Some(arg.into_owned()),
                Some(flag) if self.has_value(flag) => {
                    self.args.next();
                }
                Some(_) => {}
            }
        }
        None
    }

    /// Whether the next argument is this flag's value.
    fn has_value(&self, flag: &str) -> bool {
        if flag.contains('=') {
            return false;
        }
        let known = match flag.strip_prefix('-') {
            Some(long) => self.known.get_arguments().find(|a| {
                a.get_long() == Some(long) || a.get_all_aliases().is_some_and(|all| all.contains(&long))
            }),
            // -t5 carries its value; -t does not.
            None if flag.chars().count() > 1 => return false,
            None => self.known.get_arguments().find(|a| a.get_short() == flag.chars().next()),
        };
        match known {
            Some(arg) => arg.get_action().takes_values() && !arg.is_require_equals_set(),
            None if matches!(flag, "h" | "-help" | "v" | "-verbose") => false,
            None if flag == "-store" => true,
            None => self.args.clone().next().is_some_and(|next| !next.to_string_lossy().starts_with('-')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(line: &str) -> Option<Option<String>> {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        Arguments::find(&args).map(|a| a.image)
    }

    #[test]
    fn the_image_is_found_among_known_and_unknown_flags() {
        let sni = Some(Some("trace_sni".to_owned()));
        for line in [
            "igx run trace_sni",
            "igx run --host trace_sni",
            "igx run -o json trace_sni",
            "igx run -ojson trace_sni",
            "igx run --verify-image=false trace_sni",
            "igx run --pid 12 trace_sni --tid 4",
            "igx run --timeout 5 -c web trace_sni",
            "igx -v run trace_sni",
            "igx --store /tmp/x run trace_sni",
            "igx run --store /tmp/x trace_sni",
        ] {
            assert_eq!(image(line), sni, "{line}");
        }
        assert_eq!(image("igx run --help"), Some(None));
        assert_eq!(image("igx run"), Some(None));
        assert_eq!(image("igx image list"), None);
        assert_eq!(image("igx"), None);
    }
}
