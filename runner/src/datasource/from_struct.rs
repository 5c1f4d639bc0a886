//! From a struct in a gadget's object to the fields of a data source, dressed with what gadget.yaml says.

use gadget::{
    metadata::{self, Metadata},
    object::{Enumeration, StructField, Tracer},
};

use super::{Annotations, DataSource, Field, FieldId, Place, SourceKind};

/// A field that holds a C enum, and what its numbers are called.
#[derive(Clone, Debug)]
pub struct EnumField {
    /// The field with the number.
    pub field: FieldId,
    /// The enum's type and values.
    pub enumeration: Enumeration,
}

impl DataSource {
    /// The data source that a tracer's struct makes, and its enum fields.
    pub fn from_tracer(tracer: &Tracer, metadata: &Metadata) -> (Self, Vec<EnumField>) {
        let mut source = Self::new(&tracer.name, SourceKind::Single);
        let described = metadata.datasources.get(&tracer.name);
        source.static_size = tracer.size as usize;
        if let Some(described) = described {
            source.annotations =
                described.annotations.iter().map(|(k, v)| (k.to_owned(), v.clone())).collect();
        }
        let mut enums = Vec::new();
        for (id, member) in tracer.structure.iter().enumerate() {
            let mut field = Field {
                name: member.name.clone(),
                full_name: member.full_name.clone(),
                parent: member.parent,
                kind: member.kind,
                place: Place::Static { offset: member.offset, size: member.size },
                hidden: false,
                unreferenced: false,
                order: 0,
                tags: member.tags.clone(),
                annotations: annotations(member),
            };
            field.hidden = field.annotations.is_true("columns.hidden");
            if let Some(described) = described.and_then(|d| d.fields.get(&member.full_name)) {
                field.describe(described);
            }
            if let Some(enumeration) = &member.enumeration {
                enums.push(EnumField { field: id, enumeration: enumeration.clone() });
            }
            source.fields.push(field);
        }
        (source, enums)
    }

    /// Adds what gadget.yaml says of the fields that operators added: those from `first` on.
    pub fn describe_added(&mut self, first: FieldId, metadata: &Metadata) {
        let Some(described) = metadata.datasources.get(&self.name) else { return };
        for field in &mut self.fields[first..] {
            if let Some(described) = described.fields.get(&field.full_name) {
                field.describe(described);
            }
        }
    }
}

impl Field {
    /// Adds what gadget.yaml says of the field.
    fn describe(&mut self, described: &metadata::Field) {
        self.tags.extend(described.tags.iter().cloned());
        if let Some(template) = described.annotations.get("template")
            && !self.annotations.expand(template)
        {
            tracing::warn!("gadget.yaml: field {}: unknown template {template:?}", self.full_name);
        }
        for (key, value) in described.annotations.iter() {
            self.annotations.set(key, value);
        }
        match self.annotations.get("columns.hidden") {
            Some("true") => self.hidden = true,
            Some(_) if described.annotations.get("columns.hidden").is_some() => self.hidden = false,
            _ => {}
        }
    }
}

fn annotations(member: &StructField) -> Annotations {
    let mut annotations = Annotations::static_defaults();
    for template in &member.templates {
        annotations.expand(template);
    }
    if member.hidden_container {
        annotations.set("columns.hidden", "true");
    }
    if let Some(alias) = &member.alias {
        annotations.set("columns.alias", alias);
    }
    annotations
}
