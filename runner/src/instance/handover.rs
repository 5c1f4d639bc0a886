//! Filters that a gadget's own programs can apply: what they leave out never leaves the kernel. The filters that a
//! person gave still look at every event, so that handing something over changes how much work there is, and not what
//! is shown.

use std::collections::BTreeMap;

use super::{gadget::Gadget, run::Options};
use crate::{
    datasource::{DataSource, FieldId},
    operator::{expression, filter},
};

/// Fields of an event's process, and the variables by which programs select processes. Commands are left out: a
/// program may ask before a process changes its name, and send the event after.
const PROCESS: [(&str, &str); 4] = [
    ("proc.pid", "targ_pid"),
    ("proc.tid", "targ_tid"),
    ("proc.creds.uid", "targ_uid"),
    ("proc.creds.gid", "targ_gid"),
];

/// Values for the gadget's variables, by the variables' names.
pub(super) fn params(gadget: &Gadget, options: &Options) -> BTreeMap<String, String> {
    // Variables are for all data sources: with several, what one leaves out another may want.
    let [source] = gadget.sources.as_slice() else { return BTreeMap::new() };
    let ds = &source.data;
    let given = |of: &BTreeMap<String, String>| of.get(&ds.name).cloned().unwrap_or_default();
    let rules = filter::equalities(ds, &given(&options.filters));
    let expressions = expression::equalities(ds, &given(&options.expressions));
    let handed =
        rules.into_iter().chain(expressions).filter_map(|(id, value)| Some((variable(ds, id)?, value)));
    let handed = handed.filter(|(_, value)| value.parse::<u32>().is_ok());
    handed.map(|(variable, value)| (variable.to_owned(), value)).collect()
}

/// The variable that selects by a field, if the field is one of the process that an event is about.
fn variable(ds: &DataSource, id: FieldId) -> Option<&'static str> {
    let process = ds.field("proc").filter(|&id| ds.fields[id].has_tag("type:gadget_process"))?;
    let name = &ds.fields.get(id)?.full_name;
    let known = PROCESS.iter().find(|(field, _)| field == name);
    known.filter(|_| process < id).map(|(_, variable)| *variable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasource::sample;

    #[test]
    fn only_fields_of_the_process_are_handed_over() {
        let mut ds = sample::sni();
        let of = |ds: &DataSource, name: &str| ds.field(name).and_then(|id| variable(ds, id));
        assert_eq!(of(&ds, "proc.pid"), None, "some other struct that is called so");
        let process = ds.field("proc").unwrap();
        ds.fields[process].tags.push("type:gadget_process".to_owned());
        assert_eq!(of(&ds, "proc.pid"), Some("targ_pid"));
        assert_eq!(of(&ds, "proc.creds.gid"), Some("targ_gid"));
        for other in ["proc.comm", "proc.parent.pid", "netns_id", "proc"] {
            assert_eq!(of(&ds, other), None, "{other}");
        }
    }
}
