//! What keeps a small manifest from becoming much: an alias that repeats a long text, a name that every message quotes, mistakes without
//! end.
//!
//! YAML lets a text of some bytes stand for as many others as it likes (`&a` and `*a`), so a manifest's own size bounds nothing. It is
//! measured as it would be read, and refused before anything is kept of it.
//! Must never: keep what it measures.

use crate::limits::MANIFEST_EXPANDED_BYTES_MAX;
use serde::Deserializer;
use serde::de::{DeserializeSeed, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor};
use std::cell::Cell;
use std::fmt;

/// Characters of a name that a message quotes; every name that is allowed is shorter.
const NAME_CHARS_MAX: usize = 200;
/// Bytes of one mistake's place, and of its words.
pub(super) const TEXT_BYTES_MAX: usize = 2_000;

/// Why a manifest is not read.
pub(super) enum Unread {
    /// It is no YAML.
    Broken(serde_yaml_ng::Error),
    /// Its aliases make it too large.
    TooMuch,
}

/// Reads a manifest to its end, following its aliases, and keeps nothing.
pub(super) fn measure(text: &str) -> Result<(), Unread> {
    let left = Cell::new(Some(MANIFEST_EXPANDED_BYTES_MAX));
    let read = Measure(&left).deserialize(serde_yaml_ng::Deserializer::from_str(text));
    match (left.get(), read) {
        (None, _) => Err(Unread::TooMuch),
        (Some(_), read) => read.map_err(Unread::Broken),
    }
}

/// A name as a message may show it, whoever wrote it.
pub(super) fn shown(name: &str) -> String {
    printable(name).take(NAME_CHARS_MAX).collect()
}

/// A sentence that may quote what somebody wrote, of [`TEXT_BYTES_MAX`] at most.
pub(super) fn sentence(text: &str) -> String {
    printable(&text[..text.floor_char_boundary(TEXT_BYTES_MAX)]).collect()
}

/// Nothing that could rule a terminal.
fn printable(text: &str) -> impl Iterator<Item = char> {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c })
}

/// What is left of the bytes; `None` once they are used up.
struct Measure<'a>(&'a Cell<Option<u64>>);

impl Measure<'_> {
    /// A value counts one byte, a text its own beside.
    fn take<E: Error>(&self, text: usize) -> Result<(), E> {
        self.0.set(self.0.get().and_then(|left| left.checked_sub(1 + text as u64)));
        self.0.get().map(drop).ok_or_else(|| E::custom("too much"))
    }
}

impl<'de> DeserializeSeed<'de> for Measure<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

/// Values without a text.
macro_rules! small {
    ($($visit:ident($($value:ty)?),)*) => { $(
        fn $visit<E: Error>(self, $(_: $value)?) -> Result<(), E> {
            self.take(0)
        }
    )* };
}

impl<'de> Visitor<'de> for Measure<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    small! {
        visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_i128(i128), visit_u128(u128), visit_f64(f64),
        visit_none(), visit_unit(),
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.take(text.len())
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<(), E> {
        self.take(bytes.len())
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        self.deserialize(from)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        self.deserialize(from)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.take(0)?;
        while list.next_element_seed(Measure(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.take(0)?;
        while map.next_key_seed(Measure(self.0))?.is_some() {
            map.next_value_seed(Measure(self.0))?;
        }
        Ok(())
    }

    /// A value with a tag, such as `!name value`.
    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<(), A::Error> {
        let ((), value) = tagged.variant_seed(Measure(self.0))?;
        value.newtype_variant_seed(self)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ManifestError, parse};
    use crate::code::Code;
    use crate::limits::{MANIFEST_BYTES_MAX, MANIFEST_ERRORS_MAX};

    const REST: &str = "\nkind: Pipeline\ninputs: [{topic: a}]\ndeadLetter: {topic: dead}\napiVersion: bulkhead/v1\n";

    fn refused(text: &str) -> Vec<ManifestError> {
        assert!(text.len() as u64 <= MANIFEST_BYTES_MAX);
        let errors = parse(text).unwrap_err();
        assert!((1..=MANIFEST_ERRORS_MAX).contains(&errors.len()), "{} mistakes", errors.len());
        let bytes: usize = errors.iter().map(|error| error.field.len() + error.detail.len()).sum();
        assert!(bytes as u64 <= MANIFEST_BYTES_MAX, "{bytes} bytes of mistakes");
        errors
    }

    #[test]
    fn an_alias_is_followed_as_far_as_it_stays_small() {
        let stage = |config: &str| format!("name: p{REST}stages:\n- {{name: s, module: m, config: {config}}}\n");
        let spec = parse(&stage("{a: &x {deep: [1, two]}, b: *x, c: !tag 3}")).unwrap_err();
        assert_eq!(spec[0].code, Code::ManifestSyntax, "a tag is nothing that a config can hold: {spec:?}");
        let spec = parse(&stage("{a: &x {deep: [1, two]}, b: *x}")).unwrap();
        assert_eq!(spec.stages[0].settings, r#"{"a":{"deep":[1,"two"]},"b":{"deep":[1,"two"]}}"#);

        let long = "x".repeat(100_000);
        let wide = format!("{{a: &x {long}, b: [{}]}}", "*x,".repeat(40_000));
        let mut deep = "a0: &a0 [x, x, x, x, x, x, x, x, x]".to_owned();
        for level in 1..20 {
            deep += &format!(", a{level}: &a{level} [{}]", format!("*a{},", level - 1).repeat(9));
        }
        let errors = refused(&stage(&wide));
        assert_eq!((errors[0].code, errors.len()), (Code::LimitExceeded, 1), "{errors:?}");
        refused(&stage(&format!("{{{deep}}}")));
    }

    #[test]
    fn a_long_name_is_not_quoted_whole_by_every_mistake() {
        let long = "n".repeat(100_000);
        let outputs: Vec<_> = (0..10_000).map(|i| format!("O{i}: {{}}")).collect();
        let text =
            format!("name: p{REST}stages:\n- {{name: {long}, module: m, outputs: {{{}}}}}\n", outputs.join(", "));
        let errors = refused(&text);
        assert_eq!(errors.len(), MANIFEST_ERRORS_MAX);
        assert!(errors[0].field.starts_with("stages[nnn"), "{:?}", errors[0]);
    }

    #[test]
    fn far_too_many_stages_are_counted_and_no_more() {
        let stages: Vec<_> = (0..8_000).map(|i| format!("- {{name: s{i}, module: M}}")).collect();
        let errors = refused(&format!("name: p{REST}stages:\n{}\n", stages.join("\n")));
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!((errors[0].code, errors[0].field.as_str()), (Code::LimitExceeded, "stages"));
    }

    #[test]
    fn what_is_quoted_cannot_rule_a_terminal() {
        for text in [
            format!("name: \"\\e[31mred\"{REST}stages: [{{name: \"\\e[2J\", module: m}}]\n"),
            format!("name: p\n\"\\e[31mfield\": 1{REST}stages: [{{name: s, module: m}}]\n"),
            format!(
                "name: p{REST}stages: [{{name: s, module: m, outputs: {{\"\\e[31mx\": {{stage: \"\\e[2J\"}}}}}}]\n"
            ),
        ] {
            for ManifestError { field, detail, .. } in refused(&text) {
                assert!(!field.contains(char::is_control) && !detail.contains(char::is_control), "{field}: {detail}");
            }
        }
    }
}
