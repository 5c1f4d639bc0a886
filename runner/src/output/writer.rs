//! The writer of one data source, in whatever mode; and the view of all data sources of a gadget.

use std::borrow::Borrow;

use super::mode::{self, Mode, TEXT_FIELD};
use super::{
    Display, Error, columns::Columns, escape, fields, histogram::Histograms, json::Json, yaml::Yaml,
};
use crate::datasource::{Accessor, DataSource, Event, FieldId, SourceKind};

/// Clears a terminal (ECMA-48): cursor to the top left corner, then erase the screen.
const CLEAR: &[u8] = b"\x1b[H\x1b[2J";

/// Writes the events of one data source.
#[derive(Debug)]
pub struct Writer {
    format: Format,
    batches: bool,
    /// What comes before each batch's table.
    clear: &'static [u8],
    /// What a table is headed by where there are several.
    title: Option<String>,
}

#[derive(Debug)]
enum Format {
    Columns(Columns),
    Json(Json),
    Yaml(Yaml),
    Histogram(Histograms),
    /// One field as it is, which is text of several lines.
    Text(Accessor),
    None,
}

/// What is shown of a data source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// How.
    pub mode: Mode,
    /// The fields that were asked for, or the default ones of a table; `None` for all.
    pub fields: Option<Vec<FieldId>>,
}

impl View {
    /// Whether the view shows the field, or all of the struct that it is in.
    pub fn shows(&self, source: &DataSource, field: FieldId) -> bool {
        if self.mode == Mode::None {
            return false;
        }
        let Some(fields) = &self.fields else { return true };
        let mut around = std::iter::successors(Some(field), |&id| source.fields.get(id)?.parent);
        let by_itself = around.any(|id| fields.contains(&id));
        // Or it stands for one that is shown.
        by_itself || fields.iter().any(|&id| source.stands_for(id) == Some(field))
    }
}

/// What `display` makes of these data sources.
///
/// # Errors
/// Modes, fields and data sources that are not there.
pub fn views<S: Borrow<DataSource>>(sources: &[S], display: &Display) -> Result<Vec<View>, Error> {
    let modes = mode::select(sources, &display.mode)?;
    let spec = display.fields.as_deref().unwrap_or_default();
    let fields = fields::select(sources, spec, &modes)?;
    let view = |(mode, fields): (Mode, Option<Vec<FieldId>>)| match fields {
        Some(fields) => View { mode, fields: (mode == Mode::Columns || !spec.is_empty()).then_some(fields) },
        None => View { mode: Mode::None, fields: None },
    };
    Ok(modes.into_iter().zip(fields).map(view).collect())
}

impl Writer {
    /// A writer for `source`.
    pub fn new(source: &DataSource, view: &View, display: &Display) -> Self {
        let fields = view.fields.as_deref();
        let columns = display.terminal.as_ref().map(|terminal| terminal.columns());
        let format = match view.mode {
            _ if source.unreferenced => Format::None,
            Mode::Columns => {
                let shown = fields.map_or_else(|| source.visible(), <[FieldId]>::to_vec);
                Format::Columns(Columns::new(source, &shown, columns, display.colour))
            }
            Mode::Json => Format::Json(Json::new(source, fields)),
            Mode::JsonPretty => Format::Json(Json::pretty(source, fields)),
            Mode::Yaml => Format::Yaml(Yaml::new(source, fields)),
            Mode::Histogram => Format::Histogram(Histograms::new(source)),
            Mode::Text => match source.field(TEXT_FIELD) {
                Some(field) => Format::Text(source.accessor(field)),
                None => Format::None,
            },
            Mode::None => Format::None,
        };
        let clear = source.annotations.get("cli.clear-screen-before").is_some_and(|v| v == "true");
        Self {
            format,
            batches: source.kind == SourceKind::Array,
            clear: if clear && columns.is_some() { CLEAR } else { b"" },
            title: None,
        }
    }

    /// Whether it writes a table.
    pub fn is_table(&self) -> bool {
        matches!(self.format, Format::Columns(_))
    }

