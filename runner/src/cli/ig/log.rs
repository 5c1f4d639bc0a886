//! Log lines as upstream writes them: the text format of the Go library logrus, which callers of `ig` wait for and
//! take apart.

use std::{
    fmt::{self, Write as _},
    io::{self, IsTerminal as _},
    sync::LazyLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use crate::output::harmless;

/// Columns that a message takes on a terminal, before what belongs to it.
const MESSAGE: usize = 44;

/// When the process began, near enough for whole seconds.
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// How a line looks.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Lines {
    terminal: bool,
}

impl Lines {
    /// Lines for standard error.
    pub(in super::super) fn new() -> Self {
        LazyLock::force(&BEGAN);
        Self { terminal: io::stderr().is_terminal() }
    }

    fn write(self, out: &mut impl fmt::Write, level: &str, fields: &Fields) -> fmt::Result {
        let message = &fields.message;
        if self.terminal {
            let (short, colour) = match level {
                "debug" => ("DEBU", 37),
                "info" => ("INFO", 36),
                "warning" => ("WARN", 33),
                "fatal" => ("FATA", 31),
                _ => ("ERRO", 31),
            };
            let seconds = BEGAN.elapsed().as_secs();
            // Part of it may come from elsewhere, such as from programs that are watched.
            let message = harmless(message);
            write!(out, "\x1b[{colour}m{short}\x1b[0m[{seconds:04}] {message:<MESSAGE$} ")?;
            for (name, value) in &fields.others {
                write!(out, " \x1b[{colour}m{name}\x1b[0m={}", quoted(value))?;
            }
            return writeln!(out);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        write!(out, "time=\"{}\" level={level} msg={}", rfc3339(now), quoted(message))?;
        for (name, value) in &fields.others {
            write!(out, " {name}={}", quoted(value))?;
        }
        writeln!(out)
    }

    /// Says what ends the process.
    pub(in super::super) fn fatal(self, message: String) {
        let mut line = String::new();
        let fields = Fields { message, others: Vec::new() };
        if self.write(&mut line, "fatal", &fields).is_ok() {
            eprint!("{line}");
        }
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = match *event.metadata().level() {
            Level::TRACE => "trace",
            Level::DEBUG => "debug",
            Level::INFO => "info",
            Level::WARN => "warning",
            Level::ERROR => "error",
        };
        self.write(&mut out, level, &fields)
    }
}

/// What a log line tells.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        } else {
            self.others.push((field.name(), format!("{value:?}")));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// In quotes, unless it is one plain word.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._/@^+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if c.is_ascii_control() => {
                let _ = write!(quoted, "\\x{:02x}", u32::from(c));
            }
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// So many seconds after 1970, as in 2026-11-23T14:37:17Z; the calendar is that of days from civil, with years that
/// begin in March.
fn rfc3339(seconds: u64) -> String {
    let (days, time) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day + 2) / 153;
    let (day, month) =
        (day - (153 * shifted + 2) / 5 + 1, if shifted < 10 { shifted + 3 } else { shifted - 9 });
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", time / 3_600, time / 60 % 60, time % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(terminal: bool, level: &str, message: &str, others: &[(&'static str, &str)]) -> String {
        let others = others.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let mut line = String::new();
        let fields = Fields { message: message.to_owned(), others };
        Lines { terminal }.write(&mut line, level, &fields).unwrap();
        line
    }

    #[test]
    fn a_line_in_a_pipe_has_its_time_and_quotes_where_they_are_needed() {
        let without_time =
            |line: String| line.split_once(" level=").map(|(_, rest)| rest.to_owned()).unwrap();
        assert_eq!(without_time(line(false, "debug", "running...", &[])), "debug msg=running...\n");
        let quoted = line(false, "warning", "a \"b\"\n\x1b\u{9b}", &[("id", "x y"), ("n", "")]);
        assert_eq!(without_time(quoted), "warning msg=\"a \\\"b\\\"\\n\\x1b\\u009b\" id=\"x y\" n=\"\"\n");
    }

    #[test]
    fn a_line_on_a_terminal_is_padded() {
        assert_eq!(line(true, "warning", "msg", &[]), format!("\x1b[33mWARN\x1b[0m[0000] {:<44} \n", "msg"));
        assert!(line(true, "warning", "\x1b[31m", &[]).contains(r" \x1b[31m "));
    }

    #[test]
    fn days_are_counted_as_the_calendar_has_them() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_700_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(rfc3339(4_102_444_799), "2099-12-31T23:59:59Z");
    }
}
