//! Finding a field by what a person typed, in one way for columns and for filters; and which fields are shown to a
//! person who did not ask for any.

use super::{DataSource, FieldId, Place, Suggestion, nearest};

/// What was typed is no field with a value.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum UnknownField {
    /// Nothing has the name, but something a similar one.
    #[error("data source {source_name:?} has no field {typed:?}{nearest}")]
    Mistyped {
        /// What was typed.
        typed: String,
        /// The data source it was looked up in.
        source_name: String,
        /// What it is similar to; never empty.
        nearest: Suggestion,
    },
    /// Nothing has the name or a similar one.
    #[error(
        "data source {source_name:?} has no field {typed:?}; it shows {visible}, and `igx run IMAGE --help` tells \
         what else it has"
    )]
    Unknown {
        /// What was typed.
        typed: String,
        /// The data source it was looked up in.
        source_name: String,
        /// What it has to show, joined by commas.
        visible: String,
    },
    /// The name is that of a group of fields, which has no value of its own.
    #[error(
        "{typed:?} groups fields of data source {source_name:?} and has no value: name its fields {members}"
    )]
    Group {
        /// What was typed.
        typed: String,
        /// The data source it was looked up in.
        source_name: String,
        /// The fields in the group, joined by commas.
        members: String,
    },
}

impl DataSource {
    /// The field that `typed` means: a full name, or else an alias, or else a full name without the parts in its
    /// middle, in any case. Of several fields, a visible one is meant rather than a hidden one, then the one with the
    /// fewest parents, then the first: always the same.
    ///
    /// # Errors
    ///
    /// When no field with a value is called so; with the names that may have been meant.
    pub fn resolve(&self, typed: &str) -> Result<FieldId, UnknownField> {
        self.find(typed).ok_or_else(|| self.unknown(typed))
    }

    /// As [`Self::resolve`], but where another field is shown in place of the one that is meant (`columns.replace`),
    /// that one: what a person sees is what is compared.
    ///
    /// # Errors
    ///
    /// As those of [`Self::resolve`].
    pub fn resolve_shown(&self, typed: &str) -> Result<FieldId, UnknownField> {
        let id = self.resolve(typed)?;
        Ok(self.stands_for(id).unwrap_or(id))
    }

    /// The field whose value is shown in place of this one's (`columns.replace`), if there is one.
    pub(crate) fn stands_for(&self, id: FieldId) -> Option<FieldId> {
        self.field(self.fields[id].annotations.get("columns.replace")?)
    }

    /// The shortest name that leads back to the field: its alias if that means this field, else its full name.
    pub fn short_name(&self, id: FieldId) -> &str {
        match self.alias(id) {
            Some(alias) if self.find(alias) == Some(id) => alias,
            _ => &self.fields[id].full_name,
        }
    }

    /// The fields shown to a person who did not ask for any, in the order of columns.
    pub fn visible(&self) -> Vec<FieldId> {
        let mut ids: Vec<FieldId> = (0..self.fields.len()).filter(|&id| self.is_visible(id)).collect();
        ids.sort_by_key(|&id| self.fields[id].order);
        ids
    }

    /// All fields that have a value, hidden ones too, by index.
    pub fn with_value(&self) -> impl Iterator<Item = FieldId> {
        (0..self.fields.len()).filter(|&id| self.has_value(id))
    }

    /// Whether a field holds no others.
    pub fn is_leaf(&self, id: FieldId) -> bool {
        self.children(Some(id)).next().is_none()
    }

    /// A struct is visible only if another field's value stands for it.
    fn is_visible(&self, id: FieldId) -> bool {
        let stands_alone = self.is_leaf(id) || self.is_replaced(id);
        !self.fields[id].hidden && stands_alone && self.has_value(id)
    }

    fn has_value(&self, id: FieldId) -> bool {
        (self.fields[id].place != Place::Nowhere || self.is_replaced(id)) && !self.is_unreferenced(id)
    }

    /// Whether another field's value stands for this one.
    fn is_replaced(&self, id: FieldId) -> bool {
        self.fields[id].annotations.get("columns.replace").is_some()
    }

