//! Declaring the options of a mixer.

/// Declares the options of the mixer of a name: the struct, its defaults, and which values are in range, with words for those.
macro_rules! mixer_options {
    (
        $(#[$meta:meta])*
        $name:literal $options:ident {
            $($(#[$field_meta:meta])* $field:ident: $type:ty = $default:expr $(, $is_in_range:expr, $range:literal)?;)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $options {
            $($(#[$field_meta])* pub $field: $type,)*
        }

        impl Default for $options {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl super::contract::MixerOptions for $options {
            fn check(&self) -> Result<(), crate::error::PolicyError> {
                // A range may depend on the other options.
                #[allow(unused_variables)]
                let Self { $($field,)* } = self;
                $($(
                    if !$is_in_range {
                        let key = concat!("options.", $name, ".", stringify!($field));
                        let problem = format!(concat!("{}, expected ", $range), $field);
                        return Err(crate::error::PolicyError::Size { key, problem });
                    }
                )?)*
                Ok(())
            }
        }
    };
}
pub(super) use mixer_options;