    /// Whether it writes anything.
    pub fn shows(&self) -> bool {
        !matches!(self.format, Format::None)
    }

    /// Heads the table by `title`, to be told from others.
    pub fn set_title(&mut self, title: &str) {
        self.title = Some(title.to_owned());
    }

    /// Appends what comes before the first event: a table's title and header line, unless each batch has its own.
    pub fn header(&mut self, out: &mut Vec<u8>) {
        if !self.batches {
            self.head(out);
        }
    }

    fn head(&mut self, out: &mut Vec<u8>) {
        let Format::Columns(columns) = &mut self.format else { return };
        if let Some(title) = &self.title {
            escape::terminal(title.to_uppercase().as_bytes(), out);
            out.extend_from_slice(b":\n");
        }
        columns.header(out);
    }

    /// Appends one event, with the newline that ends it.
    #[inline]
    pub fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if self.batches {
            self.begin(out);
            self.element(event, out);
            return self.end(out);
        }
        self.element(event, out);
    }

    /// Begins a batch.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        if !self.batches {
            return;
        }
        match &mut self.format {
            Format::Columns(_) => {
                out.extend_from_slice(self.clear);
                self.head(out);
            }
            Format::Json(json) => json.begin(out),
            Format::Text(_) | Format::Histogram(_) => out.extend_from_slice(self.clear),
            Format::Yaml(_) | Format::None => {}
        }
    }

    /// Appends an event of a batch.
    #[inline]
    pub fn element(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        match &mut self.format {
            Format::Columns(columns) => columns.event(event, out),
            Format::Json(json) if self.batches => json.element(event, out),
            Format::Json(json) => json.event(event, out),
            Format::Yaml(yaml) => yaml.event(event, out),
            Format::Histogram(histograms) => histograms.add(event),
            Format::Text(field) => {
                escape::text_lines(field.bytes(event), out);
                out.push(b'\n');
            }
            Format::None => {}
        }
    }

    /// Ends a batch.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        match &mut self.format {
            Format::Json(json) if self.batches => json.end(out),
            Format::Histogram(histograms) => histograms.draw(out),
            _ => {}
        }
    }

    /// Fits a table to a terminal that is now `terminal` characters wide; no effect on the other modes.
    pub fn resize(&mut self, terminal: u16) {
        if let Format::Columns(columns) = &mut self.format {
            columns.resize(Some(terminal));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::datasource::{Packet, Scalar, Slots, sample};
    use crate::output::Terminal;

    /// A batch of `count` events of two fields.
    fn batch(mode: &str, fields: Option<&str>, terminal: bool, count: u8) -> String {
        let mut source = DataSource::new("top", SourceKind::Array);
        source.annotations.insert("cli.clear-screen-before".into(), "true".into());
        sample::add(&mut source, None, "n", Scalar::Uint8, 0, 1);
        let id = sample::add(&mut source, None, "file", Scalar::CString, 1, 4);
        source.fields[id].annotations.set("columns.width", "6");
        let display = Display {
            mode: mode.to_owned(),
            fields: fields.map(str::to_owned),
            terminal: terminal.then(|| Arc::new(Terminal::new(20))),
            colour: false,
        };
        let view = views(&[&source], &display).unwrap().remove(0);
        let mut writer = Writer::new(&source, &view, &display);
        let mut out = Vec::new();
        writer.header(&mut out);
        writer.begin(&mut out);
        for n in 0..count {
            let mut packet = Packet { data: vec![n, b'a', b'b', 0, 0], slots: Slots::new(0) };
            writer.element(&packet.event(), &mut out);
        }
        writer.end(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn none_writes_nothing() {
        let source = sample::sni();
        let mut writer = Writer::new(&source, &View { mode: Mode::None, fields: None }, &Display::default());
        let mut out = Vec::new();
        writer.header(&mut out);
        sample::with_event(&source, |event| writer.event(event, &mut out));
        assert!(out.is_empty());
    }

    #[test]
    fn a_batch_is_one_array() {
        assert_eq!(batch("json", None, false, 0), "[]\n");
        assert_eq!(batch("json", None, false, 2), "[{\"file\":\"ab\",\"n\":0},{\"file\":\"ab\",\"n\":1}]\n");
        assert_eq!(batch("jsonpretty", None, false, 0), "[]\n");
        insta::assert_snapshot!(batch("jsonpretty", None, false, 2), @r#"
        [
          {
            "file": "ab",
            "n": 0
          },
          {
            "file": "ab",
            "n": 1
          }
        ]
        "#);
        insta::assert_snapshot!(batch("yaml", None, false, 2), @r#"
        ---
        file: ab
        "n": 0
        ---
        file: ab
        "n": 1
        "#);
        assert_eq!(batch("yaml", None, false, 0), "");
        assert_eq!(batch("json", Some("n"), false, 1), "[{\"n\":0}]\n");
    }

    #[test]
    fn a_batch_is_a_table_with_a_header_on_a_clear_screen() {
        insta::assert_snapshot!(batch("columns", None, false, 2), @"
        N                FILE
        0                ab
        1                ab
        ");
        assert!(batch("columns", None, true, 0).starts_with("\x1b[H\x1b[2JN"));
    }

    #[test]
    fn what_is_shown_is_known_before_the_first_event() {
        let source = sample::sni();
        let shown = |mode: &str, fields: Option<&str>, field: &str| {
            let (mode, fields) = (mode.to_owned(), fields.map(str::to_owned));
            let display = Display { mode, fields, ..Display::default() };
            views(&[&source], &display).unwrap().remove(0).shows(&source, source.field(field).unwrap())
        };
        assert!(shown("columns", None, "name") && !shown("columns", None, "proc.creds.uid"));
        assert!(
            shown("columns", Some("proc.uid"), "proc.creds.uid")
                && !shown("columns", Some("proc.uid"), "name")
        );
        assert!(shown("json", None, "proc.creds.uid") && !shown("json", Some("name"), "proc.creds.uid"));
        assert!(shown("json", Some("proc"), "proc.creds.uid") && !shown("none", None, "name"));
    }

    #[test]
    fn fields_narrow_documents() {
        let source = sample::sni();
        let show = |mode: &str, fields: &str| {
            let display =
                Display { mode: mode.to_owned(), fields: Some(fields.to_owned()), ..Display::default() };
            let view = views(&[&source], &display).map_err(|e| e.to_string())?.remove(0);
            let mut out = Vec::new();
            sample::with_event(&source, |event| Writer::new(&source, &view, &display).event(event, &mut out));
            String::from_utf8(out).map_err(|e| e.to_string())
        };
        insta::assert_snapshot!(show("json", "name,comm,pid").unwrap(), @r#"{"name":"example.com","proc":{"comm":"wget","pid":4321}}"#);
        insta::assert_snapshot!(show("json", "proc.parent").unwrap(), @r#"{"proc":{"parent":{"comm":"sh","pid":4294967295,"tid":1}}}"#);
        insta::assert_snapshot!(show("json", "-k8s,-runtime,-proc,-timestamp_raw").unwrap(), @r#"{"name":"example.com","netns_id":4026532001,"timestamp":"2024-01-01T00:00:00.123456789+01:00"}"#);
        insta::assert_snapshot!(show("json", "+name,-proc,-k8s,-runtime").unwrap(), @r#"{"name":"example.com","netns_id":4026532001,"timestamp":"2024-01-01T00:00:00.123456789+01:00","timestamp_raw":1704063600123456789}"#);
        insta::assert_snapshot!(show("yaml", "k8s.owner,name").unwrap(), @r#"
        ---
        k8s:
          owner:
            kind: ""
            name: ""
        name: example.com
        "#);
        insta::assert_snapshot!(show("json", "nmae").unwrap_err(), @r#"data source "sni" has no field "nmae" (did you mean name or k8s.owner.name?)"#);
    }
}