    /// Whether a field, or one that it is part of, is left out everywhere.
    fn is_unreferenced(&self, id: FieldId) -> bool {
        // Bounded by the number of fields, should parents ever form a ring.
        std::iter::successors(Some(id), |&id| self.fields.get(id)?.parent)
            .take(self.fields.len())
            .any(|id| self.fields.get(id).is_none_or(|field| field.unreferenced))
    }

    fn alias(&self, id: FieldId) -> Option<&str> {
        self.fields[id].annotations.get("columns.alias").filter(|alias| !alias.is_empty())
    }

    fn find(&self, typed: &str) -> Option<FieldId> {
        if let Some(id) = self.field(typed).filter(|&id| self.has_value(id)) {
            return Some(id);
        }
        let is_called = |id: FieldId| self.alias(id).is_some_and(|alias| alias.eq_ignore_ascii_case(typed));
        self.foremost(self.with_value().filter(|&id| is_called(id))).or_else(|| self.shortened(typed))
    }

    /// The field that is meant by a name without the parts in its middle: `proc.uid` for `proc.creds.uid`.
    fn shortened(&self, typed: &str) -> Option<FieldId> {
        let (group, member) = typed.rsplit_once('.')?;
        let prefix = format!("{}.", self.fields[self.field(group)?].full_name);
        self.foremost(self.with_value().filter(|&id| {
            let field = &self.fields[id];
            field.full_name.starts_with(&prefix) && field.name.eq_ignore_ascii_case(member)
        }))
    }

    fn foremost(&self, ids: impl Iterator<Item = FieldId>) -> Option<FieldId> {
        let depth = |id: FieldId| self.fields[id].full_name.matches('.').count();
        ids.min_by_key(|&id| (!self.is_visible(id), depth(id), id))
    }

