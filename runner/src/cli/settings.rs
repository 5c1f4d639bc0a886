//! Settings that are not on the command line: `config.yaml`, the environment, and the manifest of a run.
//!
//! Each becomes a flag, put before those that were typed, unless the same flag was typed: so everything that reads flags
//! reads settings too, and they are checked as flags are. A flag wins over the environment, which wins over the file.
//!
//! The file has the names of flags as keys. Those of `igx run` that say what is shown are below `run`; the others are
//! meant for every command that has the flag.

use std::{
    any::TypeId,
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use clap::{
    Arg, Command,
    error::{ContextKind, ContextValue},
};
use serde_json::Value;

use super::ig;
use crate::datasource::nearest;

/// Longest file of settings, in bytes.
const MAX: u64 = 1 << 20;

/// What the names of variables begin with.
const PREFIX: &str = "IGX_";

/// Flags that only make sense where they are typed, and keys that are none.
const NEVER: [&str; 8] = ["help", "version", "config", "file", "count", "command", "image", "as"];

/// What `-- COMMAND` already decides: settings of these give way to it.
pub(super) const NOT_WITH_COMMAND: [&str; 2] = ["host", "containername"];

/// Where a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The file.
    File(PathBuf),
    /// The variable.
    Environment(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Environment(name) => name.fmt(f),
        }
    }
}

/// A value, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) value: String,
    pub(super) origin: Origin,
}

/// Settings by flag: of every command, and of `igx run`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) all: BTreeMap<String, Setting>,
    pub(super) run: BTreeMap<String, Setting>,
}

/// A command line with settings on it.
pub(super) struct Applied<'a> {
    pub(super) args: Vec<OsString>,
    /// The flags that were not typed, and where they come from.
    added: Vec<(&'a str, &'a Origin)>,
}

/// The file that is read unless another is named.
pub(super) fn default_path() -> Option<PathBuf> {
    if ig::is_called() {
        return ig::settings::default_path();
    }
    let absolute = |path: &PathBuf| path.is_absolute();
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(absolute);
    let config = config.or_else(|| std::env::home_dir().map(|home| home.join(".config")))?;
    Some(config.join("igx/config.yaml"))
}

/// The file that the command line names.
pub(super) fn named(args: &[OsString]) -> Option<PathBuf> {
    value_of("config", args).map(PathBuf::from)
}

/// What is given for a flag of all commands.
pub(super) fn value_of(flag: &str, args: &[OsString]) -> Option<OsString> {
    let mut args = args.iter().take_while(|arg| *arg != "--");
    while let Some(arg) = args.next() {
        let rest = arg.to_str().and_then(|arg| arg.strip_prefix("--")?.strip_prefix(flag));
        match rest {
            Some("") => return args.next().cloned(),
            Some(rest) if rest.starts_with('=') => return rest.get(1..).map(OsString::from),
            _ => {}
        }
    }
    None
}

impl Settings {
    /// Reads the file and the environment.
    ///
    /// # Errors
    /// A file that cannot be read or understood, or has keys that are no flags.
    pub(super) fn read(
        file: Option<PathBuf>,
        environment: impl Iterator<Item = (OsString, OsString)>,
        igx: &Command,
    ) -> anyhow::Result<Self> {
        let environment: Vec<(String, String)> = environment
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let variable = |wanted: &str| {
            let found = environment.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
        };
        let as_ig = ig::is_called();
        let named = file.or_else(|| variable("IGX_CONFIG").filter(|_| !as_ig).map(PathBuf::from));
        let mut settings = Self::default();
        if let Some(path) = named.or_else(|| default_path().filter(|path| path.exists())) {
            settings.read_file(&path, igx).with_context(|| {
                format!("reading {} from {}", if as_ig { "config" } else { "settings" }, path.display())
            })?;
        }
        if as_ig {
            for (flag, name) in ig::settings::variables() {
                if let Some(value) = variable(&name) {
                    settings
                        .all
                        .insert(flag.to_owned(), Setting { value, origin: Origin::Environment(name) });
                }
            }
            settings.forget_unset(igx);
            return Ok(settings);
        }
        for (flag, of_run) in known(igx) {
            let name = format!("{PREFIX}{}", flag.replace(['-', '.'], "_").to_uppercase());
            if let Some(value) = variable(&name) {
                let setting = Setting { value, origin: Origin::Environment(name) };
                if of_run { &mut settings.run } else { &mut settings.all }.insert(flag, setting);
            }
        }
        settings.forget_unset(igx);
        Ok(settings)
    }

