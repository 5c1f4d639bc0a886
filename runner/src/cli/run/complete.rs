//! What can be completed of `igx run`: the flags, fields and modes of the gadget that is named, and containers.

use clap::Command;
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter, CompletionCandidate};
use gadget::{policy::Policy, registry::Silent, store::Store};

use super::{Arguments, advanced, flags};
use crate::{
    container::{Collection, Config},
    datasource::DataSource,
    images::{Images, Pull},
    instance::{self, Gadget},
    output::Mode,
};

/// The command line with what the gadget adds, as far as it is in the store.
pub(in crate::cli) fn known(found: &Arguments) -> Command {
    let command = super::super::command();
    let gadget = found.image.as_deref().filter(|name| !name.is_empty()).and_then(|name| gadget(found, name));
    let sources = gadget.as_ref().and_then(|gadget| instance::data_sources(gadget).ok()).unwrap_or_default();
    let params = gadget.map(|gadget| gadget.params).unwrap_or_default();
    command.mut_subcommand("run", |_| {
        let fields = fields(&sources);
        let modes = modes(&sources);
        flags::command_for("", &sources, &params)
            .mut_arg("fields", |arg| {
                arg.add(ArgValueCompleter::new(move |typed: &std::ffi::OsStr| {
                    list(&typed.to_string_lossy(), &fields)
                }))
            })
            .mut_arg("output", |arg| arg.add(ArgValueCandidates::new(move || candidates(&modes))))
            .mut_arg("symbolizers", |arg| {
                arg.add(ArgValueCompleter::new(|typed: &std::ffi::OsStr| {
                    list(&typed.to_string_lossy(), &advanced::SYMBOLIZER_NAMES.map(str::to_owned))
                }))
            })
            .mut_arg("containername", |arg| {
                arg.add(ArgValueCompleter::new(|typed: &std::ffi::OsStr| {
                    list(&typed.to_string_lossy(), &containers())
                }))
            })
    })
}

/// The gadget, if it can be had without asking anybody. Nothing of it is run, so nobody's signature is needed.
fn gadget(found: &Arguments, name: &str) -> Option<Gadget> {
    let path = found.store().map(Into::into).or_else(|| super::super::ig::store().ok())?;
    let mut store = Store::open(path).ok()?;
    let policy = Policy { verify: false, disallow_pulling: true, ..Policy::default() };
    let images = Images { pull: Pull::Never, policy, ..Images::default() };
    let mut image = instance::resolve(&mut store, name, &images, &Silent).ok()?;
    image.wasm = None;
    Gadget::open(image).ok()
}

fn candidates(names: &[String]) -> Vec<CompletionCandidate> {
    names.iter().map(CompletionCandidate::new).collect()
}

/// Names that go on a list parted by commas, each perhaps behind a sign.
fn list(typed: &str, names: &[String]) -> Vec<CompletionCandidate> {
    let start = typed.rfind([',', ';', ':']).map_or(0, |at| at + 1);
    let (before, last) = typed.split_at_checked(start).unwrap_or((typed, ""));
    let sign = last.get(..1).filter(|sign| ["+", "-", "!"].contains(sign)).unwrap_or_default();
    let word = last.get(sign.len()..).unwrap_or_default().to_lowercase();
    let fits = names.iter().filter(|name| name.to_lowercase().starts_with(&word));
    fits.map(|name| CompletionCandidate::new(format!("{before}{sign}{name}"))).collect()
}

fn fields(sources: &[DataSource]) -> Vec<String> {
    let names = |source: &DataSource| -> Vec<String> {
        let visible = source.visible();
        let others = source.with_value().filter(|id| !visible.contains(id) && source.is_leaf(*id));
        visible.iter().copied().chain(others).map(|id| source.short_name(id).to_owned()).collect()
    };
    let mut all: Vec<String> = Vec::new();
    for name in sources.iter().flat_map(names) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

fn modes(sources: &[DataSource]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for name in sources.iter().flat_map(Mode::names_of) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    if all.is_empty() { Mode::ALL.map(|mode| mode.name().to_owned()).into() } else { all }
}

/// The containers of this host that are running; none for who may not see them.
fn containers() -> Vec<String> {
    if !nix::unistd::geteuid().is_root() {
        return Vec::new();
    }
    let found = Collection::start(&Config::default()).map(|collection| collection.list());
    let mut names: Vec<String> =
        found.unwrap_or_default().iter().map(|container| container.name.to_string()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasource::sample;

    fn listed(typed: &str) -> Vec<String> {
        let names = fields(&[sample::sni()]);
        list(typed, &names).iter().map(|found| found.get_value().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn the_last_of_a_list_is_completed() {
        assert_eq!(listed("na"), ["name"]);
        assert_eq!(listed("pid,+time"), ["pid,+timestamp_raw", "pid,+timestamp"]);
        assert_eq!(listed("sni:-ti"), ["sni:-tid", "sni:-timestamp_raw", "sni:-timestamp"]);
        assert_eq!(listed("")[0], "runtime.containerName");
        assert!(listed("nothing").is_empty());
        assert_eq!(modes(&[]), ["columns", "json", "jsonpretty", "yaml", "none"]);
    }
}
