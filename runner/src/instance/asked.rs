//! Fields that cost: a gadget fills them only while a parameter of its own is true, and a field that a person asks for
//! by name turns its parameter on.
//!
//! Which one that is, gadget.yaml says in the field's annotation `igx.filled-by`. Other runners take no notice of it.

use gadget::metadata::Metadata;

use super::Options;

/// A field's annotation: the key of the parameter, a boolean, without which the gadget leaves the field empty.
const FILLED_BY: &str = "igx.filled-by";

impl Options {
    /// Turns those parameters on that fill fields which are chosen to be shown, or which filters or the order ask for.
    /// One that has a value keeps it.
    pub fn fill_what_is_asked_for(&mut self, metadata: &Metadata) {
        let fields = metadata.datasources.iter().flat_map(|(_, source)| source.fields.iter());
        for (name, field) in fields {
            let Some(param) = field.annotations.get(FILLED_BY) else { continue };
            if self.mentions(name) && !self.params.contains_key(param) {
                self.params.insert(param.clone(), "true".to_owned());
            }
        }
    }

    /// Whether a field is named anywhere; what only looks like its name costs time, and is no harm.
    fn mentions(&self, field: &str) -> bool {
        let texts = self.display.fields.iter().chain([&self.arrays.sort]);
        let texts = texts.chain(self.filters.values()).chain(self.expressions.values());
        let is_part = |character: char| character.is_alphanumeric() || "_.".contains(character);
        texts
            .flat_map(|text| text.split(|character| !is_part(character)))
            .any(|word| word.eq_ignore_ascii_case(field))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const YAML: &str = "
name: hellos
datasources:
  sni:
    fields:
      name: {}
      alpn: {annotations: {igx.filled-by: details}}
      proc.cost: {annotations: {igx.filled-by: costly}}
";

    fn params(change: impl FnOnce(&mut Options)) -> BTreeMap<String, String> {
        let mut options = Options::default();
        change(&mut options);
        options.fill_what_is_asked_for(&Metadata::parse(YAML.as_bytes()).unwrap());
        options.params
    }

    fn on(params: &[&str]) -> BTreeMap<String, String> {
        params.iter().map(|&name| (name.to_owned(), "true".to_owned())).collect()
    }

    #[test]
    fn what_is_asked_for_by_name_is_filled() {
        let text = |text: &str| BTreeMap::from([(String::new(), text.to_owned())]);
        assert_eq!(params(|_| {}), on(&[]));
        assert_eq!(params(|options| options.display.fields = Some("name,+alpn".into())), on(&["details"]));
        assert_eq!(params(|options| options.filters = text("alpn!=h2")), on(&["details"]));
        assert_eq!(params(|options| options.display.fields = Some("ALPN".into())), on(&["details"]));
        assert_eq!(
            params(|options| options.expressions = text("proc.cost>1&&alpn=='h2'")),
            on(&["costly", "details"])
        );
        assert_eq!(params(|options| options.arrays.sort = "-proc.cost".into()), on(&["costly"]));
        assert_eq!(params(|options| options.filters = text("name~alpnx,cost=1")), on(&[]));
    }

    #[test]
    fn what_a_person_set_stays() {
        let off = BTreeMap::from([("details".to_owned(), "false".to_owned())]);
        let given = params(|options| {
            options.params.clone_from(&off);
            options.display.fields = Some("alpn".into());
        });
        assert_eq!(given, off);
    }
}