    /// Removes what has no value: an option is only empty where that is a choice, other than its default.
    fn forget_unset(&mut self, igx: &Command) {
        let may_be_empty = |arg: &Arg| {
            let parser = arg.get_value_parser();
            let is_text = parser.type_id() == TypeId::of::<String>() && arg.get_possible_values().is_empty();
            is_text && !arg.get_default_values().is_empty()
        };
        for settings in [&mut self.all, &mut self.run] {
            settings.retain(|flag, setting| {
                !setting.value.is_empty() || argument(igx, flag).is_some_and(may_be_empty)
            });
        }
    }

    fn read_file(&mut self, path: &Path, igx: &Command) -> anyhow::Result<()> {
        let mut text = String::new();
        File::open(path)?.take(MAX + 1).read_to_string(&mut text)?;
        ensure!(text.len() as u64 <= MAX, "it is longer than {MAX} bytes");
        if text.trim().is_empty() {
            return Ok(());
        }
        let root: Value = serde_saphyr::from_str(&text)?;
        if ig::is_called() {
            for (flag, value) in ig::settings::of_file(&root) {
                let Some(value) = plain(&value) else {
                    bail!("{flag} is neither a value nor a list of values")
                };
                self.all.insert(flag.to_owned(), Setting { value, origin: Origin::File(path.to_owned()) });
            }
            return Ok(());
        }
        let Value::Object(keys) = root else { bail!("it is no list of keys and values") };
        let known = known(igx);
        for (key, value) in &keys {
            match (key.as_str(), value) {
                ("run", Value::Object(keys)) => {
                    for (key, value) in keys {
                        self.insert(key, value, true, path, &known)?;
                    }
                }
                _ => self.insert(key, value, false, path, &known)?,
            }
        }
        Ok(())
    }

    fn insert(
        &mut self,
        key: &str,
        value: &Value,
        in_run: bool,
        path: &Path,
        known: &[(String, bool)],
    ) -> anyhow::Result<()> {
        let flags = || known.iter().map(|(flag, _)| flag.as_str());
        ensure!(
            known.iter().any(|(flag, of_run)| flag == key && (in_run || !*of_run)),
            "there is no setting {key:?}{}",
            match known.iter().any(|(flag, _)| flag == key) {
                true => format!(": it belongs under run, as in 'run: {{{key}: ...}}'"),
                false => nearest(key, flags().map(|flag| (flag, flag))).to_string(),
            }
        );
        let Some(value) = plain(value) else { bail!("{key} is neither a value nor a list of values") };
        let setting = Setting { value, origin: Origin::File(path.to_path_buf()) };
        if in_run { &mut self.run } else { &mut self.all }.insert(key.to_owned(), setting);
        Ok(())
    }

    /// Puts the settings of the command that `args` call behind its name, but for those that do not go with a command
    /// that is to be watched.
    pub(super) fn apply(&self, mut args: Vec<OsString>, igx: &Command) -> Applied<'_> {
        let Some((at, command)) = called(&args, igx) else { return Applied { args, added: Vec::new() } };
        let is_run = command.get_name() == "run";
        let own = self.run.iter().filter(|_| is_run);
        let flags = own.chain(self.all.iter().filter(|(flag, _)| !is_run || !self.run.contains_key(*flag)));
        let watches = args.iter().any(|arg| arg == "--");
        let typed = |arg: &Arg| {
            let short = arg.get_short().map(|short| format!("-{short}"));
            let long = arg.get_long().map(|long| format!("--{long}")).unwrap_or_default();
            args.iter().take_while(|arg| *arg != "--").any(|arg| {
                let arg = arg.to_string_lossy();
                let is_long =
                    arg.strip_prefix(&long).is_some_and(|rest| rest.is_empty() || rest.starts_with('='));
                is_long
                    || short.as_ref().is_some_and(|short| arg.starts_with(short) && !arg.starts_with("--"))
            })
        };
        let (mut words, mut added) = (Vec::new(), Vec::new());
        for (flag, setting) in flags {
            let arguments = || command.get_arguments().chain(igx.get_arguments());
            let Some(arg) = arguments().find(|arg| arg.get_long() == Some(flag)) else { continue };
            if typed(arg) || (watches && NOT_WITH_COMMAND.contains(&flag.as_str())) {
                continue;
            }
            if arg.get_action().takes_values() {
                words.push(OsString::from(format!("--{flag}={}", setting.value)));
            } else if ["true", "yes", "1", "on"].contains(&setting.value.as_str()) {
                words.push(OsString::from(format!("--{flag}")));
            } else {
                continue;
            }
            added.push((flag.as_str(), &setting.origin));
        }
        args.splice(at + 1..at + 1, words);
        Applied { args, added }
    }
}

