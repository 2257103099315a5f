//! JSON, more strictly than the plain reader.

use std::fmt;

use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};

/// A JSON value in which no object names a key twice: the plain reader would silently keep the last.
pub(super) struct Unique(pub(super) Value);

/// Visits of values that are one thing.
macro_rules! scalars {
    ($($visit:ident: $type:ty),*) => {
        $(fn $visit<E>(self, value: $type) -> Result<Unique, E> {
            Ok(Unique(value.into()))
        })*
    };
}

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Unique;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_unit<E>(self) -> Result<Unique, E> {
                Ok(Unique(Value::Null))
            }
            scalars! { visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str }
            fn visit_seq<A: de::SeqAccess<'de>>(self, items: A) -> Result<Unique, A::Error> {
                let items = Vec::deserialize(de::value::SeqAccessDeserializer::new(items))?;
                Ok(Unique(items.into_iter().map(|Unique(item)| item).collect()))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut entries: A) -> Result<Unique, A::Error> {
                let mut object = Map::new();
                while let Some((key, Unique(value))) = entries.next_entry::<String, Unique>()? {
                    if object.contains_key(&key) {
                        return Err(de::Error::custom(format!("the key \"{key}\" is there twice")));
                    }
                    object.insert(key, value);
                }
                Ok(Unique(object.into()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
