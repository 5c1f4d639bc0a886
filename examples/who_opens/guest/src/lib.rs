//! Says in words what each event of the data source `open` tells in several fields.

use std::{borrow::Cow, cell::Cell, rc::Rc};

use gadget_guest::{DataSource, Guest, Result, debug, param};

struct WhoOpens {
    /// Longest file name shown; shared with the subscription, as parameters are known after it is made.
    longest: Rc<Cell<usize>>,
}

impl Guest for WhoOpens {
    fn init() -> Result<Self> {
        let longest = Rc::new(Cell::new(0));
        let opens = DataSource::get("open")?;
        let comm = opens.field::<String>("proc.comm")?;
        let name = opens.field::<String>("fname")?;
        let flags = opens.field::<i32>("flags_raw")?;
        let summary = opens.add_field::<String>("summary")?;

        let limit = Rc::clone(&longest);
        opens.subscribe(0, move |event| {
            let (who, does) = (comm.get(event)?, action(flags.get(event)?));
            let what = name.with(event, |name| match name {
                "" => "a file whose name cannot be read".into(),
                name => shorten(name, limit.get()).into_owned(),
            })?;
            // Not `format!`, which costs a guest as much as all the rest.
            summary.set(event, &[who.as_str(), does, &what].join(" "))
        })?;
        Ok(Self { longest })
    }

    fn pre_start(&mut self) -> Result {
        self.longest.set(param("shorten")?);
        Ok(())
    }

    fn stop(&mut self) -> Result {
        debug!("no more opens");
        Ok(())
    }
}

gadget_guest::export!(WhoOpens);

/// The flags of open(2) in words, with the numbers of Linux on amd64 and arm64.
fn action(flags: i32) -> &'static str {
    const ACCESS: i32 = 3;
    const CREATE: i32 = 0o100;
    const TRUNCATE: i32 = 0o1000;
    match (flags & ACCESS, flags & CREATE != 0, flags & TRUNCATE != 0) {
        (0, false, _) => "reads",
        (0, true, _) => "creates",
        (_, _, true) => "overwrites",
        (_, true, false) => "writes or creates",
        (_, false, false) => "writes",
    }
}

/// The end of a name tells more than its beginning.
fn shorten(name: &str, longest: usize) -> Cow<'_, str> {
    // A text has no more characters than bytes.
    if longest == 0 || name.len() <= longest {
        return name.into();
    }
    let len = name.chars().count();
    if len <= longest {
        return name.into();
    }
    let end: String = name.chars().skip(len - longest.saturating_sub(1)).collect();
    format!("…{end}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    use gadget_guest::{
        Kind,
        mock::{Host, Record, Source},
    };

    fn host(longest: &str) -> (Host, Source) {
        let host = Host::new();
        host.param("shorten", longest);
        let opens = host.data_source("open").chars("proc.comm", 16).chars("fname", 128);
        let opens = opens.field("flags_raw", Kind::Int32).build();
        host.run::<WhoOpens>().unwrap();
        (host, opens)
    }

    fn open(longest: &str, flags: i32, name: &str) -> Record {
        let (host, opens) = host(longest);
        host.emit(opens, &[("proc.comm", "sh".into()), ("flags_raw", flags.into()), ("fname", name.into())])
            .unwrap()
    }

    #[test]
    fn the_summary_says_who_does_what_to_which_file() {
        assert_eq!(open("0", 0, "/etc/hosts")["summary"], "sh reads /etc/hosts".into());
        assert_eq!(open("0", 0o1101, "/tmp/x")["summary"], "sh overwrites /tmp/x".into());
        assert_eq!(open("0", 2, "/dev/kvm")["summary"], "sh writes /dev/kvm".into());
        assert_eq!(open("0", 0, "")["summary"], "sh reads a file whose name cannot be read".into());
    }

    #[test]
    fn long_names_keep_their_end() {
        assert_eq!(open("6", 0, "/etc/hosts")["summary"], "sh reads …hosts".into());
        assert_eq!(open("6", 0, "/etc/x")["summary"], "sh reads /etc/x".into());
    }

    #[test]
    fn events_leave_no_handles_behind() {
        let (host, opens) = host("0");
        let before = host.open_handles();
        for _ in 0..10_000 {
            host.emit(opens, &[]).unwrap();
        }
        assert_eq!(host.open_handles(), before);
        assert_eq!(host.logs(), []);
    }
}