impl Applied<'_> {
    /// The error, with the origin of a flag that it names and that nobody typed.
    pub(super) fn explained(&self, error: anyhow::Error) -> anyhow::Error {
        let named = |text: &str| {
            let names = |flag: &str| {
                let mut words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
                words.any(|word| word.strip_prefix("--") == Some(flag))
            };
            let (flag, origin) = self.added.iter().find(|(flag, _)| names(flag))?;
            Some(format!("--{flag} comes from {origin}"))
        };
        match error.downcast::<clap::Error>() {
            Ok(mut usage) => {
                let texts = |kind| match usage.get(kind) {
                    Some(ContextValue::String(text)) => text.clone(),
                    Some(ContextValue::Strings(all)) => all.join(" "),
                    _ => String::new(),
                };
                let text = format!("{} {}", texts(ContextKind::InvalidArg), texts(ContextKind::PriorArg));
                if let Some(tip) = named(&text) {
                    usage.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
                }
                usage.into()
            }
            Err(error) => {
                let text = super::message(&error);
                match named(&text) {
                    Some(tip) => error.context(format!("{text} ({tip})")),
                    None => error,
                }
            }
        }
    }
}

/// A value as it is typed; lists are parted by commas.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(list) => list.iter().map(plain).collect::<Option<Vec<_>>>().map(|list| list.join(",")),
        Value::Null => Some(String::new()),
        Value::Object(_) => None,
    }
}

/// The flag of that name, of all commands or of `igx run`.
pub(super) fn argument<'a>(igx: &'a Command, flag: &str) -> Option<&'a Arg> {
    let run = igx.find_subcommand("run");
    let mut all = igx.get_arguments().chain(run.into_iter().flat_map(Command::get_arguments));
    all.find(|arg| arg.get_long() == Some(flag))
}

/// Whether what `args` ask for has nothing to do with settings: it works even where they are wrong.
pub(super) fn are_needless(args: &[OsString], igx: &Command) -> bool {
    let helps = |arg: &OsString| arg == "--help" || arg == "-h";
    args.iter().take_while(|arg| *arg != "--").any(helps)
        || called(args, igx).is_none_or(|(_, command)| {
            ["version", "completions", "man", "default"].contains(&command.get_name())
        })
}

/// All flags that can be set, and whether they are of `igx run` alone.
pub(super) fn known(igx: &Command) -> Vec<(String, bool)> {
    let flags = |command: &Command| -> Vec<String> {
        command.get_arguments().filter_map(|arg| arg.get_long().map(str::to_owned)).collect()
    };
    let mut all: Vec<(String, bool)> = flags(igx).into_iter().map(|flag| (flag, false)).collect();
    if let Some(run) = igx.find_subcommand("run") {
        let about_images = |arg: &Arg| matches!(arg.get_help_heading(), Some("Images" | "Registries"));
        for arg in run.get_arguments() {
            let Some(flag) = arg.get_long() else { continue };
            if !all.iter().any(|(known, _)| known == flag) {
                all.push((flag.to_owned(), !about_images(arg)));
            }
        }
    }
    all.retain(|(flag, _)| !NEVER.contains(&flag.as_str()));
    all
}

/// The command that is called, and where its name stands.
fn called<'a>(args: &[OsString], igx: &'a Command) -> Option<(usize, &'a Command)> {
    let mut command = igx;
    let mut found = None;
    let mut skip = false;
    for (at, arg) in args.iter().enumerate().skip(1) {
        let arg = arg.to_string_lossy();
        if std::mem::take(&mut skip) {
            continue;
        }
        if arg.starts_with('-') {
            skip = matches!(&*arg, "--store" | "--config" | "--as");
            continue;
        }
        match command.find_subcommand(&*arg) {
            Some(sub) => {
                command = sub;
                found = Some((at, sub));
            }
            None => break,
        }
    }
    found
}

// What can be set is mostly of runs.
#[cfg(test)]
#[cfg(feature = "ebpf")]
mod tests;