    fn unknown(&self, typed: &str) -> UnknownField {
        let (typed, source_name) = (typed.to_owned(), self.name.clone());
        if let Some(group) = self.field(&typed).filter(|&id| !self.is_unreferenced(id)) {
            let prefix = format!("{}.", self.fields[group].full_name);
            let names = self.with_value().map(|id| self.fields[id].full_name.as_str());
            let members = names.filter(|name| name.starts_with(&prefix)).collect::<Vec<_>>().join(", ");
            return UnknownField::Group { typed, source_name, members };
        }
        let mut candidates: Vec<FieldId> = self.with_value().collect();
        candidates.sort_by_key(|&id| !self.is_visible(id));
        let shortened = candidates.iter().filter_map(|&id| {
            let field = &self.fields[id];
            let short = format!("{}.{}", field.full_name.split_once('.')?.0, field.name);
            (short != field.full_name && self.find(&short) == Some(id)).then_some(short)
        });
        let shortened: Vec<String> = shortened.collect();
        // By full name, by last part, by alias and without the parts in the middle: people leave parts out.
        let spellings = candidates.into_iter().flat_map(|id| {
            let field = &self.fields[id];
            let alias = self.alias(id).unwrap_or(&field.name);
            [field.full_name.as_str(), &field.name, alias].map(|spelling| (spelling, &*field.full_name))
        });
        let shortened = shortened.iter().map(|short| (short.as_str(), short.as_str()));
        let nearest = nearest(&typed, spellings.chain(shortened));
        if !nearest.0.is_empty() {
            return UnknownField::Mistyped { typed, source_name, nearest };
        }
        let visible = self.visible().into_iter().map(|id| self.short_name(id)).collect::<Vec<_>>().join(", ");
        UnknownField::Unknown { typed, source_name, visible }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasource::sample;

    fn error(typed: &str) -> String {
        sample::sni().resolve(typed).unwrap_err().to_string()
    }

    fn resolve(source: &DataSource, typed: &str) -> Option<FieldId> {
        source.resolve(typed).ok()
    }

    #[test]
    fn names_and_aliases_are_read_in_any_case() {
        let source = sample::sni();
        for (typed, meant) in
            [("NAME", "name"), ("PROC.Comm", "proc.comm"), ("Tid", "proc.tid"), ("proc", "proc")]
        {
            assert_eq!(resolve(&source, typed), source.field(meant), "{typed}");
        }
    }

    #[test]
    fn a_shared_alias_means_the_visible_field() {
        let mut source = sample::sni();
        let (own, parent) = (source.field("proc.pid"), source.field("proc.parent.pid"));
        assert_eq!(resolve(&source, "pid"), own);
        // Of two visible ones, the one with fewer parents.
        source.fields[parent.unwrap()].hidden = false;
        assert_eq!(resolve(&source, "pid"), own);
        source.fields[own.unwrap()].hidden = true;
        assert_eq!(resolve(&source, "pid"), parent);
    }

    #[test]
    fn parts_in_the_middle_may_be_left_out() {
        let source = sample::sni();
        for (typed, meant) in [
            ("proc.uid", "proc.creds.uid"),
            ("PROC.User", "proc.creds.user"),
            ("k8s.kind", "k8s.owner.kind"),
            ("proc.comm", "proc.comm"),
            ("proc.parent.tid", "proc.parent.tid"),
        ] {
            assert_eq!(resolve(&source, typed), source.field(meant), "{typed}");
        }
        for unknown in ["proc.name", "proc.", ".uid", "nosuch.uid", "creds.uid"] {
            assert_eq!(resolve(&source, unknown), None, "{unknown}");
        }
    }

    #[test]
    fn an_empty_alias_is_none() {
        let mut source = sample::sni();
        source.fields[0].annotations.set("columns.alias", "");
        assert_eq!(resolve(&source, ""), None);
        assert_eq!(source.short_name(0), "timestamp_raw");
    }

    #[test]
    fn a_field_left_out_takes_those_in_it_along() {
        let mut source = sample::sni();
        let process = source.field("proc").unwrap();
        source.fields[process].unreferenced = true;
        assert_eq!(resolve(&source, "proc.comm"), None);
        assert_eq!(source.visible().len(), 2);
    }

    #[test]
    fn a_struct_is_shown_if_another_value_stands_for_it() {
        let mut source = sample::sni();
        let process = source.field("proc").unwrap();
        source.fields[process].hidden = false;
        assert!(!source.visible().contains(&process));
        source.fields[process].annotations.set("columns.replace", "proc.comm");
        assert!(source.visible().contains(&process));
    }

    #[test]
    fn short_names_lead_back_to_their_field() {
        let source = sample::sni();
        for id in source.with_value() {
            assert_eq!(resolve(&source, source.short_name(id)), Some(id));
        }
        assert_eq!(source.short_name(source.field("proc.pid").unwrap()), "pid");
        assert_eq!(source.short_name(source.field("proc.parent.pid").unwrap()), "proc.parent.pid");
    }

    #[test]
    fn an_unknown_name_is_met_with_what_may_have_been_meant() {
        insta::assert_snapshot!(error("proc.udi"), @r#"data source "sni" has no field "proc.udi" (did you mean proc.uid or proc.pid or proc.tid?)"#);
        insta::assert_snapshot!(error("conm"), @r#"data source "sni" has no field "conm" (did you mean proc.comm or proc.parent.comm?)"#);
        insta::assert_snapshot!(error("containerNam"), @r#"data source "sni" has no field "containerNam" (did you mean runtime.containerName or k8s.containerName or runtime.containerId?)"#);
        insta::assert_snapshot!(error("zzzzzz"), @r#"data source "sni" has no field "zzzzzz"; it shows runtime.containerName, comm, pid, tid, name, and `igx run IMAGE --help` tells what else it has"#);
        insta::assert_snapshot!(error(""), @r#"data source "sni" has no field ""; it shows runtime.containerName, comm, pid, tid, name, and `igx run IMAGE --help` tells what else it has"#);
        insta::assert_snapshot!(error("k8s.owner"), @r#""k8s.owner" groups fields of data source "sni" and has no value: name its fields k8s.owner.kind, k8s.owner.name"#);
    }
}
